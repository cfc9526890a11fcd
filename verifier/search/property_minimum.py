"""How far is the nearest point at which a property breaks? The search for the minimum, over a property's cases.

All cases share one ball: its box holds every case's box and the input, and what a case's box leaves out of it becomes
rows over the input. So the cases are disjuncts of one problem, which share attack, bounds and incumbent.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from encoders.errors import InputError
from encoders.network.graph import Array, Graph
from encoders.passes.with_inputs import with_inputs
from verifier.attacks import registry as attacks
from verifier.attacks.goal_attack import GoalAttack
from verifier.problem.answer import Answer, PropertySubject
from verifier.problem.arguments import above_zero, word
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.properties.cases import Conjunction, ExactBox, cases
from verifier.problem.properties.formula import LinearRow, Property
from verifier.problem.query import Ball, Halfspaces, Norm
from verifier.problem.verdict import Bracket, Counterexample, Evidence, Initial, Search, Semantics, Status, Witness
from verifier.runtime.distance_judge import DistanceJudge, PropertyRuntime
from verifier.runtime.model import Model
from verifier.runtime.property_judge import InwardBox, plain_output
from verifier.search.initial_attack import ATTACK_SHARE, DEFAULT_ATTACK, PROMISING, briefly
from verifier.search.minimum import as_searched, with_float32
from verifier.search.property_question import (
    AskedProperty,
    asked_property,
    must_be_read,
    must_fit,
    rows_of_case,
    subject_of,
)
from verifier.search.question import DEFAULT_BOX, DEFAULT_PRECISION, InputRegion, Misclassification, semantics_of
from verifier.search.settings import Settings
from verifier.search.smooth_minimum import SmoothNearest, smooth_nearest
from verifier.search.state import SMALL, Problem

MOST_CASES = 1024
"""Of a property's disjunctive form: each has a tree of its own, and all are held at once."""


@dataclass(frozen=True, eq=False, repr=False)
class PropertyMinimum(Answer):
    """lower ≤ d* ≤ upper for the distance d* from the input to the nearest point that satisfies the property.

    lower: nothing nearer does, for what `evidence` is worth; float32: the same for every float32 evaluation, None where
    that was not asked. upper: the distance of `witness`, infinite without one.
    """

    lower: float
    upper: float
    witness: Counterexample | None
    evidence: Evidence
    precision: float
    status: Status
    norm: str
    seconds: float
    reason: str = ""
    search: Search | None = None
    float32: float | None = None
    about: PropertySubject | None = None

    @property
    def gap(self) -> float:
        return self.upper - self.lower


@dataclass(frozen=True, eq=False)
class NearestQuestion:
    """How far from `ball.centre` does a point satisfy `prop`? `goals`: its cases over the output of `graph`, which has
    the inputs behind the outputs where some case reads both."""

    model: Model
    prop: Property
    ball: Ball
    graph: Graph
    goals: tuple[tuple[int, Halfspaces], ...]
    judge: DistanceJudge
    semantics: Semantics
    precision: float

    @property
    def norm(self) -> Norm:
        return self.ball.norm

    def counterexample(self, witness: Witness) -> Counterexample:
        """One of its witnesses with the outputs that make it one."""
        return self.judge.counterexample(witness)

    def brackets(self, settings: Settings) -> Iterator[Bracket]:
        """Shrinking brackets on d*, the last one with `final` set; targets are places of cases. Raises InputError."""
        settings.must_suit(self.semantics, self.ball.norm)
        return _brackets(self, settings)


def nearest_question(
    model: Model,
    x: npt.ArrayLike,
    prop: Property,
    budget: Budget,
    norm: str = Norm.LINF,
    precision: float = DEFAULT_PRECISION,
    semantics: str = Semantics.BOTH,
) -> NearestQuestion | SmoothNearest:
    """Check everything that the question needs; raises InputError, one line. Raises OutOfTimeError.

    The graph is compared with ONNX Runtime at the input and in the box, as far as the budget allows.
    """
    must_be_read(model)
    if word(norm, "the norm") not in tuple(Norm):
        raise InputError(f"unknown norm '{norm}': choose one of {', '.join(Norm)}")
    if model.lowered.smooth:
        return smooth_nearest(model, x, prop, budget, norm, precision, semantics)
    plain_output(model)
    meaning, width = semantics_of(semantics, model), above_zero(precision, "the precision", -math.inf)
    must_fit(model, model.graph, prop)
    centre = model.vector(x)
    found = list(islice(cases(prop, budget.check), MOST_CASES + 1))
    if len(found) > MOST_CASES:
        raise InputError(f"{prop.source} has more than {MOST_CASES} cases, too many to look for the nearest point of")
    exact = _hull(found, [Fraction(entry) for entry in centre.tolist()])
    ends = exact.region(prop.inputs)
    ball = Ball(Norm(norm), centre.astype(np.float64), math.inf, ends.lo, ends.hi)
    with suppress(OutOfTimeError):  # then nothing is proved either
        model.comparison.at_question(centre, ends.lo, ends.hi, budget)
    return _question(model, prop, ball, _within_hull(found, exact), exact, meaning, width)


