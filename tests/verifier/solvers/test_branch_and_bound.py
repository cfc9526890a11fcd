"""Both trees against enumeration of activation patterns: verdicts, lower ends at every moment, what drivers do."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from encoders.network.exact import exact_outputs
from encoders.network.graph import Array
from encoders.network.node_bounds import NodeBounds
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.norms.table import FLAT_NORMS
from verifier.problem.query import Ball, Norm, distance_exact
from verifier.problem.verdict import Evidence, Holds, Unknown, Verdict, Violated
from verifier.runtime.device import Device
from verifier.solvers.branch_and_bound import BranchAndBound
from verifier.solvers.branching import DUAL, LOSS, SMEAR, VIOLATION, WIDTH
from verifier.solvers.tree import table
from verifier.solvers.tree.node_lp import NodeLp
from verifier.solvers.tree.protocol import Tree, TreeRoot
from verifier.solvers.tree.relaxation import Solved
from verifier.solvers.tree.table import TreeKind
from verifier.solvers.tree.threads import Threads

TRUTH = 1e-7
"""What the enumerated distances may be off by: the tolerance of the LPs that they come from."""

GAP = 1e-5
"""Margins and distances nearer to the border than this are not asked about: LPs cannot tell the truth there."""

POINT = 2e-9
"""What a returned point may miss the ball or the goal by: rounding of sums of size 1 to 100, and what LPs let values be
outside their bounds."""

KINDS = {kind.name: kind for kind in table.TREES}

QUESTIONS = [
    (0, (5, 6, 3), 0),
    (7, (3, 6, 6, 3), 2),
    (7, (2, 4, 4, 4, 2), 0),
    (12, (3, 6, 6, 3), 2),
    (15, (3, 12, 4), 2),
    (8, (4, 6, 5, 3), 2),
    (1, (3, 6, 6, 3), 2),
    (0, (3, 12, 4), 2),
]
"""Seed, sizes and rows of `make_root`: two goals of the last ones lie nowhere, and at the centre itself."""

FEW = [QUESTIONS[place] for place in (1, 2, 6, 7)]
"""One to three layers, one goal and two, nowhere, at the centre: what a driver does to a tree, and each setting of a
tree, is tested on these."""

ALTERNATIVES: dict[str, dict[str, tuple[Any, ...]]] = {
    "lp": {
        "slice": (1, 1000),
        "child_bounds": (False,),
        "half_space": (False,),
        "reduced_costs": (False,),
        "descend_every": (0, 1),
        "flips": (0,),
        "branching": (LOSS, VIOLATION),
        "seed_columns": (-1, 0, 1),
        "kernels": (False, True),
        "numpy_first": (4, 10_000),
    },
    "bound": {
        "batch": (1, 5),
        "steps": (0, 40),
        "first_steps": (0,),
        "reduced_costs": (False,),
        "half_space": (False,),
        "branching": (DUAL, VIOLATION),
        "descend_every": (0, 1),
        "flips": (0,),
        "stalled": (0, 1),
        "patches": (0, 1),
        "device": (Device.CPU,),
        "polish_seconds": (0.0,),
    },
    "input": {
        "batch": (1, 3),
        "slice": (1, 1000),
        "rules": ((SMEAR,), (WIDTH,)),
        "every": (0.0, 2.0),
        "clips": (0, 1),
        "relus": (0, 4, 100),
        "crawling": (0, 100),
        "look": (0, 4),
        "crowd": (0, 3),
        "descend_every": (0, 1),
        "flips": (0,),
        "polish_seconds": (0.0,),
    },
}


@pytest.fixture(params=QUESTIONS, ids=str)
def root(request: pytest.FixtureRequest, make_root: Callable[..., Any], norm: Norm) -> Any:
    seed, sizes, rows = request.param
    return make_root(seed, sizes, norm, rows)


@pytest.fixture(params=list(FLAT_NORMS), ids=str)
def norm(request: pytest.FixtureRequest) -> Norm:
    chosen: Norm = request.param
    return chosen


on_few = pytest.mark.parametrize("root", FEW, indirect=True, ids=str)

TREES: dict[str, BranchAndBound] = {
    "numpy": BranchAndBound("lp").having("lp", kernels=False),
    "kernels": BranchAndBound("lp").having("lp", kernels=True),
    "bound": BranchAndBound(engine="bound"),
    "input": BranchAndBound(engine="input").having("input", relus=2),
}
"""Each engine, and each way to evaluate the nodes of LP trees."""


@pytest.fixture(params=TREES)
def decider(request: pytest.FixtureRequest) -> BranchAndBound:
    return TREES[request.param]


def with_settings(decider: BranchAndBound, **options: Any) -> BranchAndBound:
    """The decider with those options that each kind of tree has."""
    for kind in decider.kinds:
        known = {field.name for field in fields(kind.settings)}
        decider = decider.having(kind.name, **{key: value for key, value in options.items() if key in known})
    return decider


VARIANTS = {
    f"{engine}, {name}={getattr(value, 'name', value)}": with_settings(BranchAndBound(engine=engine), **{name: value})
    for engine, alternatives in ALTERNATIVES.items()
    for name, values in alternatives.items()
    for value in values
}


def decided(root: Any, decider: BranchAndBound) -> Verdict:
    verdict = decider.decide(root.query, root.bounds, Budget())
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
    return [distance * 0.5, distance - GAP, distance + GAP, distance * 1.5]


def tree_of(decider: BranchAndBound, root: Any, *, floor: float = 0.0, slack: float = 0.0, size: int = 64) -> Tree:
    """The decider's tree of a question; size: nodes explored at a time."""
    decider = with_settings(decider, slice=size, batch=min(size, 32))
    return decider.tree(root.query, root.stages, root.bounds, floor=floor, slack=slack, tolerance=1e-9)


