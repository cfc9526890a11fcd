"""Points that other tools have found: each as it is, a witness or the reason why it is none."""

from __future__ import annotations

from enum import StrEnum

import numpy as np

from encoders.errors import InputError
from encoders.files.array_files import AnyArray
from verifier.problem.budget import Budget
from verifier.problem.inputs.box import inside
from verifier.problem.verdict import Witness
from verifier.runtime.real_margin import real_margins
from verifier.runtime.witness import Judge


class Refusal(StrEnum):
    """Why a point is no witness, in words."""

    NOT_FINITE = "not finite in the model's dtype"
    OUTSIDE = "outside the box"
    NEVER = "no input that can occur"
    INPUT = "the input itself"
    LABEL = "still the label in ONNX Runtime"
    OTHER = "another class than the target in ONNX Runtime"
    ROUNDED = "adversarial only before it is rounded to the model's dtype"
    MARGIN = "short of the margin in ONNX Runtime"
    INEXACT = "adversarial in ONNX Runtime, not in exact arithmetic"


def replayed(judge: Judge, label: int, point: AnyArray, budget: Budget) -> Witness | Refusal:
    """The witness that `point` (n,), numbers of any dtype, is once it has the model's; else why it is none.

    Nothing is moved but what rounding to the model's dtype has put beside an end of the box (`inside`). label: the
    class that is to be lost. Raises OutOfTimeError.
    """
    ball, wide = judge.ball, point.astype(np.float64)
    with np.errstate(over="ignore"):
        rounded = point.astype(judge.dtype)
    if not np.all(np.isfinite(rounded)):
        return Refusal.NOT_FINITE
    try:
        x, _ = inside(rounded, ball.lo, ball.hi)
    except InputError:
        return Refusal.OUTSIDE
    if np.array_equal(x.astype(np.float64), ball.centre):
        return Refusal.INPUT
    return judge.witness(x, budget) or _refusal(judge, label, x, wide, budget)


def _refusal(judge: Judge, label: int, x: AnyArray, wide: AnyArray, budget: Budget) -> Refusal:
    """Why x is none; wide: the point before it was rounded."""
    logits, scores = judge.runtime.outputs(x[np.newaxis])
    if not (np.all(np.isfinite(logits)) and np.all(np.isfinite(scores))):
        return Refusal.NOT_FINITE
    classes = judge.runtime.classes(scores[0])
    reached = judge.reached(classes)
    if reached is not None:
        return Refusal.MARGIN if reached[1].margin(logits.astype(np.float64))[0] < 0 else Refusal.INEXACT
    if np.any(wide != x):
        goals = [goal for _, goal in judge.disjuncts]
        if any(margin >= 0 for margin in real_margins(judge.graph, wide, goals, budget.check)):
            return Refusal.ROUNDED
    return Refusal.LABEL if label in classes else Refusal.OTHER
