"""The points that inputs can be: some entries take values at equal steps, of some groups exactly one entry is 1.

An entry that does is (k − origin) / per for a whole number k, in float64, as the nearest number of the model's dtype;
those of the input itself stay as they are. So points are not exactly where rationals have them, and what is known of
distances over the rationals holds with a slack η: where x' differs from x, no entry is off by more than η of its step,
and in every norm (1 − η)·‖k' − k‖ ≤ ‖x' − x‖ ≤ (1 + η)·‖k' − k‖, ‖k' − k‖ short for the rationals' distance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from encoders.errors import InputError
from encoders.network.graph import Array
from encoders.network.norm import Norm
from verifier.problem.inputs.columns import Columns, units_of
from verifier.problem.inputs.levels import Levels, levels_of
from verifier.problem.quantities import directed

Whole = npt.NDArray[np.int64]
"""Whole numbers, one an entry; 0 where an entry takes any value."""

ON_STEP = 4.0
"""Units of rounding of the dtype by which an input may miss its whole number: (x − mean) / deviation rounds three
times, and bytes are scaled by 1/255 as often as they are divided by 255."""

SPARE = 2.0**-50
"""Relative: what (k − origin) / per loses in float64, some times over."""

HALF = 0.5
"""A step's half: so far beyond 0 and 1 a one-hot column's box goes that has no ends, and its points are 0 and 1."""

COARSEST = Fraction(1, 8)
"""The largest slack η: beyond it the dtype hardly tells two steps apart."""

MOST_STEPS = 2.0**31
"""Steps of one entry: whole numbers are exact far beyond."""

LOOKED_AT = 1 << 14
"""Values of all kinds of columns up to which each one's rounding is looked at: 30 ms of rational arithmetic."""

TINIEST = 2.0**-10
"""Of the least distance, the radius within which it has to be shown that the input itself is no adversarial point."""


