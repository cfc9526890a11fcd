"""The arguments of a stage, and those of the open ReLUs before it, as affine forms of inputs and of these ReLUs alone.

x = m + r∘ξ with |ξ| ≤ 1 in the smallest box around a ball, and h_i = relu(y_i) for each ReLU whose sign the bounds
leave open; active ones pass on what they read, inactive ones nothing. With z = (ξ, h), which lies within `reach`, at
every point of the ball

    |y_i − (F_i·z + f_i)| ≤ error_i.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from encoders.formulations.to_stages import Stages
from encoders.network.graph import Array
from verifier.bounds.lagrangian import CHARGE
from verifier.problem.query import Ball
from verifier.problem.rounding import evaluation_error, gamma, underflow


@dataclass(frozen=True, eq=False)
class AffineForms:
    """rows (k, N) and constants (k,) of forms; sizes: the largest that their terms add up to; errors: what they are off
    by in every evaluation that the stages allow, real: over the real numbers alone."""

    rows: Array
    constants: Array
    sizes: Array
    errors: Array
    real: Array

    def combined(self, matrix: Array, offset: Array, rate: float) -> AffineForms:
        """matrix (r, k) times them + offset (r,)."""
        size = np.abs(matrix)
        sizes = size @ self.sizes + np.abs(offset)
        errors, real = ((size @ part + rate * sizes) * (1.0 + rate) for part in (self.errors, self.real))
        return AffineForms(matrix @ self.rows, matrix @ self.constants + offset, sizes, errors, real)

    def either_sign(self, places: npt.NDArray[np.integer]) -> AffineForms:
        """Those at these places, and their negatives behind them: exact."""
        rows, constants = self.rows[places], self.constants[places]
        same = (np.tile(part[places], 2) for part in (self.sizes, self.errors, self.real))
        return AffineForms(np.vstack([rows, -rows]), np.concatenate([constants, -constants]), *same)


@dataclass(frozen=True, eq=False)
class Round:
    """What a Euclidean ball says beside its box: ‖shift + share∘ξ‖₂ ≤ 1, steps in units of its radius. Both (moving,),
    to within a few roundings."""

    shift: Array
    share: Array


@dataclass(frozen=True, eq=False)
class QuadraticForms:
    """Forms over z = (ξ, h). places (h,): which of all ReLUs h are; moves: entries that the input can move in, where
    x = middle + half∘ξ, each (moving,). arguments: of h, lower < 0 < upper their ends. asked: of the stage's arguments.
    round: None where the ball is its box.
    """

    places: npt.NDArray[np.integer]
    moves: npt.NDArray[np.integer]
    middle: Array
    half: Array
    arguments: AffineForms
    lower: Array
    upper: Array
    asked: AffineForms
    rate: float
    """What sums of N products are charged, relative to the sum of their sizes."""
    slack: float
    """What all of them may lose to underflow, for each unit of size."""
    round: Round | None = None

    @property
    def moving(self) -> int:
        """Entries of ξ."""
        return int(self.moves.size)

    @property
    def reach(self) -> Array:
        """The largest |z_j| (N,)."""
        return np.concatenate([np.ones(self.moving), self.upper])


@dataclass(frozen=True, eq=False)
class _Part:
    """The outputs of one stage, or the input: forms (size, N + 1), the constant last; what they are off by, in every
    evaluation and over the reals; the largest |value| (size,)."""

    forms: Array
    errors: Array
    real: Array
    largest: Array


def quadratic_forms(
    stages: Stages,
    ball: Ball,
    lower: Array,
    upper: Array,
    number: int,
    look: Callable[[], None] = lambda: None,
) -> QuadraticForms:
    """The forms of stage `number` (1 is the first, the output the last) over a ball in L∞ or L2; ReLU arguments lie
    within lower, upper (relu_count,), finite. look: called between products; what it raises ends the work."""
    low, high = ball.interval
    before = stages.starts[number - 1]
    lower, upper = lower[:before], upper[:before]
    places, moves = np.flatnonzero((lower < 0) & (upper > 0)), np.flatnonzero(high > low)
    count = moves.size + places.size
    rate = CHARGE * gamma(stages.operations + stages.input_size + count)
    middle = 0.5 * low + 0.5 * high
    half = np.nextafter(np.maximum(high - middle, middle - low), np.inf)
    forms, none = np.zeros((low.size, count + 1)), np.zeros(low.size)
    forms[moves, np.arange(moves.size)], forms[:, -1] = half[moves], middle
    reach = np.concatenate([np.ones(moves.size), upper[places], [1.0]])
    parts, arguments = [_Part(forms, none, none, np.maximum(np.abs(low), np.abs(high)))], []
    for place, (begin, end) in enumerate(pairwise(stages.starts[:number]), 1):
        read = _read(stages, place, parts, rate, reach, look)
        own = places[(places >= begin) & (places < end)] - begin
        arguments.append(_forms(read, own, reach))
        first = moves.size + int(np.searchsorted(places, begin))
        parts.append(_behind(read, lower[begin:end], upper[begin:end], own, first))
    largest = max(float(part.largest.max(initial=0.0)) for part in parts)
    return QuadraticForms(
        places=places,
        moves=moves,
        middle=middle[moves],
        half=half[moves],
        arguments=_stacked(arguments, count),
        lower=lower[places],
        upper=upper[places],
        asked=_forms(_read(stages, number, parts, rate, reach, look), slice(None), reach),
        rate=rate,
        slack=np.inf if stages.underflows else underflow(largest) * (1.0 + count * count),
        round=_round(ball, moves, middle, half),
    )


def _round(ball: Ball, moves: npt.NDArray[np.integer], middle: Array, half: Array) -> Round | None:
    if not (ball.geometry.is_euclidean and 0.0 < ball.radius < np.inf):
        return None
    shift, share = (middle - ball.centre)[moves] / ball.radius, half[moves] / ball.radius
    return Round(shift, share) if np.all(np.isfinite(shift) & np.isfinite(share)) else None


def _read(
    stages: Stages, number: int, parts: list[_Part], rate: float, reach: Array, look: Callable[[], None]
) -> _Part:
    """What a stage's arguments are: sums over outputs of earlier ones. `largest` is left out."""
    stage = stages.stages[number - 1]
    forms = np.zeros((stage.size, reach.size))
    errors, real, size, plain = (
        np.zeros(stage.size),
        np.zeros(stage.size),
        stage.magnitude.copy(),
        stage.magnitude.copy(),
    )
    for source, block in stage.blocks.items():
        look()
        part, sizes = parts[source], block.magnitude
        forms += block.matrix @ part.forms
        errors += sizes @ part.errors
        real += sizes @ part.real
        size += sizes @ (np.abs(part.forms) @ reach)
        plain += sizes @ part.largest
    look()
    forms[:, -1] += stage.constant
    rounded = evaluation_error(stage.operations, stages.unit) * plain
    errors = (errors + rounded + rate * size) * (1.0 + rate)
    # What evaluations round is left out where the reals are asked about beside them.
    real = (real + rate * size) * (1.0 + rate) if stages.both else errors
    return _Part(forms, errors, real, np.zeros(0))


def _behind(read: _Part, lower: Array, upper: Array, open_: npt.NDArray[np.integer], first: int) -> _Part:
    """The outputs of ReLUs with these arguments; first: the place in z of the first open one."""
    active = lower >= 0
    forms = np.where(active[:, np.newaxis], read.forms, 0.0)
    forms[open_, first + np.arange(open_.size)] = 1.0
    largest = np.maximum(upper, 0.0)
    return _Part(forms, np.where(active, read.errors, 0.0), np.where(active, read.real, 0.0), largest)


def _forms(part: _Part, chosen: npt.NDArray[np.integer] | slice, reach: Array) -> AffineForms:
    forms = part.forms[chosen]
    constants = forms[:, -1].copy()
    return AffineForms(forms[:, :-1], constants, np.abs(forms) @ reach, part.errors[chosen], part.real[chosen])


def _stacked(parts: list[AffineForms], count: int) -> AffineForms:
    rows = np.vstack([np.zeros((0, count)), *(part.rows for part in parts)])
    rest = (
        np.concatenate([np.zeros(0), *(getattr(part, name) for part in parts)])
        for name in ("constants", "sizes", "errors", "real")
    )
    return AffineForms(np.ascontiguousarray(rows), *rest)
