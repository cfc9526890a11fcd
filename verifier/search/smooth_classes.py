"""Questions about the classes of a network with Sigmoids: minimal, check and each target, one ball after the other.

That a class wins is a property of the logits, which is asked of balls as any property is; the judge of witnesses is
that of the question itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from encoders.errors import InputError
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.properties.formula import Property, from_arrays
from verifier.problem.query import Halfspaces
from verifier.problem.verdict import Bracket, Semantics
from verifier.runtime.model import SMOOTH, Model
from verifier.runtime.near_judge import ClassJudge, Near
from verifier.search.property_question import PropertyQuestion, ball_of
from verifier.search.settings import Settings
from verifier.search.smooth_balls import BallSearch, InBall, within_box
from verifier.search.state import Problem, SearchState


def must_answer(model: Model, settings: Settings) -> None:
    """Raise InputError for a network with Sigmoids and what balls of it are not asked by."""
    if model.lowered.smooth and (settings.workers is not None or settings.decider.trees is None):
        raise InputError(SMOOTH.format(model.path))


@dataclass(frozen=True, eq=False)
class ClassBalls:
    """The balls of a problem about a model's classes."""

    model: Model
    problem: Problem

    @property
    def precision(self) -> float:
        return self.problem.precision

    @property
    def semantics(self) -> Semantics:
        return self.problem.semantics

    @property
    def charges(self) -> bool:
        return self.model.charges_logits(self.semantics)

    @cached_property
    def prop(self) -> Property:
        """One of the disjuncts is reached in the box. One score stands for two logits, of which the first is 0."""
        ball, first = self.problem.ball, self.model.first_output
        goals = [Halfspaces(goal.matrix[:, first:], goal.offset) for _, goal in self.problem.disjuncts]
        return from_arrays(ball.lo, ball.hi, goals)

    def within(self, radius: float, most: float, semantics: Semantics, budget: Budget) -> InBall:
        """The question about one ball."""
        problem = self.problem
        near = Near(problem.ball.with_radius(radius), most)
        prop = within_box(self.prop, problem.ball.centre, radius)
        slack = SearchState(problem, budget).slack
        judge = ClassJudge(self.model, prop, near, problem.judge, slack)
        question = PropertyQuestion(self.model, prop, semantics, judge, ball_of(near), of_classes=True)
        return InBall(question, judge)


def brackets(model: Model, problem: Problem, settings: Settings) -> Iterator[Bracket]:
    """Shrinking brackets on the distance to the nearest point that reaches a disjunct; the last one is final."""
    state = SearchState(problem, settings.budget)
    try:
        with settings.budget.within_memory():
            state.attack()
    except OutOfTimeError as error:
        state.reason = str(error)
        yield state.bracket(final=True)
        return
    yield state.bracket()
    balls = ClassBalls(model, problem)
    found = BallSearch(balls, settings, state.witness, state.initial, problem.target, input_judged=True)
    yield from found.brackets()
