"""The Python API: load a model; ask for the minimum, for robustness within a radius, or for an attack."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypedDict, Unpack

import numpy.typing as npt

from encoders.errors import InputError
from verifier.bounds.linear import goal_upper, linear_bounds
from verifier.deciders.branch_and_bound import BranchAndBound
from verifier.deciders.milp import Milp, available_solvers, solver_class
from verifier.deciders.smt import Smt
from verifier.deciders.worker import Decider, Guarded, Worker
from verifier.minimum import MINIMISERS
from verifier.model import Model, load
from verifier.query import Query
from verifier.questions import Box, Question, ask, attacker
from verifier.search_state import Attack, Problem, SearchState
from verifier.verdict import (
    Bracket,
    Budget,
    Evidence,
    Holds,
    Initial,
    OutOfTimeError,
    Status,
    Unknown,
    Verdict,
    Violated,
    Witness,
)

__all__ = [
    "METHODS",
    "AllTargets",
    "Check",
    "Model",
    "attack",
    "brackets",
    "check",
    "load",
    "minimal",
    "minimal_all_targets",
    "solvers",
]

METHODS: Mapping[str, Callable[[str | None], Decider]] = {
    "tree": lambda _: BranchAndBound(),
    "milp": lambda solver: Milp(solver or "highs"),
    "milp-direct": lambda solver: Milp(solver or "highs"),
    "z3": lambda _: Smt(),
}
"""The methods, and the decider that each drives."""

DEFAULT_BOX: Box = (0.0, 1.0)


@dataclass(frozen=True, eq=False)
class AllTargets:
    """One bracket for each target other than the label, and the bracket of the nearest of them all."""

    results: tuple[Bracket, ...]
    overall: Bracket


@dataclass(frozen=True, eq=False)
class Check:
    """Is the input robust within a radius? `witness` lies within it when the verdict is Violated."""

    verdict: Verdict
    witness: Witness | None
    reason: str
    evidence: Evidence | None
    seconds: float
    target: int | None


def solvers() -> tuple[str, ...]:
    """The MILP solvers that PuLP finds on this machine."""
    return available_solvers()


def brackets(
    model: Model,
    x: npt.ArrayLike,
    *,
    target: int | None = None,
    label: int | None = None,
    norm: str = "linf",
    box: Box = DEFAULT_BOX,
    precision: float = 1e-3,
    margin: float = 0.0,
    method: str = "milp",
    solver: str | None = None,
    timeout: float | Budget = math.inf,
    device: str = "auto",
    seed: int = 0,
) -> Iterator[Bracket]:
    """Shrinking brackets on the distance to the nearest adversarial point; the last one has `final` set.

    d* = min ‖x' − x‖ over the x' of the box whose logits prefer `target` (any class but the label, if None) by
    `margin`; ties count (Carlini, Katz, Barrett, Dill 2018). x has the model's shape or is flat. Raises InputError.
    """
    budget, decider = _budget(timeout), _decider(method, solver)
    if not (math.isfinite(precision) and precision > 0):
        raise InputError(f"the precision must be a finite number > 0, not {precision:g}")
    question = ask(model, x, norm=norm, target=target, label=label, box=box, margin=margin)
    run = attacker(question, "cw", device, seed)
    return _brackets(question, decider, method, run, precision, budget)


def _brackets(
    question: Question, decider: Decider, method: str, run: Attack, precision: float, budget: Budget
) -> Iterator[Bracket]:
    found = question.already()
    if found is not None:
        yield _already(found, question, precision, budget)
        return
    yield from MINIMISERS[method](_problem(question, run, "cw", precision), decider, budget)


def _problem(question: Question, run: Attack, name: str, precision: float) -> Problem:
    return Problem(
        graph=question.model.graph,
        ball=question.ball,
        disjuncts=question.goals,
        judge=question.judge,
        attack=run,
        attack_name=name,
        precision=precision,
        target=question.target,
    )


def _already(found: Witness, question: Question, precision: float, budget: Budget) -> Bracket:
    return Bracket(
        lower=0.0,
        upper=0.0,
        witness=found,
        evidence=Evidence.PROVED,
        precision=precision,
        status=Status.ALREADY_ADVERSARIAL,
        initial=Initial("none", 0.0),
        target=found.target if question.target is None else question.target,
        seconds=budget.spent,
        final=True,
    )


class CommonOptions(TypedDict, total=False):
    """The keyword arguments of `brackets` except `target`."""

    label: int | None
    norm: str
    box: Box
    precision: float
    margin: float
    method: str
    solver: str | None
    timeout: float | Budget
    device: str
    seed: int


class Options(CommonOptions, total=False):
    """The keyword arguments of `brackets`."""

    target: int | None


def minimal(model: Model, x: npt.ArrayLike, **options: Unpack[Options]) -> Bracket:
    """The last of `brackets` with the same arguments."""
    *_, last = brackets(model, x, **options)
    return last


def minimal_all_targets(
    model: Model,
    x: npt.ArrayLike,
    *,
    progress: Callable[[Bracket], None] | None = None,
    **options: Unpack[CommonOptions],
) -> AllTargets:
    """`minimal` for every target other than the label; each gets an equal share of the time that is left.

    `progress` is called with every bracket on the way. The options are those of `brackets`, without a target.
    """
    budget, label = _budget(options.get("timeout", math.inf)), options.get("label")
    own = model.predict(x) if label is None else label
    targets = [target for target in range(model.classes) if target != own]
    results: list[Bracket] = []
    for place, target in enumerate(targets):
        share = _Share(budget, budget.remaining / (len(targets) - place))
        last: Bracket | None = None
        one: Options = {**options, "target": target, "timeout": share}
        for last in brackets(model, x, **one):
            if progress is not None:
                progress(last)
        assert last is not None
        results.append(last)
        if last.status is Status.ALREADY_ADVERSARIAL and last.witness is not None and last.witness.target != target:
            return AllTargets((last,), last)  # the input itself is misclassified: no target has to be sought
    return AllTargets(tuple(results), _overall(results, budget))


class _Share(Budget):
    """A part of another budget: it ends after `seconds`, or when the whole is cancelled."""

    def __init__(self, whole: Budget, seconds: float) -> None:
        super().__init__(seconds)
        self._whole = whole

    @property
    def remaining(self) -> float:
        return min(max(0.0, self.seconds - self.spent), self._whole.remaining)

    @property
    def reason(self) -> str:
        whole = self._whole
        return whole.reason if whole.remaining <= 0 else f"the target's share of {self.seconds:.3g} s was used up"


def _overall(results: list[Bracket], budget: Budget) -> Bracket:
    """The nearest target's bracket, its lower end that of the least proved target."""
    nearest = min(results, key=lambda bracket: bracket.upper)
    lowest = min(results, key=lambda bracket: bracket.lower)
    status = _overall_status(nearest, lowest)
    return replace(
        nearest,
        lower=min(lowest.lower, nearest.upper) if nearest.witness is not None else lowest.lower,
        evidence=min(bracket.evidence for bracket in results),
        status=status,
        reason="" if status is not Status.BRACKETED else lowest.reason,
        seconds=budget.spent,
        final=True,
    )


