"""The solver process: answers, errors, and its end when time, patience or the parent ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from encoders.errors import InputError
from encoders.network.graph import GraphBuilder
from encoders.network.linear_maps import Dense, readonly
from encoders.network.node_bounds import NodeBounds
from verifier.bounds.alpha_crown import linear_bounds
from verifier.problem.budget import Budget
from verifier.problem.child import Child, ChildError
from verifier.problem.memory import Memory
from verifier.problem.query import Ball, Norm, Query, Targeted, disjuncts
from verifier.problem.verdict import Holds, Unknown, Violated
from verifier.solvers.milp import Milp
from verifier.solvers.process import Guarded, Worker
from verifier.solvers.smt import Smt


def query(sizes: tuple[int, ...], radius: float) -> tuple[Query, NodeBounds]:
    """A random net of dense layers; with wide layers and a large ball no decider ends soon."""
    rng = np.random.default_rng(0)
    builder, last = GraphBuilder(sizes[0]), 0
    for layer, (n, m) in enumerate(pairwise(sizes)):
        source = builder.relu(last) if layer else last
        weight = readonly(rng.normal(size=(m, n)) * np.sqrt(2 / n))
        last = builder.affine([(Dense(weight), source)], rng.normal(size=m))
    graph = builder.graph(last)
    ball = Ball(Norm.LINF, np.full(sizes[0], 0.5), radius, np.zeros(sizes[0]), np.ones(sizes[0]))
    # A margin that no point has: the question has to be refuted in every corner.
    goal = disjuncts(Targeted(1, margin=12.0), sizes[-1])[0][1]
    return Query(graph, ball, goal), linear_bounds(graph, ball, Budget())


EASY, HARD = ((3, 4, 2), 0.1), ((30, 80, 80, 80, 3), 0.5)


@pytest.mark.parametrize("decider", [Smt(), Milp()])
def test_the_child_answers_as_the_decider_does(decider: Smt | Milp) -> None:
    asked, bounds = query(*EASY)
    with Worker() as worker:
        verdict = Guarded(decider, worker).decide(asked, bounds, Budget())
    direct = decider.decide(asked, bounds, Budget())
    assert type(verdict) is type(direct)
    assert isinstance(verdict, Holds | Violated)


def test_an_exception_in_the_child_is_reported_and_the_child_goes_on() -> None:
    asked, bounds = query(*EASY)
    with Worker() as worker:
        with pytest.raises(ChildError, match="AttributeError"):
            worker.call(Smt(), "no_such_method", budget=Budget())
        assert isinstance(Guarded(Smt(), worker).decide(asked, bounds, Budget()), Holds | Violated)


def test_a_refused_option_stays_an_input_error() -> None:
    asked, bounds = query(*EASY)
    with Worker() as worker, pytest.raises(InputError, match="unknown solver"):
        worker.call(Milp("no such solver"), "decide", asked, bounds, budget=Budget())


DERIVED: dict[str, Callable[[Budget], Budget]] = {
    "itself": lambda whole: whole,
    "share": lambda whole: whole.share(3),
    "reserve": lambda whole: whole.reserve(1.0),
    "first_of": lambda whole: whole.first_of(Budget()),
}


@pytest.mark.parametrize("derived", DERIVED.values(), ids=DERIVED)
@pytest.mark.parametrize("decider", [Smt(), Milp()])
def test_cancelling_ends_a_call_that_does_not_return(decider: Smt | Milp, derived: Callable[[Budget], Budget]) -> None:
    asked, bounds = query(*HARD)
    budget = Budget()
    with Worker() as worker:
        timer = threading.Timer(1.0, budget.cancel)
        timer.start()
        verdict = Guarded(decider, worker).decide(asked, bounds, derived(budget))
        timer.cancel()
        assert verdict == Unknown("interrupted")
        with pytest.raises(ChildError):
            worker.call(decider, "decide", asked, bounds, budget=Budget())


def test_a_share_that_is_used_up_ends_a_call_though_the_whole_goes_on() -> None:
    asked, bounds = query(*HARD)
    whole = Budget(3600.0)
    with Worker() as worker:
        verdict = Guarded(Milp(), worker).decide(asked, bounds, whole.share(3600.0))
    assert isinstance(verdict, Unknown)
    assert not whole.ended


@pytest.mark.parametrize("decider", [Smt(), Milp()])
def test_a_deadline_ends_a_call_that_does_not_return(decider: Smt | Milp) -> None:
    asked, bounds = query(*HARD)
    with Worker() as worker:
        assert isinstance(Guarded(decider, worker).decide(asked, bounds, Budget(1.0)), Unknown)


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="a process cannot be stopped here")
def test_a_deadline_ends_a_call_that_the_child_does_not_read() -> None:
    """More than a pipe holds, for a child that is not there yet."""
    (asked, bounds), begun = query((300, 300, 2), 0.1), time.monotonic()
    with Worker() as worker:
        os.kill(worker._child.pid, signal.SIGSTOP)
        verdict = Guarded(Milp(), worker).decide(asked, bounds, Budget(0.3))
    assert isinstance(verdict, Unknown)
    assert "time limit" in verdict.reason
    assert time.monotonic() - begun < 10.0


def test_what_cannot_be_sent_is_told() -> None:
    with Worker() as worker, pytest.raises(TypeError, match="pickle"):
        worker.call(threading.Lock(), "acquire", budget=Budget(60))


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads process states from /proc, which Linux has")
def test_the_child_ends_with_its_parent() -> None:
    program = "from verifier.solvers.process import Worker; w = Worker(); print(w._child.pid, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
    while _lives(child):
        pass


def _lives(pid: int) -> bool:
    """True until the process is gone, or waits for init to take its exit code."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_child_that_takes_more_than_the_memory_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = query(*EASY)
    monkeypatch.setattr(Child, "memory", 1e12)
    with Worker() as worker:
        found = Guarded(Smt(), worker).decide(*asked, Budget(memory=Memory(1e12)))
        assert found == Unknown("the memory limit of 1 TB was reached")
        assert worker._child._process.poll() is not None
