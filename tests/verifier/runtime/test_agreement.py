"""What was read is compared with ONNX Runtime: a wrong reading is refused, and names the tensor; a right one is not."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import verifier
from encoders.errors import InputError
from encoders.network.graph import LeakyRelu
from encoders.network.linear_maps import Conv, Dense
from encoders.onnx_io import to_onnx as making
from encoders.onnx_io.from_onnx import network_from_model
from encoders.onnx_io.ops.call import Call, Tensor, Variable
from encoders.onnx_io.ops.draft import Draft
from encoders.onnx_io.ops.rules import RULES
from encoders.onnx_io.weights import OnnxModel
from encoders.passes import lower as lowering
from encoders.passes import stacked_copies as stacking
from tests.encoders.conftest import build_model
from tests.encoders.onnx_io.test_from_onnx_ops import PARAMETERS, Case
from verifier import models
from verifier.attacks.base.search import Surrogate
from verifier.problem.budget import Budget
from verifier.runtime.agreement import Agreement, Comparison
from verifier.runtime.replay import Replay

RNG = np.random.default_rng(0)
ALL_LEVELS = ("DISABLE_ALL", "BASIC", "EXTENDED", "ALL")


def normal(*shape: int) -> Any:
    return RNG.normal(size=shape).astype(np.float32)


@pytest.fixture(scope="session")
def onnx_model() -> Callable[..., onnx.ModelProto]:
    return build_model


def compared(model: onnx.ModelProto, budget: Budget | None = None) -> Agreement:
    network, path = network_from_model(model), Path("file.onnx")
    loaded = OnnxModel(model)
    replay = Replay(path, loaded, network)
    return Comparison(path, loaded, network, replay).of_model(loaded, budget or Budget())


@pytest.mark.parametrize(("case", "opset", "output"), PARAMETERS)
def test_every_rule_agrees(case: Case, opset: int, output: int, onnx_model: Any) -> None:
    found = compared(case.model(onnx_model, opset, output))
    assert (found.complete, found.levels) == (True, ALL_LEVELS)
    assert found.difference <= found.bound


@pytest.mark.parametrize(("case", "opset", "output"), PARAMETERS)
def test_every_rule_read_wrongly_is_refused(
    case: Case, opset: int, output: int, onnx_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each op's result turned by one entry; where all are the same, off by a quarter."""
    right = RULES[case.op]

    def wrong(draft: Draft, call: Call) -> list[Tensor]:
        return [turned(draft, found) for found in right(draft, call)]

    def turned(draft: Draft, found: Tensor) -> Tensor:
        assert isinstance(found, Variable)
        if found.size == 1 or (case.op == "Sub" and all(isinstance(value, str) for value in case.inputs)):
            return draft.shifted(found, np.array(0.25))
        return draft.moved(found, np.roll(found.index(), 1).reshape(found.shape))

    model = case.model(onnx_model, opset, output)
    monkeypatch.setitem(RULES, case.op, wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=f"tensor 'y{output}' of the {case.op} node 'node' is "):
        compared(model)


Change = Callable[[Call], Call]


def attribute(**values: Any) -> Change:
    def changed(call: Call) -> Call:
        proto = onnx.NodeProto()
        proto.CopyFrom(call.proto)
        kept = [entry for entry in call.proto.attribute if entry.name not in values]
        del proto.attribute[:]
        proto.attribute.extend([*kept, *(helper.make_attribute(name, value) for name, value in values.items())])
        return replace(call, proto=proto, attributes={**call.attributes, **values})

    return changed


def constant(place: int, change: Callable[[Any], Any]) -> Change:
    def changed(call: Call) -> Call:
        value = call.inputs[place]
        assert isinstance(value, np.ndarray)
        return replace(call, inputs=(*call.inputs[:place], change(value), *call.inputs[place + 1 :]))

    return changed


def swapped(one: int, other: int) -> Change:
    def changed(call: Call) -> Call:
        inputs = list(call.inputs)
        inputs[one], inputs[other] = inputs[other], inputs[one]
        return replace(call, inputs=tuple(inputs))

    return changed


SQUARE = (1, 2, 4, 4)

