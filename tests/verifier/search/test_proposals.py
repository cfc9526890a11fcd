"""Proposers beside trees: a share of the time and no more, points that are judged, words that count for nothing."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

import verifier
from verifier import models
from verifier.problem.budget import Budget
from verifier.problem.query import Ball, Halfspaces, Query
from verifier.problem.verdict import Evidence, Holds, Unknown, Verdict, Violated
from verifier.search import initial_attack, methods, property_check, proposals
from verifier.search.proposals import FIRST_SLICE, SLICE_SHARE, TREES_ALONE, Posed, Proposals
from verifier.search.scheduler import TreeSearch
from verifier.search.state import SearchState
from verifier.solvers.process import Decider

LIMIT = 100.0


class Clock:
    """The time of this module, moved by hand."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(proposals.time, "monotonic", found.monotonic)
    return found


class NoWorker:
    """In place of a child process."""

    def call(self, decider: Any, method: str, *arguments: Any, budget: Budget) -> Any:
        return getattr(decider, method)(*arguments, budget)

    def close(self) -> None: ...


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proposals, "Worker", NoWorker)


@dataclass(eq=False)
class Told(Decider):
    """Answers what it was told to, after it has used up its time where that is to be."""

    answer: Verdict
    named: str = "told"
    clock: Clock | None = None
    asked: list[float] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.named

    @property
    def evidence(self) -> Evidence:
        return Evidence.EXACT

    def decide(self, query: Query, bounds: Any, budget: Budget) -> Verdict:
        self.asked.append(budget.remaining)
        if self.clock is not None:
            self.clock.now += budget.remaining
        return self.answer


def posed(net: verifier.Model, *keys: str) -> list[Posed]:
    ball, goal = Ball.of_box(np.full(1, 0.1), np.ones(1)), Halfspaces(np.ones((1, 1)), np.zeros(1))
    return [Posed(key, Query(net.lowered, ball, goal), lambda: None) for key in keys]  # type: ignore[arg-type, return-value]


@pytest.fixture(scope="module")
def ramp(truth: Any, save_net: Callable[..., verifier.Model]) -> verifier.Model:
    """y = min(x, 1 − x) on [0, 1]."""
    return save_net(truth.of_layers(([[1.0], [1.0]], [0.0, -0.5]), ([[1.0, -2.0]], [0.0])))


POINT = np.full(1, 0.5)


def test_trees_are_alone_first_and_without_a_limit(clock: Clock, in_process: None, ramp: verifier.Model) -> None:
    decider = Told(Violated(POINT))
    with Proposals([decider], 1, Budget()) as endless, Proposals([decider], 1, Budget(LIMIT)) as limited:
        clock.now += TREES_ALONE * LIMIT - 1.0
        assert not limited.due
        clock.now += 2.0
        assert limited.due
        assert not endless.due
        assert not decider.asked
        with Proposals([], 1, Budget(LIMIT)) as nobody:
            clock.now += 50
            assert not nobody.due
        found = limited.point(posed(ramp, "a"))
    assert found is not None
    assert found[0].key == "a"
    assert found[1] is POINT


def test_one_thread_gives_proposers_their_share_and_no_more(
    clock: Clock, in_process: None, ramp: verifier.Model
) -> None:
    """A proposer that never ends in time, while trees take a tenth of a second at a time."""
    decider, begun, spent = Told(Unknown("late"), clock=clock), clock.now, 0.0
    with Proposals([decider], 1, Budget(LIMIT)) as proposed:
        while clock.now < begun + LIMIT:
            if proposed.due:
                before = clock.now
                assert proposed.point(posed(ramp, "a", "b")) is None
                spent += clock.now - before
            assert spent <= SLICE_SHARE * (clock.now - begun) + 1e-9
            clock.now += 0.1
    assert decider.asked[0] == FIRST_SLICE
    assert decider.asked == pytest.approx(sorted(decider.asked))
    assert len(decider.asked) > 1
    assert spent > 0.25 * SLICE_SHARE * LIMIT


def test_who_says_that_there_is_none_is_not_asked_again(clock: Clock, in_process: None, ramp: verifier.Model) -> None:
    first, second = Told(Holds(Evidence.EXACT)), Told(Unknown("no idea"), named="other")
    with Proposals([first, second], 1, Budget(LIMIT)) as proposed:
        clock.now += 50
        for _ in range(5):
            assert proposed.point(posed(ramp, "a", "b")) is None
        assert proposed.held == {"a", "b"}
    assert (len(first.asked), len(second.asked)) == (2, 0)


