"""A user's model: the graph that is verified and the file that ONNX Runtime runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from encoders.errors import InputError
from encoders.files.packed import without_gz
from encoders.files.temporary import temporary_folder
from encoders.network.graph import Graph
from encoders.onnx_io.file import Ports, load_model, one_row, ports_of
from encoders.onnx_io.from_onnx import Network, as_classifier, network_from_model
from encoders.onnx_io.joined import JoinedPart, Slot, joined
from encoders.onnx_io.ops.call import FLOATS
from encoders.onnx_io.weights import OnnxModel
from encoders.passes.lower import lower
from verifier import models as shipped
from verifier.problem.arguments import plain
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.verdict import Semantics
from verifier.runtime.agreement import Agreement, Comparison, same_function
from verifier.runtime.files_replay import FilesReplay, OneFile, output_slots, without_our_folder
from verifier.runtime.from_frameworks import compare, exported
from verifier.runtime.replay import Replay

SMOOTH = (
    "{}: a Sigmoid or Tanh inside the network makes it no piecewise linear one: minimal, check, attack and verify "
    "answer about it by the method tree; other methods, jobs, output ranges, certificates of classes, transformations "
    "and questions about some inputs only need one without"
)
"""What whoever needs a piecewise linear network says of another."""

ONE_OUTPUT = "1 output (as a classifier, {} classes)"
"""What a net of one number gives: whether that is a score or a quantity, the file does not say."""


@dataclass(frozen=True, eq=False)
class Model:
    """An ONNX classifier: `network` as read, `lowered` its graph with ReLUs, and Sigmoids if it has any, `replay` the
    file itself in ONNX Runtime.

    `agreement` says where these were found to be the same function; `comparison` finds it for the points of a question.
    `ports`: what the file at `path` takes and gives.
    """

    path: Path
    network: Network
    lowered: Graph
    replay: Replay
    comparison: Comparison
    agreement: Agreement
    ports: Ports
    folder: TemporaryDirectory[str] | None = None
    """What holds the file of a model that came without one: it goes with this object."""

    @property
    def file(self) -> Path:
        """The file of which it was read; `path` has the joined model of one with several inputs or outputs."""
        return self.path if self._one_file is None else self._one_file.path

    @property
    def sha256(self) -> str:
        """Of that file's bytes, followed by its external data files'."""
        return self.network.sha256 if self._one_file is None else self._one_file.sha256

    @property
    def file_ports(self) -> Ports:
        """What that file takes and gives."""
        return self.ports if self._one_file is None else self._one_file.ports

    @property
    def _one_file(self) -> OneFile | None:
        return self.replay.file if isinstance(self.replay, FilesReplay) else None

    @property
    def graph(self) -> Graph:
        """`lowered`, for whatever is about piecewise linear networks. Raises InputError where this one is none."""
        if self.lowered.smooth:
            raise InputError(SMOOTH.format(self.path))
        return self.lowered

    @property
    def classes(self) -> int:
        """The number of logits."""
        return self.lowered.output_size

    @property
    def outputs(self) -> int:
        """The entries of the file's output: what a property's Y_j are. One for a binary classifier."""
        return self.lowered.output_size - self.first_output

    @property
    def first_output(self) -> int:
        """Where these begin among the logits: behind the 0 of a binary classifier, whose graph gives (0, z)."""
        return int(self.network.binary)

    @property
    def no_float32(self) -> str:
        """Why nothing can be said about every float32 evaluation of the file; "" where something can."""
        network = self.network
        other = [dtype.name for dtype in network.dtypes if dtype != np.float32]
        if network.input_dtype != np.float32:
            return f"this one does in {network.input_dtype.name}"
        if other:
            return f"this one casts to {other[0]} inside"
        if network.coarse:
            return "this one's output shows scores as equal that are far apart"
        if network.inexact:
            return f"this one computes its constant '{network.inexact[0]}' with rounding, in an order of its own"
        return ""

    def charges(self, semantics: Semantics | str) -> bool:
        """Are float32 evaluations asked about, and can something be proved of what the file itself gives in them?"""
        return self.charges_logits(semantics) and not self.replay.rounds

    def charges_logits(self, semantics: Semantics | str) -> bool:
        """The same of the logits, which a last Softmax or Sigmoid may show as equal."""
        return semantics != Semantics.REAL and not self.no_float32

    @property
    def dtype(self) -> np.dtype[np.floating]:
        return self.network.input_dtype

    def __repr__(self) -> str:
        network = self.network
        size, shape = self.lowered.input_size, "x".join(str(n) for n in network.input_shape)
        relus = f"{self.lowered.relu_count:,} ReLUs" + (", Sigmoids" if self.lowered.smooth else "")
        gives = ONE_OUTPUT.format(self.classes) if network.binary else f"{self.classes} classes"
        return f"<Model {self.path.name}: {size} inputs ({shape} {self.dtype}), {gives}, {relus}>"

    def vector(self, x: npt.ArrayLike) -> npt.NDArray[np.floating]:
        """One input as a flat vector in the model's dtype; raises InputError when it does not fit or is not finite."""
        try:
            array = np.asarray(plain(x))
        except (TypeError, ValueError) as error:
            raise InputError(f"the input is no array of numbers: {error}") from None
        if array.dtype.kind not in "fiu":
            raise InputError(f"the input has dtype {array.dtype}; numbers are expected")
        if array.size != self.lowered.input_size:
            shape = "x".join(str(n) for n in self.network.input_shape)
            raise InputError(f"the input has {array.size} entries; {self.path.name} expects {shape}")
        with np.errstate(over="ignore"):
            flat = array.reshape(-1).astype(self.dtype)
        if not np.all(np.isfinite(flat)):
            raise InputError(
                f"the input is not finite as {self.dtype.name} at entry {int(np.argmin(np.isfinite(flat)))}"
            )
        return flat

    def logits(self, x: npt.ArrayLike) -> npt.NDArray[np.floating]:
        """The logits (K,) that ONNX Runtime computes for one input."""
        result: npt.NDArray[np.floating] = self.replay.logits(self.vector(x)[np.newaxis])[0]
        return result

    def values(self, points: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """The graph's output as ONNX Runtime gives it: points (batch, n), rounded to the dtype → (batch, K)."""
        with np.errstate(over="ignore"):
            rounded = np.asarray(plain(points)).astype(self.dtype)
        return self.replay.logits(rounded).astype(np.float64)

    def predict(self, x: npt.ArrayLike) -> int:
        """The class that ONNX Runtime predicts by the file's own output: of equal scores the first."""
        return self.replay.classes(self.replay.scores(self.vector(x)[np.newaxis])[0])[0]


def load(
    model: str | Path | bytes | onnx.ModelProto | Any,
    timeout: float | Budget = math.inf,
    *,
    output: str | None = None,
    shape: Sequence[int] | None = None,
) -> Model:
    """Read an ONNX model and compare what was read with ONNX Runtime, as far as the time allows.

    model: a path, the name of a shipped net such as digits, the bytes of an ONNX file, a ModelProto; or a model of
    PyTorch (with the `shape` of one input, without the batch), Keras or scikit-learn, which is exported and compared
    with the original. output: which of several outputs holds the scores of the classes; "*" of a file: all outputs, and
    all inputs, one after the other, as properties have them. Raises InputError, one line, when it cannot be verified.
    """
    budget = timeout if isinstance(timeout, Budget) else Budget(timeout)
    if isinstance(model, str | Path):
        path = shipped.model_file(model)
        return _every(path, budget) if output == EVERY else _read(path, load_model(path), output, budget)
    if isinstance(model, onnx.ModelProto):
        return from_memory(model.SerializeToString(), "model", output, budget)
    if isinstance(model, bytes | bytearray | memoryview):
        return from_memory(bytes(model), "model", output, budget)
    export = exported(model, shape)
    if export is None:
        raise InputError(
            "load takes a path, the bytes of an ONNX file, a ModelProto, or a model of PyTorch, Keras or scikit-learn, "
            f"not {type(model).__name__}"
        )
    found = from_memory(export.content, export.name, output, budget)
    given = tuple(shape) if shape is not None else found.network.input_shape[1:]
    compare(export, lambda points: found.replay.scores(points.reshape(len(points), -1)), given)
    return found


Runs = Callable[[Path, OnnxModel, Network], Replay]
"""What runs a model that was read."""


def from_memory(content: bytes, name: str, output: str | None, budget: Budget, runs: Runs = Replay) -> Model:
    """A model that lies in no file: in one of our own, so that workers, certificates and campaigns can read it.

    runs: makes what is run in place of the file itself, and is compared with it.
    """
    folder = temporary_folder("verifier-model-")
    path = Path(folder.name) / f"{name}.onnx"
    path.write_bytes(content)
    try:
        return replace(_read(path, load_model(path), output, budget, runs), folder=folder)
    except InputError as error:
        raise InputError(str(error).replace(str(path), path.name)) from error


EVERY = "*"
"""For `output`: all outputs of a file, and all its inputs, one after the other."""


def _every(path: Path, budget: Budget) -> Model:
    """All inputs of the file as one, all its outputs of numbers as one, each in the order of the file."""
    loaded = load_model(path)
    ports = ports_of(loaded[0].proto)
    given, gives = ports.inputs, [port for port in ports.outputs if port.dtype in FLOATS]
    if not given or (len(given) == 1 and len(gives) <= 1):
        return of_loaded(path, loaded, budget)
    dtypes = {port.dtype for port in (*given, *gives)}
    if len(dtypes) > 1 or given[0].dtype not in FLOATS:
        told = ", ".join(f"'{port.name}' {port.dtype or 'no tensor'}" for port in (*given, *gives))
        raise InputError(f"{path}: its inputs and outputs have several types: {told}; one float type can be read")
    cut = tuple(Slot(port.name, one_row(port)) for port in given)
    try:
        proto = loaded[0].whole
        asked = tuple(output_slots(proto, cut, [port.name for port in gives]))
        part = JoinedPart(without_gz(path).stem, proto, cut, asked)
        content = joined([part], np.dtype(given[0].dtype)).SerializeToString()
        file = OneFile(path, loaded[1], ports, cut, asked)
        return from_memory(
            content, without_gz(path).stem, None, budget, lambda _, __, network: FilesReplay([part], network, file)
        )
    except InputError as error:
        raise InputError(f"{path}: {without_our_folder(str(error))}") from None


def of_loaded(path: Path, loaded: tuple[OnnxModel, str], budget: Budget) -> Model:
    """As `load`, of a file that has been read. Raises InputError."""
    return _read(path, loaded, None, budget)


def _read(path: Path, loaded: tuple[OnnxModel, str], output: str | None, budget: Budget, runs: Runs = Replay) -> Model:
    model, sha256 = loaded
    try:
        network = as_classifier(network_from_model(model.proto, sha256, output, model.weights))
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    lowered = lower(network.graph)
    with suppress(OutOfTimeError):
        same_function(network.graph, lowered, f"{path}: its form with ReLUs alone", budget)
    replay = runs(path, model, network)
    comparison = Comparison(path, model, network, replay)
    agreement = comparison.of_model(model, budget)
    return Model(path, network, lowered, replay, comparison, agreement, ports_of(model.proto))
