"""The tree against enumeration of activation patterns: verdicts, the lower end at every moment, and what drivers do."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from encoders.exact import exact_outputs
from encoders.graph import Array
from encoders.node_bounds import NodeBounds
from verifier.deciders.branch_and_bound import BranchAndBound
from verifier.deciders.lp_tree import LpTree, TreeSettings
from verifier.query import Ball, Norm, distance_exact
from verifier.verdict import Budget, Evidence, Holds, OutOfTimeError, Unknown, Verdict, Violated

TRUTH = 1e-7
"""What the enumerated distances may be off by: the tolerance of the LPs that they come from."""

GAP = 1e-5
"""Margins and distances nearer to the border than this are not asked about: LPs cannot tell the truth there."""

POINT = 1e-9
"""What a returned point may miss the ball or the goal by: rounding of sums of size 1 to 100."""

QUESTIONS = [
    (0, (5, 6, 3), 0),
    (0, (5, 6, 3), 2),
    (7, (3, 6, 6, 3), 0),
    (7, (3, 6, 6, 3), 2),
    (7, (2, 4, 4, 4, 2), 0),
    (7, (2, 4, 4, 4, 2), 2),
    (12, (3, 6, 6, 3), 2),
    (15, (3, 12, 4), 0),
    (15, (3, 12, 4), 2),
    (8, (4, 6, 5, 3), 2),
    (1, (3, 6, 6, 3), 2),
    (0, (3, 12, 4), 2),
]
"""Seed, sizes and rows of `make_root`: two goals of the last ones lie nowhere, and at the centre itself."""

ALTERNATIVES: dict[str, tuple[Any, ...]] = {
    "slice": (1, 1000),
    "child_bounds": (False,),
    "reduced_costs": (False,),
    "descend_every": (0, 1),
    "flips": (0,),
    "branching": ("violation",),
    "seed_columns": (-1, 0, 1),
    "kernels": (False, True),
}
VARIANTS = [{name: value} for name, values in ALTERNATIVES.items() for value in values]


@pytest.fixture(params=QUESTIONS, ids=str)
def root(request: pytest.FixtureRequest, make_root: Callable[..., Any], norm: Norm) -> Any:
    seed, sizes, rows = request.param
    return make_root(seed, sizes, norm, rows)


@pytest.fixture(params=list(Norm), ids=str)
def norm(request: pytest.FixtureRequest) -> Norm:
    chosen: Norm = request.param
    return chosen


@pytest.fixture(params=[False, True], ids=["numpy", "kernels"])
def kernels(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture(scope="module")
def nearest() -> Callable[[Any], float]:
    """The enumerated distance of a question, found once."""
    known: dict[Any, float] = {}

    def distance(root: Any) -> float:
        key = id(root.net), root.ball.norm, root.goal.matrix.tobytes(), root.goal.offset.tobytes()
        if key not in known:
            known[key] = root.nearest
        return known[key]

    return distance


def decided(root: Any, **options: Any) -> Verdict:
    verdict = BranchAndBound(TreeSettings(**options)).decide(root.query, root.bounds, Budget())
    if isinstance(verdict, Violated):
        assert_reaches(root, verdict.point, root.ball.radius)
    elif isinstance(verdict, Holds):
        assert verdict.evidence is Evidence.PROVED
    return verdict


def assert_reaches(root: Any, point: Array, radius: float, slack: float = POINT) -> None:
    """The point lies in box and ball and reaches the goal, up to rounding."""
    ball: Ball = root.ball
    assert np.all((point >= ball.lo - slack) & (point <= ball.hi + slack))
    assert distance_exact(ball.norm, point, ball.centre) <= radius + slack
    assert root.goal.margin_exact(exact_outputs(root.net.graph, point)) >= -slack


def around(distance: float, root: Any) -> list[float]:
    """Radii on both sides of the distance, near and far; any radii where there is nothing between."""
    if not GAP < distance < math.inf:
        return [1e-6, 0.1, 0.5, root.ball.reach]
    return [distance * 0.5, distance - GAP, distance + GAP, distance * 1.02, distance * 1.5]


def tree_of(root: Any, *, floor: float = 0.0, slack: float = 0.0, **options: Any) -> LpTree:
    decider = BranchAndBound(TreeSettings(**options))
    tree = decider.tree(root.query, root.stages, root.bounds, floor=floor, slack=slack, tolerance=1e-9)
    assert isinstance(tree, LpTree)
    return tree


def test_every_setting_has_an_alternative() -> None:
    assert set(ALTERNATIVES) == {field.name for field in fields(TreeSettings)}


def test_verdicts_around_the_nearest_point(root: Any, nearest: Callable[[Any], float], kernels: bool) -> None:
    distance = nearest(root)
    for radius in around(distance, root):
        verdict = decided(root.within(radius), kernels=kernels)
        assert isinstance(verdict, Violated if radius > distance else Holds), (radius, distance, verdict)


def test_the_questions_are_of_every_kind(make_root: Callable[..., Any], nearest: Callable[[Any], float]) -> None:
    distances = [nearest(make_root(*net, norm, rows)) for *net, rows in QUESTIONS for norm in Norm]
    print(distances)
    assert sum(GAP < distance < math.inf for distance in distances) >= 12
    assert math.inf in distances
    assert min(distances) < GAP


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    sizes=st.sampled_from([(2, 4, 2), (2, 3, 3, 2), (3, 5, 2), (2, 2, 2, 2, 3)]),
    norm=st.sampled_from(list(Norm)),
    rows=st.sampled_from([0, 2]),
    share=st.floats(0.01, 1.0),
)
def test_verdicts_are_those_of_the_largest_margin(
    make_root: Callable[..., Any], seed: int, sizes: tuple[int, ...], norm: Norm, rows: int, share: float
) -> None:
    root = make_root(seed, sizes, norm, rows)
    root = root.within(share * root.ball.reach)
    margin = root.net.largest_margin(root.ball, root.goal)
    assume(abs(margin) > GAP)
    for kernels in (False, True):
        assert isinstance(decided(root, kernels=kernels), Violated if margin > 0 else Holds), margin


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_all_settings_agree(
    make_root: Callable[..., Any], nearest: Callable[[Any], float], norm: Norm, options: dict[str, Any]
) -> None:
    for seed, sizes, rows in QUESTIONS:
        root = make_root(seed, sizes, norm, rows)
        distance = nearest(root)
        if GAP < distance < math.inf:
            for radius in (distance - GAP, distance + GAP):
                verdict = decided(root.within(radius), **options)
                assert isinstance(verdict, Violated if radius > distance else Holds), (radius, distance, verdict)


def watched(tree: LpTree, distance: float, budget: Budget | None = None) -> Iterator[Array | None]:
    """Explore until the tree is empty or stuck; the lower end stays valid at every moment and never falls."""
    before = -math.inf
    while tree.open_nodes and not tree.stuck:
        found = tree.explore(budget or Budget())
        assert before <= tree.lower_end <= min(tree.radius, distance * (1.0 + TRUTH) + TRUTH)
        before = tree.lower_end
        yield found
        # What the driver did may have cut the radius below the last lower end.
        before = min(before, tree.radius)


def length(root: Any, point: Array) -> float:
    return float(distance_exact(root.ball.norm, point, root.ball.centre))


@pytest.mark.parametrize("options", [{"slice": 1}, {"descend_every": 0, "seed_columns": 1, "flips": 0}], ids=str)
def test_following_the_incumbent_by_hand(
    root: Any, nearest: Callable[[Any], float], kernels: bool, options: dict[str, Any]
) -> None:
    """Each point found cuts the radius to less than its own distance: the tree ends around the nearest point."""
    distance, precision = nearest(root), 1e-4
    reach = root.within(root.ball.reach)
    tree, best = tree_of(reach, slack=precision / 8, kernels=kernels, **options), math.inf
    for point in watched(tree, distance):
        if point is not None:
            assert_reaches(reach, point, tree.radius)
            nearer, radius = tree.polish(point, Budget())
            assert radius >= distance - TRUTH
            best = min(best, length(root, point), length(root, nearer) if math.isfinite(radius) else math.inf)
            tree.cut(max(0.0, best - precision))
        if best - tree.lower_end <= precision:
            break
    assert not tree.stuck
    if math.isinf(distance):
        assert (best, tree.lower_end) == (math.inf, reach.ball.radius)
    else:
        assert best - tree.lower_end <= precision * (1.0 + TRUTH)
        assert tree.lower_end <= distance + TRUTH
        assert distance - TRUTH <= best <= distance + precision + TRUTH


def test_a_restart_keeps_what_is_known(root: Any, nearest: Callable[[Any], float]) -> None:
    """A new root on a smaller ball, its floor the lower end of an old tree that was left half explored."""
    distance = nearest(root)
    old = tree_of(root.within(root.ball.reach), slice=4)
    for _ in zip(range(3), watched(old, distance), strict=False):
        pass
    for radius in around(distance, root):
        floor = min(old.lower_end, radius)
        tree = tree_of(root.within(radius), floor=floor, slice=4)
        assert tree.lower_end == floor
        found = next((point for point in watched(tree, distance) if point is not None), None)
        assert (found is not None) == (radius > distance)
        assert floor <= tree.lower_end


def test_refused_points_close_nothing(root: Any, nearest: Callable[[Any], float], kernels: bool) -> None:
    """A driver that takes no point at all: what holds one stays open, the rest closes, and there is an end to it."""
    distance, seen = nearest(root), 0
    for radius in around(distance, root)[:4]:
        tree = tree_of(root.within(radius), slice=8, kernels=kernels)
        for point in watched(tree, distance):
            if point is not None:
                tree.refuse()
                seen += 1
                assert seen < 5000
        assert bool(tree.open_nodes) == (radius > distance)
        assert tree.lower_end == tree.radius if radius < distance else tree.lower_end <= distance + TRUTH
    assert seen > 0 or distance == math.inf


def test_cutting_at_any_moment(root: Any, nearest: Callable[[Any], float]) -> None:
    """Radii that fall at random while nodes are open; a larger radius changes nothing."""
    distance, rng = nearest(root), np.random.default_rng(3)
    tree, radius = tree_of(root.within(root.ball.reach), slice=2), root.ball.reach
    for point in watched(tree, distance):
        if point is not None:
            assert_reaches(root, point, tree.radius)
            tree.refuse()
        if rng.random() < 0.4:
            radius *= 0.9
        tree.cut(radius)
        tree.cut(2.0 * radius)
        assert tree.radius == radius
        assert tree.lower_end <= radius
    # Refused points leave nodes stuck, which a smaller radius does not wake.
    assert tree.stuck or radius <= distance + TRUTH


class Countdown(Budget):
    """A budget that ends after so many looks at it."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self.looks = looks

    @property
    def remaining(self) -> float:
        self.looks -= 1
        return 1.0 if self.looks >= 0 else 0.0


