"""`minimal` never ends with a worse upper end than `attack` at the same seed and limit."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any
from unittest import mock

import numpy as np
import pytest

import verifier
from encoders.network.graph import Array
from tests.verifier.search.made_up_trees import Judge, Target, World
from verifier.problem.budget import Budget
from verifier.problem.norms.table import FLAT_NORMS
from verifier.problem.query import Norm
from verifier.problem.verdict import Bracket, Status, Witness
from verifier.search import all_targets, incumbent
from verifier.search.state import Attacker, Problem
from verifier.solvers.branch_and_bound import BranchAndBound
from verifier.solvers.tree.table import TREES, TreeKind

PRECISION = 1e-3


class Halting(Budget):
    """Ends after so many looks, so that trees are stopped midway whatever the machine is doing."""

    def __init__(self, looks: int, whole: float = math.inf) -> None:
        super().__init__(whole)
        self.looks, self.whole = looks, float(looks)

    @property
    def remaining(self) -> float:
        self.looks -= 1
        return max(0.0, 100.0 * self.looks / self.whole)


@pytest.mark.parametrize("norm", FLAT_NORMS)
@pytest.mark.parametrize("seed", range(5))
def test_minimal_is_no_worse_than_attack(truth: Any, save_net: Any, norm: Norm, seed: int) -> None:
    model = save_net(truth.net(seed, (3, 6, 6, 4)))
    x = np.random.default_rng(seed).integers(0, 9, 3) / 8
    attacked = verifier.attack(model, x, norm=norm.value, seed=seed)
    bracket = verifier.minimal(model, x, norm=norm.value, seed=seed, precision=PRECISION)
    closed = bracket.status in (Status.MINIMAL, Status.ALREADY_ADVERSARIAL)
    assert bracket.upper <= attacked.upper + (PRECISION if closed else 0.0)


class Attacks:
    """A made-up world's attacks: the first finds a far point, the longer one a near one; `calls` in order."""

    def __init__(self, world: World) -> None:
        self.world, self.calls = world, list[str]()

    def problem(self) -> Problem:
        (goal,) = self.world.goals
        return replace(self.world.problem((goal,), 1), attack=self.by("first", FAR), thorough=self.by("longer", NEAR))

    def by(self, name: str, distance: float) -> Attacker:
        def run(_: Budget) -> list[Array | None]:
            self.calls.append(name)
            return [self.world.point(1, distance)]

        return run


FAR, NEAR = 1.0, 0.5625


def followed(world: World) -> tuple[Bracket, list[str]]:
    """The last bracket of a search by the world's trees, and the attacks that ran."""
    attacks, decider = Attacks(world), mock.Mock(trees=world)
    *_, last = incumbent.follow(attacks.problem(), decider, world.budget)
    return last, attacks.calls


def test_what_trees_leave_open_is_attacked_at_length() -> None:
    last, calls = followed(World({1: Target(0.5, stuck=0.1, finds=1000)}))
    assert calls == ["first", "longer"]
    assert (last.status, last.upper) == (Status.BRACKETED, NEAR)


def test_the_longer_attack_s_nearest_point_is_polished_as_by_the_attack_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may lie farther out than the witness, and be nearer than that once it is polished."""
    world = World({1: Target(0.5, stuck=0.1, finds=1000)})
    (goal,) = world.goals
    asked = replace(
        world.problem((goal,), 1),
        attack=lambda _: [world.point(1, NEAR)],
        thorough=lambda _: [world.point(1, FAR), world.point(1, 2 * FAR)],
    )

    def polished(judge: Judge, found: Witness, slack: float, budget: Budget) -> Witness:
        return replace(found, distance={FAR: NEAR / 2}.get(found.distance, found.distance))

    monkeypatch.setattr(Judge, "polished", polished)
    *_, last = incumbent.follow(asked, mock.Mock(trees=world), world.budget)
    assert (last.status, last.upper) == (Status.BRACKETED, NEAR / 2)


def test_of_several_targets_each_left_open_gets_its_own_point() -> None:
    world = World({1: Target(0.5, stuck=0.1, finds=1000), 2: Target(0.25), 3: Target(0.5, stuck=0.1, finds=1000)})
    calls = list[str]()

    def by(name: str, distance: float) -> Attacker:
        def run(_: Budget) -> list[Array | None]:
            calls.append(name)
            return [world.point(place, distance + place / 64) for place in world.targets]

        return run

    asked = replace(world.problem(tuple(world.goals), 1), attack=by("first", FAR), thorough=by("longer", NEAR))
    brackets = incumbent._follow(asked, world.states(each=True), mock.Mock(trees=world))
    last = {bracket.target: bracket for bracket in brackets if bracket.final}
    assert calls == ["first", "longer"]
    assert [last[place].upper for place in (1, 3)] == [NEAR + place / 64 for place in (1, 3)]
    assert last[2].status is Status.MINIMAL


def test_all_targets_have_a_longer_attack(truth: Any, save_net: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model, seen = save_net(truth.net(0, (3, 6, 6, 4))), list[Problem]()
    follow = all_targets.follow_each_both
    monkeypatch.setattr(all_targets, "follow_each_both", lambda *given: seen.append(given[0]) or follow(*given))
    found = verifier.minimal_all_targets(model, [0.25, 0.5, 0.75], precision=PRECISION)
    (problem,) = seen
    assert problem.thorough is not None
    assert len(problem.thorough(Budget())) == len(found.results) == 3


def test_closed_brackets_pay_for_one_attack() -> None:
    last, calls = followed(World({1: Target(0.5)}, alone=1000))
    assert last.status is Status.MINIMAL
    assert calls == ["first"]


class Moment:
    """What `_Again` looks at of a state and of its search."""

    closed = False

    def __init__(self, lasts: bool) -> None:
        self.lasts = lasts

    def offer_all(self, points: Any) -> None: ...


def again_at(lasts: bool, budget: Budget) -> incumbent._Again:
    problem: Any = type("Asked", (), {"thorough": staticmethod(lambda _: [None])})
    moment: Any = Moment(lasts)
    return incumbent._Again(problem, moment, [moment], budget)


def test_without_a_limit_its_turn_comes_by_nodes() -> None:
    assert not again_at(False, Budget()).due()
    again = again_at(True, Budget())
    assert again.due()
    again.run()
    assert not again.due(over=True)


@pytest.mark.parametrize("kind", TREES, ids=lambda kind: kind.name)
def test_a_search_lasts_once_its_trees_have_had_their_nodes(kind: TreeKind) -> None:
    """By the tree's own row: what closes by then pays nothing."""
    decider = BranchAndBound()
    assert decider.nodes_alone(kind.make.engine) == kind.alone


def test_with_a_limit_its_turn_comes_in_time() -> None:
    again = again_at(False, Halting(10))
    turns = [again.due() for _ in range(4)]
    assert not turns[0]
    assert turns[-1]