MISREADINGS: list[Any] = [
    pytest.param(op, shape, inputs, attributes, change, id=name)
    for name, op, shape, inputs, attributes, change in (
        ("a transposed weight", "Gemm", (1, 4), [normal(4, 4), normal(4)], {}, attribute(transB=1)),
        ("a transposed factor", "MatMul", (1, 4), [normal(4, 4)], {}, constant(1, np.transpose)),
        ("a wrong bias", "Gemm", (1, 4), [normal(4, 4), normal(4)], {}, constant(2, lambda b: b + np.float32(1e-4))),
        ("no bias", "Gemm", (1, 4), [normal(4, 4), normal(4)], {}, attribute(beta=0.0)),
        ("pads to one side", "Conv", SQUARE, [normal(2, 2, 3, 3)], {"pads": [1] * 4}, attribute(pads=[0, 0, 2, 2])),
        ("a turned kernel", "Conv", SQUARE, [normal(2, 2, 3, 3)], {}, constant(1, lambda w: w.swapaxes(2, 3))),
        ("padding that counts", "AveragePool", SQUARE, [], {"kernel_shape": [3, 3], "pads": [1] * 4},
         attribute(count_include_pad=1)),
        ("a pool that is off", "MaxPool", SQUARE, [], {"kernel_shape": [2, 2], "pads": [1, 1, 0, 0]},
         attribute(pads=[0, 0, 1, 1])),
        ("a wrong axis", "ReduceMean", SQUARE, [], {"axes": [2]}, attribute(axes=[3])),
        ("sorted axes", "Transpose", SQUARE, [], {"perm": [0, 1, 3, 2]}, attribute(perm=[0, 1, 2, 3])),
        ("a slice that is off", "Slice", (1, 6), [np.array([1]), np.array([3]), np.array([1])], {},
         lambda call: constant(1, lambda at: at - 1)(constant(2, lambda at: at - 1)(call))),
        ("mean and variance", "BatchNormalization", SQUARE,
         [normal(2), normal(2), np.float32([0.5, 2.0]), np.float32([1.0, 0.25])], {}, swapped(3, 4)),
        ("another epsilon", "BatchNormalization", SQUARE,
         [normal(2), normal(2), normal(2), np.float32([0.1, 0.2])], {"epsilon": 1e-3}, attribute(epsilon=1e-5)),
        ("a difference turned", "Sub", (1, 4), [normal(4)], {}, swapped(0, 1)),
        ("a product for a quotient", "Div", (1, 4), [np.float32([2, 3, 4, 5])], {}, constant(1, lambda c: 1 / c**2)),
        ("another slope", "LeakyRelu", (1, 4), [], {"alpha": 0.1}, attribute(alpha=0.1001)),
        ("an end of a clip, far out", "Clip", (1, 4), [np.float32(-1.0), np.float32(100.0)], {},
         constant(2, lambda _: np.float32(95.0))),
        ("slopes of other channels", "PRelu", SQUARE, [np.float32([[[0.1]], [[0.2]]])], {},
         constant(1, lambda slope: slope[::-1])),
        ("parts turned round", "Concat", (1, 4), [normal(1, 4)], {"axis": 1}, swapped(0, 1)),
    )
]  # fmt: skip


def single(op: str, shape: tuple[int, ...], inputs: list[Any], attributes: dict[str, Any], build: Any) -> Any:
    """x → op → a Relu → all entries in a row."""
    names = [f"c{place}" for place in range(len(inputs))]
    nodes = [
        helper.make_node(op, ["x", *names], ["inner"], **attributes),
        helper.make_node("Relu", ["inner"], ["cut"]),
        helper.make_node("Flatten", ["cut"], ["y"]),
    ]
    return build(nodes, shape, dict(zip(names, inputs, strict=True)), opset=13)


@pytest.mark.parametrize(("op", "shape", "inputs", "attributes", "change"), MISREADINGS)
def test_a_misreading_names_its_tensor(
    op: str,
    shape: tuple[int, ...],
    inputs: list[Any],
    attributes: dict[str, Any],
    change: Change,
    onnx_model: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path, right = tmp_path / "net.onnx", RULES[op]
    onnx.save(single(op, shape, inputs, attributes, onnx_model), path)
    assert verifier.load(path).agreement.complete
    monkeypatch.setitem(RULES, op, lambda draft, call: right(draft, change(call)))  # type: ignore[arg-type]
    with pytest.raises(InputError) as refusal:
        verifier.load(path)
    said = str(refusal.value)
    assert said.startswith(f"{path}: ONNX Runtime computes another function than was read")
    assert f"tensor 'inner' of the {op} node of output 'inner' is " in said
    assert "\n" not in said


def test_a_misreading_beyond_the_points_of_a_model_is_seen_by_the_question(
    onnx_model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, right = tmp_path / "net.onnx", RULES["Clip"]
    onnx.save(single("Clip", (1, 4), [np.float32(-1.0), np.float32(1e5)], {}, onnx_model), path)
    change = constant(2, lambda _: np.float32(9e4))
    monkeypatch.setitem(RULES, "Clip", lambda draft, call: right(draft, change(call)))  # type: ignore[arg-type]
    model, x = verifier.load(path), np.float32([1, 2, 3, 4])
    assert verifier.check(model, x, 0.1, box=(0.0, 8.0)).witness is None
    with pytest.raises(InputError, match="tensor 'inner'"):
        verifier.check(model, x, 0.1, box=(0.0, 2e5))


def test_an_ending_that_shows_large_scores_as_equal_is_no_misreading(onnx_model: Any) -> None:
    """Sigmoids of 30 and 60 are both 1."""
    nodes = [helper.make_node("Gemm", ["x", "w", "b"], ["z"]), helper.make_node("Sigmoid", ["z"], ["y"])]
    constants = {"w": np.eye(2, dtype=np.float32), "b": np.float32([30.0, 60.0])}
    model = onnx_model(nodes, (1, 2), constants, opset=13)
    found = compared(model)
    assert found.complete
    assert found.levels == ALL_LEVELS


def test_an_ending_that_turns_the_order_is_refused(onnx_model: Any) -> None:
    """Probabilities whose logits the file does not show, and the graph has with the wrong sign."""
    nodes = [helper.make_node("Gemm", ["x", "w"], ["z"]), helper.make_node("Softmax", ["z"], ["y"], axis=1)]
    eye = np.eye(3, dtype=np.float32)
    model, turned = (onnx_model(nodes, (1, 3), {"w": sign * eye}, opset=13) for sign in (1, -1))
    network = network_from_model(model)
    for read, right in ((network.graph, True), (network_from_model(turned).graph, False)):
        shown = replace(network, graph=read, transformed=True)
        comparison = Comparison.of_file(Path("file.onnx"), OnnxModel(model), shown)
        comparison._trace = None
        if right:
            assert comparison.at_question(np.arange(3.0), np.zeros(3), np.ones(3), Budget()).complete
            continue
        with pytest.raises(InputError, match=r"tensor 'y' of the Softmax .* prefers class 2, but class 0"):
            comparison.at_question(np.arange(3.0), np.zeros(3), np.ones(3), Budget())


def test_another_file_than_the_graph_is_refused() -> None:
    """The output alone, as questions compare it on large models."""
    digits, other = models.path("digits"), verifier.load(models.path("digits"))
    proto = onnx.load(digits)
    for tensor in proto.graph.initializer:
        if len(tensor.dims) == 1:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) + np.float32(0.01), tensor.name))
    replay = Replay(digits, OnnxModel(proto), other.network)
    comparison = Comparison(digits, OnnxModel(proto), other.network, replay)
    comparison._trace = None
    with pytest.raises(InputError, match=f"tensor '{other.network.logits_name}' .*optimisations ALL"):
        comparison.at_question(np.full(64, 0.5), np.zeros(64), np.ones(64), Budget())


