"""Model files that two readers could take for different things are refused; other forms of the same are read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from google.protobuf.descriptor_pb2 import DescriptorProto
from onnx import AttributeProto, ModelProto, TensorProto, helper, numpy_helper

from tests.verifier.certificates.nets import model_of, whole
from tests.verifier.certificates.readers import Said, compared
from tests.verifier.certificates.wire import Field, Part, parsed
from verifier.certificates import checker


def refused(content: bytes) -> str:
    """The reason for which a model is refused; it must be one."""
    with pytest.raises(checker.InvalidError) as error:
        checker.read_network(content)
    return str(error.value)


def relu(model: ModelProto) -> onnx.NodeProto:
    return model.graph.node[1]


def conv(model: ModelProto) -> onnx.NodeProto:
    return model.graph.node[0]


def gemm(model: ModelProto) -> onnx.NodeProto:
    return model.graph.node[3]


def weights(model: ModelProto) -> TensorProto:
    """Of the convolution."""
    return model.graph.initializer[0]


def add_function(model: ModelProto) -> None:
    node = helper.make_node("Identity", ["a"], ["b"])
    model.functions.append(helper.make_function("", "Relu", ["a"], ["b"], [node], list(model.opset_import)))


def two_values(model: ModelProto) -> None:
    conv(model).attribute[0].i = 7


def untyped(model: ModelProto) -> None:
    conv(model).attribute[0].ClearField("type")


def other_type(model: ModelProto) -> None:
    conv(model).attribute[0].type = AttributeProto.FLOATS


def subgraph(model: ModelProto) -> None:
    relu(model).attribute.append(helper.make_attribute("then_branch", model.graph))


def both_kinds_of_data(model: ModelProto) -> None:
    weights(model).float_data.extend(np.zeros(72).tolist())


def data_of_another_kind(model: ModelProto) -> None:
    weights(model).ClearField("raw_data")
    weights(model).double_data.extend(np.zeros(72).tolist())


def double_weights(model: ModelProto) -> None:
    weights(model).CopyFrom(numpy_helper.from_array(np.zeros((4, 2, 3, 3)), "w"))


def integer_weights(model: ModelProto) -> None:
    weights(model).CopyFrom(numpy_helper.from_array(np.zeros((4, 2, 3, 3), dtype=np.int64), "w"))


def name_of_a_part(model: ModelProto) -> None:
    """A node reads y#p, which the file gives later and which is also the checker's own name for a part of y."""
    model.graph.output[0].name = "end"
    read, given = helper.make_node("Add", ["y#p", "y"], ["end"]), helper.make_node("Neg", ["y"], ["y#p"])
    model.graph.node.extend([read, given])


def unsorted(model: ModelProto) -> None:
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(nodes[::-1])


def value(name: str, kind: int = TensorProto.FLOAT, shape: Any = (1, 3)) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def sequence_input(model: ModelProto) -> None:
    model.graph.input[0].CopyFrom(helper.make_tensor_sequence_value_info("x", TensorProto.FLOAT, [1, 2, 6, 6]))


def constant_with_two_values(model: ModelProto) -> None:
    made = numpy_helper.from_array(np.zeros(3, dtype=np.float32))
    model.graph.node.insert(0, helper.make_node("Constant", [], ["k"], value=made, value_float=1.0))
    gemm_ = model.graph.node[-1]
    gemm_.input[2] = "k"


