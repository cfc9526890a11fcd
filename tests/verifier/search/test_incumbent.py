"""The method tree: every target at once, reproducible, in time, honest at precisions finer than the inputs' grid."""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import verifier
from verifier import models
from verifier.problem.budget import Budget
from verifier.problem.verdict import LINEAR_BOUNDS, Bracket, Evidence, Holds, Status, Unknown, Violated
from verifier.search import incumbent, robustness
from verifier.search.state import SearchState
from verifier.solvers.kernels import cache

LIMIT = 60.0
"""Seconds by a clock that only looks at it move."""

LAST_LOOKS = 60
"""Looks at a budget after its end: some for each target and each layer that is left."""


@pytest.fixture(scope="module")
def digits() -> verifier.Model:
    return verifier.load(models.path("digits"))


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.load(models.path("digits").parent / "digits_inputs.npz")["x"]


@pytest.fixture(scope="module")
def hard() -> tuple[verifier.Model, np.ndarray]:
    """An instance whose brackets stay open for long: the black image on the adversarially trained net."""
    return verifier.load(models.path("mnist_n_adversarial")), np.zeros(784, np.float32)


def told(bracket: Bracket) -> tuple[Any, ...]:
    """What must not change from run to run."""
    assert bracket.search is not None
    assert bracket.witness is not None
    counted = bracket.search.engine, bracket.search.nodes, bracket.search.open_nodes
    return bracket.lower, bracket.upper, bracket.status, bracket.target, counted, bracket.witness.point.tobytes()


@pytest.mark.parametrize("norm", ["linf", "l1"])
def test_two_runs_are_the_same(digits: verifier.Model, images: np.ndarray, norm: str) -> None:
    cache.compile_now()  # else they might become ready between the runs
    one, other = (told(verifier.minimal(digits, images[1], norm=norm, seed=3)) for _ in range(2))
    assert one == other
    runs = [verifier.minimal_all_targets(digits, images[1], norm=norm, seed=3).results for _ in range(2)]
    assert [told(bracket) for bracket in runs[0]] == [told(bracket) for bracket in runs[1]]


@pytest.mark.parametrize("norm", ["linf", "l1"])
@pytest.mark.parametrize("threads", [1, 2])
def test_targets_side_by_side_agree_with_each_alone(
    digits: verifier.Model, images: np.ndarray, norm: str, threads: int
) -> None:
    seen: list[Bracket] = []
    every = verifier.minimal_all_targets(digits, images[2], norm=norm, threads=threads, progress=seen.append)
    assert [bracket.target for bracket in seen if bracket.final] == [bracket.target for bracket in every.results]
    for bracket in every.results:
        assert bracket.status is Status.MINIMAL
        assert bracket.evidence is Evidence.PROVED
        assert bracket.witness is not None
        assert bracket.witness.predicted == bracket.target
        alone = verifier.minimal(digits, images[2], target=bracket.target, norm=norm)
        assert max(alone.lower, bracket.lower) <= min(alone.upper, bracket.upper)
        mine = [entry for entry in seen if entry.target == bracket.target]
        assert all(a.lower <= b.lower and b.upper <= a.upper for a, b in itertools.pairwise(mine))
    total = every.overall.search
    assert total is not None
    assert total.nodes == sum(bracket.search.nodes for bracket in every.results if bracket.search)
    assert total.open_nodes == 0


def test_an_untargeted_search_spends_nothing_on_hopeless_targets(digits: verifier.Model, images: np.ndarray) -> None:
    nearest = verifier.minimal(digits, images[6])
    alone = verifier.minimal(digits, images[6], target=nearest.target)
    assert nearest.search is not None
    assert alone.search is not None
    assert nearest.search.nodes <= alone.search.nodes + 3 * 8


def test_two_threads_find_the_same_minimum(digits: verifier.Model, images: np.ndarray) -> None:
    one, two = (verifier.minimal(digits, images[5], norm="l1", threads=threads) for threads in (1, 2))
    assert two.status is Status.MINIMAL
    assert max(one.lower, two.lower) <= min(one.upper, two.upper)


