"""Inner balls: trees on smaller balls beside one that does not close. What they prove and find is true, and pays."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import verifier
from encoders.network.exact import exact_outputs
from verifier import models
from verifier.problem.norms.table import FLAT_NORMS
from verifier.problem.query import Norm, Targeted, disjuncts, distance_exact
from verifier.problem.verdict import Status
from verifier.search import inner_ball
from verifier.search.inner_ball import InnerBall
from verifier.search.methods import METHODS
from verifier.solvers.branch_and_bound import BranchAndBound
from verifier.solvers.tree.table import TREES

TRUTH = 1e-6
"""What enumerated distances may be off by: their solver's tolerance."""


EAGER = BranchAndBound(kinds=tuple(replace(kind, alone=4) for kind in TREES)).having("lp", slice=2, child_bounds=False)
"""Trees of few nodes a slice, which have inner balls from the first nodes on."""

ALONE = 1_000
"""Nodes before an inner ball, where a tree is made up."""


class Begun:
    """Stands for a tree at a radius."""

    def __init__(self, radius: float, *, stuck: bool = False) -> None:
        self.radius, self.nodes, self.open_nodes, self.stuck = radius, 0, 1, stuck


def driven_by(monkeypatch: pytest.MonkeyPatch, decider: BranchAndBound) -> None:
    """The method tree by this one."""
    monkeypatch.setitem(METHODS, "tree", replace(METHODS["tree"], decider=lambda *_: decider))  # type: ignore[arg-type]


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A search by `EAGER`, half of it in inner balls; the radii at which they were begun."""
    radii: list[float] = []
    begin = InnerBall.begin

    def begun(own: InnerBall, tree: Any, alone: float) -> None:
        radii.append(tree.radius)
        begin(own, tree, alone)

    monkeypatch.setattr(inner_ball, "SHARE", 1.0)
    monkeypatch.setattr(inner_ball, "ROOT", 1)
    monkeypatch.setattr(InnerBall, "begin", begun)
    driven_by(monkeypatch, EAGER)
    return radii


@pytest.mark.parametrize("norm", list(FLAT_NORMS))
def test_brackets_close_around_the_truth_with_inner_balls_all_along(
    make_root: Callable[..., Any], save_net: Callable[[Any], verifier.Model], eager: list[float], norm: Norm
) -> None:
    for seed, sizes in ((7, (3, 6, 6, 3)), (8, (4, 6, 5, 3)), (15, (3, 12, 4))):
        root = make_root(seed, sizes, norm)
        x, model = root.ball.centre, save_net(root.net)
        for target in set(range(sizes[-1])) - {model.predict(x)}:
            truth = root.net.nearest(norm, x, disjuncts(Targeted(target), sizes[-1])[0][1])
            found = verifier.minimal(model, x, target=target, norm=norm.value, precision=1e-5)
            assert found.lower <= truth + TRUTH
            assert found.upper >= truth - TRUTH
            assert math.isinf(truth) or found.status is Status.MINIMAL
    assert eager


@pytest.mark.parametrize("norm", list(FLAT_NORMS))
def test_on_the_shipped_net_they_change_no_answer(
    monkeypatch: pytest.MonkeyPatch, eager: list[float], norm: Norm
) -> None:
    model = verifier.load(models.path("digits"))
    with np.load(models.path("digits").with_name("digits_inputs.npz")) as archive:
        images = archive["x"][:6]
    found = [verifier.minimal(model, x, norm=norm.value) for x in images]
    begun = len(eager)
    assert begun > 3 or norm is Norm.L1, "where anchored lines exclude these balls at once"
    driven_by(monkeypatch, replace(EAGER, inner_balls=False))
    for x, one in zip(images, found, strict=True):
        plain = verifier.minimal(model, x, norm=norm.value)
        assert max(one.lower, plain.lower) <= min(one.upper, plain.upper)
        assert one.status is plain.status
        assert one.witness is not None
        assert distance_exact(norm, one.witness.point, x) <= one.upper
        logits = exact_outputs(model.graph, one.witness.point)
        assert max(logits) == logits[one.witness.target]
    assert len(eager) == begun


def test_an_inner_ball_aims_between_what_is_proved_and_what_was_given_up() -> None:
    own, allowed = InnerBall(), int(inner_ball.FIRST * ALONE)
    assert own.aim(0.2, 1.0) == pytest.approx(0.6)
    own.begin(Begun(0.6), ALONE)
    own.explored(allowed - 1)
    assert own.tree is not None
    own.explored(1)
    assert (own.tree, own.given_up, own.cost) == (None, [0.6], inner_ball.ROOT + allowed)
    assert own.aim(0.2, 1.0) == pytest.approx(0.4)
    own.begin(Begun(0.4), ALONE)
    assert own.tree is not None
    own.tree.open_nodes = 0
    own.explored(3)
    assert (own.tree, own.given_up) == (None, [0.6])
    assert own.aim(0.4, 1.0) == pytest.approx(0.5)


def test_where_both_meet_the_last_one_goes_on_and_others_lie_outwards_from_there() -> None:
    own, allowed = InnerBall(), int(inner_ball.FIRST * ALONE)
    own.begin(held := Begun(0.44), ALONE)
    held.nodes = allowed
    own.explored(allowed)
    assert (own.tree, own.resting(0.44), own.cost) == (None, held, inner_ball.ROOT + allowed)
    assert own.aim(0.4, 1.0) == 0.44
    assert own.patience == 2.0
    own.begin(held, ALONE)
    own.explored(allowed - 1)
    assert own.tree is held, "twice as many nodes in all"
    held.open_nodes = 0
    own.explored(1)
    assert (own.tree, own.cost) == (None, inner_ball.ROOT + 2 * allowed)
    assert own.aim(0.44, 1.0) == pytest.approx(0.52), "twice as far, as the last one was excluded"
    own.begin(Begun(0.52, stuck=True), ALONE)
    own.explored(1)
    assert (own.tree, own.rested, own.given_up, own.dry) == (None, [], [], 0.52)
    assert own.aim(0.44, 1.0) == pytest.approx(0.48)
    own = InnerBall(patience=4.0, given_up=[0.44])
    assert own.aim(0.4, 1.0) == pytest.approx(0.42), "steps are finer where they take more nodes"
    assert own.patience == 4.0
    own = InnerBall(given_up=[0.4])
    assert own.aim(0.4, 1.0) == pytest.approx(0.4 + inner_ball.NARROW), "the tree itself has excluded that since"


def test_none_lies_beyond_one_that_was_given_up_which_goes_on_when_the_nearer_one_has_closed() -> None:
    own, allowed = InnerBall(), int(inner_ball.FIRST * ALONE)
    trees = {}
    for radius in (0.6, 0.5):
        assert own.aim(0.4, 0.8) == pytest.approx(radius)
        own.begin(tree := Begun(own.aim(0.4, 0.8)), ALONE)
        trees[radius] = tree
        tree.nodes = allowed
        own.explored(allowed)
    assert [tree.radius for tree in own.rested] == pytest.approx([0.6, 0.5])
    own.begin(nearer := Begun(0.45), ALONE)
    nearer.open_nodes = 0
    own.explored(1)
    for lower, radius in ((0.49, 0.5), (0.59, 0.6)):
        assert own.aim(lower, 0.8) == pytest.approx(radius)
        held = own.resting(own.aim(lower, 0.8))
        assert held is trees[radius]
        own.begin(held, ALONE)
        held.open_nodes = 0
        own.explored(1)
    assert (own.given_up, own.rested, own.roots) == ([], [], 3)
    assert own.aim(0.7, 1.0) > 0.7


def test_one_that_is_about_to_close_is_not_given_up_and_one_that_grows_is_sooner() -> None:
    """Open nodes that fall as in the later half so far are counted on up to `CLOSING` times the nodes; beside a tree
    that hardly closes any there are `CROWDED_FIRST` of them, half of which show that a tree as bad does not close."""
    allowed = int(inner_ball.FIRST * ALONE)
    for last, kept in ((8, True), (19, False)):
        own = InnerBall()
        own.begin(tree := Begun(0.6), ALONE)
        for spent, tree.open_nodes in ((allowed // 2, 20), (allowed - allowed // 2, last)):
            own.explored(spent)
        assert (own.tree is tree) is kept
    for last, kept in ((int(0.9 * inner_ball.GROWING * ALONE), True), (int(1.1 * inner_ball.GROWING * ALONE), False)):
        own = InnerBall(crowded=True)
        own.begin(tree := Begun(0.6), ALONE)
        tree.open_nodes = last
        own.explored(ALONE)
        assert own.tree is tree
        tree.open_nodes += last // ALONE
        own.explored(1)
        assert (own.tree is tree) is kept


def test_what_is_open_is_counted_from_where_a_tree_has_begun_anew() -> None:
    own, allowed = InnerBall(), int(inner_ball.FIRST * ALONE)
    own.begin(tree := Begun(0.6), ALONE)
    for spent, tree.open_nodes in ((allowed // 2, allowed // 2), (1, 2), (allowed, 6)):
        own.explored(spent)
    assert own.tree is None, "it grows, though fewer are open than before"


def test_no_farther_out_than_balls_of_another_target() -> None:
    """Where these closed, are searched or were given up."""
    own, other = InnerBall(), InnerBall()
    other.begin(Begun(0.5), ALONE)
    assert own.aim(0.2, 1.0, [InnerBall(), other]) == 0.5
    assert other.tree is not None
    other.tree.open_nodes = 0
    other.explored(1)
    assert own.aim(0.2, 1.0, [other]) == other.proved == 0.5
    assert own.aim(0.2, 1.0, [InnerBall(proved=0.2 + 0.5 * inner_ball.WORTH)]) == pytest.approx(0.6)
    assert own.aim(0.2, 1.0, [InnerBall(proved=0.9), InnerBall(given_up=[0.7])]) == pytest.approx(0.6)
    assert own.aim(0.2, 1.0, [InnerBall(given_up=[0.9, 0.4]), other]) == 0.4
    own.begin(Begun(0.5, stuck=True), ALONE)
    own.explored(1)
    assert own.aim(0.2, 1.0, [other]) == pytest.approx(0.35)
    own = InnerBall(given_up=[0.5])
    assert own.aim(0.48, 1.0, [InnerBall(proved=0.49)]) == 0.5, "what was given up goes on first"


def test_where_one_was_stuck_none_is_begun_again() -> None:
    """More nodes do not mend it: balls come as near to it as is worth while, and then there are none."""
    own, tree = InnerBall(), Begun(1.0)
    lower, begun = 0.2, list[float]()
    while own.due(10**6, ALONE, tree, lower, 1.0):
        assert len(begun) < 100, "no end"
        aim = own.aim(lower, 1.0)
        own.begin(inner := Begun(aim, stuck=aim > 0.4), ALONE)
        begun.append(aim)
        inner.open_nodes = int(inner.stuck)
        own.explored(1)
        lower = lower if inner.stuck else aim
    assert len(begun) == len(set(begun))
    assert 0.4 - inner_ball.NARROW <= lower <= 0.4
    assert own.due(10**6, ALONE, tree, own.dry, 1.0), "the tree itself has excluded that since"
    assert own.aim(own.dry, 1.0) > own.dry


def test_turns() -> None:
    """None before trees have had their nodes alone, none where the lower end is high or no witness known, and no more
    than their share of nodes. Beside a tree that closes hardly any node they come sooner, and have a larger share; a
    new tree of the target says so only when it has had some nodes."""
    own, tree = InnerBall(), Begun(1.0)
    tree.nodes, tree.open_nodes = ALONE, ALONE // 2
    assert not own.due(ALONE - 1, ALONE, tree, 0.1, 1.0)
    assert own.due(ALONE, ALONE, tree, 0.1, 1.0)
    assert not own.due(ALONE, math.inf, tree, 0.1, 1.0)
    assert not own.due(ALONE, ALONE, tree, inner_ball.HIGH, 1.0)
    assert not own.due(ALONE, ALONE, tree, 0.1, math.inf)
    own.nodes = ALONE
    spare, crowded_spare = (math.ceil(ALONE / share) for share in (inner_ball.SHARE, inner_ball.CROWDED_SHARE))
    assert not own.due(ALONE + spare - 1, ALONE, tree, 0.1, 1.0)
    assert own.due(ALONE + spare, ALONE, tree, 0.1, 1.0)
    tree.open_nodes = ALONE - 1
    assert own.due(ALONE + crowded_spare, ALONE, tree, 0.1, 1.0)
    assert not own.due(ALONE + crowded_spare - 1, ALONE, tree, 0.1, 1.0)
    own.nodes, sooner = 0, int(inner_ball.FIRST * ALONE)
    assert own.due(sooner, ALONE, tree, 0.1, 1.0, early=True)
    assert not own.due(sooner - 1, ALONE, tree, 0.1, 1.0, early=True)
    assert not own.due(sooner, ALONE, tree, 0.1, 1.0)
    assert not own.due(sooner, math.inf, tree, 0.1, 1.0, early=True)
    tree.open_nodes = ALONE // 2
    assert not own.due(sooner, ALONE, tree, 0.1, 1.0, early=True)
    fresh = Begun(1.0)
    assert not own.due(sooner, ALONE, fresh, 0.1, 1.0, early=True), "one open node of none"
    fresh.nodes = fresh.open_nodes = sooner
    assert own.due(sooner, ALONE, fresh, 0.1, 1.0, early=True)
    assert own.due(sooner, ALONE, Begun(0.98), 0.1, 1.0, early=True)
    assert own.due(0, ALONE, Begun(1.0), 0.1, 1.0, early=True, others=True), "others hardly close any node"
    assert own.crowded