CONFUSED: dict[str, Callable[[ModelProto], Any]] = {
    "a function that takes an operator's name": add_function,
    "training": lambda model: model.training_info.add(),
    "sparse weights": lambda model: model.graph.sparse_initializer.add(),
    "annotations of quantisation": lambda model: model.graph.quantization_annotation.add(),
    "two opsets": lambda model: model.opset_import.append(helper.make_opsetid("ai.onnx", 9)),
    "no opset": lambda model: model.ClearField("opset_import"),
    "an opset of the future": lambda model: setattr(model.opset_import[0], "version", checker.NEWEST_OPSET + 1),
    "an opset of the past": lambda model: setattr(model.opset_import[0], "version", checker.OLDEST_OPSET - 1),
    "no version": lambda model: model.ClearField("ir_version"),
    "a version of the future": lambda model: setattr(model, "ir_version", checker.NEWEST_IR + 1),
    "an operator of another domain": lambda model: setattr(relu(model), "domain", "com.microsoft"),
    "an overloaded operator": lambda model: setattr(relu(model), "overload", "other"),
    "a weight twice": lambda model: model.graph.initializer.append(weights(model)),
    "a weight without a name": lambda model: setattr(weights(model), "name", ""),
    "two kinds of data": both_kinds_of_data,
    "data of another kind": data_of_another_kind,
    "a segment": lambda model: setattr(weights(model).segment, "end", 5),
    "more entries than the shape": lambda model: weights(model).dims.__setitem__(0, 3),
    "fewer entries than the shape": lambda model: weights(model).dims.__setitem__(0, 5),
    "a negative size": lambda model: weights(model).dims.extend([-1, -1]),
    "a place in another file, and data": lambda model: setattr(weights(model), "data_location", 1),
    "a place in another file that is not used": lambda model: weights(model).external_data.add(
        key="location", value="a"
    ),
    "weights of another type": double_weights,
    "integers as weights": integer_weights,
    "an attribute with two values": two_values,
    "an attribute without a type": untyped,
    "an attribute of another type than its value": other_type,
    "an attribute twice": lambda model: conv(model).attribute.append(conv(model).attribute[0]),
    "an attribute that refers to another": lambda model: setattr(conv(model).attribute[0], "ref_attr_name", "pads"),
    "an attribute of another name": lambda model: setattr(conv(model).attribute[0], "name", "other"),
    "a subgraph": subgraph,
    "a constant with two values": constant_with_two_values,
    "a node that gives a weight": lambda model: relu(model).output.__setitem__(0, "wl"),
    "a node that gives the input": lambda model: relu(model).output.__setitem__(0, "x"),
    "two nodes that give one tensor": lambda model: model.graph.node.append(relu(model)),
    "nodes out of order": unsorted,
    "a name of the checker's own": name_of_a_part,
    "an operator with an input too many": lambda model: relu(model).input.append("b"),
    "an operator without inputs": lambda model: relu(model).ClearField("input"),
    "an output too many": lambda model: relu(model).output.append("more"),
    "two inputs": lambda model: model.graph.input.append(value("other")),
    "an input twice": lambda model: model.graph.input.append(model.graph.input[0]),
    "two outputs": lambda model: model.graph.output.append(value("last")),
    "an input that is a sequence": sequence_input,
    "an input of another type": lambda model: model.graph.input[0].CopyFrom(value("x", 10, (1, 2, 6, 6))),
    "an input of integers": lambda model: model.graph.input[0].CopyFrom(value("x", 7, (1, 2, 6, 6))),
    "an input without a shape": lambda model: model.graph.input[0].CopyFrom(value("x", 1, None)),
    "an output of another type": lambda model: model.graph.output[0].CopyFrom(value("y", 11)),
    "an output of another shape": lambda model: model.graph.output[0].CopyFrom(value("y", 1, (1, 4))),
    "a tensor that is told of another shape": lambda model: model.graph.value_info.append(value("c", 1, (1, 4))),
}


@pytest.mark.parametrize("name", CONFUSED)
def test_what_is_not_one_thing_is_refused(name: str) -> None:
    model = whole("conv")
    assert [node.op_type for node in model.graph.node] == ["Conv", "Relu", "Flatten", "Gemm"]
    CONFUSED[name](model)
    assert refused(model.SerializeToString())


def packed(root: Part) -> None:
    """The weights' shape as one packed field."""
    tensor = inside(root, "tensor")
    sizes = [entry.payload for entry in tensor.fields if entry.number == 1]
    rest = [entry for entry in tensor.fields if entry.number != 1]
    tensor.fields = [Field(1, 2, bytes(sizes)), *rest]


def floats(wire: int) -> Callable[[Part], None]:
    """The weights as float_data, packed or one by one."""

    def change(root: Part) -> None:
        entry = field(inside(root, "tensor"), 9)
        data, place = entry.payload, inside(root, "tensor").fields.index(entry)
        pieces = [data] if wire == 2 else [data[at : at + 4] for at in range(0, len(data), 4)]
        inside(root, "tensor").fields[place : place + 1] = [Field(4, wire, piece) for piece in pieces]

    return change


