"""Several files in ONNX Runtime, each in a session of its own, in place of the model that joins them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from encoders.errors import InputError
from encoders.onnx_io.file import Ports
from encoders.onnx_io.from_onnx import Network
from encoders.onnx_io.joined import JoinedPart, Slot
from encoders.onnx_io.runtime import runtime_complaint
from encoders.onnx_io.weights import OnnxModel
from verifier.runtime.device import Device
from verifier.runtime.replay import FloatArray, Replay, with_outputs
from verifier.runtime.session import session

OUR_FOLDER = re.compile(r"^\S*verifier-model-[^/]*/[^/]*\.onnx: ")
"""What complaints about a joined model begin with, which lies in a file of ours: they name network and node as well."""


def without_our_folder(complaint: str) -> str:
    """The complaint about a joined model without the file that it lies in."""
    return OUR_FOLDER.sub("", complaint)


def output_slots(model: onnx.ModelProto, given: Sequence[Slot], names: Sequence[str]) -> Iterator[Slot]:
    """The outputs of these names with the shapes that they have where inputs have those of `given`."""
    begun = _opened(model, names, "the model")
    zeros = {slot.name: np.zeros(slot.shape, _dtype(begun, slot.name)) for slot in given}
    for name, value in zip(names, _run(begun, names, zeros, "the model"), strict=True):
        yield Slot(name, tuple(value.shape))


def _dtype(begun: Any, name: str) -> str:
    kind = next(port.type for port in begun.get_inputs() if port.name == name)
    return {"tensor(double)": "float64", "tensor(float16)": "float16"}.get(kind, "float32")


def _opened(model: onnx.ModelProto, names: Sequence[str], what: str) -> Any:
    try:
        return session(OnnxModel(with_outputs(model, names)), Device.CPU, 1)
    except Exception as error:  # onnxruntime's exceptions share no base class
        raise InputError(f"{what}: ONNX Runtime cannot load the file: {runtime_complaint(error)}") from error


def _run(begun: Any, names: Sequence[str], given: Mapping[str, Any], what: str) -> list[Any]:
    try:
        return list(begun.run(list(names), dict(given)))
    except Exception as error:  # as when it is loaded
        raise InputError(f"{what}: ONNX Runtime cannot run the file: {runtime_complaint(error)}") from error


@dataclass(frozen=True)
class OneFile:
    """The file whose inputs and outputs of numbers, all of them and in its order, are those of a joined model; sha256:
    of its bytes, as of any model; ports: all that it takes and gives."""

    path: Path
    sha256: str
    ports: Ports
    given: tuple[Slot, ...]
    asked: tuple[Slot, ...]


class FilesReplay(Replay):
    """The files themselves, each in a session of its own: what they give, in the order of the joined model's output.

    file: the one, where there is but one and the model is all of it.
    """

    def __init__(self, parts: Sequence[JoinedPart], network: Network, file: OneFile | None = None) -> None:
        self._network, self.file = network, file
        sessions: dict[tuple[int, tuple[str, ...]], Any] = {}
        self._parts = []
        for part in parts:
            wanted = tuple(slot.name for slot in part.asked)
            key = (id(part.model), wanted)
            if key not in sessions:
                sessions[key] = _opened(part.model, wanted, f"network '{part.name}'")
            self._parts.append((part, sessions[key]))

    def scores(self, points: npt.ArrayLike) -> FloatArray:
        """The declared tensors at points (batch, n): (batch, K)."""
        rows = np.atleast_2d(np.asarray(points, dtype=self._network.input_dtype))
        return np.concatenate([self._row(row) for row in rows])

    def _row(self, row: FloatArray) -> FloatArray:
        begin, found = 0, []
        for part, begun in self._parts:
            given = {}
            for slot in part.given:
                given[slot.name] = row[begin : begin + slot.size].reshape(slot.shape)
                begin += slot.size
            values = _run(begun, [slot.name for slot in part.asked], given, f"network '{part.name}'")
            for slot, value in zip(part.asked, values, strict=True):
                if value.shape != slot.shape:
                    raise InputError(
                        f"network '{part.name}': '{slot.name}' has shape {list(value.shape)} and not {list(slot.shape)}"
                    )
            found += [np.asarray(value).reshape(1, -1) for value in values]
        size = sum(part.shape[1] for part in found)
        if size < self._network.graph.output_size - int(self._network.binary):
            found.append(row[:1].reshape(1, 1))  # where no output depends on an input
        result: FloatArray = np.concatenate(found, axis=1).astype(self._network.input_dtype)
        return result

    def logits(self, points: npt.ArrayLike) -> FloatArray:
        """The same, with a 0 before a single number, as graphs of one output have it."""
        found = self.scores(points)
        return np.hstack([np.zeros_like(found), found]) if self._network.binary else found

    @property
    def rounds(self) -> bool:
        return False

    def outputs(self, points: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
        """(logits, scores)"""
        return self.logits(points), self.scores(points)
