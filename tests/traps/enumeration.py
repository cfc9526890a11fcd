"""The nearest adversarial point of a network with one or two inputs, in rational arithmetic: nothing is rounded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from verifier.problem.query import Norm

Point = tuple[Fraction, ...]

Form = tuple[Point, Fraction]
"""Coefficients and constant of an affine form over the input."""


@dataclass(frozen=True, eq=False)
class Exact:
    """A network of at most two inputs as a set of closed polygons on which it is affine, without rounding.

    Both sides of a ReLU's line are closed, so that regions of a single point or segment count too.
    """

    layers: tuple[tuple[Any, Any], ...]
    lo: Point
    hi: Point

    def nearest(self, norm: Norm, centre: Point, target: int) -> Fraction | None:
        """min {‖x − centre‖ : x in the box, z_target(x) ≥ z_i(x) for all i}; None when there is no such x."""
        found = [self._least(part, norm, centre) for part in self._adversarial(target)]
        return min(found, default=None)

    def _adversarial(self, target: int) -> Iterator[list[Point]]:
        inputs = [(tuple(Fraction(i == j) for j in range(len(self.lo))), Fraction(0)) for i in range(len(self.lo))]
        for part, logits in self._regions(0, inputs, box_corners(self.lo, self.hi)):
            for other in logits:
                part = clipped(part, difference(logits[target], other))  # noqa: PLW2901
            if part:
                yield part

    def _regions(self, layer: int, values: list[Form], part: list[Point]) -> Iterator[tuple[list[Point], list[Form]]]:
        weight, bias = self.layers[layer]
        forms = [combined(row, constant, values) for row, constant in zip(weight, bias, strict=True)]
        if layer + 1 == len(self.layers):
            yield part, forms
            return
        parts: list[tuple[list[Point], list[Form]]] = [(part, [])]
        for form in forms:
            zero = tuple(Fraction(0) for _ in form[0]), Fraction(0)
            grown = []
            for points, active in parts:
                for side, value in ((form, form), (difference(zero, form), zero)):
                    inside = clipped(points, side)
                    if inside:
                        grown.append((inside, [*active, value]))
            parts = grown
        for points, active in parts:
            yield from self._regions(layer + 1, active, points)

    @staticmethod
    def _least(part: list[Point], norm: Norm, centre: Point) -> Fraction:
        """A norm is affine between its kinks: cut there, it is least at a corner."""
        moves: list[Form] = [
            (tuple(Fraction(i == j) for j in range(len(centre))), -centre[i]) for i in range(len(centre))
        ]
        kinks = list(moves)
        if norm is Norm.LINF and len(moves) == 2:
            zero = tuple(Fraction(0) for _ in centre), Fraction(0)
            kinks += [difference(moves[0], moves[1]), difference(moves[0], difference(zero, moves[1]))]
        pieces = [part]
        for kink in kinks:
            zero = tuple(Fraction(0) for _ in centre), Fraction(0)
            pieces = [
                half for piece in pieces for side in (kink, difference(zero, kink)) if (half := clipped(piece, side))
            ]
        lengths = ([abs(a - b) for a, b in zip(x, centre, strict=True)] for piece in pieces for x in piece)
        return min(max(gaps) if norm is Norm.LINF else sum(gaps, Fraction(0)) for gaps in lengths)


def box_corners(lo: Point, hi: Point) -> list[Point]:
    """The box as a polygon, in order."""
    if len(lo) == 1:
        return [lo, hi]
    return [(lo[0], lo[1]), (hi[0], lo[1]), (hi[0], hi[1]), (lo[0], hi[1])]


def combined(row: Any, constant: Any, values: list[Form]) -> Form:
    slopes = tuple(sum((Fraction(w) * v[0][i] for w, v in zip(row, values, strict=True)), Fraction(0))
                   for i in range(len(values[0][0])))  # fmt: skip
    return slopes, sum((Fraction(w) * v[1] for w, v in zip(row, values, strict=True)), Fraction(constant))


def difference(first: Form, second: Form) -> Form:
    return tuple(a - b for a, b in zip(first[0], second[0], strict=True)), first[1] - second[1]


def clipped(points: list[Point], form: Form) -> list[Point]:
    """The part of a polygon on which the form is ≥ 0 (Sutherland and Hodgman 1974)."""
    heights = [sum((a * b for a, b in zip(form[0], x, strict=True)), form[1]) for x in points]
    kept: list[Point] = []
    for place, (x, height) in enumerate(zip(points, heights, strict=True)):
        before, last = points[place - 1], heights[place - 1]
        if (height < 0) != (last < 0) and height != 0 and last != 0:
            share = last / (last - height)
            kept.append(tuple(a + share * (b - a) for a, b in zip(before, x, strict=True)))
        if height >= 0:
            kept.append(x)
    return kept
