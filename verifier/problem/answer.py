"""What every answer of the API can do: be short on screen, a dictionary, JSON, and a picture in a notebook."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from verifier.problem.inputs.columns import Columns


@dataclass(frozen=True, eq=False, repr=False)
class Subject:
    """What an answer is about.

    model: the file's name. input: shape (n,), the model's dtype. shape: that of the model's input. box: its two ends.
    predicted: the class of the input as ONNX Runtime runs it. command: `minimal`, `check` or `attack`. columns: which
    inputs can occur; None: all of the box.
    """

    command: str
    model: str
    model_sha256: str
    input: npt.NDArray[np.floating[Any]]
    shape: tuple[int, ...]
    box: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]
    norm: str
    label: int
    predicted: int
    target: int | None
    margin: float
    radius: float | None = None
    columns: Columns | None = None

    def __repr__(self) -> str:
        goal = "any other class" if self.target is None else f"class {self.target}"
        only = f" among {self.columns.told}" if self.columns is not None else ""
        return f"<{self.command} in {self.norm} from class {self.label} to {goal}{only}, {self.model}>"


@dataclass(frozen=True)
class PropertySubject:
    """What an answer about a property is about; `property` names it, `shape` is that of the model's input."""

    command: str
    model: str
    model_sha256: str
    property: str
    shape: tuple[int, ...]
    method: str


class Answer:
    """Mixin of the API's results; the renderers live where reports are made, and are loaded when one is asked for."""

    def __repr__(self) -> str:
        return str(_renderer("words", self))

    def to_dict(self) -> dict[str, Any]:
        """The answer as plain numbers, strings, lists and dictionaries; an infinite number as None.

        The keys are those of the command's `--json`; the witness has its `point` as a nested list in the input's shape.
        """
        found: dict[str, Any] = _renderer("to_dict", self)
        return found

    def to_json(self) -> str:
        """`to_dict` as JSON."""
        return str(_renderer("to_json", self))

    def _repr_html_(self) -> str:
        """The answer in a notebook: its numbers, and the picture where there is a witness."""
        return str(_renderer("html", self))


def _renderer(name: str, answer: Answer) -> Any:
    return getattr(importlib.import_module("verifier.report.answers"), name)(answer)