def inside(root: Part, kind: str) -> Part:
    """The first message of a kind."""
    return next(part for part in root.everywhere() if part.kind == kind)


def field(part: Part, number: int) -> Field:
    return next(entry for entry in part.fields if entry.number == number)


def change_field(kind: str, number: int, **changes: Any) -> Callable[[Part], None]:
    def change(root: Part) -> None:
        for name, new in changes.items():
            setattr(field(inside(root, kind), number), name, new)

    return change


def put(kind: str, *fields: Field) -> Callable[[Part], None]:
    return lambda root: inside(root, kind).fields.extend(fields)


def two_pieces(root: Part) -> None:
    """The graph in two fields, which protobuf joins."""
    graph = field(root, 7)
    one, other = (Part("graph", half) for half in (graph.payload.fields[:3], graph.payload.fields[3:]))
    root.fields[root.fields.index(graph) : root.fields.index(graph) + 1] = [Field(7, 2, one), Field(7, 2, other)]


OTHER_FORMS: dict[str, Callable[[Part], None]] = {
    "nothing changed": lambda root: None,
    "a packed shape": packed,
    "packed floats": floats(2),
    "floats one by one": floats(5),
    "what is told of nothing": put("graph", Field(10, 2, b"words"), Field(16, 2, b"\x0a\x01a\x12\x01b")),
}


@pytest.mark.parametrize("name", OTHER_FORMS)
def test_other_forms_of_the_same_are_read(name: str) -> None:
    root = parsed(whole("conv").SerializeToString())
    OTHER_FORMS[name](root)
    assert compared(root.content()) is Said.ALIKE


def test_a_tensor_of_another_type_counts_only_where_scores_depend_on_it() -> None:
    """scikit-learn's exporter leaves the names of the classes behind, which are int32 or text."""
    model = whole("conv")
    model.graph.initializer.append(numpy_helper.from_array(np.arange(3, dtype=np.int32), "classes"))
    assert compared(model.SerializeToString()) is Said.ALIKE
    gemm_ = model.graph.node[-1]
    gemm_.input[2] = "classes"
    with pytest.raises(checker.InvalidError, match="'classes' is of a type that is not read here"):
        checker.read_network(model.SerializeToString())


@pytest.mark.parametrize("version", [3, 8])
def test_weights_that_are_inputs_too_are_read(version: int) -> None:
    model = whole("conv")
    model.ir_version = version
    for tensor in model.graph.initializer:
        model.graph.input.append(value(tensor.name, tensor.data_type, list(tensor.dims)))
    assert compared(model.SerializeToString()) is Said.ALIKE


WIRE: dict[str, Callable[[Part], None]] = {
    # ONNX Runtime skips a field of a wrong wire type; what it then reads is another network.
    "the weights as a number": change_field("tensor", 9, wire=0, payload=288),
    "a number among a node's inputs": lambda root: inside(root, "node").fields.insert(2, Field(1, 0, 0)),
    "a type as bytes": change_field("tensor", 2, wire=2, payload=b"\x01"),
    "a name as eight bytes": change_field("tensor", 8, wire=1, payload=b"12345678"),
    "the graph as a group": put("model", Field(7, 3, b""), Field(7, 4, b"")),
    "an unknown group": put("model", Field(15, 3, b""), Field(15, 4, b"")),
    "field 0": put("graph", Field(0, 0, 1)),
    "an unknown field": put("graph", Field(99, 0, 1)),
    "wire type 6": put("graph", Field(2, 6, b"")),
    "wire type 7": put("graph", Field(2, 7, b"")),
    "a length that is written too long": change_field("tensor", 9, pad=1),
    "a number that is written too long": change_field("tensor", 2, pad=1),
    "a number of eleven bytes": change_field("tensor", 2, pad=10),
    "a type beyond 32 bits": change_field("tensor", 2, payload=2**32 + 1),
    "a name twice": lambda root: inside(root, "tensor").fields.append(Field(8, 2, b"w")),
    "a type twice": put("tensor", Field(2, 0, 1)),
    "an operator's type twice": put("node", Field(4, 2, b"Conv")),
    "data twice": lambda root: inside(root, "tensor").fields.append(field(inside(root, "tensor"), 9)),
    "the graph in two pieces": two_pieces,
    "a size with a name": lambda root: inside(root, "dimension").fields.append(Field(2, 2, b"n")),
    "a shape that is cut in a number": lambda root: packed(root) or change_field("tensor", 1, payload=b"\x84")(root),
    "floats that are cut": lambda root: floats(2)(root) or change_field("tensor", 4, payload=bytes(287))(root),
    "two pieces of floats that are cut": lambda root: floats(2)(root) or cut_in_two(root),
    "a name that is no text": change_field("tensor", 8, payload=b"\xff\xfe"),
}


