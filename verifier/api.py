"""The Python API: load a model; ask for the minimum, for robustness within a radius, or for an attack."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypedDict, Unpack

import numpy as np
import numpy.typing as npt

from encoders.errors import InputError, SolverError
from encoders.passes.from_transforms import Transforms
from verifier.problem.arguments import above_zero, real, whole, word
from verifier.problem.budget import Budget
from verifier.problem.query import ELSEWHERE
from verifier.problem.verdict import Bracket, Evidence, Initial, Semantics, Status, Violated, Witness
from verifier.runtime.model import Model, load
from verifier.runtime.transformed import load_transforms
from verifier.search.all_targets import AllTargets, finals, in_turn, overall
from verifier.search.float32 import follow_each_both
from verifier.search.float32_lower import float32_lower
from verifier.search.initial_attack import ATTACK_ALONE, attacker, going_on
from verifier.search.methods import DEFAULT_METHOD, METHODS, MINIMISERS
from verifier.search.question import Box, Question, ask
from verifier.search.robustness import Check, check_both
from verifier.search.state import Attack, Problem, SearchState
from verifier.solvers.branch_and_bound import BranchAndBound
from verifier.solvers.milp import available_solvers, solver_class
from verifier.solvers.process import Decider
from verifier.solvers.tree.lp_tree import NUMPY_FIRST

if TYPE_CHECKING:
    from verifier.certificates.builder import Certified

__all__ = [
    "METHODS",
    "AllTargets",
    "Check",
    "Model",
    "attack",
    "brackets",
    "certificate",
    "check",
    "load",
    "load_transforms",
    "minimal",
    "minimal_all_targets",
    "solvers",
]


DEFAULT_BOX: Box = (0.0, 1.0)


def solvers() -> tuple[str, ...]:
    """The MILP solvers that PuLP finds on this machine."""
    return available_solvers()


THOROUGH_SHARE = 0.5
"""Part of the time left that the longer attack may use on a bracket that trees have not closed."""


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
    method: str = DEFAULT_METHOD,
    solver: str | None = None,
    threads: int = 1,
    semantics: str = "both",
    timeout: float | Budget = math.inf,
    device: str = "auto",
    seed: int = 0,
    transforms: Transforms | None = None,
    once: bool = False,
) -> Iterator[Bracket]:
    """Shrinking brackets on the distance to the nearest adversarial point; the last one has `final` set.

    d* = min ‖x' − x‖ over the x' of the box whose logits prefer `target` (any class but the label, if None) by
    `margin`; ties count (Carlini, Katz, Barrett, Dill 2018). x has the model's shape or is flat. semantics: is
    the lower end about the network over the reals (`real`), every `float32` evaluation of it, or `both`? transforms (of
    `load_transforms`): x' is to be adversarial under all of them, a `target` reached by all, else the label lost in
    each. once: this process asks nothing else, so that what takes longer to load than small questions do without it is
    loaded only for large ones. With one thread and no timeout, the same arguments give the same last bracket and number
    of nodes. Raises InputError.
    """
    budget, decider = _budget(timeout), _decider(method, solver, threads, once)
    question = ask(
        model, x, norm=norm, target=target, label=label, box=box, margin=margin, transforms=transforms, budget=budget
    )
    brief = isinstance(decider, BranchAndBound)
    run = attacker(question, "cw", device, seed, threads=threads, nearest=True, brief=brief)
    width, meaning = above_zero(precision, "the precision", -math.inf), _checked_semantics(semantics, model, method)
    thorough = attacker(question, "cw", device, seed, threads=threads, share=THOROUGH_SHARE)
    problem = replace(_problem(question, run, "cw", width, threads, meaning), thorough=thorough)
    return _brackets(question, problem, decider, method, budget)


def _brackets(question: Question, problem: Problem, decider: Decider, method: str, budget: Budget) -> Iterator[Bracket]:
    about = question.subject("minimal")
    found = question.already(budget)
    if found is not None:
        yield replace(_already(found, question, problem.precision, budget), about=about)
        return
    for bracket in MINIMISERS[method](problem, decider, budget):
        last = bracket.final
        yield replace(_with_float32(bracket, problem, budget), about=about) if last else bracket


def _with_float32(bracket: Bracket, problem: Problem, budget: Budget) -> Bracket:
    """The bracket with what holds for the network as it is shipped, where that computes in float32."""
    asked = problem.semantics is not Semantics.REAL and not problem.no_float32
    if not asked or bracket.float32 is not None or budget.remaining <= 0:
        return bracket
    goals, rounds = [goal for _, goal in problem.disjuncts], problem.judge.runtime.rounds
    nodes = bracket.search.nodes if bracket.search is not None else 0
    try:
        lower = float32_lower(problem.graph, problem.ball, goals, bracket.lower, nodes, budget, rounds)
    except SolverError as error:
        return replace(bracket, float32=0.0, reason=bracket.reason or str(error))
    return replace(bracket, float32=lower)


def _problem(
    question: Question,
    run: Attack,
    name: str,
    precision: float,
    threads: int = 1,
    semantics: Semantics = Semantics.BOTH,
) -> Problem:
    return Problem(
        graph=question.graph,
        ball=question.ball,
        disjuncts=question.goals,
        judge=question.judge,
        attack=run,
        attack_name=name,
        precision=precision,
        target=question.target,
        threads=threads,
        semantics=semantics,
        no_float32=question.model.no_float32,
    )


def _checked_semantics(semantics: str, model: Model, method: str) -> Semantics:
    if word(semantics, "the semantics") not in tuple(Semantics):
        raise InputError(f"unknown semantics '{semantics}': choose one of {', '.join(Semantics)}")
    if semantics == Semantics.FLOAT32 and model.no_float32:
        raise InputError(f"semantics float32 is about models that compute in float32: {model.no_float32}")
    if semantics == Semantics.FLOAT32 and method != "tree":
        raise InputError(f"semantics float32 goes with the method tree; {method} is about real arithmetic")
    return Semantics(semantics)


def _already(found: Witness, question: Question, precision: float, budget: Budget) -> Bracket:
    return Bracket(
        lower=0.0,
        upper=0.0,
        witness=found,
        evidence=Evidence.PROVED,
        precision=precision,
        status=Status.ALREADY_ADVERSARIAL,
        initial=Initial("none", 0.0),
        target=question.target if question.target is not None or found.target == ELSEWHERE else found.target,
        seconds=budget.spent,
        final=True,
    )


class Options(TypedDict, total=False):
    """The keyword arguments of `brackets`."""

    target: int | None
    label: int | None
    norm: str
    box: Box
    precision: float
    margin: float
    method: str
    solver: str | None
    threads: int
    semantics: str
    timeout: float | Budget
    device: str
    seed: int
    transforms: Transforms | None
    once: bool


def minimal(model: Model, x: npt.ArrayLike, **options: Unpack[Options]) -> Bracket:
    """The last of `brackets` with the same arguments."""
    *_, last = brackets(model, x, **options)
    return last


def minimal_all_targets(
    model: Model,
    x: npt.ArrayLike,
    *,
    targets: Sequence[int] | None = None,
    known: Mapping[int, npt.ArrayLike] | None = None,
    label: int | None = None,
    norm: str = "linf",
    box: Box = DEFAULT_BOX,
    precision: float = 1e-3,
    margin: float = 0.0,
    method: str = DEFAULT_METHOD,
    solver: str | None = None,
    threads: int = 1,
    semantics: str = "both",
    timeout: float | Budget = math.inf,
    device: str = "auto",
    seed: int = 0,
    progress: Callable[[Bracket], None] | None = None,
    transforms: Transforms | None = None,
    once: bool = False,
) -> AllTargets:
    """`minimal` for each of `targets`, by default every class but the label; `progress` is called with every bracket.

    The method tree works on all targets side by side. With any other they come one after the other, and each gets an
    equal share of the time that is left. known: by target a witness of an earlier search, which goes on from it instead
    of attacking. transforms: each target is to be reached under all of them. Raises InputError.
    """
    budget, decider = _budget(timeout), _decider(method, solver, threads, once)
    question = ask(
        model,
        x,
        norm=norm,
        target=None,
        label=label,
        box=box,
        margin=margin,
        transforms=transforms,
        each=True,
        budget=budget,
    )
    question = question.only(targets)
    brief = isinstance(decider, BranchAndBound)
    run = attacker(question, "cw", device, seed, threads=threads, brief=brief)
    if known:
        run = going_on(question, known, lambda rest: attacker(rest, "cw", device, seed, threads=threads, brief=brief))
    width, meaning = above_zero(precision, "the precision", -math.inf), _checked_semantics(semantics, model, method)
    problem = _problem(question, run, "cw", width, threads, meaning)
    about, found = question.subject("minimal"), question.already(budget)
    if found is not None:
        last = _already(found, question, precision, budget)
        return AllTargets((last,), last).asked(about)  # the input itself is misclassified: no target has to be sought
    if isinstance(decider, BranchAndBound):
        return overall(finals(follow_each_both(problem, decider, budget), progress), budget).asked(about)
    points = run(budget)

    def alone(place: int, share: Budget) -> Iterator[Bracket]:
        one = replace(problem.alone(place), attack=lambda _: points[place : place + 1])
        for bracket in MINIMISERS[method](one, decider, share):
            yield _with_float32(bracket, one, share) if bracket.final else bracket

    return overall(finals(in_turn(alone, len(points), budget), progress), budget).asked(about)


def certificate(
    model: Model,
    x: npt.ArrayLike,
    radius: float,
    witness: npt.NDArray[np.floating] | None = None,
    *,
    target: int | None = None,
    label: int | None = None,
    norm: str = "linf",
    box: Box = DEFAULT_BOX,
    margin: float = 0.0,
    timeout: float | Budget = math.inf,
) -> Certified:
    """A certificate that no point within `radius` is adversarial (0: no such claim), and that `witness` is.

    For a bracket these are its `lower` and its `witness.point`, whatever the method was; an infinite radius claims the
    whole box. The independent checker has found it valid. Raises InputError for a question that cannot be,
    NotCertifiedError where no proof is found, OutOfTimeError.
    """
    budget = _budget(timeout)
    radius = real(radius, "the radius")
    if not radius >= 0:
        raise InputError(f"the radius must be a number ≥ 0, not {radius:g}")
    question = ask(model, x, norm=norm, target=target, label=label, box=box, margin=margin, budget=budget)
    from verifier.certificates.builder import certified  # noqa: PLC0415, most questions want no certificate

    return certified(question, radius, witness, budget)


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
    method: str = DEFAULT_METHOD,
    solver: str | None = None,
    threads: int = 1,
    semantics: str = "both",
    timeout: float | Budget = math.inf,
    device: str = "auto",
    seed: int = 0,
    progress: Callable[[Bracket], None] | None = None,
    transforms: Transforms | None = None,
    once: bool = False,
) -> Check:
    """Is there an adversarial point of the box with ‖x' − x‖ ≤ radius? Raises InputError.

    `progress` is called with brackets on the way by the method tree. transforms: as for `brackets`.
    """
    budget, decider = _budget(timeout), _decider(method, solver, threads, once)
    radius = above_zero(radius, "the radius", math.inf)
    question = ask(
        model, x, norm=norm, target=target, label=label, box=box, margin=margin, transforms=transforms, budget=budget
    )
    about, found = question.subject("check", radius), question.already(budget)
    if found is not None:
        reached = found.target if found.target != ELSEWHERE else None
        return Check(Violated(found.point.astype(float)), found, "", None, budget.spent, reached, about=about)
    brief = isinstance(decider, BranchAndBound)
    run = attacker(question, "cw", device, seed, threads=threads, radius=radius, nearest=True, brief=brief)
    problem = _problem(
        question, run, "cw", radius * RADIUS_SHARE, threads, _checked_semantics(semantics, model, method)
    )
    return replace(check_both(problem, decider, radius, budget, progress), about=about)


RADIUS_SHARE = 1e-3
"""What securing a witness may add to its distance, relative to the radius of a check."""


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
    transforms: Transforms | None = None,
) -> Bracket:
    """The upper end alone: the nearest adversarial point that an attack finds, judged and polished. Lower end 0."""
    budget = _budget(timeout)
    question = ask(
        model, x, norm=norm, target=target, label=label, box=box, margin=margin, transforms=transforms, budget=budget
    )
    run = attacker(question, attack, device, seed, share=ATTACK_ALONE)
    about, found = question.subject("attack"), question.already(budget)
    if found is not None:
        return replace(_already(found, question, 1e-3, budget), about=about)
    state = SearchState(_problem(question, run, attack, 1e-3), budget)
    state.attack()
    return replace(state.bracket(final=True), reason="an attack proves no lower end", about=about)


def _budget(timeout: float | Budget) -> Budget:
    if isinstance(timeout, Budget):
        return timeout
    timeout = real(timeout, "the timeout")
    if math.isnan(timeout) or timeout <= 0:
        raise InputError(f"the timeout must be a number of seconds > 0, not {timeout:g}")
    return Budget(timeout)


def _decider(method: str, solver: str | None, threads: int, once: bool) -> Decider:
    if word(method, "the method") not in METHODS:
        raise InputError(f"unknown method '{method}': choose one of {', '.join(METHODS)}")
    threads = whole(threads, "the number of threads")
    if threads < 1:
        raise InputError(f"the number of threads must be a whole number ≥ 1, not {threads}")
    if solver is not None:
        if method not in ("milp", "milp-direct"):
            raise InputError(f"the method {method} has no solver to choose; '{solver}' goes with milp or milp-direct")
        solver_class(solver)
    decider = METHODS[method](solver, threads)
    if once and isinstance(decider, BranchAndBound):
        return replace(decider, settings=replace(decider.settings, numpy_first=NUMPY_FIRST))
    return decider