@dataclass(frozen=True, eq=False)
class Lattice:
    """Arrays are (n,): `whole` says which entries have steps, `at` is the input's own whole numbers, `first` and `last`
    those within the box, whose ends lo, hi are these points' own. groups: entries of which one is 1, the others 0."""

    norm: Norm
    centre: Array
    dtype: np.dtype[np.floating]
    whole: npt.NDArray[np.bool_]
    origin: Array
    per: Array
    first: Whole
    last: Whole
    at: Whole
    lo: Array
    hi: Array
    groups: tuple[npt.NDArray[np.intp], ...]
    asked: Columns
    slack: Fraction = Fraction(0)
    levels: Levels | None = None
    """None where distances are no multiples of anything, as with entries that take any value."""
    steps: dict[float, Fraction] = field(default_factory=dict)
    """1/per, exactly."""

    @property
    def pure(self) -> bool:
        """Has every entry that the box lets move steps?"""
        return bool(np.all(self.whole | (self.lo == self.hi)))

    def values(self, numbers: Whole) -> Array:
        """The points of whole numbers (…, n), in float64 though they are numbers of the dtype: any entry without steps
        is the input's."""
        found = ((numbers - self.origin) / self.per).astype(self.dtype).astype(np.float64)
        return np.where(self.whole & (numbers != self.at), found, self.centre)

    def numbers(self, points: Array) -> Array:
        """What points (…, n) are in steps, no whole numbers where they lie between: origin + per·x."""
        return self.origin + self.per * points

    def nearest(self, points: Array, first: Whole | None = None, last: Whole | None = None) -> Whole:
        """The whole numbers next to points (B, n), between first and last; of each group the largest entry is 1."""
        low, high = self.first if first is None else first, self.last if last is None else last
        given = self.numbers(points)
        found = np.clip(np.rint(np.where(self.whole, given, 0.0)), low, high).astype(np.int64)
        for group in self.groups:
            share = np.where(low[group] > 0, np.inf, np.where(high[group] > 0, given[:, group], -np.inf))
            found[:, group] = np.arange(group.size) == np.argmax(share, axis=1)[:, np.newaxis]
        return found

    def completed(self, numbers: Whole, points: Array) -> Array:
        """The points (B, n) with the values of these whole numbers where entries have steps."""
        return np.where(self.whole, self.values(numbers), points)

    def occurring(self, point: Array) -> Array | None:
        """The point of the lattice of which this one (n,) is a rounding; None where there is none."""
        near, on = _near(np.where(self.whole, self.numbers(point), 0.0), self.origin, self.dtype)
        numbers = np.where(on, near, 0.0).astype(np.int64)
        if not np.all(on & (self.first <= numbers) & (numbers <= self.last)):
            return None
        if any(numbers[group].sum() != 1 for group in self.groups):
            return None
        return self.completed(numbers, point)

    def amount(self, point: Array) -> Fraction:
        """‖k' − k‖^power of a point (n,) of the lattice, exactly; `levels` is not None."""
        assert self.levels is not None
        moved = np.abs(np.rint(np.where(self.whole, self.numbers(point), 0.0)).astype(np.int64) - self.at)
        moved[~self.whole] = 0
        places = np.flatnonzero(moved)
        found = Fraction(0)
        for per in np.unique(self.per[places]).tolist():
            counts = [int(count) for count in moved[places][self.per[places] == per]]
            step = self.steps[per]
            match self.norm:
                case Norm.LINF:
                    found = max(found, max(counts) * step)
                case Norm.L1:
                    found += sum(counts) * step
                case Norm.L2:
                    found += sum(count * count for count in counts) * step * step
        return found

    def level(self, lower: float) -> Fraction | None:
        """The least amount that no lower end over all points of the box excludes: ‖x' − x‖ ≥ lower. None: no levels."""
        if self.levels is None or not math.isfinite(lower):
            return None
        return self.levels.at_least(self.levels.amount(lower) / (1 + self.slack) ** self.levels.power)

    def raised(self, lower: float) -> float:
        """A lower end over all points of the box as one over the lattice: no point of it is nearer."""
        amount = self.level(lower)
        if amount is None or self.levels is None:
            return lower
        return max(lower, self._least(amount))

    def short_of(self, amount: Fraction) -> float:
        """The radius within which, its end included, no point of at least this amount lies: all but the largest one."""
        return math.nextafter(self._least(amount), 0.0)

    def _least(self, amount: Fraction) -> float:
        """No point of this amount is nearer."""
        assert self.levels is not None
        least = self.levels.distance(amount, -math.inf)
        return least * (1.0 - float(self.slack)) * (1.0 - SPARE) if self.slack else least

    def radius_below(self, amount: Fraction | None) -> float | None:
        """The radius > 0 at which a lower end over all points rises to this amount; None: no levels, or none below."""
        if amount is None or self.levels is None or amount == 0:
            return None
        return self._just_beyond(self.levels.below(amount))

    def radius_within(self, radius: float) -> float:
        """A radius > 0, at most this one, that leaves out no point of the lattice within this one."""
        last = self._last(radius)
        return radius if last is None else min(radius, self._just_beyond(last))

    def ball_around(self, radius: float) -> float:
        """The radius of an open ball with all points within this one, its end included, as it counts in steps."""
        return self.radius_within(self.in_steps(radius)) if 0 < radius < math.inf else radius

    def amount_within(self, radius: float) -> float:
        """‖k' − k‖^power of the points within the radius is at most this, which is rounded up."""
        last, power = self._last(radius), 2 if self.norm is Norm.L2 else 1
        return directed((Fraction(radius) / (1 - self.slack)) ** power if last is None else last, math.inf)

    def in_steps(self, radius: float) -> float:
        """A radius > 0 as it counts on the lattice: so much wider that what rounding has put beyond it is within, and
        8/255 are eight steps. It stays as it is where rounding moves points as far as the next step, as in L2."""
        last = self._last(radius)
        if last is None:
            return radius
        wider = max(radius, self._just_beyond(last))
        return wider if math.isfinite(wider) and self._last(wider) == last else radius

    def _last(self, radius: float) -> Fraction | None:
        """The greatest amount that points within the radius can have; None: no levels."""
        if self.levels is None:
            return None
        most = self.levels.amount(radius) / (1 - self.slack) ** self.levels.power
        return most if self.levels.at_least(most) == most else self.levels.below(most)

    def _just_beyond(self, amount: Fraction) -> float:
        """A radius > 0 that is more than the distance of any point of this amount, and hardly more."""
        assert self.levels is not None
        if amount == 0:
            return self.levels.distance(min(self.levels.units), math.inf) * TINIEST
        most = self.levels.distance(amount, math.inf) * (1.0 + float(self.slack)) * (1.0 + SPARE)
        return math.nextafter(most, math.inf)


