"""The L-BFGS attack (Szegedy et al. 2014): a penalised distance, minimised within the box for constant after constant.

loss(x) = log(1 + exp f(x)), with logsumexp for the maximum in f: cross-entropy towards the target, and towards "any
other class" where there is none. SciPy's L-BFGS-B keeps the box. With r = x − x0 it minimises

- L2: ‖r‖₂² + c · loss, as the paper does;
- L1: Σ (p + m) + c · loss over r = p − m with p, m ≥ 0, which makes the norm linear where it would have a kink;
- L∞: loss alone within |r_i| ≤ c: a ball is a box, so the constant is the radius itself.

c grows until x is adversarial, and a little further, since each constant may lead to another local minimum; then the
range to the last failure is halved on a logarithmic scale.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from encoders.network.graph import Array
from verifier.attacks.base.problem import AttackProblem, Candidates, Metric
from verifier.attacks.base.search import AttackSearch, Surrogate
from verifier.problem.budget import Budget

FIRST, GROWTH = 0.05, 1.5  # where c begins, as a share of the first-order estimate; its next value, as a multiple


@dataclass(frozen=True)
class LbfgsSettings:
    """At most `steps` iterations for one constant, which grows at most `growths` times to its first success.

    After that it grows `beyond` times more; then come `halvings` of the range around the first success.
    """

    steps: int = 60
    growths: int = 40
    beyond: int = 3
    halvings: int = 4


def lbfgs(surrogate: Surrogate, problem: AttackProblem, budget: Budget, settings: LbfgsSettings) -> Candidates:
    """L-BFGS in the problem's norm."""
    return _attack(AttackSearch(surrogate, problem, budget), settings)


def lbfgs_l2(surrogate: Surrogate, problem: AttackProblem, budget: Budget, settings: LbfgsSettings) -> Candidates:
    """L-BFGS in L2, the paper's form; the distances are in the problem's norm."""
    return _attack(AttackSearch(surrogate, problem, budget, Metric.L2), settings)


class _Ended(Exception):  # noqa: N818 - it leaves SciPy's loop, and is no error
    """The budget is spent, or the point that this constant was tried for is there."""


def _attack(search: AttackSearch, settings: LbfgsSettings) -> Candidates:
    cases = search.open[np.argsort(search.first_order()[search.open], kind="stable")]
    for case in cases.tolist():  # the nearest first, in case the budget ends
        if search.over:
            break
        _search_constant(_Case(search, settings, case))
    return search.finish()


def _search_constant(case: _Case) -> None:
    constant, failed = case.first_constant(), 0.0
    for _ in range(case.settings.growths):
        if case.search.over:
            return
        if case.succeeds(constant):
            break
        failed, constant = constant, GROWTH * constant
    else:
        return
    for larger in range(case.settings.beyond):
        case.succeeds(constant * GROWTH ** (larger + 1))
    failed = failed or constant / 16.0  # the first constant succeeded: how far below it the boundary is, nobody knows
    for _ in range(case.settings.halvings):
        middle = float(np.sqrt(failed * constant))
        failed, constant = (failed, middle) if case.succeeds(middle) else (middle, constant)


class _Case:
    """One case of a search; `found` tells whether the constant being tried has led to an adversarial point."""

    def __init__(self, search: AttackSearch, settings: LbfgsSettings, number: int) -> None:
        problem = search.problem
        self.search, self.settings, self.number = search, settings, number
        self.centre = problem.origins[number].astype(np.float64)
        self.begin = problem.starts[number].astype(np.float64) - self.centre
        self.down, self.up = self.centre - problem.lo, problem.hi - self.centre
        self.sign = float(problem.sign[number, 0])
        self.own = int(problem.own[number].argmax())
        self.found = False

    def first_constant(self) -> float:
        """Well below what the first-order model says: loss has about the slope of f where x0 is far from the goal.

        Small constants first: what a large one reaches is seldom near, and a small one may succeed where a middling
        one fails.
        """
        distance = float(self.search.first_order()[self.number])
        if self.search.metric is Metric.LINF:
            return FIRST * distance
        slope = np.abs(self.search.slopes[self.number]).astype(np.float64)
        steepest = float(slope.max()) if self.search.metric is Metric.L1 else float(np.linalg.norm(slope))
        balance = 1.0 if self.search.metric is Metric.L1 else 2.0 * distance
        return FIRST * balance / max(steepest, 1e-30)

    def succeeds(self, constant: float) -> bool:
        """Minimise for one constant; every adversarial point on the way is offered."""
        self.found = False
        if self.search.over:
            return False
        with contextlib.suppress(_Ended):
            OBJECTIVES[self.search.metric](self, constant)
        return self.found

    def loss(self, r: Array) -> tuple[float, Array]:
        """loss(x0 + r) and its gradient. Raises _Ended when the budget is spent."""
        search, problem = self.search, self.search.problem
        if search.over:
            raise _Ended
        point = problem.clipped((self.centre + r)[None])
        logits = search.surrogate.logits(point)[0].astype(np.float64)
        search.evaluations += 1
        if problem.gap(np.array([self.number]), logits[None])[0] <= 0.0:
            self.found = True
            search.offer(np.array([self.number]), point, np.array([True]))
        rivals = np.delete(logits, self.own)
        weights = np.exp(rivals - rivals.max())
        total = float(weights.sum())
        gap = self.sign * (rivals.max() + np.log(total) - logits[self.own]) + problem.margin
        steepness = self.sign * float(np.exp(-np.logaddexp(0.0, -gap)))
        cotangent = steepness * np.insert(weights / total, self.own, -1.0)
        slope = search.surrogate.vjp(point, cotangent[None].astype(np.float32))[0]
        return float(np.logaddexp(0.0, gap)), slope.astype(np.float64)

    def minimise(
        self, objective: Callable[[Array], tuple[float, Array]], start: Array, low: Array, high: Array
    ) -> None:
        from scipy.optimize import Bounds, minimize  # noqa: PLC0415, slow to import, and only this attack needs it

        options = {"maxiter": self.settings.steps}
        minimize(objective, start, jac=True, bounds=Bounds(low, high), method="L-BFGS-B", options=options)


def _squared(case: _Case, constant: float) -> None:
    def objective(r: Array) -> tuple[float, Array]:
        value, slope = case.loss(r)
        return float(r @ r) + constant * value, 2.0 * r + constant * slope

    case.minimise(objective, case.begin, -case.down, case.up)


def _absolute(case: _Case, constant: float) -> None:
    size = case.centre.size

    def objective(parts: Array) -> tuple[float, Array]:
        value, slope = case.loss(parts[:size] - parts[size:])
        return float(parts.sum()) + constant * value, 1.0 + constant * np.concatenate([slope, -slope])

    room = np.concatenate([case.up, case.down])
    begin = np.concatenate([np.maximum(case.begin, 0.0), np.maximum(-case.begin, 0.0)])
    case.minimise(objective, begin, np.zeros(2 * size), room)


def _within(case: _Case, radius: float) -> None:
    def objective(r: Array) -> tuple[float, Array]:
        result = case.loss(r)
        if case.found:
            raise _Ended
        return result

    lowest, highest = -np.minimum(case.down, radius), np.minimum(case.up, radius)
    case.minimise(objective, np.clip(case.begin, lowest, highest), lowest, highest)


OBJECTIVES: Mapping[Metric, Callable[[_Case, float], None]] = {
    Metric.L2: _squared,
    Metric.L1: _absolute,
    Metric.LINF: _within,
}
