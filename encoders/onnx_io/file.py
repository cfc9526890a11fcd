"""An ONNX file from disk: bytes → a checked ModelProto, with every way in which it can be wrong as one InputError."""

from __future__ import annotations

import hashlib
import heapq
import math
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError, EncodeError  # type: ignore[import-untyped]
from onnx import checker, defs, external_data_helper, helper

from encoders.errors import InputError, one_line
from encoders.files.packed import plain
from encoders.onnx_io.ops.call import FLOATS, ML_DOMAIN, describe
from encoders.onnx_io.ops.room import MAX_ENTRIES
from encoders.onnx_io.runtime import IR_VERSION, runtime
from encoders.onnx_io.weights import OnnxModel, apart

OLDEST_OPSET = 7
"""Before opset 7 broadcasting, BatchNormalization and Dropout meant something else."""

MAX_BYTES = 2**30
"""A model's file, and its external data, may have so many bytes: 256 million float32. What is read takes some three
times the memory, reading five times."""

BLOCK = 2**20
"""Bytes that are hashed at a time."""


@dataclass(frozen=True)
class Port:
    """The model's input or output: its name, shape (None for an unknown size; None for no shape at all) and dtype."""

    name: str
    shape: tuple[int | None, ...] | None
    dtype: np.dtype[Any] | None


@dataclass(frozen=True)
class Ports:
    """What a file takes that is no weight, and what it gives, each in its order."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]


NO_MEMORY = "alloc failed"
"""What protobuf says of a message that it finds no memory for."""


def load_model(path: Path) -> tuple[OnnxModel, str]:
    """The model with its external data, and the sha256 of the file's bytes, unpacked, followed by the external files'.

    Raises InputError for a file that is missing, is no ONNX, or whose external data are missing or lie elsewhere; and
    MemoryError.
    """
    content = model_bytes(path)
    if not content:
        raise InputError(f"{path} is empty; an ONNX model was expected")
    try:
        model = onnx.load_model_from_string(content)
    except (DecodeError, ValueError, RuntimeError) as error:
        if NO_MEMORY in str(error):
            raise MemoryError(f"{path} does not fit into memory") from error
        raise InputError(f"{path} is not an ONNX model, or is cut off: {one_line(error)}") from error
    if not model.HasField("graph") or not model.graph.output:
        raise InputError(f"{path} is not an ONNX model: it holds no graph with an output")
    digest = hashlib.sha256(content)
    del content
    try:
        for file in sorted(_external_files(path, model)):
            with file.open("rb") as stream:
                while block := stream.read(BLOCK):
                    digest.update(block)
        for tensor in _tensors(model.graph):
            if external_data_helper.uses_external_data(tensor):
                external_data_helper.load_external_data_for_tensor(tensor, str(path.parent))
                tensor.data_location = onnx.TensorProto.DEFAULT
                del tensor.external_data[:]
    except (OSError, ValueError, RuntimeError, checker.ValidationError) as error:
        raise InputError(f"{path}: its external data cannot be read: {one_line(error)}") from error
    return apart(model), digest.hexdigest()


def model_bytes(path: Path) -> bytes:
    """The bytes of a model's file, unpacked where it is packed by gzip. Raises InputError, one line."""
    try:
        content = plain(_content(path), MAX_BYTES)
    except OSError as error:
        raise InputError(f"{path} cannot be unpacked: {one_line(error)}") from None
    if len(content) > MAX_BYTES:
        raise InputError(f"{path} unpacks to more than {MAX_BYTES} bytes; models of up to {MAX_BYTES} can be read")
    return content


def _content(path: Path) -> bytes:
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise InputError(f"{path} is a directory; name the .onnx file in it")
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{path} is no regular file; an ONNX model was expected")
        if status.st_size > MAX_BYTES:
            raise InputError(f"{path} has {status.st_size} bytes; models of up to {MAX_BYTES} can be read")
        return path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise InputError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                yield attribute.t


def external_locations(path: Path) -> dict[str, Path]:
    """The files with the model's external data, by their place as the model names it.

    Raises InputError as `load_model` does.
    """
    model = onnx.load_model_from_string(model_bytes(path))
    return {place: file for file, places in _external_files(path, model).items() for place in places}


