"""One bracket for each target: those of one search side by side, or one method for each in turn."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

import numpy.typing as npt

from verifier.problem.answer import Answer, Subject
from verifier.problem.budget import Budget
from verifier.problem.verdict import LINEAR_BOUNDS, Bracket, Evidence, Search, Status
from verifier.search import initial_attack, smooth_classes
from verifier.search.earlier import beginning
from verifier.search.float32 import follow_each_both
from verifier.search.initial_attack import going_on
from verifier.search.minimum import (
    THOROUGH_SHARE,
    already_adversarial,
    minimised,
    problem_of,
    tied_targets,
    with_float32,
    with_tie,
)
from verifier.search.question import Specification
from verifier.search.settings import Settings
from verifier.search.state import Attacker


@dataclass(frozen=True, eq=False, repr=False)
class AllTargets(Answer):
    """One bracket for each target other than the label, and the bracket of the nearest of them all.

    A bracket's `seconds` are those of its own target; what all targets share counts for the whole only.
    """

    results: tuple[Bracket, ...]
    overall: Bracket

    def asked(self, about: Subject) -> AllTargets:
        """The same answer, with what was asked."""
        results = tuple(replace(bracket, about=replace(about, target=bracket.target)) for bracket in self.results)
        return AllTargets(results, replace(self.overall, about=about))

    def certified(self, targets: Collection[int | None]) -> AllTargets:
        """The same with certificates for these targets; what is said of all rests on the least of all."""
        results = tuple(
            replace(bracket, evidence=Evidence.CERTIFIED) if bracket.target in targets else bracket
            for bracket in self.results
        )
        evidence = min(bracket.evidence for bracket in results)
        return AllTargets(results, replace(self.overall, evidence=evidence))


def minimal_all_targets(
    asked: Specification,
    settings: Settings,
    known: Mapping[int, npt.ArrayLike] | None = None,
    progress: Callable[[Bracket], None] | None = None,
) -> AllTargets:
    """The minimum of each of the goals: a tree's side by side, any other method's in turn, with equal shares of time.

    known: by target a witness of an earlier search, which goes on from it instead of attacking. progress: called with
    every bracket. Raises InputError.
    """
    budget, decider = settings.budget, settings.decider

    def attacking(rest: Specification) -> Attacker:
        return initial_attack.attacker(rest, settings, brief=0 if decider.trees is None else initial_attack.ANY)

    smooth_classes.must_answer(asked.model, settings)
    first = going_on(asked, known, attacking) if known else attacking(asked)
    if settings.earlier is not None:
        first = beginning(asked, settings.earlier, first, each=True)
    problem = problem_of(asked, settings, first)
    about, found = asked.subject("minimal"), asked.already(budget)
    if found is not None:
        last = already_adversarial(asked, found, budget)
        return AllTargets((last,), last).asked(about)  # the input itself is misclassified: no target has to be sought
    tied = tied_targets(asked, budget)

    def told(found: Generator[Bracket, None, None]) -> AllTargets:
        results = [with_tie(bracket, bracket.target in tied) for bracket in finals(found, progress)]
        return overall(results, budget).asked(about)

    if decider.trees is not None and problem.points is None and not problem.graph.smooth:
        problem = replace(problem, thorough=initial_attack.attacker(asked, settings, share=THOROUGH_SHARE))
        return told(follow_each_both(problem, decider, budget))
    points = first(budget)

    def alone(place: int, share: Budget) -> Iterator[Bracket]:
        one = replace(problem.alone(place), attack=lambda _: points[place : place + 1])
        for bracket in minimised(asked, one, settings, share):
            yield with_float32(bracket, one, share) if bracket.final else bracket

    return told(in_turn(alone, len(points), budget))


def finals(brackets: Generator[Bracket, None, None], progress: Callable[[Bracket], None] | None) -> list[Bracket]:
    """The final ones of the brackets; `progress` is called with every one. What it raises ends the search."""
    found = []
    with closing(brackets):
        for bracket in brackets:
            if progress is not None:
                progress(bracket)
            if bracket.final:
                found.append(bracket)
    return found


def in_turn(
    alone: Callable[[int, Budget], Iterator[Bracket]], count: int, budget: Budget
) -> Generator[Bracket, None, None]:
    """The brackets of one target after the other; each gets an equal share of the time that is left."""
    for place in range(count):
        yield from alone(place, budget.share(count - place))


def overall(results: Sequence[Bracket], budget: Budget) -> AllTargets:
    """With the nearest target's bracket, its lower end that of the least proved target."""
    nearest = min(results, key=lambda bracket: bracket.upper)
    lowest = min(results, key=lambda bracket: bracket.lower)
    status = _status(nearest, lowest)
    whole = replace(
        nearest,
        lower=min(lowest.lower, nearest.upper) if nearest.witness is not None else lowest.lower,
        evidence=min(bracket.evidence for bracket in results),
        status=status,
        reason="" if status is not Status.BRACKETED else lowest.reason,
        seconds=budget.spent,
        final=True,
        float32=_float32(results, nearest),
        search=_together([bracket.search for bracket in results if bracket.search is not None]),
    )
    return AllTargets(tuple(results), whole)


def _float32(results: Sequence[Bracket], nearest: Bracket) -> float | None:
    """No float32 evaluation reaches any of the targets within this; None where it is unknown of one."""
    known = [bracket.float32 for bracket in results if bracket.float32 is not None]
    return min(*known, nearest.upper) if len(known) == len(results) else None


def _together(searches: Sequence[Search]) -> Search | None:
    if not searches:
        return None
    engine = next((search.engine for search in searches if search.engine != LINEAR_BOUNDS), LINEAR_BOUNDS)
    nodes, open_nodes = sum(search.nodes for search in searches), sum(search.open_nodes for search in searches)
    return Search(engine, nodes, open_nodes, sum(search.seconds for search in searches))


def _status(nearest: Bracket, lowest: Bracket) -> Status:
    if nearest.status is Status.ALREADY_ADVERSARIAL:
        return nearest.status
    if nearest.witness is None:
        return Status.UNREACHABLE if math.isinf(lowest.lower) else Status.BRACKETED
    return Status.MINIMAL if nearest.upper - lowest.lower <= nearest.precision else Status.BRACKETED
