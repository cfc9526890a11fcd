"""The methods, one table: the decider that each drives, and how it closes a bracket."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from verifier.problem.budget import Budget
from verifier.problem.verdict import Bracket
from verifier.search.bisection import bisection, direct
from verifier.search.float32 import follow_both
from verifier.search.state import Problem
from verifier.solvers.branch_and_bound import BranchAndBound
from verifier.solvers.milp import Milp
from verifier.solvers.process import Decider

Minimiser = Callable[[Problem, Decider, Budget], Iterator[Bracket]]


@dataclass(frozen=True)
class Method:
    """A decider, given a solver's name and threads, and how it closes a bracket.

    solver: what it uses where none is named, for the record; "" where there is none. choice: may a solver be named?
    proposers: the deciders that are asked beside trees for points, whose "holds" is no evidence.
    """

    decider: Callable[[str, int], Decider]
    minimise: Minimiser
    solver: str = ""
    choice: bool = False
    proposers: Callable[[str, int], tuple[Decider, ...]] = lambda *_: ()


def _tree(_: str, __: int) -> Decider:
    return BranchAndBound()


def _smt(_: str, __: int) -> Decider:
    from verifier.solvers.smt import Smt  # noqa: PLC0415, most questions are the tree's

    return Smt()


def _solvers(solver: str, _: int) -> tuple[Decider, ...]:
    """A MILP, which is quick where networks are small, then exact arithmetic; in one thread each."""
    return Milp(solver), _smt(solver, 1)


DEFAULT_METHOD = "tree"

METHODS: Mapping[str, Method] = {
    DEFAULT_METHOD: Method(_tree, follow_both),
    "auto": Method(_tree, follow_both, solver="highs", choice=True, proposers=_solvers),
    "milp": Method(Milp, bisection, solver="highs", choice=True),
    "milp-direct": Method(Milp, direct, solver="highs", choice=True),
    "z3": Method(_smt, bisection, solver="z3"),
}
"""By the names that users give them."""