@np.errstate(over="ignore", invalid="ignore")
def lattice_of(
    columns: Columns, centre: Array, lo: Array, hi: Array, dtype: np.dtype[np.floating], norm: Norm
) -> Lattice:
    """The lattice around an input (n,) in a box. Raises InputError where the input, or the box, is not on it."""
    size = centre.size
    whole = np.ones(size, dtype=bool) if columns.grid is not None else np.zeros(size, dtype=bool)
    named = (*columns.integer, *(column for group in columns.one_hot for column in group))
    for column in named:
        if not 0 <= column < size:
            raise InputError(f"column {column} is none of the input's, which are 0 to {size - 1}")
        whole[column] = True
    offset, scale = units_of(columns.units, size)
    steps = 1 if columns.grid is None else columns.grid
    per, origin = np.where(whole, scale * steps, 1.0), np.where(whole, offset * steps, 0.0)
    grouped = np.zeros(size, dtype=bool)
    grouped[[column for group in columns.one_hot for column in group]] = True
    lo = np.where(grouped & np.isinf(lo), (-HALF - origin) / per, lo)  # of a group all are 0 or 1, whatever the box
    hi = np.where(grouped & np.isinf(hi), (1 + HALF - origin) / per, hi)
    _must(columns, whole & ~np.isfinite(hi - lo), "has no two ends in the box, as steps need: give --box", lo)
    swallowed = whole & (lo < hi) & (per * (hi - lo) < 2.0 * SPARE)  # its ends would count as one whole number
    _must(columns, swallowed, "is the end of a box that is much less than a step wide", hi)
    at, missed = _on_step(columns, centre, origin, per, whole, dtype)
    first, last = _within(columns, (origin, per, whole), (lo, hi), dtype)
    groups = tuple(np.array(group, dtype=np.intp) for group in columns.one_hot)
    for group in groups:
        if sorted(at[group].tolist()) != [0] * (group.size - 1) + [1]:
            raise InputError(
                f"columns {_listed(group)} are no one-hot group in the input: one is to be 1, the others 0"
            )
        first[group], last[group] = np.maximum(first[group], 0), np.minimum(last[group], 1)
    if np.any(whole & ((at < first) | (at > last))):
        column = int(np.argmax(whole & ((at < first) | (at > last))))
        raise InputError(f"the box leaves out the input's own value of column {column}, {centre[column]:g}")
    plain = Lattice(norm, centre, dtype, whole, origin, per, first, last, at, lo, hi, groups, columns)
    ends = plain.values(first), plain.values(last)
    low, high = np.where(whole, ends[0], lo), np.where(whole, ends[1], hi)
    moving = np.flatnonzero(whole & (first < last))
    known = {value: 1 / Fraction(value) for value in np.unique(per[whole]).tolist()}
    pure = bool(np.all(whole | (low == high)))
    levels = levels_of(norm, [known[value] for value in np.unique(per[moving]).tolist()]) if pure else None
    slack = _slack(plain, moving, missed)
    return Lattice(
        norm, centre, dtype, whole, origin, per, first, last, at, low, high, groups, columns, slack, levels, known
    )


def _listed(group: Sequence[int] | npt.NDArray[np.intp]) -> str:
    return ", ".join(str(column) for column in group)


def _must(columns: Columns, wrong: npt.NDArray[np.bool_], told: str, values: Array) -> None:
    """Raises InputError about the first entry that is wrong."""
    if np.any(wrong):
        place = int(np.argmax(wrong))
        name = f"the grid 1/{columns.grid}" if columns.grid is not None else "integer and one-hot columns"
        raise InputError(f"{name}: entry {place}, {values[place]:.9g}, {told}")


def _unit(dtype: np.dtype[np.floating]) -> float:
    return 0.5 * float(np.finfo(dtype).eps)


def _near(given: Array, origin: Array, dtype: np.dtype[np.floating]) -> tuple[Array, npt.NDArray[np.bool_]]:
    """The whole numbers next to what entries are in steps, and which entries miss theirs by no more than rounding."""
    near = np.rint(given)
    return near, np.abs(given - near) <= ON_STEP * _unit(dtype) * (np.abs(near) + np.abs(origin)) + SPARE


