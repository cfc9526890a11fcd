"""What is asked, checked once and handed down: model, ball, goals, judge, semantics, precision."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from encoders.errors import InputError
from encoders.network.graph import Array, Graph
from encoders.passes.from_transforms import Transforms
from verifier.problem.answer import Subject
from verifier.problem.arguments import above_zero, plain, real, whole, word
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.inputs.box import inside
from verifier.problem.inputs.columns import Columns
from verifier.problem.inputs.lattice import Lattice, lattice_of
from verifier.problem.query import Ball, Halfspaces, Norm, Targeted, Untargeted, disjuncts
from verifier.problem.verdict import Semantics, Witness
from verifier.runtime.agreement import same_copies, same_function
from verifier.runtime.model import SMOOTH, Model
from verifier.runtime.transformed import Copies
from verifier.runtime.witness import Judge

CALLER = 3
"""Frames from a warning of `specify` to who called the API."""

Box = tuple[npt.ArrayLike, npt.ArrayLike]
"""Two numbers, or two arrays of as many as the input has entries."""

DEFAULT_BOX: Box = (0.0, 1.0)

DEFAULT_PRECISION = 1e-3
"""Width at which a bracket is closed."""


@dataclass(frozen=True, eq=False)
class InputRegion:
    """The x' of the box, by their distance ‖x' − x‖ from an input x of the model's shape, or flat; not yet checked.

    columns: which x' can occur; None: all.
    """

    x: npt.ArrayLike
    norm: str = Norm.LINF
    box: Box = DEFAULT_BOX
    columns: Columns | None = None


@dataclass(frozen=True, eq=False)
class Misclassification:
    """The goal that `target` wins by `margin`, or any class but the label; not yet checked.

    label: None for the class that the model predicts. each: about every other class on its own, or about `targets` of
    them; then there is no `target`.
    """

    target: int | None = None
    label: int | None = None
    margin: float = 0.0
    each: bool = False
    targets: Sequence[int] | None = None


@dataclass(frozen=True, eq=False)
class Specification:
    """A checked question about one input of one model; `ball` has an infinite radius.

    goals: by target the half-spaces of the logits in which it counts as reached: adversarial points lie in one of them.
    precision: the width at which a bracket is closed. semantics: which network a lower end is about.
    """

    model: Model
    ball: Ball
    label: int
    predicted: int
    """The class of the input, as ONNX Runtime runs the file."""
    target: int | None
    goals: tuple[tuple[int, Halfspaces], ...]
    judge: Judge
    margin: float = 0.0
    copies: Copies | None = None
    """The network under several transformations of the input; None: as it is."""
    semantics: Semantics = Semantics.BOTH
    precision: float = DEFAULT_PRECISION
    lattice: Lattice | None = None
    """The points that are asked about; None: all of the box."""

    @property
    def graph(self) -> Graph:
        """The lowered graph that the goals speak of."""
        return self.model.lowered if self.copies is None else self.copies.lowered

    @property
    def attacked_graph(self) -> Graph | None:
        """The graph whose output goals speak of that are not one class's; None: they are classes of the model."""
        return None if self.copies is None else self.copies.graph

    @property
    def attacked(self) -> tuple[tuple[int, Halfspaces], ...]:
        """The goals as attacks are asked: beyond what the file's own output may show as a tie."""
        return tuple((target, goal.deeper(self.judge.tie)) for target, goal in self.goals)

    @property
    def point(self) -> npt.NDArray[np.floating]:
        """The input in the model's dtype."""
        return self.ball.centre.astype(self.model.dtype)

    def subject(self, command: str, radius: float | None = None) -> Subject:
        """What an answer says that it is about."""
        model, network = self.model, self.model.network
        return Subject(
            command=command,
            model=model.path.name,
            model_sha256=network.sha256,
            input=self.point,
            shape=network.input_shape,
            box=(self.ball.lo, self.ball.hi),
            norm=self.ball.norm.value,
            label=self.label,
            predicted=self.predicted,
            target=self.target,
            margin=self.margin,
            radius=radius,
            columns=None if self.lattice is None else self.lattice.asked,
        )

    def only(self, targets: Sequence[int] | None) -> Specification:
        """The same about some of the targets; None: all. Raises InputError for one that is none, or for no target."""
        if targets is None:
            return self
        if not isinstance(targets, Sequence | np.ndarray):
            raise InputError(f"the targets must be a list of classes, not {targets!r}")
        for target in targets:
            if _class(target, "target", self.model) == self.label:
                raise InputError(f"the target {target} is the label itself: choose another class")
        if len(targets) == 0:
            raise InputError("no target is asked for")
        goals = tuple(entry for entry in self.goals if entry[0] in targets)
        return replace(self, goals=goals, judge=replace(self.judge, disjuncts=goals))

    def already(self, budget: Budget) -> Witness | None:
        """The input itself as a witness at distance 0, when it is misclassified or reaches the goal as it is.

        Where only ONNX Runtime's rounding prefers another class, it is no witness for the real network. None as well
        where the time does not suffice to tell: then nothing is claimed.
        """
        try:
            return self._already(budget)
        except OutOfTimeError:
            return None

    def _already(self, budget: Budget) -> Witness | None:
        found = self.judge.witness(self.ball.centre, budget)
        if found is not None or self.attacked_graph is not None:
            return found
        predicted = self.predicted
        if predicted == self.label:
            return None
        logits = np.asarray(self.model.logits(self.point), dtype=np.float64)
        goal = disjuncts(Targeted(predicted), self.model.classes)[0][1]
        margin = float(goal.margin(logits)[0])
        exact = self.judge.exact_margin(self.point, goal, budget)
        if exact < 0:
            return None
        return Witness(self.point, 0.0, predicted, exact, margin, predicted)


