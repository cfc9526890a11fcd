"""Certificates about files of several inputs and outputs: one vector each, in the order of the file, and no other."""

from __future__ import annotations

import hashlib
import json
import zlib
from itertools import product
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

import verifier
from encoders.errors import InputError
from encoders.onnx_io.file import ports_of
from tests.verifier.certificates.nets import with_end
from verifier.certificates import checker
from verifier.certificates.checker import MAGIC, Demands, InvalidError, files_judged
from verifier.certificates.split_tree import NotCertifiedError
from verifier.cli.exit_codes import Exit
from verifier.cli.main import main
from verifier.problem.properties.formula import And, LinearRow, Property
from verifier.problem.properties.from_vnnlib import property_of
from verifier.problem.properties.network_query import DeclaredNetwork, DeclaredTensor, NetworkQuery, TensorKind
from verifier.problem.properties.s_expressions import Text
from verifier.problem.properties.to_vnnlib import to_vnnlib
from verifier.runtime.query_model import in_file_order, text_about


def two(order: str = "abyz", seed: int = 0) -> onnx.ModelProto:
    """y = W relu(V (a, b)), z = 9 − relu(U (h, a)), all in small whole numbers; order: of inputs, then outputs."""
    rng = np.random.default_rng(seed)
    sizes = {"v": (5, 6), "w": (6, 2), "u": (8, 3), "nine": ()}
    weights = {name: rng.integers(-3, 4, size).astype(np.float32) for name, size in sizes.items()}
    weights["nine"] = np.full((1, 3), 9, dtype=np.float32)
    nodes = [
        helper.make_node("Concat", ["a", "b"], ["ab"], axis=1),
        helper.make_node("MatMul", ["ab", "v"], ["t"]),
        helper.make_node("Relu", ["t"], ["h"]),
        helper.make_node("MatMul", ["h", "w"], ["y"]),
        helper.make_node("Concat", ["h", "a"], ["ha"], axis=1),
        helper.make_node("MatMul", ["ha", "u"], ["s"]),
        helper.make_node("Relu", ["s"], ["r"]),
        helper.make_node("Sub", ["nine", "r"], ["z"]),
    ]
    ends = {name: [1, size] for name, size in {"a": 2, "b": 3, "y": 2, "z": 3}.items()}
    infos = [helper.make_tensor_value_info(name, 1, ends[name]) for name in order]
    constants = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "two", infos[:2], infos[2:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def digest_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def saved(folder: Path, model: onnx.ModelProto) -> Path:
    path = folder / "two.onnx"
    onnx.save(model, path)
    return path


def text(*ends: tuple[float, float], outputs: int, goal: str) -> str:
    """A box of each input, and a goal."""
    lines = [f"(declare-const {name}_{i} Real)" for name, n in (("X", len(ends)), ("Y", outputs)) for i in range(n)]
    lines += [f"(assert (>= X_{i} {low}))(assert (<= X_{i} {high}))" for i, (low, high) in enumerate(ends)]
    return "\n".join([*lines, f"(assert {goal})"])


OWN, OTHER = (0.0, 0.25), (1.0, 1.25)
NEVER = text(*[OWN] * 2, *[OTHER] * 3, outputs=5, goal="(or (>= Y_0 -10) (>= (+ Y_3 X_0) 9.5))")
"""y_0 is −24 at most, z_1 9 and a_0 1/4."""


@pytest.mark.parametrize("order", ["abyz", "bayz", "abzy"])
def test_the_checker_reads_what_the_file_gives(order: str) -> None:
    content = two(order).SerializeToString()
    net, session = checker.read_network(content, joint=True), onnxruntime.InferenceSession(content)
    rng = np.random.default_rng(1)
    for _ in range(3):
        x = rng.integers(-4, 5, 5)
        ends = np.split(x, [3 if order[0] == "b" else 2])
        given = {name: part.reshape(1, -1).astype(np.float32) for name, part in zip(order[:2], ends, strict=True)}
        expected = np.concatenate([value[0] for value in session.run(None, given)])
        values, den = net.forward(x.astype(object), 1)
        assert (values / den).tolist() == expected.tolist()
    # Of balls around an input there is one.
    with pytest.raises(InvalidError, match="the model has 2 outputs; one with the scores alone"):
        checker.read_network(content)
    alone = two(order)
    del alone.graph.output[1:]
    content = alone.SerializeToString()
    for said, why in (
        ("0" * 64, "for another model, and of this one: a model with"),
        (digest_of(content), "^a model with"),
    ):
        with pytest.raises(InvalidError, match=why):
            checker.claimed_network(said, content, None)


def changed(certificate: bytes, new: bytes | None = None, model: str | None = None) -> bytes:
    """The certificate for another text, or for another model."""
    unpacked = zlib.decompress(certificate[len(MAGIC) :])
    size = int.from_bytes(unpacked[:4], "little")
    header, rest = json.loads(unpacked[4 : 4 + size]), unpacked[4 + size :]
    numbers = rest[header["property"] :]
    new = rest[: header["property"]] if new is None else new
    header |= {"property": len(new), "model": model or header["model"]}
    told = json.dumps(header).encode()
    return MAGIC + zlib.compress(len(told).to_bytes(4, "little") + told + new + numbers)


def test_what_is_proved_of_two_inputs_is_proved_of_no_others(tmp_path: Path) -> None:
    path, query, file = saved(tmp_path, two()), tmp_path / "q.vnnlib", tmp_path / "c.cert"
    query.write_text(NEVER)
    made = verifier.property_certificate(verifier.load(path, output="*"), property=query, float32=True)
    assert (made.result.given, made.result.float32) == ("'a + b': 5 numbers", True)

    def refused(content: bytes, asked: str = NEVER) -> str:
        file.write_bytes(content)
        return files_judged(file, path, Demands(property=asked.encode())).reason

    assert refused(made.content) == ""
    # The boxes of each other's inputs: what was demanded is not what was proved, and that is not so.
    swapped = text(*[OTHER] * 2, *[OWN] * 3, outputs=5, goal="(or (>= Y_0 -10) (>= (+ Y_3 X_0) 9.5))")
    assert "property" in refused(made.content, swapped)
    assert "case 0: " in refused(changed(made.content, swapped.encode()), swapped)
    assert "another number of inputs" in refused(
        changed(made.content, text(*[OWN] * 4, outputs=5, goal="(>= Y_0 9)").encode())
    )
    assert "another number of outputs" in refused(
        changed(made.content, text(*[OWN] * 5, outputs=4, goal="(>= Y_0 9)").encode())
    )
    # The same network with its inputs, or its outputs, in another order is another file, of which it is not so.
    for order in ("bayz", "abzy"):
        saved(tmp_path, two(order))
        assert refused(made.content) == "the certificate is for another model"
        net = checker.read_network(path.read_bytes(), joint=True)
        outputs = [net.forward(np.array(corner, dtype=object), 4) for corner in product(*[(0, 1)] * 2, *[(4, 5)] * 3)]
        assert any(values[0] >= -10 * den for values, den in outputs)
        assert refused(changed(made.content, model=net.digest)) != ""


def test_names_of_the_joined_tensors_are_no_tensors_of_the_file() -> None:
    def named(kind: str, name: str) -> onnx.ModelProto:
        model = two()
        value = numpy_helper.from_array(np.ones((1, 6), dtype=np.float32), name)
        if kind == "weight":
            model.graph.initializer.append(value)
        if kind == "constant":
            model.graph.node.insert(0, helper.make_node("Constant", [], [name], value=value))
        model.graph.node.insert(3, helper.make_node("Add", ["t", name], ["t2"]))
        model.graph.node[4].input[0] = "t2"
        return model

    assert checker.read_network(named("weight", "other").SerializeToString(), joint=True).layers
    for name in ("a + b", "y + z"):
        for kind in ("weight", "constant", "nothing"):
            with pytest.raises(InvalidError, match=r"given twice|nothing gives before it"):
                checker.read_network(named(kind, name).SerializeToString(), joint=True)


def tensor(name: str, kind: TensorKind, size: int, first: int) -> DeclaredTensor:
    return DeclaredTensor(name.upper(), kind, "float32", (1, size), name, first)


def test_tensors_named_in_another_order_are_put_in_the_files(tmp_path: Path) -> None:
    path = saved(tmp_path, two())
    given = tensor("b", TensorKind.INPUT, 3, 0), tensor("a", TensorKind.INPUT, 2, 3)
    gives = tensor("z", TensorKind.OUTPUT, 3, 0), tensor("y", TensorKind.OUTPUT, 2, 3)
    goal = LinearRow(((1, 2), (3, 5)), ((0, 7), (4, 11)), 13)  # 2 b_1 + 5 a_0 + 7 z_0 + 11 y_1 + 13 ≥ 0
    asked = NetworkQuery((DeclaredNetwork("N", (*given, *gives)),), Property(5, 5, And((goal,))))
    found = in_file_order(asked, ports_of(onnx.load(path)))
    assert [one.first for one in found.tensors] == [2, 0, 2, 0]
    assert found.prop.formula.parts == (LinearRow(((0, 5), (3, 2)), ((1, 11), (2, 7)), 13),)
    assert [one.name for one in found.tensors] == ["B", "A", "Z", "Y"]


def query_2(a: int = 2, b: int = 3, more: str = "") -> str:
    """NEVER about tensors A, B, Y and Z, the first two of so many entries."""
    declared = f"(declare-input A float32 [1,{a}])(declare-input B float32 [1,{b}])"
    declared += f"(declare-output Y float32 [1,2])(declare-output Z float32 [1,3]){more}"
    box = [
        f"(assert (>= {name}[0,{i}] {low}))(assert (<= {name}[0,{i}] {high}))"
        for name, size, (low, high) in (("A", a, OWN), ("B", b, OTHER))
        for i in range(size)
    ]
    goal = "(assert (or (>= Y[0,0] -10.0) (>= (+ Z[0,1] A[0,0]) 9.5)))"
    return f"(vnnlib-version <2.0>)(declare-network N {declared}){''.join(box)}{goal}"


def test_a_query_of_several_tensors_is_certified_and_demanded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("vnnlib", reason="VNN-LIB 2 needs the extra vnnlib", exc_type=ImportError)
    path, query, proof = saved(tmp_path, two()), tmp_path / "q.vnnlib", tmp_path / "c.cert"
    query.write_text(query_2())
    assert main(["verify", str(query), "--network", str(path), "--certificate", str(proof)]) == Exit.GOOD
    assert main(["certify", str(proof), str(path), "--property", str(query)]) == Exit.GOOD
    assert "inputs   'a + b': 5 numbers" in capsys.readouterr().out
    gone = tmp_path / "one.onnx"
    onnx.save(with_end("", 3), gone)
    assert main(["certify", str(proof), str(gone), "--property", str(query)]) == Exit.VIOLATED
    assert "the certificate is for another model" in capsys.readouterr().out
    ports = ports_of(onnx.load(path))
    in_1 = text_about(Text("q", query_2()), ports).decode()
    assert to_vnnlib(property_of(Text("1", NEVER))) == in_1
    with pytest.raises(InputError, match=r"declares input 'A' as float32 \[1, 3\], and 'a' of its file has shape 1x2"):
        text_about(Text("q", query_2(3, 2)), ports)
    second = ")(declare-network M (declare-input C float32 [1,1])(declare-output D float32 [1,1])"
    with pytest.raises(
        InputError, match=r"only `verifier verify` answers .* and there are no certificates about those"
    ):
        text_about(Text("q", query_2(more=second)), ports)


def test_a_file_that_gives_more_than_numbers_has_none(tmp_path: Path) -> None:
    model = two()
    model.graph.node.append(helper.make_node("Shape", ["a"], ["size"]))
    model.graph.output.append(helper.make_tensor_value_info("size", 7, [2]))
    loaded = verifier.load(saved(tmp_path, model), output="*")
    with pytest.raises(NotCertifiedError, match="operator Shape is not read here"):
        verifier.property_certificate(loaded, region=(0.0, 1.0), property=verifier.Halfspaces([[1.0] * 5], [-2e3]))
