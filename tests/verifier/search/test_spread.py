"""A tree that several explore: the minimum of one, whatever becomes of them; none outlives who asks."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import verifier
from encoders.errors import InputError
from verifier import models
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.query import Norm
from verifier.problem.verdict import Holds, Status, Violated
from verifier.problem.workers import LOKY, THREADING, Workers
from verifier.search import spread
from verifier.search.settings import Settings
from verifier.search.spread import Spreading, dealt
from verifier.solvers.tree.lending import Remainder
from verifier.solvers.tree.lp_tree import LpTree
from verifier.solvers.tree.part import LentPart, PartDone
from verifier.solvers.tree.protocol import TreeRoot
from verifier.solvers.tree.table import TREES

IMAGE, TARGET = 6, 8


@pytest.fixture
def shallow() -> Iterator[None]:
    """LP trees look for the nearest node after each one, so that a small tree has several open."""
    (kind,) = (kind for kind in TREES if kind.name == "lp")
    usual = kind.settings.slice
    object.__setattr__(kind.settings, "slice", 1)
    yield
    object.__setattr__(kind.settings, "slice", usual)


@pytest.fixture
def at_once(shallow: None, monkeypatch: pytest.MonkeyPatch) -> list[PartDone]:
    """Trees are given away as soon as there are nodes for all; what was done elsewhere."""
    done: list[PartDone] = []
    run = LentPart.run

    def noted(part: LentPart) -> PartDone:
        done.append(run(part))
        return done[-1]

    monkeypatch.setattr(spread, "LASTS", 0.0)
    monkeypatch.setattr(spread, "PARTS", 1)
    monkeypatch.setattr(spread, "SLICE", 0.05)
    monkeypatch.setattr(LentPart, "run", noted)
    return done


@pytest.fixture(scope="module")
def digits() -> tuple[verifier.Model, Any]:
    return verifier.load("digits"), np.load(models.input_file("digits"))["x"]


@pytest.mark.parametrize("norm", ["linf", "l1"])
def test_two_find_the_minimum_of_one(digits: tuple[verifier.Model, Any], at_once: list[PartDone], norm: str) -> None:
    model, images = digits
    alone = verifier.minimal(model, images[IMAGE], target=TARGET, norm=norm)
    assert not at_once
    found = verifier.minimal(model, images[IMAGE], target=TARGET, norm=norm, workers=Workers(THREADING, 2))
    assert at_once
    assert (found.status, found.upper - found.lower <= found.precision) == (Status.MINIMAL, True)
    assert max(found.lower, alone.lower) <= min(found.upper, alone.upper)
    assert found.float32 is not None
    assert (found.float32 > 0) == ((alone.float32 or 0.0) > 0)


def test_checks_on_either_side_of_the_minimum_are_answered(
    digits: tuple[verifier.Model, Any], at_once: list[PartDone]
) -> None:
    model, images = digits
    alone = verifier.minimal(model, images[IMAGE], target=TARGET)
    for radius, kind in ((0.99 * alone.lower, Holds), (1.01 * alone.upper, Violated)):
        answer = verifier.check(model, images[IMAGE], radius, target=TARGET, workers=Workers(THREADING, 2))
        assert isinstance(answer.verdict, kind)
    assert at_once


def test_what_is_lost_is_done_again(
    digits: tuple[verifier.Model, Any], at_once: list[PartDone], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, images = digits
    rounds, each = [0], Workers.each

    def failing(workers: Workers, call: Any, given: Iterable[Any], budget: Budget) -> Iterator[Any]:
        rounds[0] += 1
        yield from each(workers, call, list(given)[: 1 if rounds[0] % 2 else None], budget)
        if rounds[0] % 2:
            raise RuntimeError("a worker was lost")

    monkeypatch.setattr(Workers, "each", failing)
    found = verifier.minimal(model, images[IMAGE], target=TARGET, workers=Workers(THREADING, 2))
    assert (found.status, rounds[0] > 0) == (Status.MINIMAL, True)


def test_where_workers_are_lost_again_and_again_this_process_goes_on(
    digits: tuple[verifier.Model, Any], at_once: list[PartDone], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, images = digits
    rounds, told = [0], list[str]()

    def failing(*_: Any) -> Iterator[Any]:
        rounds[0] += 1
        raise RuntimeError("no worker\nthere")
        yield

    monkeypatch.setattr(Workers, "each", failing)
    found = verifier.minimal(model, images[IMAGE], target=TARGET, workers=Workers(THREADING, 2, gone=told.append))
    assert (found.status, found.reason, rounds[0]) == (Status.MINIMAL, "", spread.LOSSES)
    assert told == ["the processes that explore the tree were lost 3 times: no worker there"]


def test_workers_that_do_not_answer_keep_nobody_beyond_the_time(
    digits: tuple[verifier.Model, Any], at_once: list[PartDone], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, images = digits
    budget = Budget()

    def silent(*_: Any) -> Iterator[Any]:
        budget.cancel()
        time.sleep(1)
        yield from ()

    monkeypatch.setattr(Workers, "each", silent)
    found = verifier.minimal(model, images[IMAGE], target=TARGET, workers=Workers(THREADING, 2), timeout=budget)
    assert (found.status, found.reason) == (Status.BRACKETED, "interrupted")
    assert found.search is not None
    assert found.search.open_nodes > 0


def test_that_a_cluster_has_no_workers_is_told_and_is_the_reason(
    digits: tuple[verifier.Model, Any], at_once: list[PartDone], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, images = digits
    budget, told = Budget(), list[str]()

    def without_workers(workers: Workers, *_: Any) -> Iterator[Any]:
        workers.tell("--scheduler there has no workers")
        budget.cancel()
        yield from ()

    monkeypatch.setattr(Workers, "each", without_workers)
    asked = Workers(THREADING, 2, tell=told.append)
    found = verifier.minimal(model, images[IMAGE], target=TARGET, workers=asked, timeout=budget)
    assert told == ["--scheduler there has no workers"]
    assert (found.status, found.reason) == (Status.BRACKETED, "interrupted: --scheduler there has no workers")
    assert 0 < found.lower < found.upper


def test_a_cluster_that_does_not_answer_is_an_error(
    digits: tuple[verifier.Model, Any], at_once: list[PartDone], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, images = digits

    def silent(*_: Any) -> Iterator[Any]:
        raise InputError("--scheduler there: it does not answer")
        yield

    monkeypatch.setattr(Workers, "each", silent)
    with pytest.raises(InputError, match="it does not answer"):
        verifier.minimal(model, images[IMAGE], target=TARGET, workers=Workers(THREADING, 2))


def test_parts_that_keep_coming_in_keep_nobody_beyond_the_time(
    make_root: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All are there at once, and none is waited for."""
    root = make_root(15, (3, 12, 4), Norm.LINF, 2)
    tree = LpTree(TreeRoot(root.stages, root.ball, root.goal, *root.ends))
    nodes, budget = tree.open_nodes, Budget()
    budget.cancel()
    monkeypatch.setattr(spread, "FAREWELL", -1.0)
    monkeypatch.setattr(
        Workers,
        "each",
        lambda _, call, given, budget: (
            PartDone(part.loan, Remainder(part.nodes, [], []), 0, 0.0, None, exceeded=False) for part in given
        ),
    )
    with pytest.raises(OutOfTimeError, match="interrupted"):
        list(Spreading(Workers(THREADING, 2)).round(tree, budget))
    assert tree.open_nodes == nodes