def test_every_setting_has_an_alternative() -> None:
    assert set(ALTERNATIVES) == set(KINDS)
    for name, kind in KINDS.items():
        assert set(ALTERNATIVES[name]) == {field.name for field in fields(kind.settings)}


def test_verdicts_around_the_nearest_point(root: Any, decider: BranchAndBound) -> None:
    distance = root.nearest
    for radius in around(distance, root):
        verdict = decided(root.within(radius), decider)
        assert isinstance(verdict, Violated if radius > distance else Holds), (radius, distance, verdict)


def test_the_questions_are_of_every_kind(make_root: Callable[..., Any]) -> None:
    distances = [make_root(*net, norm, rows).nearest for *net, rows in QUESTIONS for norm in FLAT_NORMS]
    print(distances)
    assert sum(GAP < distance < math.inf for distance in distances) >= 12
    assert math.inf in distances
    assert min(distances) < GAP


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    sizes=st.sampled_from([(2, 4, 2), (2, 3, 3, 2), (3, 5, 2), (2, 2, 2, 2, 3)]),
    norm=st.sampled_from(list(FLAT_NORMS)),
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
    for decider in TREES.values():
        assert isinstance(decided(root, decider), Violated if margin > 0 else Holds), margin


@on_few
@pytest.mark.parametrize("share", [0.3, 0.7])
def test_lps_without_multipliers_close_nothing(root: Any, monkeypatch: pytest.MonkeyPatch, share: float) -> None:
    """Nodes whose LPs end with nothing are split, and what is left of them is decided below, or stays open."""
    rng, solve, useless = np.random.default_rng(0), NodeLp.solve, 0

    def unreliable(lp: NodeLp, lower: Array, upper: Array, budget: Budget, basis: Any = None) -> Solved:
        nonlocal useless
        if rng.random() >= share:
            return solve(lp, lower, upper, budget, basis)
        useless += 1
        return Solved(False, np.zeros(0), np.zeros(0), None, np.zeros(0), np.zeros(0))

    distance = root.nearest
    monkeypatch.setattr(NodeLp, "solve", unreliable)
    for radius in around(distance, root):
        verdict = decided(root.within(radius), TREES["numpy"])
        assert not isinstance(verdict, Holds if radius > distance else Violated), (radius, distance, verdict)
    assert useless > 0


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
def test_all_settings_agree(make_root: Callable[..., Any], norm: Norm, variant: BranchAndBound) -> None:
    for seed, sizes, rows in FEW[list(FLAT_NORMS).index(norm) :: 2]:
        root = make_root(seed, sizes, norm, rows)
        distance = root.nearest
        if GAP < distance < math.inf:
            for radius in (distance - GAP, distance + GAP):
                verdict = decided(root.within(radius), variant)
                assert isinstance(verdict, Violated if radius > distance else Holds), (radius, distance, verdict)