def test_interrupted_anywhere_it_goes_on(root: Any, nearest: Callable[[Any], float], kernels: bool) -> None:
    """The budget ends in every slice, each time later; no node is lost."""
    distance = nearest(root)
    for radius in around(distance, root)[1:3]:
        tree, looks, found = tree_of(root.within(radius), slice=8, kernels=kernels), 0, None
        while tree.open_nodes and not tree.stuck and found is None:
            try:
                found = tree.explore(Countdown(looks))
            except OutOfTimeError:
                looks += 1
            assert tree.lower_end <= min(radius, distance + TRUTH)
        assert looks > 0
        assert (found is not None) == (radius > distance)


def piece_distance(root: Any, point: Array) -> float:
    """The nearest point of the goal in the linear region of `point`, by linprog."""
    inside = [piece for piece in root.net.pieces if np.all(piece.rows @ point <= piece.limits - 1e-9)]
    if len(inside) != 1:
        return math.inf  # on a border, where regions meet
    return float(root.net._nearest(inside[0], root.ball.norm, root.ball.centre, root.goal))


def test_polish_finds_the_nearest_point_of_the_region(
    root: Any, nearest: Callable[[Any], float], kernels: bool
) -> None:
    """… or one that is nearer still, in a region next to it; with slack, deeper in the goal, that much farther."""
    distance = nearest(root)
    reach = root.within(root.ball.reach)
    samples = reach.points(9, 400)
    starts = [x for x in samples if root.goal.margin_exact(exact_outputs(root.net.graph, x)) >= GAP][:6]
    for slack in (0.0, 1e-3):
        tree = tree_of(reach, slack=slack, kernels=kernels)
        for start in starts:
            point, radius = tree.polish(start, Budget())
            assert distance - TRUTH <= radius <= piece_distance(root, start) + 1e-6
            assert radius <= length(root, start) * (1.0 + TRUTH)
            assert_reaches(root, point, radius + slack, 1e-6)
        assert tree.radius == root.ball.reach
    assert starts or distance > GAP


