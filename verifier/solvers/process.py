"""A decider in a process of its own, so that a time limit or Ctrl-C is kept inside any solver call."""

from __future__ import annotations

import contextlib
import math
import queue
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from encoders.network.graph import Array
from encoders.network.node_bounds import NodeBounds
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.child import Child, ChildError, Heard, Reply
from verifier.problem.query import Query
from verifier.problem.verdict import Evidence, Unknown, Verdict

if TYPE_CHECKING:
    from verifier.solvers.tree.protocol import TreeMaker

POLL = 0.02
"""Seconds between two looks at the budget while the child works: Ctrl-C is noticed that fast."""

GRACE, GRACE_SHARE = 0.15, 0.25
"""Seconds, and at most which share of its time, by which a solver is to end before it is killed: to send its answer."""


@dataclass(frozen=True)
class LeastDistance:
    """What minimising the distance left: no solution is closer than `lower`; `point` is the best one, if any."""

    lower: float
    point: Array | None
    infeasible: bool
    reason: str = ""


class Decider(Protocol):
    """Answers queries; `evidence` is the kind that its "holds" carries."""

    @property
    def name(self) -> str: ...
    @property
    def evidence(self) -> Evidence: ...
    def decide(self, query: Query, bounds: NodeBounds, budget: Budget) -> Verdict: ...

    @property
    def trees(self) -> TreeMaker | None:
        """Whose trees a search that follows its incumbent explores; None: this decider answers whole queries only."""
        return None

    def nearest(self, query: Query, bounds: NodeBounds, budget: Budget) -> LeastDistance:
        """The solution of a query that is nearest to its centre. Raises TypeError where it cannot be asked for."""
        raise TypeError(f"{self.name} answers whole queries, it does not minimise the distance")

    def asked_once(self) -> Decider:
        """The same for a process that asks one question, where loading may take longer than answering."""
        return self


@dataclass(frozen=True, eq=False)
class Solving:
    """A decider's method in the child, under a budget of so many seconds."""

    decider: object
    method: str
    arguments: tuple[Any, ...]
    seconds: float

    def run(self) -> Any:
        """The method's result."""
        return getattr(self.decider, self.method)(*self.arguments, Budget(self.seconds))


class Worker:
    """One child process; `call` runs decider.method(*arguments, budget) there. Use it as a context manager."""

    def __init__(self) -> None:
        self._answers: queue.SimpleQueue[Heard] = queue.SimpleQueue()
        self._child = Child(self._answers)

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def call(self, decider: object, method: str, *arguments: Any, budget: Budget) -> Any:
        """The method's result.

        Raises SolverError, ChildError, or OutOfTimeError when the budget ends first: the child is then gone.
        """
        budget.check()
        left = budget.remaining
        seconds = left - min(GRACE, GRACE_SHARE * left) if math.isfinite(left) else left
        # A child that is still being loaded reads nothing, and a large network does not fit into its pipe.
        call = Solving(decider, method, arguments, seconds)
        threading.Thread(target=self._send, args=(call,), daemon=True).start()
        while True:
            with contextlib.suppress(queue.Empty):
                _, heard = self._answers.get(timeout=POLL)
                if heard is None:
                    raise ChildError("the solver process ended without an answer")
                if isinstance(heard, Reply):
                    return heard.result()
            memory = budget.memory
            if budget.ended or not memory.holds(self._child.memory):
                self.close()
                raise OutOfTimeError(budget.reason if budget.ended else memory.reason)

    def _send(self, call: Solving) -> None:
        """Hand a call over; what fails is the answer."""
        try:
            self._child.send(call)
        except Exception as error:  # noqa: BLE001, raised again in the caller's thread
            self._answers.put((self._child, Reply(error=error)))

    def close(self) -> None:
        """Kill the child and everything that it started."""
        self._child.close()


@dataclass
class Guarded(Decider):
    """A decider whose calls run in `worker`, under the same budget."""

    decider: Decider
    worker: Worker

    @property
    def name(self) -> str:
        return self.decider.name

    @property
    def evidence(self) -> Evidence:
        return self.decider.evidence

    def decide(self, query: Query, bounds: NodeBounds, budget: Budget) -> Verdict:
        """The decider's verdict; Unknown when the time is up or the child failed. Raises SolverError."""
        try:
            verdict: Verdict = self.worker.call(self.decider, "decide", query, bounds, budget=budget)
        except (OutOfTimeError, ChildError) as error:
            return Unknown(str(error))
        return verdict

    def nearest(self, query: Query, bounds: NodeBounds, budget: Budget) -> LeastDistance:
        """What the decider finds. Raises what `Worker.call` does."""
        found: LeastDistance = self.worker.call(self.decider, "nearest", query, bounds, budget=budget)
        return found