def _overall_status(nearest: Bracket, lowest: Bracket) -> Status:
    if nearest.status is Status.ALREADY_ADVERSARIAL:
        return nearest.status
    if nearest.witness is None:
        return Status.UNREACHABLE if math.isinf(lowest.lower) else Status.BRACKETED
    return Status.MINIMAL if nearest.upper - lowest.lower <= nearest.precision else Status.BRACKETED


def check(
    model: Model,
    x: npt.ArrayLike,
    radius: float,
    *,
    target: int | None = None,
    label: int | None = None,
    norm: str = "linf",
    box: Box = DEFAULT_BOX,
    margin: float = 0.0,
    method: str = "milp",
    solver: str | None = None,
    timeout: float | Budget = math.inf,
    device: str = "auto",
    seed: int = 0,
) -> Check:
    """Is there an adversarial point of the box with ‖x' − x‖ ≤ radius? Raises InputError."""
    budget, decider = _budget(timeout), _decider(method, solver)
    if not (math.isfinite(radius) and radius > 0):
        raise InputError(f"the radius must be a finite number > 0, not {radius:g}")
    question = ask(model, x, norm=norm, target=target, label=label, box=box, margin=margin)
    found = question.already()
    if found is not None:
        return Check(Violated(found.point.astype(float)), found, "", None, budget.spent, found.target)
    run = attacker(question, "cw", device, seed, radius=radius)
    state = SearchState(_problem(question, run, "cw", radius * RADIUS_SHARE), budget)
    try:
        verdict = _checked(state, decider, radius)
    except OutOfTimeError as error:
        verdict = Unknown(str(error))
    witness = state.witness if isinstance(verdict, Violated) else None
    reason = verdict.reason if isinstance(verdict, Unknown) else ""
    evidence = verdict.evidence if isinstance(verdict, Holds) else None
    return Check(verdict, witness, reason, evidence, budget.spent, witness.target if witness else target)


