"""The nearest point that breaks a property of a net with Sigmoids: distances in closed form, and dense grids."""

from __future__ import annotations

import json
import math
import threading
from pathlib import Path

import numpy as np
import onnx
import pytest

import verifier
from tests.encoders.conftest import build_model
from tests.verifier.search.test_smooth_track import network
from verifier import Halfspaces, InputError
from verifier.cli.exit_codes import Exit
from verifier.cli.main import main
from verifier.problem.budget import Budget
from verifier.problem.verdict import Status
from verifier.search.property_question import asked_property
from verifier.search.settings import Settings
from verifier.search.smooth_minimum import smooth_nearest

node = onnx.helper.make_node
ONE = build_model([node("Sigmoid", ["x"], ["s"]), node("Relu", ["s"], ["y"])], [1, 1], {})


@pytest.fixture(scope="module")
def one() -> verifier.Model:
    return verifier.load(ONE)


def over(value: float) -> Halfspaces:
    return Halfspaces([[1.0]], [-value])


@pytest.mark.parametrize(
    ("x", "value", "box", "status", "distance"),
    [
        (0.0, 0.75, (-4.0, 4.0), Status.MINIMAL, math.log(3.0)),
        (0.0, 0.75, (1.5, 4.0), Status.MINIMAL, 1.5),
        (0.0, 0.75, (-4.0, 1.0), Status.UNREACHABLE, math.inf),
        (2.0, 0.75, (-4.0, 4.0), Status.ALREADY_ADVERSARIAL, 0.0),
    ],
    ids=["an inner point", "the box's end", "none", "the input itself"],
)
def test_distances_are_what_logarithms_say(
    one: verifier.Model, x: float, value: float, box: tuple[float, float], status: Status, distance: float
) -> None:
    found = verifier.minimal(one, np.array([x], np.float32), property=over(value), box=box, precision=1e-4)
    assert found.status is status
    assert found.lower <= distance <= found.upper
    assert found.float32 is not None
    assert found.lower * (1.0 - 1e-4) <= found.float32 <= found.lower
    if found.witness is not None:
        assert abs(float(found.witness.point[0]) - x) <= found.upper <= distance + 1e-4


@pytest.mark.parametrize("op", ["Sigmoid", "Tanh"])
def test_no_point_of_a_grid_is_nearer(op: str) -> None:
    model = verifier.load(network(1, op))
    axis = np.linspace(-1.0, 1.0, 81)
    points = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    values = model.values(points) @ [1.0, -0.5]
    limit = float(np.quantile(values, 0.9))
    asked = Halfspaces([[1.0, -0.5]], [-limit])
    found = verifier.minimal(model, np.zeros(2), property=asked, box=(-1.0, 1.0), precision=0.01)
    assert found.status is Status.MINIMAL
    reached = np.abs(points[values >= limit]).max(axis=1)
    assert found.lower <= reached.min()
    assert found.witness is not None
    assert model.values(found.witness.point[np.newaxis])[0] @ [1.0, -0.5] >= limit - 1e-5


def test_what_stays_open_is_a_bracket(one: verifier.Model) -> None:
    """ONNX Runtime's σ reaches 1, the real one does not: around there nothing is decided."""
    found = verifier.minimal(one, np.zeros(1), property=over(1.0), box=(-60.0, 60.0), precision=0.5, timeout=2)
    assert found.status is Status.BRACKETED
    assert 1 <= found.lower < 50
    assert (found.upper, found.witness) == (math.inf, None)
    assert found.reason == "the time limit of 2 s was reached"


def test_without_a_time_limit_a_ball_that_lasts_does_not_hold_up_the_others(one: verifier.Model) -> None:
    """As above: all of the box would take for ever."""
    budget = Budget()
    prop = asked_property(one, (-60.0, 60.0), over(1.0), budget)
    asked = smooth_nearest(one, np.zeros(1), prop, budget, "linf", 0.5, "both")
    rescue = threading.Timer(20, budget.cancel)  # that a fault ends, too
    rescue.start()
    for bracket in asked.brackets(Settings(budget)):
        if bracket.lower >= 1:
            budget.cancel()
    rescue.cancel()
    assert (bracket.final, bracket.status, bracket.reason) == (True, Status.BRACKETED, "interrupted")
    assert 1 <= bracket.lower < 50


def test_other_methods_are_refused(one: verifier.Model) -> None:
    with pytest.raises(InputError, match="piecewise linear"):
        verifier.minimal(one, np.zeros(1), property=over(0.75), method="z3")


def test_the_command_line_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx.save(ONE, tmp_path / "one.onnx")
    np.save(tmp_path / "x.npy", np.zeros((1, 1), np.float32))
    text = "(declare-const X_0 Real)(declare-const Y_0 Real)(assert (and (<= -4 X_0) (<= X_0 4) (>= Y_0 0.75)))"
    (tmp_path / "q.vnnlib").write_text(text)
    call = ["minimal", str(tmp_path / "one.onnx"), str(tmp_path / "x.npy"), "--property", str(tmp_path / "q.vnnlib")]
    assert main([*call, "--json"]) == Exit.GOOD
    found = json.loads(capsys.readouterr().out)
    assert found["status"] == "minimal"
    assert found["float32"]["lower"] <= found["lower"] <= math.log(3.0) <= found["upper"]
