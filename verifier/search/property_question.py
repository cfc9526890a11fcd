"""A question about a property, checked once: the model, the property, whose evaluations a proof is about."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import numpy as np

from encoders.errors import InputError
from encoders.network.graph import Graph
from encoders.passes.with_inputs import with_inputs
from verifier.problem.answer import PropertySubject
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.properties.cases import Conjunction, parts
from verifier.problem.properties.formula import Property, from_arrays
from verifier.problem.properties.from_vnnlib import read_text
from verifier.problem.query import Ball, Halfspaces, Norm, distance_exact
from verifier.problem.verdict import Semantics
from verifier.runtime.model import Model
from verifier.runtime.near_judge import Near, NearJudge
from verifier.runtime.property_judge import PropertyJudge, of_logits
from verifier.runtime.query_model import property_about
from verifier.search.question import Box, box_of, semantics_of

DOUBT = Fraction(1, 2**30)
"""Relative: more than what an irrational distance is rounded up by."""


@dataclass(frozen=True, eq=False)
class PropertyQuestion:
    """Does a point satisfy `prop`, which says what must not happen? Raises InputError for what cannot be asked.

    Behind a Softmax or the like `prop` is about the logits, and holds what is asked of the outputs. ball: where in the
    property's boxes it is asked; None: everywhere. of_classes: is it about the logits, and what the file's output shows
    of their order?
    """

    model: Model
    prop: Property
    semantics: Semantics
    judge: PropertyJudge
    ball: Ball | None = None
    of_classes: bool = False

    @property
    def charges(self) -> bool:
        """Are float32 evaluations asked about, and can something be proved of them?"""
        charges = self.model.charges_logits if self.of_classes else self.model.charges
        return charges(self.semantics)

    @property
    def rounds(self) -> bool:
        """May what is read of the logits show different ones as the same?"""
        return self.of_classes and self.model.replay.rounds

    def within(self, box: Ball) -> Ball | None:
        """What the ball leaves of a box of the property; None: nothing."""
        if self.ball is None:
            return box
        found = replace(self.ball, lo=box.lo, hi=box.hi)
        nearest = np.clip(found.centre, box.lo, box.hi)
        outside = distance_exact(found.norm, nearest, found.centre) * (1 - DOUBT) > found.radius
        return None if outside else found

    @cached_property
    def with_inputs(self) -> Graph:
        """The lowered graph of (outputs, inputs)."""
        return with_inputs(self.model.lowered)

    def target(self, case: Conjunction) -> tuple[Graph, Halfspaces]:
        """A lowered graph, and the half-spaces of its output that hold the case's rows. Raises InputError."""
        graph = self.with_inputs if case.mixed else self.model.lowered
        return graph, rows_of_case(self.model, case, self.prop.inputs if case.mixed else 0)


def rows_of_case(model: Model, case: Conjunction, inputs: int) -> Halfspaces:
    """The half-spaces that hold a case's rows, of what the model's graph gives and so many inputs behind it."""
    goal = case.goal(model.outputs, inputs)
    ahead = np.zeros((len(goal.offset), model.first_output))
    return Halfspaces(np.hstack([ahead, goal.matrix]), goal.offset)


def subject_of(command: str, model: Model, prop: Property, method: str) -> PropertySubject:
    """What an answer says that it is about."""
    return PropertySubject(command, model.file.name, model.sha256, prop.source, model.network.input_shape, method)


def must_be_read(model: Model) -> None:
    """Raise InputError unless the model is one."""
    if not isinstance(model, Model):
        raise InputError(f"the model must be one that verifier.load has read, not a {type(model).__name__}")


def must_fit(model: Model, graph: Graph, prop: Property) -> None:
    """Raise InputError unless the property speaks of as many inputs and outputs as the model, of this graph, has."""
    for kind, asked, given in (
        ("inputs", prop.inputs, graph.input_size),
        ("outputs", prop.outputs, model.outputs),
    ):
        if asked != given:
            raise InputError(f"{prop.source} speaks of {asked} {kind}, {model.path.name} has {given}")


def property_question(
    model: Model,
    prop: Property,
    budget: Budget,
    semantics: str = Semantics.BOTH,
    world: Semantics = Semantics.BOTH,
    near: Near | None = None,
) -> PropertyQuestion:
    """Check everything that the question needs; raises InputError, one line.

    semantics: what a proof is about; world: where a counterexample has to be one (`PropertyJudge`). near: where it is
    looked for, by a `NearJudge`; in L∞ the property's boxes have to lie in that ball.

    The graph is compared with ONNX Runtime in the middle of the first box, as far as the budget allows.
    """
    must_be_read(model)
    meaning = semantics_of(semantics, model)
    if meaning is Semantics.FLOAT32 and model.replay.rounds:
        raise InputError(
            f"{model.path.name} ends with a {model.network.ending}, of which nothing is proved in float32: ask with "
            "semantics real, or declare real"
        )
    must_fit(model, model.lowered, prop)
    logits = of_logits(model, prop)
    judge = PropertyJudge(model, prop, logits.inner, world)
    if near is not None:
        judge = NearJudge(model, prop, logits.inner, near)
    prop = logits.outer
    with suppress(OutOfTimeError):  # then nothing is proved either
        first = next(parts(prop, budget.check), None)
        if first is not None:
            region = first.box.region(prop.inputs)
            model.comparison.at_question(region.centre.astype(model.dtype), region.lo, region.hi, budget)
    return PropertyQuestion(model, prop, meaning, judge, ball_of(near))


def ball_of(near: Near | None) -> Ball | None:
    """The ball as a question has it: None where boxes say the same."""
    return None if near is None or near.ball.norm is Norm.LINF or math.isinf(near.ball.radius) else near.ball


AskedProperty = Halfspaces | list[Halfspaces] | tuple[Halfspaces, ...] | str | Path
"""What must not happen, as the API takes it."""


def asked_property(model: Model, region: Box | None, asked: AskedProperty, budget: Budget) -> Property:
    """The property of a VNN-LIB file; or that inputs of `region` (two numbers, or two arrays) reach one of the
    half-spaces of the outputs. Raises InputError; OutOfTimeError while a file is read.
    """
    if isinstance(asked, str | Path):
        if region is not None:
            raise InputError("a VNN-LIB file names its region itself: leave `region` out")
        must_be_read(model)
        return property_about(read_text(Path(asked)), model.file_ports, budget.check)
    must_be_read(model)
    if not isinstance(asked, Halfspaces | list | tuple):
        raise InputError(f"the property must be Halfspaces, a list of them, or a path, not a {type(asked).__name__}")
    disjuncts = [asked] if isinstance(asked, Halfspaces) else list(asked)
    if not all(isinstance(goal, Halfspaces) for goal in disjuncts):
        raise InputError("the property must be Halfspaces(matrix, offset), a list of them, or a VNN-LIB file's path")
    if region is None:
        raise InputError("half-spaces need a region=(lo, hi) of inputs")
    return from_arrays(*box_of(region, model.lowered.input_size), disjuncts)
