"""Every method's answers to traps, each asked once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import Any
from unittest import mock

import verifier
from tests.traps.table import Trap
from verifier.problem.query import Norm
from verifier.problem.verdict import Bracket
from verifier.search import bisection, initial_attack, robustness
from verifier.solvers.kernels import cache

METHODS = ("tree", "tree-numpy", "milp-highs", "milp-cbc", "milp-direct", "z3")
"""Every way to an answer: kernels, numpy, bisection over both MILP solvers and Z3, and the direct MILP."""


class InProcess:
    """Stands in for the child process, which costs a second and is tested elsewhere."""

    def __enter__(self) -> InProcess:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def call(self, decider: object, method: str, *arguments: Any, budget: Any) -> Any:
        return getattr(decider, method)(*arguments, budget)


def without_attack(asked: Any, *_: Any, **__: Any) -> Any:
    """An attack that finds nothing: methods are to find every point themselves."""
    return lambda _: [None] * len(asked.goals)


@contextmanager
def driven_by(method: str) -> Iterator[dict[str, Any]]:
    """The options that choose a method; without kernels for "tree-numpy"."""
    kind, _, variant = method.partition("-")
    options = {"method": kind, "solver": variant} if method in ("milp-highs", "milp-cbc") else {"method": method}
    with (
        mock.patch.object(initial_attack, "attacker", without_attack),
        mock.patch.object(bisection, "Worker", InProcess),
        mock.patch.object(robustness, "Worker", InProcess),
        mock.patch.object(cache, "start", return_value=None),
        mock.patch.object(cache, "ready", return_value=method == "tree" and cache.available()),
    ):
        yield {"method": "tree"} if kind == "tree" else options


@dataclass(frozen=True, eq=False)
class Answers:
    """Answers to traps by method, each checked against the truth before it is handed out."""

    save_net: Callable[[Any], verifier.Model]
    known: dict[Any, Any]

    def minimal(self, trap: Trap, norm: Norm, method: str) -> Bracket:
        """The last bracket on the trap's target."""
        return self._once(self._minimal, trap, norm, method)

    def model(self, trap: Trap) -> verifier.Model:
        return self._once(self.save_net, trap)

    def nearest(self, trap: Trap, norm: Norm) -> Fraction | None:
        return self._once(trap.__class__.nearest, trap, norm)

    def _once(self, function: Any, *arguments: Any) -> Any:
        key = (function.__name__, *(entry.name if isinstance(entry, Trap) else entry for entry in arguments))
        if key not in self.known:
            self.known[key] = function(*arguments)
        return self.known[key]

    def _minimal(self, trap: Trap, norm: Norm, method: str) -> Bracket:
        with driven_by(method) as options:
            return verifier.minimal(
                self.model(trap), trap.centre, **self._question(trap, norm), precision=trap.precision, **options
            )

    @staticmethod
    def _question(trap: Trap, norm: Norm) -> dict[str, Any]:
        label = 1 if trap.target == 0 else 0
        return {"target": trap.target, "label": label, "norm": norm.value, "box": (trap.lo, trap.hi)}