def watched(tree: Tree, distance: float, budget: Budget | None = None) -> Iterator[Array | None]:
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


@on_few
@pytest.mark.parametrize(("size", "options"), [(1, {}), (64, {"descend_every": 0, "seed_columns": 1, "flips": 0})])
def test_following_the_incumbent_by_hand(
    root: Any, decider: BranchAndBound, size: int, options: dict[str, Any]
) -> None:
    """Each point found cuts the radius to less than its own distance: the tree ends around the nearest point."""
    distance, precision = root.nearest, 1e-4
    reach = root.within(root.ball.reach)
    tree, best = tree_of(with_settings(decider, **options), reach, slack=precision / 8, size=size), math.inf
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


@on_few
def test_a_restart_keeps_what_is_known(root: Any, decider: BranchAndBound) -> None:
    """A new root on a smaller ball, its floor the lower end of an old tree that was left half explored."""
    distance = root.nearest
    old = tree_of(decider, root.within(root.ball.reach), size=4)
    for _ in zip(range(3), watched(old, distance), strict=False):
        pass
    for radius in around(distance, root):
        floor = min(old.lower_end, radius)
        tree = tree_of(decider, root.within(radius), floor=floor, size=4)
        assert tree.lower_end == floor
        found = next((point for point in watched(tree, distance) if point is not None), None)
        assert (found is not None) == (radius > distance)
        assert floor <= tree.lower_end


@on_few
def test_refused_points_close_nothing(root: Any, decider: BranchAndBound) -> None:
    """A driver that takes no point at all: what holds one stays open, the rest closes, and there is an end to it."""
    distance, seen = root.nearest, 0
    for radius in around(distance, root)[1:]:
        tree = tree_of(decider, root.within(radius), size=8)
        for point in watched(tree, distance):
            if point is not None:
                tree.refuse()
                seen += 1
                assert seen < 5000
        assert bool(tree.open_nodes) == (radius > distance)
        assert tree.lower_end == tree.radius if radius < distance else tree.lower_end <= distance + TRUTH
    assert seen > 0 or distance == math.inf


@on_few
def test_cutting_at_any_moment(root: Any, decider: BranchAndBound) -> None:
    """Radii that fall at random while nodes are open; a larger radius changes nothing."""
    distance, rng = root.nearest, np.random.default_rng(3)
    tree, radius = tree_of(decider, root.within(root.ball.reach), size=2), root.ball.reach
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


@on_few
def test_interrupted_anywhere_it_goes_on(root: Any, decider: BranchAndBound) -> None:
    """The budget ends in every slice, each time later; no node is lost."""
    distance = root.nearest
    for radius in around(distance, root)[1:3]:
        tree, looks, found = tree_of(decider, root.within(radius), size=8), 0, None
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


def test_polish_finds_the_nearest_point_of_the_region(root: Any, decider: BranchAndBound) -> None:
    """… or one that is nearer still, in a region next to it; with slack, deeper in the goal, that much farther."""
    distance = root.nearest
    reach = root.within(root.ball.reach)
    samples = reach.points(9, 400)
    inside = (x for x in samples if root.goal.margin_exact(exact_outputs(root.net.graph, x)) >= GAP)
    starts = [*itertools.islice(inside, 3)]
    for slack in (0.0, 1e-3):
        tree = tree_of(decider, reach, slack=slack)
        for start in starts:
            point, radius = tree.polish(start, Budget())
            assert distance - TRUTH <= radius <= piece_distance(root, start) + 1e-6
            assert radius <= length(root, start) * (1.0 + TRUTH)
            assert_reaches(root, point, radius + slack, 1e-6)
        assert tree.radius == root.ball.reach
    assert starts or distance > GAP