def test_a_ball_of_radius_zero(make_root: Callable[..., Any], norm: Norm) -> None:
    """Only the centre is asked about."""
    verdicts = set()
    for seed, sizes, rows in QUESTIONS:
        root = make_root(seed, sizes, norm, rows, radius=0.0)
        margin = root.goal.margin_exact(exact_outputs(root.net.graph, root.ball.centre))
        if abs(margin) > GAP:
            verdict = decided(root)
            assert isinstance(verdict, Violated if margin > 0 else Holds), (margin, verdict)
            verdicts.add(type(verdict))
    assert verdicts == {Violated, Holds}


@pytest.mark.parametrize("endless", [False, True])
def test_a_ball_of_infinite_radius(
    make_root: Callable[..., Any], nearest: Callable[[Any], float], norm: Norm, kernels: bool, endless: bool
) -> None:
    """The whole box is asked about. In one without ends a point may be missed, but never denied."""
    for seed, sizes, rows in QUESTIONS:
        root = make_root(seed, sizes, norm, rows, radius=math.inf)
        distance, ball = nearest(root), root.ball
        if endless:
            free = np.full(sizes[0], math.inf)
            root = replace(root, query=replace(root.query, region=Ball(norm, ball.centre, math.inf, -free, free)))
        verdict = decided(root, kernels=kernels)
        if not endless:
            assert isinstance(verdict, Holds if math.isinf(distance) else Violated)
        elif math.isfinite(distance):
            assert not isinstance(verdict, Holds)


