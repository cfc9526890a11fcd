"""The user's own model file in ONNX Runtime on the CPU: its output, its logits, and any of its tensors.

What is deployed is a run of one input on the file as it is: a single row is exactly that. Several rows run as one batch
where the file's first axis is dynamic, which may differ from single runs in the last bits.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from encoders.errors import InputError
from encoders.onnx_io.from_onnx import Network
from encoders.onnx_io.ops.endings import without_transforms
from encoders.onnx_io.runtime import runtime_complaint
from encoders.onnx_io.weights import OnnxModel
from verifier.runtime.device import Device
from verifier.runtime.session import PACKED, Level, session

FloatArray = npt.NDArray[np.floating[Any]]

NO_MEMORY = ("bad_alloc", "Failed to allocate memory")
"""What ONNX Runtime says where it finds none."""

MIXED = 1e-3
"""Relative to a row's largest entry: what batches change by more is no rounding, but rows that meet each other."""


class Opened:
    """A session on a file with some of its tensors as further outputs. Raises InputError where it cannot be had, and
    MemoryError.

    With large weights it is made when it is first needed: each session has a copy of them.
    """

    def __init__(
        self,
        path: str | Path,
        model: OnnxModel,
        network: Network,
        tensors: Sequence[str] = (),
        level: Level = Level.ALL,
    ) -> None:
        entry = next((item for item in model.proto.graph.input if item.name == network.input_name), None)
        if entry is None:
            raise InputError(f"{path}: the model has no input named {network.input_name!r}")
        self._path, self._name = path, network.input_name
        self._shape, self._dtype = network.input_shape, network.input_dtype
        first = entry.type.tensor_type.shape.dim[:1]
        self._batched = len(self._shape) > 1 and self._shape[0] == 1 and bool(first) and first[0].dim_value <= 0
        self._model: OnnxModel | None = replace(model, proto=with_outputs(model.proto, tensors))
        self._level, self._made, self._making = level, None, threading.Lock()
        if not model.weights:
            self._session()  # its complaints come now

    def _session(self) -> Any:
        """The one session, which any thread may ask for."""
        with self._making:
            if (model := self._model) is not None:
                packed = self._level is Level.ALL or model.size <= PACKED
                try:
                    self._made = session(model, Device.CPU, 1, self._level, packed=packed)
                except Exception as error:  # onnxruntime's exceptions share no base class
                    if isinstance(error, MemoryError) or any(told in str(error) for told in NO_MEMORY):
                        raise MemoryError(f"{self._path} does not fit into memory") from error
                    raise InputError(
                        f"{self._path}: ONNX Runtime cannot load the model: {runtime_complaint(error)}"
                    ) from error
                self._model = None
            return self._made

    def rows(self, points: npt.ArrayLike, tensor: str) -> FloatArray:
        """The tensor at points (batch, n), a row each."""
        rows = np.atleast_2d(np.asarray(points, dtype=self._dtype))
        if not self._batched or len(rows) == 1:
            return np.concatenate([self.single(row, [tensor])[0] for row in rows])
        opened = self._session()
        try:
            result: FloatArray = opened.run([tensor], {self._name: rows.reshape(len(rows), *self._shape[1:])})[0]
        except Exception:  # noqa: BLE001 - a fixed shape inside the file, though its first axis is dynamic
            result = np.empty(0)
        if result.ndim == 0 or len(result) != len(rows) or not self._alike(result[-1], rows[-1], tensor):
            self._batched = False
            return self.rows(rows, tensor)
        return result.reshape(len(rows), -1)

    def _alike(self, found: FloatArray, row: FloatArray, tensor: str) -> bool:
        """Is what a batch gave for its last row what the row alone gives, up to rounding?"""
        alone = self.single(row, [tensor])[0][0]
        if found.size != alone.size:
            return False
        most = MIXED * float(np.max(np.abs(alone), initial=0.0, where=np.isfinite(alone)))
        return np.allclose(found.reshape(-1), alone, rtol=0.0, atol=most, equal_nan=True)

    def single(self, row: FloatArray, tensors: Sequence[str]) -> list[FloatArray]:
        """The tensors at one point (n,), in one run: (1, size) each."""
        if not tensors:  # ONNX Runtime takes no names for all names
            return []
        opened = self._session()
        try:
            found = opened.run(list(tensors), {self._name: row.reshape(self._shape)})
        except Exception as error:  # as when it is loaded
            raise InputError(f"{self._path}: ONNX Runtime cannot run the model: {runtime_complaint(error)}") from error
        return [np.asarray(value).reshape(1, -1) for value in found]


def with_outputs(model: onnx.ModelProto, tensors: Sequence[str]) -> onnx.ModelProto:
    """The model with the tensors as outputs behind its own; itself where it gives them already."""
    own = {value.name for value in model.graph.output}
    further = [name for name in tensors if name not in own]
    if not further:
        return model
    opened = onnx.ModelProto()
    opened.CopyFrom(model)
    opened.graph.output.extend(onnx.ValueInfoProto(name=name) for name in further)
    return opened


class Replay:
    """The file as the user brought it, and beside it, where its output is no logits, the same with its logits."""

    def __init__(self, path: str | Path, model: OnnxModel, network: Network, level: Level = Level.ALL) -> None:
        self._network = network
        self._file = Opened(path, model, network, [network.scores_name], level)
        self._inner = self._file
        if network.logits_name != network.scores_name or network.transformed:
            shown = replace(model, proto=without_transforms(model.proto)) if network.transformed else model
            self._inner = Opened(path, shown, network, [network.logits_name], level)

    def logits(self, points: npt.ArrayLike) -> FloatArray:
        """The logits that ONNX Runtime computes: points (batch, n) → (batch, K), in the model's own dtype.

        A binary classifier's are (0, z).
        """
        found = self._inner.rows(points, self._network.logits_name)
        return np.hstack([np.zeros_like(found), found]) if self._network.binary else found

    def scores(self, points: npt.ArrayLike) -> FloatArray:
        """The file's own output at points (batch, n): (batch, K). What it prefers is what counts."""
        return self._file.rows(points, self._network.scores_name)

    @property
    def rounds(self) -> bool:
        """Are the scores made of the logits by what may round different ones to the same?"""
        return self._inner is not self._file or self._network.transformed

    def classes(self, scores: FloatArray) -> tuple[int, ...]:
        """The class that the file's output (K,) says: the first of the largest; one number: 1 from 0 or 0.5 on."""
        if scores.size == 1:
            return (int(scores[0] >= self._network.threshold),)
        return (int(np.argmax(scores)),)

    def outputs(self, points: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
        """(logits, scores); one run where they are the same."""
        scores = self.scores(points)
        same = self._inner is self._file and not self._network.binary
        return (scores if same else self.logits(points)), scores


class Trace:
    """All the tensors of a file that a graph has a node for, as ONNX Runtime gives them without optimisations."""

    def __init__(self, path: str | Path, model: OnnxModel, network: Network, tensors: Sequence[str]) -> None:
        self._tensors = tuple(tensors)
        self._opened = Opened(path, model, network, tensors, Level.DISABLE_ALL)

    def values(self, points: FloatArray) -> dict[str, FloatArray]:
        """Each tensor at points (batch, n), flattened: (batch, size); every point in a run of its own."""
        runs = [self._opened.single(point, self._tensors) for point in points]
        return {
            name: np.concatenate(column) for name, column in zip(self._tensors, zip(*runs, strict=True), strict=True)
        }