def test_a_ball_of_radius_zero(make_root: Callable[..., Any], norm: Norm, decider: BranchAndBound) -> None:
    """Only the centre is asked about."""
    verdicts = set()
    for seed, sizes, rows in QUESTIONS:
        root = make_root(seed, sizes, norm, rows, radius=0.0)
        margin = root.goal.margin_exact(exact_outputs(root.net.graph, root.ball.centre))
        if abs(margin) > GAP:
            verdict = decided(root, decider)
            assert isinstance(verdict, Violated if margin > 0 else Holds), (margin, verdict)
            verdicts.add(type(verdict))
    assert verdicts == {Violated, Holds}


@pytest.mark.parametrize("endless", [False, True])
def test_a_ball_of_infinite_radius(
    make_root: Callable[..., Any], norm: Norm, decider: BranchAndBound, endless: bool
) -> None:
    """The whole box is asked about. In one without ends a point may be missed, but never denied."""
    for seed, sizes, rows in QUESTIONS:
        root = make_root(seed, sizes, norm, rows, radius=math.inf)
        distance, ball = root.nearest, root.ball
        if endless:
            free = np.full(sizes[0], math.inf)
            root = replace(root, query=replace(root.query, region=Ball(norm, ball.centre, math.inf, -free, free)))
        verdict = decided(root, decider)
        if not endless:
            assert isinstance(verdict, Holds if math.isinf(distance) else Violated)
        elif math.isfinite(distance):
            assert not isinstance(verdict, Holds)


def test_an_unknown_engine_is_named() -> None:
    with pytest.raises(ValueError, match="'lps' is none of input, lp, bound, auto"):
        BranchAndBound(engine="lps")


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_crossed_bounds_leave_nothing_open(make_root: Callable[..., Any], norm: Norm, kind: TreeKind) -> None:
    root = make_root(*QUESTIONS[0][:2], norm)
    lower, upper = root.ends[0].copy(), root.ends[1]
    lower[0] = upper[0] + 1.0
    tree = kind.make(TreeRoot(root.stages, root.ball, root.goal, lower, upper), kind.settings)
    assert (tree.open_nodes, tree.stuck, tree.lower_end) == (0, False, root.ball.radius)
    assert tree.explore(Budget()) is None


@pytest.mark.parametrize("crossed", [False, True])
def test_bounds_that_rest_on_a_solver_prove_nothing(make_root: Callable[..., Any], crossed: bool) -> None:
    root = make_root(*QUESTIONS[0][:2], Norm.LINF)
    bounds: NodeBounds = root.bounds
    lower = (bounds.upper[0] + 1.0, *bounds.lower[1:]) if crossed else bounds.lower
    with pytest.raises(ValueError, match="proved bounds"):
        BranchAndBound().decide(root.query, NodeBounds(lower, bounds.upper, proved=False), Budget())


def test_without_a_budget_the_verdict_is_unknown(root: Any) -> None:
    for radius in around(root.nearest, root):
        question, budget = root.within(radius), Countdown(0)
        verdict = BranchAndBound().decide(question.query, question.bounds, budget)
        assert isinstance(verdict, Unknown)
        assert verdict.reason == budget.reason


@on_few
def test_threads_share_one_tree(root: Any, decider: BranchAndBound) -> None:
    """Two threads close what one closes, find what one finds, and lose no node when the budget ends."""
    distance = root.nearest
    for radius in around(distance, root):
        tree = tree_of(decider, root.within(radius), size=4)
        with contextlib.suppress(OutOfTimeError), Threads(2) as threads:
            tree.explore(Countdown(3), threads)
        assert tree.lower_end <= min(tree.radius, distance + TRUTH)
        point = None
        with Threads(2) as threads:
            while tree.open_nodes and not tree.stuck and point is None:
                point = tree.explore(Budget(), threads)
                assert tree.lower_end <= min(tree.radius, distance + TRUTH)
        assert (point is not None) == (radius > distance)