RADIUS_SHARE = 1e-3
"""What securing a witness may add to its distance, relative to the radius of a check."""


def _checked(state: SearchState, decider: Decider, radius: float) -> Verdict:
    state.attack()
    if state.witness is not None and state.witness.distance <= radius:
        return Violated(state.witness.point.astype(float))
    state.budget.check()
    problem = state.problem
    ball = problem.ball.with_radius(radius)
    bounds = linear_bounds(problem.graph, ball, state.budget)
    evidence, unknown = Evidence.PROVED, ""
    with Worker() as worker:
        guarded = Guarded(decider, worker)
        for target in state.targets:
            state.budget.check()
            if goal_upper(problem.graph, ball, bounds, target.goal, state.budget) < 0:
                continue
            match guarded.decide(Query(problem.graph, ball, target.goal), bounds, state.budget):
                case Holds(found):
                    evidence = min(evidence, found)
                case Violated(point):
                    state.offer(point)
                    if state.witness is not None and state.witness.distance <= radius:
                        return Violated(state.witness.point.astype(float))
                    unknown = f"{decider.name} gave a point that is not adversarial within the radius exactly"
                case Unknown(reason):
                    state.budget.check()
                    unknown = reason
    return Unknown(unknown) if unknown else Holds(evidence)


def attack(
    model: Model,
    x: npt.ArrayLike,
    *,
    target: int | None = None,
    label: int | None = None,
    norm: str = "linf",
    box: Box = DEFAULT_BOX,
    margin: float = 0.0,
    timeout: float | Budget = math.inf,
    device: str = "auto",
    seed: int = 0,
    attack: str = "cw",
) -> Bracket:
    """The upper end alone: the nearest adversarial point that an attack finds, judged and polished. Lower end 0."""
    budget = _budget(timeout)
    question = ask(model, x, norm=norm, target=target, label=label, box=box, margin=margin)
    run = attacker(question, attack, device, seed)
    found = question.already()
    if found is not None:
        return _already(found, question, 1e-3, budget)
    state = SearchState(_problem(question, run, attack, 1e-3), budget)
    state.attack()
    return replace(state.bracket(final=True), reason="an attack proves no lower end")


def _budget(timeout: float | Budget) -> Budget:
    if isinstance(timeout, Budget):
        return timeout
    if math.isnan(timeout) or timeout <= 0:
        raise InputError(f"the timeout must be a number of seconds > 0, not {timeout:g}")
    return Budget(timeout)


def _decider(method: str, solver: str | None) -> Decider:
    if method not in METHODS:
        raise InputError(f"unknown method '{method}': choose one of {', '.join(METHODS)}")
    if solver is not None:
        if method == "z3":
            raise InputError(f"the method z3 has no solver to choose; '{solver}' goes with milp or milp-direct")
        solver_class(solver)
    return METHODS[method](solver)
