"""The methods: how a bracket is closed, and the solver that each drives."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from verifier.problem.budget import Budget
from verifier.problem.verdict import Bracket
from verifier.search.bisection import bisection, direct
from verifier.search.float32 import follow_both
from verifier.search.state import Problem
from verifier.solvers.branch_and_bound import BranchAndBound
from verifier.solvers.milp import Milp
from verifier.solvers.process import Decider

if TYPE_CHECKING:
    pass


Minimiser = Callable[[Problem, Decider, Budget], Iterator[Bracket]]


MINIMISERS: Mapping[str, Minimiser] = {"tree": follow_both, "milp": bisection, "z3": bisection, "milp-direct": direct}
"""The methods by name; `verifier.api` gives each its decider."""


def _smt(_: str | None, __: int) -> Decider:
    from verifier.solvers.smt import Smt  # noqa: PLC0415, most questions are the tree's

    return Smt()


METHODS: Mapping[str, Callable[[str | None, int], Decider]] = {
    "tree": lambda _, __: BranchAndBound(),
    "milp": lambda solver, threads: Milp(solver or "highs", threads),
    "milp-direct": lambda solver, threads: Milp(solver or "highs", threads),
    "z3": _smt,
}
"""The methods, and the decider that each drives, given --solver and --threads."""


DEFAULT_METHOD = "tree"
