"""Classes of nets with Sigmoids and Tanhs: distances in closed form, dense grids, both sides of a radius."""

from __future__ import annotations

import json
from decimal import Decimal, getcontext
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

import verifier
from encoders.network.graph import Array
from tests.encoders.conftest import build_model
from tests.verifier.search.test_smooth_minimum import ONE, over
from tests.verifier.search.test_smooth_track import in_decimals, network
from verifier import Holds, InputError, Violated
from verifier.cli.exit_codes import Exit
from verifier.cli.main import main
from verifier.problem.verdict import Status

node = onnx.helper.make_node
ORDERS = {"linf": np.inf, "l1": 1, "l2": 2}
X = np.array([0.25, -0.5], np.float32)
SLOPE = (3.0, 4.0)


def scores(ending: str = "") -> onnx.ModelProto:
    """Classes (σ(3 x₀ + 4 x₁), 5/8): the first wins where 3 x₀ + 4 x₁ ≥ ln(5/3)."""
    constants = {
        "a": np.array([[SLOPE[0], 0.0], [SLOPE[1], 0.0]], np.float32),
        "b": np.array([[1.0, 0.0], [0.0, 0.0]], np.float32),
        "c": np.array([0.0, 0.625], np.float32),
    }
    nodes = [node("MatMul", ["x", "a"], ["p"]), node("Sigmoid", ["p"], ["s"])]
    nodes.append(node("Gemm", ["s", "b", "c"], ["z" if ending else "y"]))
    return build_model([*nodes, *([node(ending, ["z"], ["y"])] if ending else [])], ["batch", 2], constants)


def true_distance(norm: str) -> Decimal:
    """(ln(5/3) − 3 x₀ − 4 x₁) / ‖(3, 4)‖*, by arithmetic that shares nothing with the engine."""
    getcontext().prec = 50
    left = (Decimal(5) / Decimal(3)).ln() - sum(Decimal(s) * Decimal(float(x)) for s, x in zip(SLOPE, X, strict=True))
    return left / {"linf": Decimal(7), "l1": Decimal(4), "l2": Decimal(5)}[norm]


@pytest.mark.parametrize("ending", ["", "Softmax"])
@pytest.mark.parametrize("norm", ORDERS)
def test_distances_are_what_logarithms_say(norm: str, ending: str) -> None:
    model, truth = verifier.load(scores(ending)), true_distance(norm)
    found = verifier.minimal(model, X, norm=norm, box=(-4.0, 4.0), precision=1e-3)
    assert found.status is Status.MINIMAL
    assert Decimal(found.lower) <= truth <= Decimal(found.upper)
    assert found.float32 is not None
    assert 0.9 * found.lower <= found.float32 <= found.lower
    assert found.witness is not None
    assert (found.target, found.witness.target) == (0, 0)
    given = onnxruntime.InferenceSession(str(model.path)).run(None, {"x": found.witness.point.reshape(1, 2)})[0][0]
    assert int(np.argmax(given)) == 0
    reached = sum(Decimal(s) * Decimal(float(x)) for s, x in zip(SLOPE, found.witness.point, strict=True))
    assert reached >= (Decimal(5) / Decimal(3)).ln()
    for share, verdict in ((0.99, Holds), (1.01, Violated)):
        answer = verifier.check(model, X, float(truth) * share, norm=norm, box=(-4.0, 4.0))
        assert isinstance(answer.verdict, verdict)
        assert answer.float32 is (True if verdict is Holds else None)
        if answer.witness is not None:
            assert answer.witness.distance <= float(truth) * share


def nearest_of_grid(model: verifier.Model, label: int, order: float) -> float:
    axis = np.linspace(-3.0, 3.0, 121)
    points: Array = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    adversarial = points[model.values(points).argmax(axis=1) != label]
    return float(np.linalg.norm(adversarial - X, order, axis=1).min())


