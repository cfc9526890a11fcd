"""Nodes with odd attributes, at each opset at which their op changed: read as ONNX Runtime does, or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, defs, helper
from packaging.version import Version

import verifier
from encoders.errors import InputError
from encoders.network.graph import evaluate
from encoders.onnx_io.from_onnx import network_from_model
from encoders.onnx_io.ops.rules import RULES
from tests.encoders.onnx_io.odd_nodes import DRAWN, Draw, Drawn, i64

DRAWS = 16
"""Nodes of each op and opset; each takes five milliseconds."""

TOLERANCE = 3e-5
"""ONNX Runtime computes in float32: 24 bits, sums of up to some hundred terms, in units of the largest value."""

ODD_ONES_OUT = {"AveragePool": "1.31", "Pad": "1.31"}
"""Before this ONNX Runtime some windows and margins were others: what is read otherwise must then not be loaded."""

OLDEST, NEWEST = 7, 26
ENDINGS = ("LogSoftmax", "Sigmoid", "Softmax")


def opsets(op: str) -> list[int]:
    since = {s.since_version for s in defs.get_all_schemas_with_history() if s.name == op and s.domain == ""}
    first = max((version for version in since if version <= OLDEST), default=0)
    return sorted({*((OLDEST,) if first else ()), *(v for v in since if OLDEST < v <= NEWEST), NEWEST})


def assembled(build: Any, op: str, opset: int, drawn: Drawn) -> tuple[onnx.ModelProto, list[str]]:
    """A model of the node that ends in its first output, flat, and that output's shape; and the node's outputs."""
    names, constants = [], {}
    for place, value in enumerate(drawn.inputs):
        names.append(value if isinstance(value, str) else "" if value is None else f"c{place}")
        if isinstance(value, np.ndarray | np.generic):
            constants[names[-1]] = np.asarray(value)
    while names and not names[-1]:
        names.pop()
    results = [f"y{place}" for place in range(drawn.outputs)]
    nodes = [
        helper.make_node(op, names, results, name="node", **drawn.attributes),
        helper.make_node("Shape", ["y0"], ["s"]),
        helper.make_node("Cast", ["s"], ["t"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["t", "row"], ["u"]),
        helper.make_node("Cast", ["y0"], ["w"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["w", "row"], ["v"]),
        helper.make_node("Concat", ["v", "u"], ["y"], axis=1),
    ]
    if op in ("Shape", "Size"):  # no variable: one is added
        nodes.insert(0, helper.make_node("Reshape", ["x", "row"], ["xr"]))
        nodes[-1].input.append("xr")
    return build(nodes, drawn.shape, {**constants, "row": i64([1, -1])}, opset=opset), results


def of_onnx_runtime(run: Any, model: onnx.ModelProto, points: list[np.ndarray]) -> list[dict[str, np.ndarray]] | None:
    try:
        values: list[dict[str, np.ndarray]] = run(model, points)
    except Exception:  # noqa: BLE001 - ONNX Runtime refuses the node, by exceptions that share no base class
        return None
    return values


def test_every_rule_is_drawn() -> None:
    assert {*DRAWN, *ENDINGS} == set(RULES)


def _close(got: np.ndarray, want: np.ndarray) -> bool:
    size = TOLERANCE * (1.0 + float(np.abs(want).max(initial=0.0)))
    return got.shape == want.shape and bool(np.all(np.abs(got - want) <= size))


@pytest.mark.parametrize("op", sorted(DRAWN))
def test_odd_nodes_are_read_as_onnx_runtime_computes_them(
    op: str, onnx_model: Any, ort_values: Any, tmp_path: Path
) -> None:
    read, tolerant = 0, Version(ort.__version__) < Version(ODD_ONES_OUT.get(op, "0"))
    for opset in opsets(op):
        for seed in range(DRAWS):
            d = Draw((seed, opset))
            drawn = DRAWN[op](d, opset)
            try:
                model, names = assembled(onnx_model, op, opset, drawn)
                network = network_from_model(model)
            except (InputError, onnx.shape_inference.InferenceError):
                continue
            points = [d.floats(drawn.shape), d.rng.integers(-2, 3, drawn.shape).astype(np.float32)]
            expected = of_onnx_runtime(ort_values, model, points)
            if expected is None:
                continue
            read += 1
            ours = evaluate(network.graph, np.stack([point.reshape(-1) for point in points]))
            differing = [
                name
                for place, theirs in enumerate(expected)
                for name in {*names, "y"} & set(theirs) & set(network.tensors)
                if not _close(ours[network.tensors[name]][place], theirs[name].reshape(-1))
            ]
            if differing and tolerant:
                onnx.save(model, tmp_path / "odd.onnx")
                with pytest.raises(InputError):
                    verifier.load(tmp_path / "odd.onnx")
            else:
                assert not differing, (opset, seed, differing, drawn)
    assert read >= DRAWS / 2


@pytest.mark.parametrize("op", ENDINGS)
def test_endings_that_are_left_out_keep_the_order_of_onnx_runtime(op: str, onnx_model: Any, ort_values: Any) -> None:
    read = 0
    for opset in opsets(op):
        for seed in range(DRAWS):
            d = Draw((seed, opset))
            shape = (1, *d.shape(1, 3))
            attributes = {} if op == "Sigmoid" or d.chance(0.3) else {"axis": d.int(-len(shape), len(shape) - 1)}
            model = onnx_model([helper.make_node(op, ["x"], ["y"], **attributes)], shape, opset=opset)
            try:
                network = network_from_model(model)
            except InputError:
                continue
            points = [np.asarray(d.rng.permutation(int(np.prod(shape))) / 2, np.float32).reshape(shape)]
            expected = of_onnx_runtime(ort_values, model, points)
            assert expected is not None
            read += 1
            if network.graph.output_size == points[0].size:
                ours = evaluate(network.graph, points[0].reshape(1, -1))[network.graph.output][0]
                assert np.array_equal(np.argsort(ours), np.argsort(expected[0]["y"].reshape(-1))), (opset, seed, shape)
    assert read > 0
