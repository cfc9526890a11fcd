"""Minima among the inputs that can occur, against the enumeration of all of them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import verifier
from encoders.errors import InputError
from encoders.network.exact import exact_outputs
from verifier import Columns, models
from verifier.problem.query import Norm, distance_exact
from verifier.problem.verdict import Holds, Status, Unknown, Violated
from verifier.search.minimum import problem_of
from verifier.search.on_lattice import brackets_on_lattice
from verifier.search.question import InputRegion, Misclassification, specify
from verifier.search.settings import Settings
from verifier.search.state import Problem, SearchState

SIZES = ((3, 6, 3), (2, 5, 4, 3), (4, 6, 2))
"""Of random nets with weights in eighths: on grids of eighths ties are met exactly."""

SAMPLES = 400
"""Random values of the entries that take any, for each choice of whole numbers."""


class Points:
    """The points of a lattice: by each its distance, and whether it is adversarial over the reals, and a witness."""

    def __init__(self, model: verifier.Model, x: Any, points: Any, norm: str, target: int | None) -> None:
        label = model.predict(x)
        rounded = np.asarray(points, dtype=np.float32)
        classes = [int(np.argmax(row)) for row in model.replay.logits(rounded)]
        self.real, self.both = math.inf, math.inf
        distances = [float(distance_exact(Norm(norm), point, x)) for point in rounded]
        for place in np.argsort(distances, kind="stable").tolist():
            exact = exact_outputs(model.graph, rounded[place])
            reached = [t for t in range(len(exact)) if t != label and exact[t] == max(exact) and target in (None, t)]
            if reached:
                self.real = min(self.real, distances[place])
                if classes[place] in reached:
                    self.both = distances[place]
                    return


def grid(steps: int, size: int) -> Any:
    values = (np.arange(steps + 1) / steps).astype(np.float32)
    return np.array(list(itertools.product(values, repeat=size)), dtype=np.float32)


def assert_minimal(found: verifier.Bracket, truth: Points, x: Any, points: Any, norm: str) -> None:
    """The bracket holds the truth; it is closed where the reals and ONNX Runtime agree about the nearest point."""
    assert found.lower <= truth.real
    assert found.upper >= truth.both
    assert found.float32 is None or found.float32 <= min(truth.real, truth.both)
    if math.isinf(truth.real):
        assert found.status is Status.UNREACHABLE
        return
    if found.witness is not None:
        assert np.any(np.all(np.asarray(points, np.float32) == found.witness.point, axis=1))
        assert distance_exact(Norm(norm), found.witness.point, x) <= Fraction(found.upper)
    if truth.real == truth.both:
        assert found.status is Status.MINIMAL, found.reason
        assert found.upper <= truth.both * (1.0 + 1e-6)
        assert found.lower >= found.upper * (1.0 - 1e-6)


@pytest.mark.parametrize("norm", ["linf", "l1", "l2"])
@pytest.mark.parametrize(("seed", "steps"), [(0, 5), (1, 8), (4, 8), (5, 3), (7, 6)])
def test_the_nearest_point_of_a_grid(
    truth: Any, save_net: Callable[..., Any], seed: int, steps: int, norm: str
) -> None:
    net = truth.net(seed, SIZES[seed % len(SIZES)])
    model, points = save_net(net), grid(steps, net.lo.size)
    x = points[np.random.default_rng(seed).integers(len(points))]
    found = verifier.minimal(model, x, norm=norm, precision=1e-9, columns=Columns(grid=steps))
    expected = Points(model, x, points, norm, None)
    assert_minimal(found, expected, x, points, norm)
    for other in range(model.classes) if norm == "linf" else ():
        if other != model.predict(x):
            answer = verifier.minimal(model, x, target=other, norm=norm, columns=Columns(grid=steps))
            assert_minimal(answer, Points(model, x, points, norm, other), x, points, norm)
    if math.isfinite(expected.both) and expected.real == expected.both and expected.both > 0:
        for radius, verdict in ((expected.both, Violated), (expected.both * (1.0 - 1e-5), Holds)):
            checked = verifier.check(model, x, radius, norm=norm, columns=Columns(grid=steps))
            assert isinstance(checked.verdict, verdict)


@pytest.mark.parametrize("seed", [0, 1, 4])
def test_points_are_searched_step_by_step_before_the_box_is_searched_to_its_end(
    truth: Any, save_net: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """In L2, as soon as a tree over all points has a node; the answer is the same, and so is that within a radius."""
    monkeypatch.setattr("verifier.search.lattice_points.ENOUGH", 0)
    net, columns = truth.net(seed, SIZES[seed % len(SIZES)]), Columns(grid=8)
    model, points = save_net(net), grid(8, net.lo.size)
    x = points[np.random.default_rng(seed).integers(len(points))]
    expected = Points(model, x, points, "l2", None)
    found = verifier.minimal(model, x, norm="l2", precision=1e-9, columns=columns)
    assert_minimal(found, expected, x, points, "l2")
    if 0 < expected.both == expected.real < math.inf:
        # The root of a whole number may have been rounded down: a little farther it is reached.
        for radius, verdict in ((expected.both * (1.0 + 1e-12), Violated), (expected.both * (1.0 - 1e-5), Holds)):
            checked = verifier.check(model, x, radius, norm="l2", columns=columns)
            assert isinstance(checked.verdict, verdict)


@pytest.mark.parametrize("norm", ["linf", "l1"])
def test_no_point_of_the_reals_is_taken_for_one_of_the_grid(
    truth: Any, save_net: Callable[..., Any], norm: str
) -> None:
    """A spike of height 1/4 around x₀ = 3/8, between the points 1/4 and 1/2: over the reals adversarial, on quarters
    not; at x₀ = 1 the class changes as well."""
    hidden = ([[8.0], [8.0], [8.0], [1.0]], [-2.5, -3.0, -3.5, -0.875])
    model = save_net(truth.of_layers(hidden, ([[0.0] * 4, [1.0, -2.0, 1.0, 4.0]], [0.0, -0.25])))
    x = np.array([0.0], dtype=np.float32)
    real = verifier.minimal(model, x, norm=norm, precision=1e-5)
    found = verifier.minimal(model, x, norm=norm, precision=1e-5, columns=Columns(grid=4))
    assert real.upper < 0.4
    assert found.status is Status.MINIMAL
    assert found.lower == found.upper == 1.0
    assert found.lattice is not None
    assert found.lattice.everywhere < 0.4
    assert found.lattice.lower == found.lattice.upper == 1
    within = verifier.check(model, x, 0.9, norm=norm, columns=Columns(grid=4))
    assert isinstance(within.verdict, Holds)
    assert isinstance(verifier.check(model, x, 0.9, norm=norm).verdict, Violated)
    assert verifier.check(model, x, 1.0, norm=norm, columns=Columns(grid=4)).witness is not None


def test_a_grid_without_an_adversarial_point_is_unreachable(truth: Any, save_net: Callable[..., Any]) -> None:
    """The spike alone."""
    hidden = ([[8.0], [8.0], [8.0]], [-2.5, -3.0, -3.5])
    model = save_net(truth.of_layers(hidden, ([[0.0] * 3, [1.0, -2.0, 1.0]], [0.0, -0.25])))
    x = np.array([0.0], dtype=np.float32)
    found = verifier.minimal(model, x, columns=Columns(grid=4))
    assert found.status is Status.UNREACHABLE
    assert found.witness is None
    assert math.isinf(found.lower)


def records() -> Iterator[tuple[Columns, Any, Any]]:
    """(columns, whole numbers that occur, box) of four entries: whole numbers, one-hot, both scaled."""
    whole = np.array(list(itertools.product(range(-2, 4), repeat=2)))
    hot = np.array([[1, 0], [0, 1]])
    both = np.array([[*a, *b] for a in whole for b in hot])
    yield Columns(integer=(0, 1), one_hot=((2, 3),)), both, (np.full(4, -2.0), np.full(4, 3.5))
    offset, scale = np.array([1.5, -0.25, 0.375, 0.0]), np.array([2.0, 0.7, 1.9, 1.0])
    ends = (np.array([-2, -2, 0, 0]) - offset) / scale - 0.1, (np.array([3, 3, 1, 1]) - offset) / scale + 0.1
    columns = Columns(integer=(0, 1), one_hot=((2, 3),), units=(offset, scale))
    yield columns, (both - offset) / scale, ends
    three = np.array([[a, *b] for a in range(4) for b in np.eye(3)])
    yield Columns(integer=(0,), one_hot=((1, 2, 3),)), three, (np.zeros(4), np.full(4, 3.0))


@pytest.mark.parametrize(("seed", "norm"), [(0, "linf"), (0, "l1"), (0, "l2"), (1, "linf"), (1, "l1"), (3, "l2")])
def test_the_nearest_record(truth: Any, save_net: Callable[..., Any], seed: int, norm: str) -> None:
    model = save_net(truth.net(20 + seed, (4, 6, 5, 3)))
    for columns, exact, box in records():
        points = np.asarray(exact, dtype=np.float32)
        x = points[np.random.default_rng(seed).integers(len(points))]
        found = verifier.minimal(model, x, norm=norm, box=box, precision=1e-9, columns=columns)
        assert_minimal(found, Points(model, x, points, norm, None), x, points, norm)


@pytest.mark.parametrize("norm", ["linf", "l1", "l2"])
@pytest.mark.parametrize("seed", range(2))
def test_entries_that_take_any_value_beside_whole_numbers(
    truth: Any, save_net: Callable[..., Any], seed: int, norm: str
) -> None:
    """No random record is nearer than the lower end; the witness has whole numbers; the bracket closes."""
    model, rng = save_net(truth.net(40 + seed, (4, 7, 3))), np.random.default_rng(seed)
    columns = Columns(integer=(0, 1))
    x = np.concatenate([rng.integers(0, 4, 2), rng.random(2)]).astype(np.float32)
    found = verifier.minimal(model, x, norm=norm, box=(0.0, 3.0), precision=1e-3, columns=columns)
    assert found.status in (Status.MINIMAL, Status.UNREACHABLE)
    label, nearest = model.predict(x), math.inf
    for pair in itertools.product(range(4), repeat=2):
        drawn = np.hstack([np.tile(pair, (SAMPLES, 1)), 3.0 * rng.random((SAMPLES, 2))]).astype(np.float32)
        drawn[: SAMPLES // 2, 2:] = x[2:] + (rng.random((SAMPLES // 2, 2)) - 0.5) * 0.4
        points = np.clip(drawn, 0.0, 3.0)
        classes = np.argmax(model.replay.logits(points), axis=1)
        for point in points[classes != label]:
            nearest = min(nearest, float(distance_exact(Norm(norm), point, x)))
    assert found.lower <= nearest
    assert found.upper <= nearest + 1e-3
    if found.witness is not None:
        assert np.all(found.witness.point[:2] == np.rint(found.witness.point[:2]))
        assert found.upper - found.lower <= 1e-3


def test_a_box_without_an_end_is_the_reason_where_nothing_is_found(truth: Any, save_net: Callable[..., Any]) -> None:
    """The second class is nowhere the larger one."""
    model = save_net(truth.of_layers(([[1.0, 1.0]], [0.0]), ([[1.0], [0.0]], [1.0, 0.0])))
    box = np.zeros(2), np.array([1.0, math.inf])
    found = verifier.minimal(model, np.zeros(2, np.float32), box=box, columns=Columns(integer=(0,)))
    assert found.status is Status.BRACKETED
    assert found.lower > 1e6
    assert found.reason.endswith("the box is unbounded")


@pytest.mark.parametrize("start", [10, 100])
def test_a_radius_of_eight_steps_is_eight_steps_whatever_rounding_makes_of_them(
    truth: Any, save_net: Callable[..., Any], start: int
) -> None:
    """18/255 − 10/255 in float32 is more than 8/255, 108/255 − 100/255 is less."""
    first = ([[1.0]], [0.0])
    model = save_net(truth.of_layers(first, ([[0.0], [1.0]], [(start + 7.5) / 255, 0.0])))
    x = np.float32([start / 255])
    beyond = float(np.float32((start + 8) / 255)) - float(x[0]) > 8 / 255
    assert beyond == (start == 10)
    checks = {steps: verifier.check(model, x, steps / 255, columns=Columns(grid=255)) for steps in (7, 7.9, 8)}
    assert isinstance(checks[7].verdict, Holds)
    assert isinstance(checks[7.9].verdict, Holds)
    assert isinstance(checks[8].verdict, Violated)
    assert checks[8].witness is not None
    assert checks[8].witness.point[0] == np.float32((start + 8) / 255)


@pytest.mark.parametrize("precision", [1e-4, 0.3])
def test_a_witness_beyond_the_radius_at_which_parts_were_closed(
    truth: Any, save_net: Callable[..., Any], precision: float
) -> None:
    """Of a box without an end nothing is found within 1 where the third entry is 0.95; then (0.71, 0.71, 0, 0) is
    rounded to a witness at 1.34. The nearest one, (0, 0, 0.95, 0.81), is at 1.25: where parts had been closed."""
    hidden = [[1, 1, -10, 0], [0, 0, 1, 0], [0, 0, 1, 0], [0, 0, 1, 0], [0, 0, 10, 1]], [-1.2, -0.5, -0.6, -0.7, -10.3]
    model = save_net(truth.of_layers(hidden, ([[0] * 5, [1, 80, -160, 80, 4]], [0.0, -0.01])))
    x, scale = np.zeros(4, dtype=np.float32), np.array([1 / 0.95, 1 / 0.95, 1 / 0.95, 1.0])
    columns = Columns(integer=(0, 1, 2), units=(0.0, scale))
    box = np.zeros(4), np.array([0.95, 0.95, 0.95, math.inf])
    found = verifier.minimal(model, x, norm="l2", box=box, precision=precision, columns=columns)
    near = np.array([0.0, 0.0, 0.95, 0.81], dtype=np.float32)
    assert model.predict(near) != model.predict(x)
    assert found.status is Status.MINIMAL
    assert found.lower <= distance_exact(Norm.L2, near, x)
    assert found.upper - found.lower <= precision


def test_every_target_and_an_attack_on_the_digits() -> None:
    """Whose pixels are sixteenths."""
    model, x = verifier.load("digits"), np.load(models.input_file("digits"))["x"][3]
    columns = Columns(grid=16)
    every = verifier.minimal_all_targets(model, x, columns=columns, targets=[0, 2, 5])
    assert [bracket.target for bracket in every.results] == [0, 2, 5]
    for bracket in every.results:
        alone = verifier.minimal(model, x, target=bracket.target, columns=columns)
        assert bracket.status is alone.status is Status.MINIMAL
        assert bracket.upper == alone.upper == bracket.lower
        assert bracket.upper * 16 == round(bracket.upper * 16)
    assert every.overall.upper == min(bracket.upper for bracket in every.results)
    attacked = verifier.attack(model, x, columns=columns)
    assert attacked.witness is not None
    assert np.all(attacked.witness.point * 16 == np.rint(attacked.witness.point * 16))
    assert attacked.lower == 0.0


def test_the_reals_and_float32_are_told_apart(truth: Any, save_net: Callable[..., Any]) -> None:
    model = save_net(truth.net(1, (3, 6, 3)))
    x = np.full(3, 0.5, dtype=np.float32)
    answers = {
        semantics: verifier.minimal(model, x, columns=Columns(grid=4), semantics=semantics)
        for semantics in ("real", "float32", "both")
    }
    assert answers["real"].float32 is None
    assert answers["both"].float32 is not None
    assert answers["float32"].lower <= answers["real"].lower
    points = grid(4, 3)
    for found in answers.values():
        assert_minimal(found, Points(model, x, points, "linf", None), x, points, "linf")


def test_a_lower_end_about_float32_alone_rests_on_charged_bounds(truth: Any, save_net: Callable[..., Any]) -> None:
    """Where the search over all points has proved nothing by its time, too."""
    model, x = save_net(truth.net(1, (3, 6, 3))), np.full(3, 0.5, dtype=np.float32)
    region, goal = InputRegion(x, columns=Columns(grid=4)), Misclassification()
    settings = Settings(verifier.Budget())
    asked = specify(model, region, goal, settings.budget, semantics="float32")
    problem = problem_of(asked, settings, lambda _: [None] * len(asked.goals))
    charged = []

    def nothing(problem: Problem, _: object, budget: verifier.Budget) -> Iterator[verifier.Bracket]:
        yield replace(SearchState(problem, budget).bracket(final=True), float32=0.0)

    for bracket in brackets_on_lattice(problem, nothing, settings.decider, settings.budget):
        charged.append(bracket)
    assert charged[-1].float32 == charged[-1].lower > 0.0
    assert charged[-1].status is Status.MINIMAL
    assert charged[-1].witness is not None
    assert charged[-1].target == charged[-1].witness.target


def test_a_time_limit_leaves_a_bracket() -> None:
    model, x = verifier.load("digits"), np.load(models.input_file("digits"))["x"][0]
    found = verifier.minimal(model, x, norm="l2", timeout=0.7, columns=Columns(grid=16))
    assert found.lower <= found.upper
    assert (found.status is Status.BRACKETED) == bool(found.reason)
    checked = verifier.check(model, x, 0.6, norm="l2", timeout=0.4, columns=Columns(grid=16))
    assert isinstance(checked.verdict, Unknown | Violated | Holds)


def test_what_does_not_go_with_columns(truth: Any, save_net: Callable[..., Any]) -> None:
    model = save_net(truth.net(1, (3, 6, 3)))
    x = np.full(3, 0.5, dtype=np.float32)
    for method in ("milp", "milp-direct", "z3"):
        with pytest.raises(InputError, match="method tree"):
            verifier.minimal(model, x, method=method, columns=Columns(grid=4))
    with pytest.raises(InputError, match=r"entry 0, 0\.300000012, is no multiple of 1/4"):
        verifier.minimal(model, [0.3, 0.5, 0.5], columns=Columns(grid=4))
    with pytest.raises(InputError, match="an end of the box"):
        verifier.minimal(model, x, box=(0.0, 0.9), columns=Columns(grid=4))
    with pytest.raises(InputError, match="two ends"):
        verifier.minimal(model, [1.0, 0.5, 0.5], box=(0.0, math.inf), columns=Columns(integer=(0,)))
    goal = verifier.Halfspaces([[1.0, -1.0, 0.0]], [0.0])
    with pytest.raises(InputError, match="columns does not"):
        verifier.check(model, region=(0.0, 1.0), property=goal, columns=Columns(grid=4))