def _external_files(path: Path, model: onnx.ModelProto) -> dict[Path, set[str]]:
    """The model's external data files, with their places as tensors name them.

    Each must lie in the model's folder, and hold its tensors.
    """
    folder = path.parent.resolve()
    sizes: dict[Path, int] = {}
    places: dict[Path, set[str]] = {}
    taken = 0
    for tensor in _tensors(model.graph):
        if not external_data_helper.uses_external_data(tensor):
            continue
        where = {entry.key: entry.value for entry in tensor.external_data}
        location = where.get("location", "")
        file = (folder / location).resolve()
        if not location or not file.is_relative_to(folder):
            raise InputError(f"{path}: tensor '{tensor.name}' lies in '{location}', outside the model's folder")
        if not file.is_file():
            raise InputError(f"{path}: tensor '{tensor.name}' lies in '{location}', which is not in the model's folder")
        sizes[file] = size = file.stat().st_size
        places.setdefault(file, set()).add(location)
        start = _number(where.get("offset", "0"))
        length = _number(where.get("length", str(max(0, size - start))))
        if start + length > size:
            raise InputError(
                f"{path}: tensor '{tensor.name}' lies at {start} to {start + length} of '{location}', "
                f"which has {size} bytes"
            )
        taken += length
        if max(taken, sum(sizes.values())) > MAX_BYTES:
            raise InputError(
                f"{path}: its external data have more than {MAX_BYTES} bytes, which is all that can be read"
            )
    return places


def _number(text: str) -> int:
    """An offset or length; raises ValueError where it is none."""
    if not (text.isascii() and text.isdigit()) or len(text) > 20:
        raise ValueError(f"'{text[:20]}' is no offset or length")
    return int(text)


@cache
def newest_opset() -> int:
    """The newest version of the ONNX op set that ONNX Runtime and the library onnx both read."""
    values = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "one node", values[:1], values[1:])
    for version in range(defs.onnx_opset_version(), OLDEST_OPSET, -1):
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)], ir_version=IR_VERSION)
        try:
            runtime().InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        except Exception:  # noqa: BLE001 - onnxruntime's exceptions share no base class
            continue
        return version
    return OLDEST_OPSET


def default_opset(model: onnx.ModelProto) -> int:
    """The version of the ONNX op set; raises InputError when it is missing or one that cannot be read."""
    versions = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    if not versions:
        raise InputError(f"the model names no version of the ONNX op set; {_READ.format(newest_opset())}")
    if len(set(versions)) > 1:
        raise InputError(f"the model names several versions of the ONNX op set ({min(versions)} to {max(versions)})")
    version = int(versions[0])
    if not OLDEST_OPSET <= version <= defs.onnx_opset_version():
        raise InputError(f"the model has opset {version}; {_READ.format(newest_opset())}: export it anew")
    return version


_READ = f"{OLDEST_OPSET} to {{}} can be read"


def in_order(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with each node behind those that it reads, as the standard asks and ONNX Runtime does not need."""
    nodes = list(model.graph.node)
    # A name that no node gives is an input or a weight, or is left to the checker.
    giver = {name: place for place, node in enumerate(nodes) for name in node.output if name}
    readers: list[list[int]] = [[] for _ in nodes]
    waits = [0] * len(nodes)
    for place, node in enumerate(nodes):
        for source in {giver[name] for name in node.input if name in giver}:
            readers[source].append(place)
            waits[place] += 1
    ready, order = [place for place, count in enumerate(waits) if count == 0], []
    while ready:
        order.append(place := heapq.heappop(ready))
        for reader in readers[place]:
            waits[reader] -= 1
            if waits[reader] == 0:
                heapq.heappush(ready, reader)
    if len(order) < len(nodes):
        left = next(place for place, count in enumerate(waits) if count)
        raise InputError(f"{describe(nodes[left])}: it reads, through other nodes, what it gives itself")
    if order == sorted(order):
        return model
    ordered = onnx.ModelProto()
    ordered.CopyFrom(model)
    del ordered.graph.node[:]
    ordered.graph.node.extend(nodes[place] for place in order)
    return ordered


def check_model(model: onnx.ModelProto) -> None:
    """Raise InputError when onnx.checker refuses the model.

    What it refuses although ONNX Runtime runs it is legal here: an output without a type or shape, and a weight that is
    no input in a file of IR version 3.
    """
    for function in model.functions:
        if function.domain in ONNX_DOMAINS:
            raise InputError(f"the model has a function of its own named '{function.name}', as ONNX's op: rename it")
    untyped = [value for value in model.graph.output if not value.HasField("type")]
    for value in untyped:
        value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    types = [value.type for value in (*model.graph.output, *model.graph.value_info) if value.HasField("type")]
    shapeless = [
        kind.tensor_type for kind in types if kind.HasField("tensor_type") and not kind.tensor_type.HasField("shape")
    ]
    version = model.ir_version
    try:
        for kind in shapeless:
            kind.shape.SetInParent()
        model.ir_version = max(version, WEIGHTS_APART) if version else 0
        checker.check_model(model)
    except (checker.ValidationError, EncodeError, ValueError, TypeError, RuntimeError) as error:
        raise InputError(f"the ONNX checker refuses the model: {one_line(error)}") from error
    finally:
        model.ir_version = version
        for kind in shapeless:
            kind.ClearField("shape")
        for value in untyped:
            value.ClearField("type")


ONNX_DOMAINS = ("", "ai.onnx", ML_DOMAIN)

WEIGHTS_APART = 4
"""The IR version since which weights need not be inputs."""


def inputs(model: onnx.ModelProto) -> list[Port]:
    """The graph's inputs that are no weights."""
    weights = {tensor.name for tensor in model.graph.initializer}
    weights |= {tensor.values.name for tensor in model.graph.sparse_initializer}
    return [_port(value) for value in model.graph.input if value.name not in weights]


def outputs(model: onnx.ModelProto) -> list[Port]:
    return [_port(value) for value in model.graph.output]


def ports_of(model: onnx.ModelProto) -> Ports:
    return Ports(tuple(inputs(model)), tuple(outputs(model)))


def _port(value: onnx.ValueInfoProto) -> Port:
    tensor = value.type.tensor_type
    shape: tuple[int | None, ...] | None = None
    if tensor.HasField("shape"):
        sizes = (int(dim.dim_value) if dim.HasField("dim_value") else -1 for dim in tensor.shape.dim)
        # Some exporters write 0 or −1 for a dynamic axis.
        shape = tuple(size if size > 0 else None for size in sizes)
    try:
        dtype = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.elem_type)) if tensor.elem_type else None
    except KeyError:
        dtype = None
    return Port(value.name, shape, dtype)