def test_an_unknown_goes_to_the_next_decider(clock: Clock, in_process: None, ramp: verifier.Model) -> None:
    first, second = Told(Unknown("no idea")), Told(Violated(POINT), named="other")
    with Proposals([first, second], 1, Budget(LIMIT)) as proposed:
        clock.now += 50
        assert proposed.point(posed(ramp, "a")) is None
        assert proposed.point(posed(ramp, "a")) is not None
        assert proposed.point(posed(ramp, "a")) is None
    assert (len(first.asked), len(second.asked)) == (1, 1)


def test_several_threads_ask_beside_and_what_is_under_way_ends_with_the_search(
    in_process: None, monkeypatch: pytest.MonkeyPatch, ramp: verifier.Model
) -> None:
    monkeypatch.setattr(proposals, "TREES_ALONE", 0.0)
    ready = threading.Event()

    class Slow(Told):
        def decide(self, query: Query, bounds: Any, budget: Budget) -> Verdict:
            while not (ready.is_set() or budget.ended):
                time.sleep(0.01)
            return self.answer if ready.is_set() else Unknown(budget.reason)

    with Proposals([Slow(Violated(POINT))], 2, Budget(LIMIT)) as proposed:
        assert proposed.due
        assert proposed.point(posed(ramp, "a")) is None
        assert proposed.busy
        ready.set()
        while (found := proposed.point([])) is None:
            time.sleep(0.01)
        assert found[1] is POINT
        assert not proposed.busy
        ready.clear()
        assert proposed.point(posed(ramp, "b")) is None
        begun = time.monotonic()
    assert time.monotonic() - begun < 5.0


def ask_until_it_fails(proposed: Proposals, questions: list[Posed]) -> None:
    """Beside trees it fails later."""
    while True:
        proposed.point(questions)


def test_a_defect_in_a_proposer_is_not_hidden(
    in_process: None, monkeypatch: pytest.MonkeyPatch, ramp: verifier.Model
) -> None:
    class Broken(Told):
        def decide(self, query: Query, bounds: Any, budget: Budget) -> Verdict:
            raise ZeroDivisionError

    for threads in (1, 2):
        monkeypatch.setattr(proposals, "TREES_ALONE", 0.0)
        monkeypatch.setattr(proposals, "FIRST_SLICE", 0.0)
        broken = Broken(Holds(Evidence.EXACT))
        with pytest.raises(ZeroDivisionError), Proposals([broken], threads, Budget(LIMIT)) as proposed:
            ask_until_it_fails(proposed, posed(ramp, "a"))


@pytest.fixture
def late_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trees that begin when proposers have had their say."""
    explored, run = property_check._PropertySearch._explored, TreeSearch.run
    turns = itertools.count()

    def explored_later(search: Any, *arguments: Any) -> Any:
        return None if next(turns) % 8 < 4 else explored(search, *arguments)

    def run_later(search: TreeSearch) -> Iterator[SearchState]:
        for _ in range(3):
            yield from search._states
            time.sleep(0.02)
        yield from run(search)

    monkeypatch.setattr(property_check._PropertySearch, "_explored", explored_later)
    monkeypatch.setattr(TreeSearch, "run", run_later)


@pytest.fixture
def proposers(monkeypatch: pytest.MonkeyPatch) -> Callable[[Decider], None]:
    """Sets who proposes, from the first moment on."""
    monkeypatch.setattr(proposals, "TREES_ALONE", 0.0)
    monkeypatch.setattr(proposals, "FIRST_SLICE", 0.0)

    def choose(decider: Decider) -> None:
        row = replace(methods.METHODS["auto"], proposers=lambda *_: (decider,))
        monkeypatch.setitem(methods.METHODS, "auto", row)  # type: ignore[arg-type]

    return choose


TEXT = "(declare-const X_0 Real)(declare-const Y_0 Real)(assert (and (>= X_0 0.1) (<= X_0 1)))(assert (>= Y_0 {}))"
LIES = [Holds(Evidence.EXACT), Violated(np.full(1, 0.1)), Violated(np.full(1, np.nan)), Unknown("no idea")]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("lie", LIES, ids=["holds", "point", "nan", "unknown"])
def test_a_proposer_that_lies_changes_no_answer(
    lie: Verdict,
    threads: int,
    proposers: Callable[[Decider], None],
    late_trees: None,
    in_process: None,
    ramp: verifier.Model,
    tmp_path: Any,
) -> None:
    """Of a property that holds, and of one that does not."""
    told = Told(lie)
    proposers(told)
    given: Any = {"method": "auto", "threads": threads, "timeout": 30}
    file = tmp_path / "p.vnnlib"
    file.write_text(TEXT.format(0.501))
    assert isinstance(verifier.check(ramp, property=file, **given).verdict, Holds)
    file.write_text(TEXT.format(0.4999))
    found = verifier.check(ramp, property=file, **given)
    assert isinstance(found.verdict, Violated)
    assert 0.4999 <= found.witness.point.item() <= 0.5001
    assert told.asked


@pytest.mark.parametrize("threads", [1, 2])
def test_a_point_that_trees_miss_answers(
    threads: int,
    proposers: Callable[[Decider], None],
    in_process: None,
    ramp: verifier.Model,
    tmp_path: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Trees and attacks that find nothing; then a proposer that has the point, and one that denies it."""
    monkeypatch.setattr(property_check._PropertySearch, "_explored", lambda *_: None)
    monkeypatch.setattr(property_check._PropertySearch, "_attack", lambda *_: None)
    monkeypatch.setattr(property_check, "sampled", lambda *_: None)
    monkeypatch.setattr(property_check, "learnt_of", lambda *_: [])
    file = tmp_path / "p.vnnlib"
    file.write_text(TEXT.format(0.4999))
    proposers(Told(Violated(POINT)))
    found = verifier.check(ramp, property=file, method="auto", threads=threads, timeout=20)
    assert isinstance(found.verdict, Violated)
    proposers(Told(Holds(Evidence.EXACT)))
    assert isinstance(verifier.check(ramp, property=file, method="auto", threads=threads, timeout=0.5).verdict, Unknown)