def _question(
    model: Model,
    prop: Property,
    ball: Ball,
    found: Sequence[Conjunction],
    exact: ExactBox,
    semantics: Semantics,
    precision: float,
) -> NearestQuestion:
    mixed = any(case.mixed for case in found)
    goals = [(place, rows_of_case(model, case, prop.inputs if mixed else 0)) for place, case in enumerate(found)]
    graphs = model.network.graph, model.graph
    read, lowered = (with_inputs(graph) for graph in graphs) if mixed else graphs
    inward = InwardBox(exact, prop.inputs, model.dtype)
    box = replace(ball, lo=inward.lo.astype(np.float64), hi=inward.hi.astype(np.float64))
    runtime = PropertyRuntime(model, [goal for _, goal in goals], mixed=mixed)
    judge = DistanceJudge(read, lowered, runtime, model.dtype, box, tuple(goals), prop=prop, first=model.first_output)
    return NearestQuestion(model, prop, ball, lowered, tuple(goals), judge, semantics, precision)


def _hull(found: Sequence[Conjunction], centre: Sequence[Fraction]) -> ExactBox:
    """The smallest box around all cases' boxes and the input; where one has no end, neither has it."""
    lower, upper = {}, {}
    for place, entry in enumerate(centre):
        lows = [case.box.lower.get(place) for case in found]
        highs = [case.box.upper.get(place) for case in found]
        if None not in lows:
            lower[place] = min([entry, *(low for low in lows if low is not None)])
        if None not in highs:
            upper[place] = max([entry, *(high for high in highs if high is not None)])
    return ExactBox(lower, upper)


def _within_hull(found: Sequence[Conjunction], hull: ExactBox) -> list[Conjunction]:
    """The cases with rows for those ends of their boxes that are not the hull's."""
    made = []
    for case in found:
        rows = list(case.rows)
        for place, end in case.box.lower.items():
            if hull.lower.get(place) != end:
                rows.append(LinearRow(((place, Fraction(1)),), (), -end))
        for place, end in case.box.upper.items():
            if hull.upper.get(place) != end:
                rows.append(LinearRow(((place, Fraction(-1)),), (), end))
        made.append(Conjunction(hull, tuple(rows)))
    return made


def _brackets(asked: NearestQuestion, settings: Settings) -> Iterator[Bracket]:
    budget = settings.budget
    goals = tuple((place, goal) for place, goal in asked.goals if len(goal.offset))
    with suppress(OutOfTimeError):
        at_once = asked.judge.witness(asked.ball.centre, budget)
        if at_once is not None:
            yield _settled(asked, budget, replace(_nothing(asked), upper=0.0, witness=at_once))
            return
    if not asked.goals:  # no case: the formula is false
        yield _settled(asked, budget, replace(_nothing(asked), lower=math.inf, status=Status.UNREACHABLE))
        return
    if len(goals) < len(asked.goals):
        reason = "a case asks nothing of outputs beyond its box, and the input is no counterexample"
        yield replace(_nothing(asked), seconds=budget.spent, reason=reason, final=True)
        return
    graph, in_file = as_searched(asked.graph, asked.semantics, budget)
    problem = Problem(
        graph=graph,
        in_file=in_file,
        ball=asked.ball,
        disjuncts=goals,
        judge=asked.judge,
        attack=lambda budget: _attacked(asked, settings, budget),
        attack_name=DEFAULT_ATTACK,
        precision=asked.precision,
        target=None,
        threads=settings.threads,
        semantics=asked.semantics,
        no_float32=asked.model.no_float32,
        proposers=settings.proposers,
        workers=settings.workers,
    )
    for bracket in settings.row.minimise(problem, settings.decider, budget):
        yield with_float32(bracket, problem, budget) if bracket.final else bracket


