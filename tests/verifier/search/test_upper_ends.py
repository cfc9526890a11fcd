"""`minimal` never ends with a worse upper end than `attack` at the same seed and limit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import verifier
from encoders.network.graph import Array
from verifier.problem.budget import Budget
from verifier.problem.query import Norm
from verifier.problem.verdict import Status
from verifier.search import incumbent, initial_attack
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


@pytest.mark.parametrize("norm", Norm)
@pytest.mark.parametrize("seed", range(5))
def test_minimal_is_no_worse_than_attack(truth: Any, save_net: Any, norm: Norm, seed: int) -> None:
    model = save_net(truth.net(seed, (3, 6, 6, 4)))
    x = np.random.default_rng(seed).integers(0, 9, 3) / 8
    attacked = verifier.attack(model, x, norm=norm.value, seed=seed)
    bracket = verifier.minimal(model, x, norm=norm.value, seed=seed, precision=PRECISION)
    closed = bracket.status in (Status.MINIMAL, Status.ALREADY_ADVERSARIAL)
    assert bracket.upper <= attacked.upper + (PRECISION if closed else 0.0)


class Attacks:
    """Stands in for the attacks: the first finds a far point, the longer one a near one; `calls` in order."""

    def __init__(self, far: Array, near: Array) -> None:
        self.far, self.near, self.calls = far, near, list[str]()

    def __call__(self, asked: Any, *_: Any, nearest: bool = False, **__: Any) -> Any:
        def run(_: Budget) -> Sequence[Array | None]:
            self.calls.append("first" if nearest else "longer")
            return [self.far if nearest else self.near] * len(asked.goals)

        return run


def stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trees that find nothing to do, and close nothing."""
    monkeypatch.setattr("verifier.search.scheduler.TreeSearch.run", lambda _: (state for state in ()))
    monkeypatch.setattr("verifier.search.scheduler.TreeSearch.polish", lambda _: iter(()))


def line(truth: Any, save_net: Any) -> verifier.Model:
    """Class 1 from x₀ = 1/2 on."""
    return save_net(truth.of_layers(([[1.0, 0.0]], [0.0]), ([[0.0], [1.0]], [0.5, 0.0])))  # type: ignore[no-any-return]


def test_what_trees_leave_open_is_attacked_at_length(
    truth: Any, save_net: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Attacks(np.array([1.0, 0.0]), np.array([0.5625, 0.0]))
    monkeypatch.setattr(initial_attack, "attacker", found)
    stuck(monkeypatch)
    bracket = verifier.minimal(line(truth, save_net), np.zeros(2))
    assert found.calls == ["first", "longer"]
    assert bracket.upper <= 0.5625


def test_closed_brackets_pay_for_one_attack(truth: Any, save_net: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    found = Attacks(np.array([1.0, 0.0]), np.array([0.5625, 0.0]))
    monkeypatch.setattr(initial_attack, "attacker", found)
    bracket = verifier.minimal(line(truth, save_net), np.zeros(2))
    assert bracket.status is Status.MINIMAL
    assert found.calls == ["first"]


class Moment:
    """What `_Again` looks at of a state and of its search."""

    closed, upper = False, math.inf

    def __init__(self, lasts: bool) -> None:
        self.lasts = lasts


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