def test_an_input_without_numbers_is_refused(onnx_model: Any, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    onnx.save(single("Gemm", (1, 4), [np.float32(np.eye(4)) * np.float32(1e30)], {}, onnx_model), path)
    model = verifier.load(path)
    assert verifier.check(model, np.float32([1, 2, 3, 4]), 0.1, box=(0.0, 8.0)).witness is None
    with pytest.raises(InputError, match="NaN or infinity at this input"):
        verifier.minimal(model, np.float32([1, 2, 3, 1e20]), box=(-math.inf, math.inf))


def test_where_everything_overflows_nothing_can_be_compared(onnx_model: Any) -> None:
    huge = np.full(4, 3e38, np.float32)
    with pytest.raises(InputError, match=r"tensor 'inner' .* overflow at every point tried"):
        compared(single("Sum", (1, 4), [huge, huge], {}, onnx_model))


def test_an_ended_budget_compares_nothing_and_claims_nothing(onnx_model: Any) -> None:
    budget = Budget()
    budget.cancel()
    model = verifier.load(models.path("digits"), timeout=budget)
    assert (model.agreement.complete, model.agreement.levels) == (False, ())
    found = verifier.minimal(model, np.full(64, 0.5), timeout=budget)
    assert found.lower == 0.0


def test_lowering_is_compared(onnx_model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "net.onnx"
    onnx.save(onnx_model([helper.make_node("LeakyRelu", ["x"], ["y"], alpha=0.25)], (1, 4)), path)
    wrong = lambda builder, node, place: lowering.leaky_to_relu(  # noqa: E731
        builder, LeakyRelu(node.source, node.slope * (1.0 + 2.0**-52)), place
    )
    monkeypatch.setitem(lowering.PASSES, LeakyRelu, wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="form with ReLUs alone is not the network that was read"):
        verifier.load(path)


def test_copies_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = verifier.load(models.path("digits"))
    views = tmp_path / "views.toml"
    views.write_text("[[transform]]\nidentity = true\n[[transform]]\nrotate = 5\n")
    transforms, x = verifier.load_transforms(model, views), np.full(64, 0.5)
    monkeypatch.setitem(
        stacking.TIMES, Dense, lambda linear, count: Dense(linear.weight[::-1], linear.left * count, linear.right)
    )  # type: ignore[arg-type]
    with pytest.raises(InputError, match="several transformations is not the network that was read"):
        verifier.check(model, x, 1e-3, transforms=transforms)


def test_what_attacks_run_on_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    model = verifier.load(models.path("digits"))
    right = making.MAP_FORWARD[Dense]
    monkeypatch.setitem(
        making.MAP_FORWARD,  # type: ignore[arg-type]
        Dense,
        lambda builder, linear, x, bias: right(builder, linear, x, None),
    )
    with pytest.raises(InputError, match="made for attacks is not the network"):
        Surrogate(model.network.graph, "cpu").logits(np.zeros((1, 64), np.float32))
    assert Conv in making.MAP_FORWARD