def _nothing(asked: NearestQuestion) -> Bracket:
    """What is known before anything is: 0 ≤ d* ≤ ∞."""
    none = Initial("none", math.inf)
    status, precision = Status.BRACKETED, asked.precision
    return Bracket(0.0, math.inf, None, Evidence.PROVED, precision, status, none, None, 0.0)


def _settled(asked: NearestQuestion, budget: Budget, bracket: Bracket) -> Bracket:
    status = Status.ALREADY_ADVERSARIAL if bracket.witness is not None else bracket.status
    charged = asked.model.charges_logits(asked.semantics)
    float32 = bracket.lower if charged else None
    return replace(bracket, status=status, seconds=budget.spent, final=True, float32=float32)


def _attacked(asked: NearestQuestion, settings: Settings, budget: Budget) -> list[Array | None]:
    """For the most promising cases, by their margins at the input, the nearest point that an attack finds."""
    values = np.asarray(asked.judge.runtime.logits(asked.ball.centre[np.newaxis])[0], dtype=np.float64)
    margins = [float(goal.margin(values)[0]) for _, goal in asked.goals]
    places = np.argsort(-np.nan_to_num(margins, nan=-np.inf), kind="stable")[:PROMISING].tolist()
    attack = briefly(attacks.attack_named(DEFAULT_ATTACK), asked.graph, asked.ball, SMALL)
    chosen = tuple(asked.goals[place] for place in places)
    attacker = GoalAttack(asked.judge.graph, asked.ball, chosen, settings.device, settings.threads)
    limit = budget.share(1.0 / ATTACK_SHARE)
    found = attacker(attack, range(len(chosen)), limit, settings.seed)
    points: list[Array | None] = [None] * len(asked.goals)
    for place, point in zip(places, found.points, strict=True):
        points[place] = None if point is None else np.asarray(point, dtype=np.float64)
    return points


def told(asked: NearestQuestion | SmoothNearest, bracket: Bracket, method: str) -> PropertyMinimum:
    """The bracket as the answer, the witness with its outputs."""
    witness = None if bracket.witness is None else asked.counterexample(bracket.witness)
    about = subject_of("minimal", asked.model, asked.prop, method)
    return PropertyMinimum(
        bracket.lower,
        bracket.upper,
        witness,
        bracket.evidence,
        bracket.precision,
        bracket.status,
        asked.norm.value,
        bracket.seconds,
        bracket.reason,
        bracket.search,
        bracket.float32,
        about,
    )


def minimal_property(asked: NearestQuestion | SmoothNearest, settings: Settings) -> PropertyMinimum:
    """The last of `brackets`, as an answer."""
    *_, last = asked.brackets(settings)
    return told(asked, last, settings.method)


def nearest(
    model: Model,
    region: InputRegion,
    asked: AskedProperty,
    goal: Misclassification,
    transforms: object,
    how: tuple[float, str],
    settings: Settings,
) -> PropertyMinimum:
    """The answer to `minimal` about a property of the region's box, or of a file, which names its box itself.

    goal, transforms: what does not go with it. how: precision and semantics. Raises InputError.
    """
    others = {"target": goal.target, "label": goal.label, "margin": goal.margin or None, "transforms": transforms}
    others["columns"] = region.columns
    for name, value in others.items():
        if value is not None:
            raise InputError(f"{name} does not go with property, which says itself what is looked for")
    of_file = isinstance(asked, str | Path)
    if of_file and region.box is not DEFAULT_BOX:
        raise InputError("a VNN-LIB file names its box itself: leave `box` out")
    try:
        prop = asked_property(model, None if of_file else region.box, asked, settings.budget)
        question = nearest_question(model, region.x, prop, settings.budget, region.norm, *how)
    except OutOfTimeError as error:
        return not_begun(str(error), region.norm, how[0], settings.budget)
    return minimal_property(question, settings)


def not_begun(reason: str, norm: str, precision: float, budget: Budget) -> PropertyMinimum:
    """The answer where the time was up before anything could be asked: 0 ≤ d* ≤ ∞."""
    bracketed = Status.BRACKETED
    return PropertyMinimum(0.0, math.inf, None, Evidence.PROVED, precision, bracketed, norm, budget.spent, reason)
