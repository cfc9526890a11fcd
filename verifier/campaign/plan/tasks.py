"""A task: one input of one model under one norm, with all that its targets share. Its identity is its content."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from encoders.passes.from_transforms import Transforms
from verifier.campaign.plan.identity import columns_sha256, digest, maps_sha256
from verifier.problem.inputs.columns import Columns
from verifier.problem.inputs.lattice import Lattice, lattice_of
from verifier.problem.query import Norm

Target = int | None
"""A class, or None for any but the label."""


@dataclass(frozen=True, eq=False)
class Task:
    """point: (n,) in the model's dtype; lo, hi: float64 (n,); source, index, name: where the input was found.

    transforms: be adversarial under all of them. output: of a model's several outputs the one that was chosen.
    columns: which inputs can occur; None: all of the box.
    """

    model: Path
    model_sha256: str
    point: npt.NDArray[np.floating]
    shape: tuple[int, ...]
    label: int
    norm: str
    lo: npt.NDArray[np.float64]
    hi: npt.NDArray[np.float64]
    margin: float
    precision: float
    method: str
    solver: str | None
    source: str = ""
    index: int = 0
    transforms: Transforms | None = None
    name: str = ""
    output: str | None = None
    columns: Columns | None = None

    @cached_property
    def lattice(self) -> Lattice | None:
        """The points that are asked about; None: all of the box. Raises InputError where the input is none of them."""
        if self.columns is None:
            return None
        centre, dtype = self.point.astype(np.float64), self.point.dtype
        return lattice_of(self.columns, centre, self.lo, self.hi, dtype, Norm(self.norm))

    @cached_property
    def input_sha256(self) -> str:
        return digest(str(self.point.dtype), self.point.tobytes())

    @cached_property
    def box_sha256(self) -> str:
        return digest(self.lo.tobytes(), self.hi.tobytes())

    @cached_property
    def id(self) -> str:
        """The same wherever and whenever the same is asked; where model and input lie does not matter."""
        asked = (self.model_sha256, self.input_sha256, self.box_sha256, self.norm, self.label)
        how = [*asked, self.margin, self.precision, self.method, self.solver]
        maps = None if self.transforms is None else maps_sha256(self.transforms)
        later = [maps, self.output] if self.output is not None else [maps] if maps is not None else []
        some = [] if self.columns is None else [{"columns": columns_sha256(self.columns)}]
        return digest(json.dumps([*how, *later, *some]))  # without these it is what it was before there were any

    def instance(self, target: Target) -> str:
        """The identity of the question about one target."""
        return instance_id(self.id, target)


def instance_id(task: str, target: Target) -> str:
    """The identity of a task's question about one target."""
    return digest(task, "any" if target is None else str(target))


@dataclass(frozen=True, eq=False)
class GivenPoints:
    """What another tool has found for one target of a task: points (m, n) in the dtype of its file; m ≥ 1."""

    tool: str
    target: Target
    points: npt.NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class Wanted:
    """A task, the targets that a plan asks for, and the points that others have found for them.

    score: how far the label's logit lies above the highest of the others, as ONNX Runtime runs the file. wrong: the
    file says another class than the label.
    """

    task: Task
    targets: tuple[Target, ...]
    given: tuple[GivenPoints, ...] = ()
    score: float = 0.0
    wrong: bool = False
