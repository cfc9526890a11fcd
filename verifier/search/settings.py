"""How an answer is sought: the method and its solver, threads, device, seed and budget, checked."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from encoders.errors import InputError
from verifier.problem.arguments import real, whole, word
from verifier.problem.budget import Budget
from verifier.problem.memory import Memory
from verifier.problem.norms.table import FLAT_NORMS
from verifier.problem.query import Norm
from verifier.problem.verdict import Semantics
from verifier.problem.workers import Workers
from verifier.search.earlier import Earlier
from verifier.search.methods import DEFAULT_METHOD, METHODS, Method
from verifier.solvers.milp import solver_class
from verifier.solvers.process import Decider


@dataclass(frozen=True, eq=False)
class Settings:
    """How an answer is sought; raises InputError, one line, for what cannot be.

    threads: trees, or a MILP solver's threads, at a time. device, seed: where attacks run, of their random starts.
    once: this process asks nothing else, so that what takes longer to load than small questions do without it is
    loaded only for large ones. earlier: what is known of the same question about another network. workers: where parts
    of trees that last are explored; None: here.
    """

    budget: Budget
    method: str = DEFAULT_METHOD
    solver: str | None = None
    threads: int = 1
    device: str = "auto"
    seed: int = 0
    once: bool = False
    earlier: Earlier | None = None
    workers: Workers | None = None

    def __post_init__(self) -> None:
        if word(self.method, "the method") not in METHODS:
            raise InputError(f"unknown method '{self.method}': choose one of {', '.join(METHODS)}")
        threads = whole(self.threads, "the number of threads")
        if threads < 1:
            raise InputError(f"the number of threads must be a whole number ≥ 1, not {threads}")
        if self.solver is not None:
            if not self.row.choice:
                choosing = " or ".join(name for name, row in METHODS.items() if row.choice)
                raise InputError(
                    f"the method {self.method} has no solver to choose; '{self.solver}' goes with {choosing}"
                )
            solver_class(self.solver)
        seed = whole(self.seed, "the seed")
        if seed < 0:
            raise InputError(f"the seed must be a whole number ≥ 0, not {seed}")
        if self.workers is not None and threads > 1:
            raise InputError("jobs go with one thread each: leave the number of threads out")
        object.__setattr__(self, "threads", threads)
        object.__setattr__(self, "seed", seed)

    @property
    def row(self) -> Method:
        """The method's row of the table."""
        return METHODS[self.method]

    @cached_property
    def decider(self) -> Decider:
        """What decides. Raises InputError where a library that it needs is missing or too new."""
        decider = self.row.decider(self.solver or self.row.solver, self.threads)
        return decider.asked_once() if self.once else decider

    @cached_property
    def proposers(self) -> tuple[Decider, ...]:
        """What proposes points beside trees. Raises InputError as `decider` does."""
        return self.row.proposers(self.solver or self.row.solver, self.threads)

    def must_suit(self, semantics: Semantics, norm: Norm = Norm.LINF, *, some: bool = False) -> None:
        """Raises InputError for what trees alone answer: float32 without the reals, balls without flat sides, some
        inputs only."""
        if self.decider.trees is not None:
            return
        if self.workers is not None:
            raise InputError(f"jobs go with the methods tree and auto, not with {self.method}")
        if some:
            raise InputError(f"grid, integer and one-hot inputs go with the method tree; {self.method} takes any input")
        if norm not in FLAT_NORMS:
            raise InputError(f"norm {norm} goes with the method tree; {self.method} takes {' or '.join(FLAT_NORMS)}")
        if semantics is Semantics.FLOAT32:
            raise InputError(f"semantics float32 goes with the method tree; {self.method} is about real arithmetic")


def budget_of(timeout: float | Budget, memory: str | float | None = None) -> Budget:
    """A budget of so many seconds, or the one that is given, which has its own memory where none is given here. memory:
    as `Memory.of` takes it, beyond what the process holds. Raises InputError."""
    if isinstance(timeout, Budget):
        return timeout if memory is None else timeout.with_memory(Memory.of(memory, beyond=True))
    seconds = real(timeout, "the timeout")
    if math.isnan(seconds) or seconds <= 0:
        raise InputError(f"the timeout must be a number of seconds > 0, not {seconds:g}")
    return Budget(seconds, memory=Memory.of(memory, beyond=True))