def specify(
    model: Model,
    region: InputRegion,
    goal: Misclassification,
    budget: Budget,
    transforms: Transforms | None = None,
    semantics: str = Semantics.BOTH,
    precision: float = DEFAULT_PRECISION,
) -> Specification:
    """Check everything that a question needs; raises InputError, one line, for what cannot be.

    The graph is compared with ONNX Runtime at the input and in the box, as far as the budget allows. transforms: be
    adversarial under all of them.
    """
    if not isinstance(model, Model):
        raise InputError(f"the model must be one that verifier.load has read, not a {type(model).__name__}")
    if model.lowered.smooth and (transforms is not None or region.columns is not None):
        raise InputError(SMOOTH.format(model.path))
    meaning, width = semantics_of(semantics, model), above_zero(precision, "the precision", -math.inf)
    flat = model.vector(region.x)
    lo, hi = box_of(region.box, flat.size)
    try:
        flat, moved = inside(flat, lo, hi)
    except InputError as error:
        raise InputError(f"the input: {error}") from None
    if moved:
        warnings.warn(f"the input: {moved}", stacklevel=CALLER)
    if word(region.norm, "the norm") not in tuple(Norm):
        raise InputError(f"unknown norm '{region.norm}': choose one of {', '.join(Norm)}")
    centre, lattice = flat.astype(np.float64), None
    if region.columns is not None:
        lattice = lattice_of(region.columns, centre, lo, hi, model.dtype, Norm(region.norm))
        lo, hi = lattice.lo, lattice.hi
    ball = Ball(Norm(region.norm), centre, math.inf, lo, hi)
    margin = real(goal.margin, "the margin")
    if not (math.isfinite(margin) and margin >= 0):
        raise InputError(f"the margin must be a finite number ≥ 0, not {margin:g}")
    model.comparison.at_question(flat, lo, hi, budget)
    own = model.predict(flat)
    label = own if goal.label is None else _class(goal.label, "label", model)
    target = None if goal.target is None else _class(goal.target, "target", model)
    if target == label:
        raise InputError(f"the target {target} is the label itself: choose another class")
    if transforms is not None:
        copies = Copies(model, transforms, label, rivals=target is None and not goal.each)
        asked = _transformed(copies, own, ball, target, margin, budget)
    else:
        goals = disjuncts(Untargeted(label, margin) if target is None else Targeted(target, margin), model.classes)
        judge = Judge(model.network.graph, model.lowered, model.replay, model.dtype, ball, goals)
        asked = Specification(model, ball, label, own, target, goals, judge, margin)
    return replace(asked, semantics=meaning, precision=width, lattice=lattice).only(goal.targets)


def semantics_of(semantics: str, model: Model) -> Semantics:
    """Which network is asked about. Raises InputError, as for one that float32 says nothing about."""
    if word(semantics, "the semantics") not in tuple(Semantics):
        raise InputError(f"unknown semantics '{semantics}': choose one of {', '.join(Semantics)}")
    if semantics == Semantics.FLOAT32 and model.no_float32:
        raise InputError(f"semantics float32 is about models that compute in float32: {model.no_float32}")
    return Semantics(semantics)


def _transformed(
    copies: Copies, predicted: int, ball: Ball, target: int | None, margin: float, budget: Budget
) -> Specification:
    model, label = copies.model, copies.label
    if copies.transforms.maps[0].in_size != ball.centre.size:
        raise InputError(f"{copies.transforms.path}: made for an input of another size than {ball.centre.size}")
    with suppress(OutOfTimeError):
        same_copies(model.network.graph, copies.transforms.maps, copies.graph, budget)
        same_function(copies.graph, copies.lowered, "the form with ReLUs alone of the network's copies", budget)
    others = [other for other in range(model.classes) if other != label]
    goals = copies.goals(others if target is None else [target], margin)
    judge = Judge(copies.graph, copies.lowered, copies, model.dtype, ball, goals, label)
    return Specification(model, ball, label, predicted, target, goals, judge, margin, copies)


def _class(number: int, what: str, model: Model) -> int:
    number = whole(number, f"the {what}")
    if not 0 <= number < model.classes:
        raise InputError(f"the {what} {number} is not a class: the model has classes 0 to {model.classes - 1}")
    return number


def box_of(box: Box, size: int) -> tuple[Array, Array]:
    """Its ends, each (size,). Raises InputError."""
    wanted = f"the box must be two numbers or two arrays of {size} numbers"
    try:
        ends = [np.asarray(plain(end), dtype=np.float64).reshape(-1) for end in box]
    except (TypeError, ValueError):
        raise InputError(f"{wanted}, not {type(box).__name__}") from None
    if len(ends) != 2:
        raise InputError(f"{wanted}, not {len(ends)} of them")
    if any(end.size not in (1, size) for end in ends):
        raise InputError(f"{wanted}, not of {ends[0].size} and {ends[1].size}")
    lo, hi = (np.broadcast_to(end, (size,)) for end in ends)
    if np.any(np.isnan(lo)) or np.any(np.isnan(hi)):
        raise InputError("the box holds NaN")
    if np.any(lo > hi):
        place = int(np.argmax(lo > hi))
        raise InputError(f"the box is empty at entry {place}: lo {lo[place]:g} > hi {hi[place]:g}")
    return lo, hi