def cut_in_two(root: Part) -> None:
    """Pieces of 145 and 143 bytes: each is cut, together they fit."""
    tensor = inside(root, "tensor")
    data = field(tensor, 4)
    tensor.fields.append(Field(4, 2, data.payload[145:]))
    data.payload = data.payload[:145]


@pytest.mark.parametrize("name", WIRE)
def test_protobuf_that_readers_take_differently_is_refused(name: str) -> None:
    root = parsed(whole("conv").SerializeToString())
    WIRE[name](root)
    with pytest.raises((checker.InvalidError, UnicodeDecodeError, ValueError)):
        checker.read_network(root.content())


def test_every_field_is_tied_to_its_wire_type() -> None:
    schemas = [found for found in vars(checker).values() if isinstance(found, dict) and found and is_schema(found)]
    assert len(schemas) >= 12
    for schema in schemas:
        for number, (name, kind) in schema.items():
            for wire in {*range(8)} - {*checker.WIRE[kind]}:
                content = Part("", [Field(number, wire, 0 if wire == 0 else bytes(9))]).content()
                with pytest.raises(checker.InvalidError, match=f"'{name}' in a form"):
                    checker.ProtoMessage(memoryview(content), schema, checker.Files(None))


def is_schema(found: dict[Any, Any]) -> bool:
    return all(isinstance(entry, tuple) and len(entry) == 2 and entry[1] in checker.WIRE for entry in found.values())


def test_the_fields_are_those_of_onnx() -> None:
    """Numbers, names and kinds against the descriptors of the onnx package."""
    kinds = {1: "double", 2: "float", 3: "int", 5: "int", 4: "int", 9: "text", 11: "part", 12: "text", 14: "int"}
    known = {
        "ModelProto": checker.MODEL,
        "OperatorSetIdProto": checker.OPSET,
        "GraphProto": checker.GRAPH,
        "NodeProto": checker.NODE,
        "AttributeProto": checker.ATTRIBUTE,
        "TensorProto": checker.TENSOR,
        "StringStringEntryProto": checker.ENTRY,
        "ValueInfoProto": checker.VALUE,
        "TypeProto": checker.TYPE,
        "TensorShapeProto": checker.SHAPE,
    }
    for name, schema in known.items():
        described = DescriptorProto()
        getattr(onnx, name).DESCRIPTOR.CopyToProto(described)
        for each in described.field:
            many = each.label == each.LABEL_REPEATED
            assert schema[each.number] == (each.name, kinds[each.type] + "s" * many), f"{name}.{each.name}"


def test_every_cut_of_a_file_is_refused() -> None:
    content = whole("groups").SerializeToString()
    for size in range(0, len(content), 7):
        assert refused(content[:size])


@pytest.mark.parametrize("op", ["Constant", "Identity"])
def test_a_constant_is_not_taken_for_a_step_of_its_name(op: str) -> None:
    """Gemm becomes a product 'g#p', then a sum: a constant of the file that is called so is another tensor."""
    many = np.full((1, 2), 100, dtype=np.float32)
    given = {"w": 3 * np.eye(2, dtype=np.float32), "b": np.zeros(2, dtype=np.float32), "many": many}
    constant: tuple[str, list[str], str, dict[str, Any]] = (op, ["many"], "g#p", {})
    if op == "Constant":
        constant = (op, [], "g#p", {"value": numpy_helper.from_array(many)})
    nodes = [("Gemm", ["x", "w", "b"], "g", {}), constant, ("Add", ["g", "g#p"], "y", {})]
    assert refused(model_of(nodes, [1, 2], given, 13).SerializeToString()) == "tensor 'g#p' is given twice"
