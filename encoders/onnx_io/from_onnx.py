"""An ONNX model → the graph of the function that it computes over the real numbers.

The weights are exactly those of the file; nothing is rounded but BatchNormalization's factor γ/√(σ² + ε). Nodes that
depend on constants only are evaluated by ONNX Runtime, in the dtype of the file; an op that depends on the input and
has no rule (`ops.rules`) is refused by name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from encoders.errors import InputError, one_line
from encoders.network.graph import Affine, Graph, Term, frozen
from encoders.network.linear_maps import select
from encoders.onnx_io.file import (
    check_model,
    default_opset,
    in_order,
    inputs,
    load_model,
    only_input,
    outputs,
    score_output,
)
from encoders.onnx_io.ops.call import ML_DOMAIN, Call, Constant, Tensor, Variable, describe
from encoders.onnx_io.ops.draft import Draft
from encoders.onnx_io.ops.endings import Ending, ending
from encoders.onnx_io.ops.exactness import is_exact
from encoders.onnx_io.ops.foldable import NOT_FOLDED
from encoders.onnx_io.ops.folding import evaluate_node
from encoders.onnx_io.ops.refusals import why_not
from encoders.onnx_io.ops.room import Allowance, TooLargeError
from encoders.onnx_io.ops.rules import CLASSICAL_RULES, RULES
from encoders.onnx_io.weights import OnnxModel, Weight


@dataclass(frozen=True, eq=False)
class Network:
    """A network as read: Max, Abs, LeakyRelu and Clip nodes may remain in `graph`.

    `input_shape` has the batch axis as 1. `graph.output` is the tensor `logits_name` of the file: what stands before a
    Softmax or Sigmoid that was dropped between it and the output `output_name`, whose numbers are the tensor
    `scores_name`. `binary`: the file gives one number, from which class 1 is told by `threshold`, and graph.output is
    (0, z). `coarse`: the output may show scores as equal that are far apart, as a Sigmoid shows large ones.
    `transformed`: the file's tensor `logits_name` holds probabilities, made of graph.output within one operator
    of ai.onnx.ml. `tensors` maps tensor names of the file to the graph nodes that give them, flattened row-major.
    `dtypes` are those of all tensors that depend on the input, its own first. `inexact` names the constants, used
    beside a variable, that the file computes with rounding: their values are this ONNX Runtime's, and another order of
    summation may give others. `sha256` is that of the file's bytes, followed by its external data files' in order of
    name.
    """

    graph: Graph
    input_name: str
    input_shape: tuple[int, ...]
    input_dtype: np.dtype[Any]
    logits_name: str
    notes: tuple[str, ...]
    op_counts: Mapping[str, int]
    tensors: Mapping[str, int]
    dtypes: tuple[np.dtype[Any], ...]
    sha256: str
    output_name: str = ""
    scores_name: str = ""
    binary: bool = False
    threshold: float = 0.0
    transformed: bool = False
    coarse: bool = False
    inexact: tuple[str, ...] = ()
    ending: str = ""
    """The operator that was dropped at the end, Softmax, LogSoftmax or Sigmoid; SEVERAL where it was more than that."""


@dataclass(frozen=True)
class Survey:
    """What a file holds, and what of it cannot be read (`unsupported`: node → reason).

    None is an unknown size, or an unknown shape. `network` is the file as read, where nothing of it is unsupported.
    """

    input_name: str
    input_shape: tuple[int | None, ...] | None
    output_name: str
    output_shape: tuple[int | None, ...] | None
    op_counts: Mapping[str, int]
    unsupported: Mapping[str, str]
    opset: int
    model: OnnxModel
    sha256: str
    network: Network | None


def read_network(path: str | Path, output: str | None = None) -> Network:
    """Read an ONNX file. Raises InputError, one line, for whatever is wrong with the file or cannot be translated.

    output: which of several outputs holds the scores of the classes.
    """
    model, sha256 = load_model(Path(path))
    try:
        return network_from_model(model.proto, sha256, output, model.weights)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def network_from_model(
    model: onnx.ModelProto, sha256: str = "", output: str | None = None, weights: Mapping[str, Weight] | None = None
) -> Network:
    """Translate a model. Raises InputError, one line, for whatever is wrong with it or cannot be translated.

    weights: those that lie beside the message.
    """
    default_opset(model)
    model = in_order(model)
    check_model(model)
    chosen = score_output(model, output)
    reader = _Reader(model, chosen, weights or {})
    for proto in reader.needed:
        reader.translate(proto)
    return _network(reader, model, sha256)


def _network(reader: _Reader, model: onnx.ModelProto, sha256: str) -> Network:
    """What the reader has made of the model, once it has translated all that is needed."""
    (name, shape, dtype), chosen = reader.input, reader.chosen
    scores = reader.value(reader.ending.read)
    if not isinstance(scores, Variable):
        raise InputError(f"output '{chosen}' does not depend on input '{name}'; there is nothing to verify")
    if scores.rank > 1 and len(shape) > 1 and scores.shape[0] == shape[0] > 1:
        raise InputError(f"the model works on a batch of {shape[0]}; export it with batch 1 or a dynamic batch axis")
    draft = reader.draft
    if scores.size == 1 and reader.ending.sigmoids > 1:
        raise InputError(f"output '{chosen}' is the sigmoid of a sigmoid of one score: export it with one of them")
    if reader.ending.complement and scores.size != 1:
        raise InputError(f"output '{chosen}' joins probabilities p and 1 - p of {scores.size} scores; one is expected")
    others = [port.name for port in outputs(model) if port.name != chosen]
    if others:
        draft.note(f"output '{chosen}' is read; not read: " + ", ".join(f"'{name}'" for name in others))
    graph, tensors = reader.finish(scores)
    counts = Counter(str(proto.op_type) for proto in model.graph.node)
    return Network(
        graph=graph,
        input_name=name,
        input_shape=shape,
        input_dtype=dtype,
        logits_name=draft.logits_name,
        notes=tuple(draft.notes),
        op_counts=counts,
        tensors=tensors,
        dtypes=tuple(reader.dtypes),
        sha256=sha256,
        output_name=chosen,
        scores_name=reader.ending.scores,
        threshold=0.5 if reader.ending.sigmoids else 0.0,
        transformed=draft.transformed is not None,
        coarse=_coarse(reader.ending, scores.size, draft.transformed is not None),
        inexact=tuple(reader.inexact),
        ending=_dropped(reader.ending, draft),
    )


SEVERAL = "several operators"


def _dropped(end: Ending, draft: Draft) -> str:
    """What stands between the graph's output and the file's."""
    if draft.transformed is not None or end.complement or len(draft.drops) != end.sigmoids + end.others:
        return SEVERAL
    return draft.drops[0] if len(draft.drops) == 1 else SEVERAL if draft.drops else ""


def _coarse(end: Ending, size: int, transformed: bool) -> bool:
    """Several steps in a row, or a Sigmoid of several scores, round more than what lies next to a tie."""
    return transformed or end.sigmoids + end.others > 1 or (end.sigmoids > 0 and size > 1)


def as_classifier(network: Network) -> Network:
    """The network with a score for each class: where it gives one number z, its graph becomes that of (0, z).

    Class 0 is where z < 0, class 1 where z ≥ 0, as binary classifiers are trained and used, with a sigmoid or without.
    """
    graph = network.graph
    if graph.output_size != 1:
        return network
    zero_and_score = Term(select(np.array([-1, 0]), 1), graph.output)
    nodes = (*graph.nodes, Affine((zero_and_score,), frozen(np.zeros(2))))
    note = "one output z: as a classifier, class 0 where z < 0, 1 where z >= 0; that is a sigmoid's probability of 0.5"
    return replace(network, graph=Graph(nodes, len(nodes) - 1), notes=(*network.notes, note), binary=True)


def survey(path: str | Path, output: str | None = None) -> Survey:
    """List a file's input, output and ops, and what in it cannot be read. Raises InputError if it is no ONNX model."""
    loaded, sha256 = load_model(Path(path))
    model = loaded.proto
    network: Network | None = None
    unsupported: dict[str, str] = {}
    opset = max((int(entry.version) for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=0)
    try:
        model = in_order(model)
        for check in (default_opset, check_model, only_input):
            check(model)
        chosen = score_output(model, output)
    except InputError as error:
        unsupported["model"] = str(error)
    given, gives = inputs(model), outputs(model)
    if not unsupported:
        network, failures = _read_or_fail(replace(loaded, proto=model), chosen, sha256)
        unsupported.update(failures)
        gives = [port for port in gives if port.name == chosen]
    return Survey(
        input_name=given[0].name if given else "",
        input_shape=given[0].shape if given else None,
        output_name=gives[0].name,
        output_shape=gives[0].shape,
        op_counts=Counter(str(proto.op_type) for proto in model.graph.node),
        unsupported=unsupported,
        opset=opset,
        model=loaded,
        sha256=sha256,
        network=network,
    )


def _read_or_fail(model: OnnxModel, output: str, sha256: str) -> tuple[Network | None, dict[str, str]]:
    """The network, or every node that cannot be translated; nodes behind one are judged by their op type alone."""
    reader = _Reader(model.proto, output, model.weights)
    failures: dict[str, str] = {}
    for proto in reader.needed:
        try:
            if all(reader.knows(source) for source in proto.input if source):
                reader.translate(proto)
            else:
                check_supported(proto)
        except InputError as error:
            failures[describe(proto)] = str(error).removeprefix(f"{describe(proto)}: ")
    if failures:
        return None, failures
    try:
        return _network(reader, model.proto, sha256), {}
    except InputError as error:
        return None, {"model": str(error)}


def check_supported(proto: onnx.NodeProto) -> None:
    """Raise InputError when no rule exists for a node of this op type that depends on the input."""
    reason = why_not(proto.domain, proto.op_type, sorted(RULES), sorted(CLASSICAL_RULES))
    if reason is not None:
        raise InputError(f"{describe(proto)}: {reason}")


class _Reader:
    """Walks the nodes that the output needs and keeps the value of every tensor that has one."""

    def __init__(self, model: onnx.ModelProto, output: str, weights: Mapping[str, Weight]) -> None:
        self.opset = default_opset(model)
        self.input = input_name, shape, dtype = only_input(model)
        self.chosen = output
        self.ending = end = ending(model, output)
        self.initializers = {tensor.name: tensor for tensor in model.graph.initializer}
        self.weights = weights
        first = Variable(0, shape, dtype)
        self.values: dict[str, Tensor] = {input_name: first}
        self.needed = _needed(model.graph, end.read)
        uses = Counter([end.read, *(name for proto in self.needed for name in proto.input)])
        stored = sum(tensor.ByteSize() for tensor in model.graph.initializer)
        stored += sum(weight.nbytes for weight in weights.values())
        self.room = Allowance(stored // np.dtype(np.float32).itemsize)
        self.draft = Draft(first.size, end, uses, self.room)
        self.draft.names[0].append(input_name)
        self.dtypes = {first.dtype: None}
        self.rounded: set[str] = set()  # constants that rounding may have made
        self.inexact: dict[str, None] = {}  # those among them that a variable meets, in order

    def knows(self, name: str) -> bool:
        return name in self.values or name in self.initializers

    def value(self, name: str) -> Tensor:
        """The tensor of that name: computed, or an initializer, unpacked on first use."""
        if name not in self.values:
            if name not in self.initializers:
                raise InputError(f"tensor '{name}' is given by no node, or is an output that cannot be read")
            beside = self.weights.get(name)
            self.values[name] = _unpacked(self.initializers[name]) if beside is None else beside
        return self.values[name]

    def translate(self, proto: onnx.NodeProto) -> None:
        """Give the node's outputs their values; raises InputError that names the node."""
        call = self._call(proto)
        constant = proto.domain != ML_DOMAIN and not any(isinstance(value, Variable) for value in call.inputs)
        if not constant or proto.op_type in NOT_FOLDED or proto.domain not in ("", "ai.onnx"):
            check_supported(proto)
        try:
            results: Sequence[Tensor | None] = self._folded(call) if constant else self._translated(call)
        except TooLargeError as error:
            raise call.error(str(error)) from error
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            # Shapes and attributes of a damaged file fit each other in no way that could be listed beforehand. What
            # finds no memory is no damage: the room above is what a file may ask for.
            raise call.error(f"does not fit its inputs: {one_line(error)}") from error
        for name, result in zip(proto.output, results, strict=False):
            if not name or result is None:
                continue
            if 0 in result.shape and isinstance(result, Variable):
                raise call.error(f"gives the empty tensor '{name}' of shape {list(result.shape)}")
            self.values[name] = result
            if isinstance(result, Variable):
                self.draft.names[result.node].append(name)
                self.dtypes[result.dtype] = None

    def _folded(self, call: Call) -> list[Tensor]:
        values = [_constant(value) for value in call.inputs]
        results = evaluate_node(call, values, self.room)
        if self.rounded.intersection(call.proto.input) or not is_exact(call, values, results):
            self.rounded.update(name for name in call.proto.output if name)
        return [*results]

    def _translated(self, call: Call) -> Sequence[Tensor | None]:
        for name in dict.fromkeys(call.proto.input):
            if name not in self.rounded:
                continue
            self.inexact[name] = None
            self.draft.note(f"constant '{name}' is computed with rounding, as this ONNX Runtime does it")
        return (CLASSICAL_RULES if call.proto.domain == ML_DOMAIN else RULES)[call.op](self.draft, call)

    def _call(self, proto: onnx.NodeProto) -> Call:
        try:
            values = tuple(self.value(name) if name else None for name in proto.input)
            attributes = {entry.name: helper.get_attribute_value(entry) for entry in proto.attribute}
        except (InputError, ValueError, TypeError) as error:
            raise InputError(f"{describe(proto)}: {one_line(error)}") from error
        return Call(proto, values, attributes, self.opset)

    def finish(self, result: Variable) -> tuple[Graph, dict[str, int]]:
        """The graph, and the tensors that its nodes give."""
        needed = {0, result.node}
        for index in range(result.node, 0, -1):
            if index in needed:
                needed.update(self.draft.builder.node(index).sources)
        place = {old: new for new, old in enumerate(sorted(needed))}
        dropped = self.ending.behind(self.draft.logits_name)
        if self.draft.transformed is not None:
            dropped |= {self.draft.transformed}
        tensors = {
            name: place[value.node]
            for name, value in self.values.items()
            if isinstance(value, Variable) and value.node in place and name not in dropped
        }
        return self.draft.builder.graph(result.node), tensors


def _constant(value: Tensor | None) -> Constant | None:
    assert not isinstance(value, Variable)
    return value


def _needed(graph: onnx.GraphProto, output: str) -> list[onnx.NodeProto]:
    """The nodes on which the output depends, in the order of the file."""
    wanted, needed = {output}, []
    for proto in reversed(graph.node):
        if wanted.intersection(proto.output):
            needed.append(proto)
            wanted.update(proto.input)
    return needed[::-1]


def _unpacked(tensor: onnx.TensorProto) -> Constant:
    try:
        return numpy_helper.to_array(tensor)
    except (OSError, ValueError, TypeError, LookupError) as error:
        raise InputError(f"initializer '{tensor.name}' cannot be read: {one_line(error)}") from error