def only_input(model: onnx.ModelProto) -> tuple[str, tuple[int, ...], np.dtype[Any]]:
    """The one input's name, its shape with a dynamic batch axis as 1, and its float dtype; raises InputError."""
    ports = inputs(model)
    if len(ports) != 1:
        names = ", ".join(f"'{port.name}'" for port in ports) or "none"
        raise InputError(
            f"the model must have one input, but has {len(ports)} ({names}); properties and `bounds` take several"
        )
    port = ports[0]
    if port.dtype is None or port.dtype not in FLOATS:
        raise InputError(f"input '{port.name}' is {port.dtype or 'no tensor'}; float16, float32 or float64 is expected")
    return port.name, one_row(port), port.dtype


def one_row(port: Port) -> tuple[int, ...]:
    """The shape of an input with a dynamic batch axis as 1; raises InputError where another axis has no fixed size."""
    if port.shape is None:
        raise InputError(f"input '{port.name}' has no shape; export the model with one")
    unknown = [axis for axis, size in enumerate(port.shape) if size is None and (axis > 0 or len(port.shape) == 1)]
    if unknown:
        raise InputError(
            f"axis {unknown[0]} of input '{port.name}' has no fixed size; only the first of several axes, the batch, "
            "may be dynamic"
        )
    shape = tuple(size or 1 for size in port.shape)
    if math.prod(shape) > MAX_ENTRIES:
        raise InputError(f"input '{port.name}' of shape {list(shape)} has more than {MAX_ENTRIES} entries")
    return shape


def score_output(model: onnx.ModelProto, wanted: str | None = None) -> str:
    """The name of the output that holds the classes' scores: `wanted`, or the only one that can.

    Labels and strings cannot; a zipmap (a list of dictionaries) stands for the tensor that it is made of. Raises
    InputError with a list of the outputs where the choice is not clear.
    """
    ports = outputs(model)
    zipped = {name for proto in model.graph.node if proto.op_type == "ZipMap" for name in proto.output}
    scores = [port.name for port in ports if port.name in zipped or port.dtype in FLOATS]
    listed = ", ".join(_described(port, zipped) for port in ports)
    if wanted is not None:
        if wanted not in scores:
            known = any(port.name == wanted for port in ports)
            wrong = "holds no scores" if known else "is not an output of the model"
            raise InputError(f"'{wanted}' {wrong}; its outputs are {listed}")
        return wanted
    if len(ports) == 1:
        return ports[0].name  # what it holds shows when it is read
    if len(scores) == 1:
        return scores[0]
    if not scores:
        raise InputError(
            f"no output of the model holds scores of the classes: it gives {listed}. Export it with the scores as an "
            "output, without the ArgMax behind them"
        )
    raise InputError(
        f"the model has {len(scores)} outputs that may be the scores of the classes; choose one with "
        f"--output NAME (in a campaign's plan and in Python output = 'NAME'): {listed}"
    )


def _described(port: Port, zipped: set[str]) -> str:
    if port.name in zipped:
        return f"'{port.name}' (zipmap)"
    shape = "x".join("?" if size is None else str(size) for size in port.shape or ())
    return f"'{port.name}' ({' '.join(part for part in (str(port.dtype or 'no tensor'), shape) if part)})"