@pytest.mark.parametrize("lie", LIES, ids=["holds", "point", "nan", "unknown"])
def test_a_minimum_and_a_radius_with_a_proposer_that_lies(
    lie: Verdict,
    proposers: Callable[[Decider], None],
    late_trees: None,
    in_process: None,
    truth: Any,
    save_net: Callable[..., verifier.Model],
) -> None:
    """Two classes over one input: z₁ − z₀ = 2x − 1.2, so that the label 0 is lost at 0.6."""
    net = save_net(truth.of_layers(([[1.0], [-1.0]], [0.0, 0.6]), ([[0.0, 0.0], [2.0, -2.0]], [0.0, 0.0])))
    x = np.full(1, 0.1)
    told = Told(lie)
    proposers(told)
    plain = verifier.minimal(net, x, target=1, timeout=30)
    asked = verifier.minimal(net, x, target=1, method="auto", timeout=30)
    assert asked.status is plain.status
    assert asked.lower <= plain.upper
    assert plain.lower <= asked.upper
    radius = 0.5 * (plain.lower + plain.upper)
    assert isinstance(verifier.check(net, x, 0.9 * radius, target=1, method="auto", timeout=30).verdict, Holds)
    assert isinstance(verifier.check(net, x, 1.1 * radius, target=1, method="auto", timeout=30).verdict, Violated)
    assert told.asked


def test_a_nearer_point_that_is_proposed_is_the_upper_end(
    proposers: Callable[[Decider], None], in_process: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A minimal witness is handed over while attacks find nothing and trees do nothing."""
    model, x = verifier.load("digits"), np.load(models.path("digits").with_name("digits_inputs.npz"))["x"][6]
    best = verifier.minimal(model, x, timeout=60)
    assert best.witness is not None

    def idle(search: TreeSearch) -> Iterator[SearchState]:
        for _ in range(3):
            yield from search._states

    monkeypatch.setattr(TreeSearch, "run", idle)
    monkeypatch.setattr(initial_attack, "attacker", lambda asked, *_, **__: lambda _: [None] * len(asked.goals))
    without = verifier.minimal(model, x, timeout=20)
    proposers(Told(Violated(best.witness.point.astype(float))))
    found = verifier.minimal(model, x, method="auto", timeout=20)
    assert found.upper <= best.upper + best.precision < without.upper
    assert found.lower <= best.upper


def test_a_solver_in_a_child_process_finds_what_trees_miss(
    ramp: verifier.Model, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proposals, "TREES_ALONE", 0.0)
    monkeypatch.setattr(proposals, "SLICE_SHARE", 1.0)
    monkeypatch.setattr(property_check._PropertySearch, "_explored", lambda *_: time.sleep(0.01))
    monkeypatch.setattr(property_check._PropertySearch, "_attack", lambda *_: None)
    monkeypatch.setattr(property_check, "sampled", lambda *_: None)
    monkeypatch.setattr(property_check, "learnt_of", lambda *_: [])
    file = tmp_path / "p.vnnlib"
    file.write_text(TEXT.format(0.4999))
    found = verifier.check(ramp, property=file, method="auto", threads=2, timeout=60)
    assert isinstance(found.verdict, Violated)
