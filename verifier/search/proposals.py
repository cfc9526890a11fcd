"""Other deciders beside search trees, for what these leave open: they propose points, and whose answers come first.

A time limit's first part is the trees' alone. Then one question at a time goes to a child process: is there a point of
this goal within the radius that its tree decides at? A point is judged as any other. "None" is no evidence; it says
where the search need not hurry. In one thread a proposer works for a share of the time, in slices, each longer than
those before; in several beside the trees, in the place of one of them. Without a time limit nothing is asked.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from types import TracebackType

from encoders.errors import InputError, SolverError
from encoders.network.graph import Array
from encoders.network.node_bounds import NodeBounds
from verifier.problem.budget import Budget
from verifier.problem.norms.table import FLAT_NORMS
from verifier.problem.query import Query
from verifier.problem.verdict import Holds, Unknown, Verdict, Violated
from verifier.solvers.process import Decider, Guarded, Worker

TREES_ALONE = 0.25
"""The share of the time limit before anything is asked: most questions are answered in less."""

SLICE_SHARE = 0.2
"""With one thread, at most the share of the time passed that proposers have taken: trees lose no more than this."""

FIRST_SLICE = 2.0
"""Seconds: loading a solver and building its model take a half to one and a half of them."""

LATE = 0.5
"""The share of a slice that is left where an answer is not late: solvers end a little before their time."""

LONGER = 2.0
"""Times the last slice, where that did not suffice: the work of a slice is lost."""


@dataclass(frozen=True, eq=False)
class Posed:
    """A question that a tree has open: does a point of the query's region reach its goal? key: the same question."""

    key: Hashable
    query: Query
    bounds: Callable[[], NodeBounds]
    """Proved bounds in the region. Raises OutOfTimeError."""

    @property
    def askable(self) -> bool:
        """Is it piecewise linear?"""
        return self.query.region.norm in FLAT_NORMS and not self.query.graph.smooth


@dataclass(eq=False)
class _Asking:
    """A question under way in a thread that waits for the child process."""

    decider: Decider
    posed: Posed
    worker: Worker
    budget: Budget
    verdict: Verdict | None = None
    failed: Exception | None = None

    def run(self, bounds: NodeBounds) -> None:
        """Ask, and keep what comes of it."""
        try:
            self.verdict = Guarded(self.decider, self.worker).decide(self.posed.query, bounds, self.budget)
        except (InputError, SolverError) as error:
            self.verdict = Unknown(str(error))
        except Exception as error:  # noqa: BLE001, raised again in the caller's thread
            self.failed = error


class Proposals:
    """Asks `deciders`, the first one first; a context: no child outlives it. threads: of the whole search."""

    def __init__(self, deciders: Sequence[Decider], threads: int, budget: Budget) -> None:
        self._deciders, self._beside, self._budget = deciders, threads > 1, budget
        self._begun, self._limit = time.monotonic(), budget.remaining
        self._spent, self._slice = 0.0, FIRST_SLICE
        self._asked: set[tuple[str, Hashable]] = set()
        self._thread: threading.Thread | None = None
        self._asking: _Asking | None = None
        self._own = budget.reserve(0.0)
        self.held: set[Hashable] = set()
        """The questions that are said to have no point, which is no evidence."""

    def __enter__(self) -> Proposals:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._own.cancel()
        if self._thread is not None:
            self._thread.join()
        if self._asking is not None:
            self._asking.worker.close()

    @property
    def busy(self) -> bool:
        """Is a question under way beside the trees?"""
        return self._asking is not None

    @property
    def due(self) -> bool:
        """Is it worth while to say what is open?"""
        if not self._deciders or math.isinf(self._limit) or self._budget.ended:
            return False
        passed = time.monotonic() - self._begun
        if passed < TREES_ALONE * self._limit:
            return False
        return self._beside or SLICE_SHARE * passed - self._spent >= self._slice

    def point(self, posed: Sequence[Posed]) -> tuple[Posed, Array] | None:
        """A point that is proposed for one of these questions or an earlier one; to be called now and then.

        Raises OutOfTimeError.
        """
        if self._asking is None and self._next(posed):
            assert self._asking is not None
            start = time.monotonic()
            bounds = self._asking.posed.bounds()
            if not self._beside:
                self._asking.run(bounds)
                self._spent += time.monotonic() - start
            else:
                self._thread = threading.Thread(target=self._asking.run, args=(bounds,), daemon=True)
                self._thread.start()
        return self._taken()

    def _next(self, posed: Sequence[Posed]) -> bool:
        """Choose what is asked next, if anything is left to ask."""
        open_ = [one for one in posed if one.askable and one.key not in self.held]
        for decider in self._deciders:
            for one in open_:
                if (decider.name, one.key) in self._asked:
                    continue
                seconds = self._budget.remaining / len(open_) if self._beside else self._slice
                self._asking = _Asking(decider, one, Worker(), self._own.first_of(Budget(seconds)))
                return True
        return False

    def _taken(self) -> tuple[Posed, Array] | None:
        """The point that the question under way has brought, once it is answered."""
        asking = self._asking
        if asking is None or (asking.verdict is None and asking.failed is None):
            return None
        asking.worker.close()
        self._asking = self._thread = None
        if asking.failed is not None:
            raise asking.failed
        late = isinstance(asking.verdict, Unknown) and asking.budget.remaining < LATE * self._slice
        if late and not self._beside:
            self._slice *= LONGER
        else:
            self._asked.add((asking.decider.name, asking.posed.key))
        if isinstance(asking.verdict, Holds):
            self.held.add(asking.posed.key)
        return (asking.posed, asking.verdict.point) if isinstance(asking.verdict, Violated) else None