@pytest.mark.parametrize("norm", ["linf", "l1"])
def test_a_fine_precision_costs_little(digits: verifier.Model, images: np.ndarray, norm: str) -> None:
    coarse, fine = (verifier.minimal(digits, images[0], target=9, norm=norm, precision=p) for p in (1e-3, 1e-6))
    assert fine.status is Status.MINIMAL
    assert fine.upper - fine.lower <= 1e-6
    assert coarse.search is not None
    assert fine.search is not None
    assert fine.search.nodes <= 2 * coarse.search.nodes + 16


@pytest.mark.parametrize(("place", "target"), [(5, 1), (7, 0)])
def test_the_upper_end_does_not_creep(digits: verifier.Model, images: np.ndarray, place: int, target: int) -> None:
    """Where rounding refuses a region's nearest point, its other points would come one precision nearer at a time."""
    seen = list(verifier.brackets(digits, images[place], target=target, norm="l1", precision=1e-6))
    assert seen[-1].status is Status.MINIMAL
    assert len({bracket.upper for bracket in seen}) <= 10


@pytest.mark.parametrize("norm", ["linf", "l1"])
def test_a_precision_below_the_grid_of_inputs_ends_honestly(
    digits: verifier.Model, images: np.ndarray, norm: str
) -> None:
    found = verifier.minimal(digits, images[0], target=9, norm=norm, precision=1e-9)
    assert found.gap <= 1e-6
    if found.status is not Status.MINIMAL:
        assert found.status is Status.BRACKETED
        assert "float32" in found.reason


@pytest.mark.parametrize("norm", ["linf", "l1"])
def test_the_lower_end_of_a_hard_instance_rises_soon(hard: tuple[verifier.Model, np.ndarray], norm: str) -> None:
    model, x = hard
    found = verifier.minimal(model, x, target=8, norm=norm, timeout=Ticking(2500, cancelled=True))
    assert found.lower > 0.1 * found.upper


def test_a_large_network_has_a_lower_end_before_its_first_tree(
    digits: verifier.Model, images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    for small in (incumbent.SMALL, 0):
        monkeypatch.setattr(incumbent, "SMALL", small)
        seen = verifier.brackets(digits, images[6])
        assert next(seen).lower == 0.0
        early = next(seen)
        assert (early.search is None) == (small == 0)
        seen.close()
    assert 0.0 < early.lower < early.upper
    found = verifier.certificate(digits, images[6], early.lower, float32=early.lower)
    assert found.result.lower == found.result.float32 == early.lower


Run = Callable[[verifier.Model, np.ndarray, Budget], Any]
RUNS: dict[str, Run] = {
    "minimal": lambda model, x, budget: verifier.minimal(model, x, target=8, norm="l1", timeout=budget),
    "untargeted": lambda model, x, budget: verifier.minimal(model, x, margin=8.0, norm="l1", timeout=budget),
    "two threads": lambda model, x, budget: verifier.minimal_all_targets(model, x, timeout=budget, threads=2).overall,
    "every target": lambda model, x, budget: verifier.minimal_all_targets(model, x, norm="l1", timeout=budget).overall,
    "check": lambda model, x, budget: verifier.check(model, x, 7.5, target=8, norm="l1", timeout=budget),
}


class Ticking(Budget):
    """A budget whose clock moves with each look at it, so that no busy machine makes it end earlier or later.

    It ends at look number `end`: by its time limit or, if `cancelled`, by Ctrl-C.
    """

    def __init__(self, end: int, *, cancelled: bool) -> None:
        super().__init__(math.inf if cancelled else LIMIT)
        self.looks, self._end, self._by_hand = 0, end, cancelled

    @property
    def spent(self) -> float:
        return LIMIT * self.looks / self._end

    @property
    def remaining(self) -> float:
        self.looks += 1
        if self._by_hand and self.looks >= self._end:
            self.cancel()
        return super().remaining


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS.keys())
@pytest.mark.parametrize(
    ("cancelled", "end"),
    [(False, 10), (True, 100), (False, 600), (True, 1500)],
    ids=lambda value: ("time limit", "Ctrl-C")[value] if isinstance(value, bool) else str(value),
)
def test_the_search_ends_when_the_budget_does(
    hard: tuple[verifier.Model, np.ndarray], run: Run, cancelled: bool, end: int
) -> None:
    """In the attack, in the linear bounds, in the trees: each layer looks once or twice more on its way out."""
    budget = Ticking(end, cancelled=cancelled)
    found = run(*hard, budget)
    assert end <= budget.looks <= end + LAST_LOOKS
    assert budget.remaining == 0
    assert found.reason == budget.reason
    assert isinstance(found, Bracket) or isinstance(found.verdict, Unknown)


