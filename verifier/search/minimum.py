"""The distance to the nearest adversarial point: brackets that shrink, the last of them, and the upper end alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

from encoders.errors import SolverError
from encoders.network.graph import Graph
from encoders.passes.merged import MERGED, merged
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.query import ELSEWHERE
from verifier.problem.verdict import Bracket, Evidence, Initial, Semantics, Status, Witness
from verifier.search import initial_attack, smooth_classes
from verifier.search.earlier import beginning
from verifier.search.float32_lower import float32_lower
from verifier.search.initial_attack import DEFAULT_ATTACK
from verifier.search.lattice_points import LatticePoints
from verifier.search.on_lattice import brackets_on_lattice
from verifier.search.question import Specification
from verifier.search.settings import Settings
from verifier.search.state import POLISH_SHARE, Attacker, Problem, SearchState

THOROUGH_SHARE = 0.2
"""Part of the time left that the longer attack may use on a bracket that trees have not closed."""

ON_A_TIE = "the lower end is 0 for good: the input itself is on a tie, where the goal is reached over the reals"
"""What is told of an open bracket besides."""


def brackets(asked: Specification, settings: Settings) -> Iterator[Bracket]:
    """Shrinking brackets on d*; the last one has `final` set. Raises InputError at once, not at the first bracket."""
    decider = settings.decider
    smooth_classes.must_answer(asked.model, settings)
    brief = 0 if decider.trees is None else initial_attack.ANY
    first = initial_attack.attacker(asked, settings, nearest=True, brief=brief)
    if settings.earlier is not None:
        first = beginning(asked, settings.earlier, first, each=False)
    thorough = initial_attack.attacker(asked, settings, share=THOROUGH_SHARE)
    return _brackets(asked, settings, replace(problem_of(asked, settings, first), thorough=thorough))


def _brackets(asked: Specification, settings: Settings, problem: Problem) -> Iterator[Bracket]:
    about, budget = asked.subject("minimal"), settings.budget
    found = asked.already(budget)
    if found is not None:
        yield replace(already_adversarial(asked, found, budget), about=about)
        return
    tied = bool(tied_targets(asked, budget))
    for bracket in minimised(asked, problem, settings, budget):
        last = bracket.final
        yield replace(with_tie(with_float32(bracket, problem, budget), tied), about=about) if last else bracket


def minimised(asked: Specification, problem: Problem, settings: Settings, budget: Budget) -> Iterator[Bracket]:
    """Brackets by the method that is asked for; on the problem's lattice, where it has one."""
    minimise, decider = settings.row.minimise, settings.decider
    if problem.graph.smooth:
        return smooth_classes.brackets(asked.model, problem, replace(settings, budget=budget))
    if problem.points is None:
        return minimise(problem, decider, budget)
    return brackets_on_lattice(problem, minimise, decider, budget)


def minimal(asked: Specification, settings: Settings) -> Bracket:
    """The last of `brackets`."""
    *_, last = brackets(asked, settings)
    return last


def attack(asked: Specification, settings: Settings, name: str = DEFAULT_ATTACK) -> Bracket:
    """The upper end alone, by one attack, judged and polished; the lower end is 0. Raises InputError."""
    budget = settings.budget
    run = initial_attack.attacker(asked, settings, name, alone=True)
    about, found = asked.subject("attack"), asked.already(budget)
    if found is not None:
        return replace(already_adversarial(asked, found, budget), about=about)
    state = SearchState(replace(problem_of(asked, settings, run), attack_name=name), budget)
    state.attack()
    last = state.bracket(final=True)
    if state.problem.points is not None:
        last = state.problem.points.told(last)
    return replace(last, reason="an attack proves no lower end", about=about)


def problem_of(asked: Specification, settings: Settings, first: Attacker) -> Problem:
    """What is asked as the methods take it, with the attack that they begin with.

    Raises InputError where it is about float32 alone, and the method about real arithmetic, or in a norm in which that
    does not ask, or about some inputs only.
    """
    settings.must_suit(asked.semantics, asked.ball.norm, some=asked.lattice is not None)
    graph, in_file = asked.graph, None
    if settings.earlier is None and not graph.smooth:  # earlier trees count the file's neurons
        graph, in_file = as_searched(graph, asked.semantics, settings.budget)
    return Problem(
        graph=graph,
        in_file=in_file,
        ball=asked.ball,
        disjuncts=asked.goals,
        judge=asked.judge,
        attack=first,
        attack_name=DEFAULT_ATTACK,
        precision=asked.precision,
        target=asked.target,
        threads=settings.threads,
        semantics=asked.semantics,
        no_float32=asked.model.no_float32,
        earlier=None if settings.earlier is None else settings.earlier.trees,
        points=points_of(asked),
        proposers=settings.proposers,
        workers=settings.workers,
    )


def points_of(asked: Specification) -> LatticePoints | None:
    """Where only some inputs can occur, what takes points and keeps the nearest witness that they round to."""
    if asked.lattice is None:
        return None
    return LatticePoints(asked.lattice, asked.judge, asked.precision, POLISH_SHARE * asked.precision)


def already_adversarial(asked: Specification, found: Witness, budget: Budget) -> Bracket:
    """The bracket of an input that is its own witness: distance 0."""
    return Bracket(
        lower=0.0,
        upper=0.0,
        witness=found,
        evidence=Evidence.PROVED,
        precision=asked.precision,
        status=Status.ALREADY_ADVERSARIAL,
        initial=Initial("none", 0.0),
        target=asked.target if asked.target is not None or found.target == ELSEWHERE else found.target,
        seconds=budget.spent,
        final=True,
    )


def tied_targets(asked: Specification, budget: Budget) -> frozenset[int]:
    """As `Judge.tied`; none where the time does not suffice to tell."""
    try:
        return asked.judge.tied(budget)
    except OutOfTimeError:
        return frozenset()


def with_tie(bracket: Bracket, tied: bool) -> Bracket:
    """The bracket with why its lower end stays 0, where the input is on a tie."""
    if not tied or bracket.status is not Status.BRACKETED or bracket.lower > 0.0:
        return bracket
    return replace(bracket, reason="; ".join(filter(None, (bracket.reason, ON_A_TIE))))


def as_searched(graph: Graph, semantics: Semantics, budget: Budget) -> tuple[Graph, Graph | None]:
    """(the graph that is searched, that of the file where this is another): of what is not about float32 alone, with
    neurons merged that are multiples of each other."""
    found = graph
    if semantics is not Semantics.FLOAT32:
        with suppress(OutOfTimeError):
            found = merged(graph, budget.check, MERGED)
    return found, None if found is graph else graph


def with_float32(bracket: Bracket, problem: Problem, budget: Budget) -> Bracket:
    """The bracket with what holds for the network as it is shipped, where that computes in float32."""
    asked = problem.semantics is not Semantics.REAL and not problem.no_float32
    if not asked or bracket.float32 is not None or budget.ended:
        return bracket
    goals, rounds = [goal for _, goal in problem.disjuncts], problem.judge.runtime.rounds
    nodes = bracket.search.nodes if bracket.search is not None else 0
    try:
        lower = float32_lower(
            problem.in_file or problem.graph, problem.ball, goals, bracket.lower, nodes, budget, rounds
        )
    except SolverError as error:
        return replace(bracket, float32=0.0, reason=bracket.reason or str(error))
    return replace(bracket, float32=lower)