@pytest.mark.parametrize(("op", "norm"), [("Sigmoid", "linf"), ("Tanh", "l1"), ("Sigmoid", "l2")])
def test_no_point_of_a_grid_is_nearer(op: str, norm: str) -> None:
    """With ReLUs before the Sigmoids; the witness is one by decimals too, and so says each target alone."""
    model = verifier.load(network(0, op))
    label = model.predict(X)
    found = verifier.minimal(model, X, norm=norm, box=(-3.0, 3.0), precision=0.01)
    assert found.status is Status.MINIMAL
    assert found.lower <= nearest_of_grid(model, label, ORDERS[norm])
    assert found.witness is not None
    assert np.linalg.norm(found.witness.point.astype(float) - X, ORDERS[norm]) <= found.upper * (1 + 1e-12)
    exact = in_decimals(0, op, found.witness.point)
    assert exact[1 - label] >= exact[label]
    every = verifier.minimal_all_targets(model, X, norm=norm, box=(-3.0, 3.0), precision=0.01)
    assert [bracket.target for bracket in every.results] == [1 - label]
    assert every.overall.lower <= found.upper
    assert found.lower <= every.overall.upper


def test_an_input_that_is_adversarial_and_a_class_that_never_wins() -> None:
    model = verifier.load(scores())
    assert verifier.minimal(model, X, label=0, box=(-4.0, 4.0)).status is Status.ALREADY_ADVERSARIAL
    assert verifier.minimal(model, X, box=(np.full(2, -4.0), X)).status is Status.UNREACHABLE


def test_one_score_is_two_classes() -> None:
    """z = 2σ(x) − 3/2 ≥ 0 where x ≥ ln 3."""
    constants = {"b": np.array([[2.0]], np.float32), "c": np.array([-1.5], np.float32)}
    nodes = [node("Sigmoid", ["x"], ["s"]), node("Gemm", ["s", "b", "c"], ["y"])]
    model = verifier.load(build_model(nodes, ["batch", 1], constants))
    found = verifier.minimal(model, np.zeros(1, np.float32), box=(-4.0, 4.0))
    assert (found.status, found.target) == (Status.MINIMAL, 1)
    assert Decimal(found.lower) <= Decimal(3).ln() <= Decimal(found.upper)


@pytest.mark.parametrize("attack", ["cw", "deepfool"])
def test_attacks_follow_gradients_through_sigmoids(attack: str) -> None:
    model, truth = verifier.load(scores()), float(true_distance("linf"))
    found = verifier.attack(model, X, box=(-4.0, 4.0), attack=attack)
    assert truth <= found.upper <= 1.1 * truth


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_properties_in_round_balls(norm: str) -> None:
    """In one dimension all norms are one; the box may leave the input out."""
    model, truth = verifier.load(ONE), Decimal(3).ln()
    for low, distance in ((-4.0, truth), (1.5, Decimal("1.5"))):
        found = verifier.minimal(model, np.zeros(1), property=over(0.75), box=(low, 4.0), norm=norm, precision=1e-3)
        assert found.status is Status.MINIMAL
        assert Decimal(found.lower) <= distance <= Decimal(found.upper)
        assert found.float32 is not None
        assert 0 < found.float32 <= found.lower
    asked = verifier.Halfspaces([[1.0, 0.0]], [-0.75])
    found = verifier.minimal(verifier.load(scores()), X, property=asked, box=(-4.0, 4.0), norm=norm, precision=1e-3)
    left = truth - sum(Decimal(s) * Decimal(float(x)) for s, x in zip(SLOPE, X, strict=True))
    assert Decimal(found.lower) <= left / (4 if norm == "l1" else 5) <= Decimal(found.upper)


def test_what_cannot_be_asked_is_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = verifier.load(scores())
    for how in ({"method": "milp"}, {"method": "z3"}, {"columns": verifier.Columns(integer=(0,))}):
        with pytest.raises(InputError, match="a Sigmoid or Tanh inside the network"):
            verifier.minimal(model, X, box=(-4.0, 4.0), **how)
    onnx.save(scores(), tmp_path / "net.onnx")
    np.save(tmp_path / "x.npy", X)
    call = ["minimal", str(tmp_path / "net.onnx"), str(tmp_path / "x.npy"), "--box", "-4", "4"]
    assert main([*call, "--certificate", str(tmp_path / "c.json")]) == Exit.BAD_INPUT
    assert "certificates of classes" in capsys.readouterr().err
    assert main([*call, "--json", "--norm", "l2"]) == Exit.GOOD
    found = json.loads(capsys.readouterr().out)
    assert (found["status"], found["target"]) == ("minimal", 0)
    assert found["float32"]["lower"] <= found["lower"] <= float(true_distance("l2")) <= found["upper"]