def test_a_search_that_never_began_is_still_an_answer(digits: verifier.Model, images: np.ndarray) -> None:
    budget = Budget()
    budget.cancel()
    every = verifier.minimal_all_targets(digits, images[0], timeout=budget)
    assert len(every.results) == 9
    assert every.overall.status is Status.BRACKETED
    assert (every.overall.lower, every.overall.reason) == (0.0, "interrupted")


def test_checks_say_what_they_took(digits: verifier.Model, images: np.ndarray) -> None:
    closed = verifier.minimal(digits, images[4])
    near = verifier.check(digits, images[4], closed.lower / 10)
    assert isinstance(near.verdict, Holds)
    assert near.search is not None
    assert (near.search.engine, near.search.nodes) == (LINEAR_BOUNDS, 0)
    close = verifier.check(digits, images[4], closed.lower)
    assert close.search is not None
    assert close.search.engine != LINEAR_BOUNDS
    assert close.search.nodes > 0
    assert close.search.open_nodes == 0
    far = verifier.check(digits, images[4], closed.upper * 1.5)
    assert far.search is None


@pytest.mark.parametrize("relus", [0, 10_000])
def test_a_small_network_that_linear_bounds_answer_for_is_not_attacked(
    digits: verifier.Model, images: np.ndarray, relus: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = verifier.minimal(digits, images[4])
    attacks: list[float] = []
    attack = SearchState.attack

    def counted(state: SearchState, *, polish: bool = True) -> None:
        attacks.append(state.upper)
        attack(state, polish=polish)

    monkeypatch.setattr(SearchState, "attack", counted)
    monkeypatch.setattr(robustness, "BOUNDS_FIRST", relus)
    bounds_first = relus >= digits.graph.relu_count
    for radius, verdict, attacked in (
        (closed.lower / 10, Holds, not bounds_first),
        (closed.lower, Holds, True),
        (closed.upper, Violated, True),
    ):
        attacks.clear()
        answer = verifier.check(digits, images[4], radius)
        assert isinstance(answer.verdict, verdict)
        assert bool(attacks) == attacked
        assert answer.float32 is (True if verdict is Holds else None)


class EnoughError(Exception):
    """Whoever asked has seen enough."""


def workers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("ThreadPoolExecutor")]


def enough(_: Bracket) -> None:
    if workers():
        raise EnoughError


def one_bracket(model: verifier.Model, x: np.ndarray) -> None:
    brackets = verifier.brackets(model, x, threads=2)
    while not workers():
        next(brackets)
    brackets.close()
    raise EnoughError


def all_targets(model: verifier.Model, x: np.ndarray) -> None:
    verifier.minimal_all_targets(model, x, threads=2, progress=enough)


def one_check(model: verifier.Model, x: np.ndarray) -> None:
    verifier.check(model, x, 0.03, threads=2, progress=enough)


@pytest.mark.parametrize("ask", [one_bracket, all_targets, one_check])
def test_a_search_that_is_left_leaves_no_thread(
    hard: tuple[verifier.Model, np.ndarray], monkeypatch: pytest.MonkeyPatch, ask: Callable[..., None]
) -> None:
    """… not even while what was raised is still looked at."""
    monkeypatch.setattr(incumbent, "REPORT", 0.0)
    with pytest.raises(EnoughError) as raised:
        ask(*hard)
    assert workers() == []
    assert raised.tb is not None