def _on_step(
    columns: Columns,
    centre: Array,
    origin: Array,
    per: Array,
    whole: npt.NDArray[np.bool_],
    dtype: np.dtype[np.floating],
) -> tuple[Whole, Array]:
    """The whole numbers of the input, and by what part of a step each entry is off, rounded up."""
    given = np.where(whole, origin + per * centre, 0.0)
    _must(columns, np.abs(given) > MOST_STEPS, f"is more than {MOST_STEPS:g} steps from 0", centre)
    near, on = _near(given, origin, dtype)
    at = near.astype(np.int64)
    wanted = f"is no multiple of 1/{columns.grid}" if columns.grid is not None else "is no whole number"
    _must(columns, ~on, wanted + ("" if columns.units is None else " in the user's units"), centre)
    known: dict[tuple[float, ...], float] = {}
    missed = np.zeros(centre.size)
    for place in np.flatnonzero(whole).tolist():
        key = float(centre[place]), float(origin[place]), float(per[place])
        if key not in known:
            x, start, steps = map(Fraction, key)
            known[key] = float(abs(start + steps * x - int(at[place]))) * (1.0 + SPARE)
        missed[place] = known[key]
    return at, missed


def _within(
    columns: Columns,
    entries: tuple[Array, Array, npt.NDArray[np.bool_]],
    box: tuple[Array, Array],
    dtype: np.dtype[np.floating],
) -> tuple[Whole, Whole]:
    """The first and the last whole number within the box; of a grid its ends are such, and are to be on it."""
    origin, per, whole = entries
    ends = []
    for end, direction in zip(box, (np.ceil, np.floor), strict=True):
        given = np.where(whole, origin + per * np.where(whole, end, 0.0), 0.0)
        _must(columns, np.abs(given) > MOST_STEPS, f"an end of the box, is more than {MOST_STEPS:g} steps from 0", end)
        near, on = _near(given, origin, dtype)
        if columns.grid is not None:
            _must(columns, ~on, f"an end of the box, is no multiple of 1/{columns.grid}", end)
        ends.append(np.where(on, near, direction(given)).astype(np.int64))
    return ends[0], ends[1]


def _slack(lattice: Lattice, moving: npt.NDArray[np.intp], missed: Array) -> Fraction:
    """η: by what part of its step an entry's move may be off, rounded up. Raises InputError where that is too much."""
    if not moving.size:
        return Fraction(0)
    rounded = _rounded(lattice, moving)
    off = (rounded + missed[moving]) * (1.0 + SPARE)
    worst = int(np.argmax(off))
    if off[worst] > COARSEST:
        raise InputError(
            f"steps of {1.0 / lattice.per[moving[worst]]:.3g} are too fine for entry {moving[worst]}: "
            f"{lattice.dtype.name} hardly tells two of them apart there"
        )
    return Fraction(float(off[worst]))


def _rounded(lattice: Lattice, moving: npt.NDArray[np.intp]) -> Array:
    """By what part of its step each moving entry's values are off at most: looked at where these are few."""
    columns = np.stack(
        [lattice.origin[moving], lattice.per[moving], lattice.first[moving], lattice.last[moving]], axis=1
    )
    kinds, of_kind = np.unique(columns, axis=0, return_inverse=True)
    if float((kinds[:, 3] - kinds[:, 2] + 1.0).sum()) <= LOOKED_AT:
        found = np.array([_farthest_off(kind.tolist(), lattice.dtype) for kind in kinds])
        return np.asarray(found[of_kind.reshape(-1)])
    unit, (origin, per, first, last) = _unit(lattice.dtype), columns.T
    most = np.maximum(np.abs(first - origin), np.abs(last - origin))
    # Whole numbers of the dtype are exact; any other value is rounded, near 0 to a subnormal one.
    exact = (per == 1.0) & (origin == np.rint(origin)) & (most <= 1.0 / unit)
    smallest = float(np.finfo(lattice.dtype).smallest_subnormal)
    return np.asarray(np.where(exact, 0.0, most * (unit + SPARE) + per * smallest))


def _farthest_off(kind: Sequence[float], dtype: np.dtype[np.floating]) -> float:
    """The largest |origin + per·x − k| of the values x of k = first … last, rounded up; these are the kind."""
    origin, per, first, last = kind
    numbers = np.arange(first, last + 1.0)
    values = ((numbers - origin) / per).astype(dtype).astype(np.float64)
    start, steps = Fraction(origin), Fraction(per)
    off = (abs(start + steps * Fraction(x) - int(k)) for x, k in zip(values.tolist(), numbers.tolist(), strict=True))
    return float(max(off)) * (1.0 + SPARE)