def test_what_does_not_go_with_workers_is_refused(digits: tuple[verifier.Model, Any]) -> None:
    model, images = digits
    with pytest.raises(InputError, match="jobs go with one thread each"):
        Settings(Budget(), threads=2, workers=Workers(jobs=2))
    with pytest.raises(InputError, match="jobs go with the methods tree and auto, not with milp"):
        verifier.minimal(model, images[0], method="milp", workers=Workers(jobs=2))


def test_every_node_is_dealt_to_one_part() -> None:
    nodes: list[Any] = list(range(11))
    assert sorted(node for part in dealt(nodes, 4) for node in part) == nodes
    assert [len(part) for part in dealt(nodes[:3], 8)] == [1, 1, 1]
    assert Spreading(Workers(jobs=2))._losses == 0


LONG = """
import numpy as np, verifier
from encoders.formulations.to_stages import to_stages
from verifier.bounds.alpha_crown import linear_bounds
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.query import Norm
from verifier.problem.query import Ball, Norm, Targeted, disjuncts
from verifier.problem.workers import Workers
from verifier.search.spread import Spreading
from verifier.solvers.branch_and_bound import hidden_bounds
from verifier.solvers.tree.bound_tree import BoundTree
from verifier.solvers.tree.protocol import TreeRoot

model = verifier.load("mnist_n")
x = np.random.default_rng(0).random(784)
ball = Ball(Norm.LINF, x, 0.2, np.zeros(784), np.ones(784))
stages, goal = to_stages(model.graph), disjuncts(Targeted((model.predict(x) + 1) % 10), 10)[0][1]
tree = BoundTree(TreeRoot(stages, ball, goal, *hidden_bounds(stages, linear_bounds(model.graph, ball, Budget()))))
tree.silence()
while tree.open_nodes < 8:
    tree.explore(Budget())
spread = Spreading(Workers(jobs=2))
while True:
    for done in spread.round(tree, Budget()):
        print(done.nodes, flush=True)
"""
"""A tree whose points are all refused: it does not close."""


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads processes from /proc, which Linux has")
def test_the_workers_end_with_who_asked() -> None:
    asking = subprocess.Popen([sys.executable, "-c", LONG], stdout=subprocess.PIPE, text=True)
    assert asking.stdout is not None
    assert int(asking.stdout.readline()) > 0
    workers = [pid for pid in map(int, filter(str.isdecimal, os.listdir("/proc"))) if _parent(pid) == asking.pid]
    assert len(workers) >= 2
    asking.kill()
    asking.wait()
    while any(_parent(pid) is not None for pid in workers):
        time.sleep(0.05)


def _parent(pid: int) -> int | None:
    """Of a process that runs; None for one that does not."""
    try:
        state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    except OSError:
        return None
    return None if state == "Z" else int(parent)


def test_loky_s_processes_find_the_minimum_of_one(
    digits: tuple[verifier.Model, Any], shallow: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, images = digits
    alone, nodes, rounds = verifier.minimal(model, images[IMAGE], target=TARGET), list[int](), Spreading.round

    def told(*given: Any) -> Iterator[PartDone]:
        for done in rounds(*given):
            nodes.append(done.nodes)
            yield done

    monkeypatch.setattr(spread, "LASTS", 0.0)
    monkeypatch.setattr(spread, "PARTS", 1)
    monkeypatch.setattr(Spreading, "round", told)
    found = verifier.minimal(model, images[IMAGE], target=TARGET, workers=Workers(LOKY, 2))
    assert sum(nodes) > 0
    assert found.status is Status.MINIMAL
    assert max(found.lower, alone.lower) <= min(found.upper, alone.upper)