def test_crossed_bounds_leave_nothing_open(make_root: Callable[..., Any], norm: Norm) -> None:
    root = make_root(*QUESTIONS[0][:2], norm)
    lower, upper = root.ends[0].copy(), root.ends[1]
    lower[0] = upper[0] + 1.0
    tree = LpTree(root.stages, root.ball, root.goal, lower, upper)
    assert (tree.open_nodes, tree.stuck, tree.lower_end) == (0, False, root.ball.radius)
    assert tree.explore(Budget()) is None


@pytest.mark.parametrize("crossed", [False, True])
def test_bounds_that_rest_on_a_solver_prove_nothing(make_root: Callable[..., Any], crossed: bool) -> None:
    root = make_root(*QUESTIONS[0][:2], Norm.LINF)
    bounds: NodeBounds = root.bounds
    lower = (bounds.upper[0] + 1.0, *bounds.lower[1:]) if crossed else bounds.lower
    with pytest.raises(ValueError, match="proved bounds"):
        BranchAndBound().decide(root.query, NodeBounds(lower, bounds.upper, proved=False), Budget())


def test_without_a_budget_the_verdict_is_unknown(root: Any, nearest: Callable[[Any], float]) -> None:
    for radius in around(nearest(root), root):
        question, budget = root.within(radius), Countdown(0)
        verdict = BranchAndBound().decide(question.query, question.bounds, budget)
        assert isinstance(verdict, Unknown)
        assert verdict.reason == budget.reason


def test_threads_share_one_tree(root: Any, nearest: Callable[[Any], float]) -> None:
    """Two threads close what one closes, find what one finds, and lose no node when the budget ends."""
    distance = nearest(root)
    for radius in around(distance, root):
        tree = tree_of(root.within(radius), slice=4)
        with contextlib.suppress(OutOfTimeError):
            tree.explore(Countdown(3), threads=2)
        assert tree.lower_end <= max(distance, radius) + TRUTH
        point = None
        while tree.open_nodes and not tree.stuck and point is None:
            point = tree.explore(Budget(), threads=2)
            assert tree.lower_end <= distance + TRUTH or tree.lower_end <= radius
        assert (point is not None) == (radius > distance)
