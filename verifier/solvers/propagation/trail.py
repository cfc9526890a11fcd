"""What is known of each variable on the way to a node, why, and which literals never hold together.

A variable v has two ends: `v` with its lower bound, `variables + v` with its upper bound negated, so that bounds of
ends only rise. A literal (end, value) says that the end's bound is at least the value.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
import numpy.typing as npt

from encoders.network.graph import Array
from verifier.bounds.box_part import Places

DECIDED, NOTHING = -1, -2
"""Reasons that are no row: a decision; none at all. Nogood n is the reason FIRST_NOGOOD − n."""

FIRST_NOGOOD = -3

NONE = -1
"""No end."""

ROOM = 64
"""Changes of each end for which a trail has room: what would be more stays undone, which loses a conclusion."""


class Trail(NamedTuple):
    """`bound` (ends,); entry t raised the bound of `end[t]` from `old[t]`, for `reason[t]`; `length` (1,) of them.

    `known` (ends,): the bounds that hold without any decision, for all that is sought.
    """

    bound: Array
    known: Array
    end: Places
    old: Array
    reason: Places
    length: Places

    def push(self, end: int, value: float, reason: int) -> None:
        """Raise the bound of an end, unless it is as high already."""
        at = int(self.length[0])
        if value > self.bound[end]:
            self.end[at], self.old[at], self.reason[at] = end, self.bound[end], reason
            self.bound[end] = value
            self.length[0] = at + 1

    def back(self, length: int) -> None:
        """Take back all entries but the first `length`."""
        part = slice(length, int(self.length[0]))
        self.bound[self.end[part][::-1]] = self.old[part][::-1]  # the first of an end is written last
        self.length[0] = length

    def commit(self) -> None:
        """What is on the trail holds without any decision."""
        self.known[:] = self.bound
        self.length[0] = 0


class Nogoods(NamedTuple):
    """Literals that never hold together: nogood n has start[n] … start[n + 1]; `used` (1,) of them."""

    start: Places
    end: Places
    value: Array
    used: Places

    def having(self, end: Places, value: Array) -> Nogoods:
        """With one more, in the same arrays where they have room."""
        number = int(self.used[0])
        first = int(self.start[number])
        last = first + end.size
        ends, values = _room(self.end, last), _room(self.value, last)
        ends[first:last], values[first:last] = end, value
        places = _room(self.start, number + 2)
        places[number + 1], self.used[0] = last, number + 1
        return Nogoods(places, ends, values, self.used)


_Column = TypeVar("_Column", bound=npt.NDArray[Any])


def _room(array: _Column, size: int) -> _Column:
    """The array itself, or a longer one that begins with it, where it has no room for so many entries."""
    if size <= array.size:
        return array
    return cast(_Column, np.concatenate([array, np.zeros(max(array.size, size), dtype=array.dtype)]))


def trail_of(lower: Array, upper: Array) -> Trail:
    """A trail without entries."""
    most = ROOM * 2 * lower.size
    bound = np.concatenate([lower, -upper])
    return Trail(
        bound,
        bound.copy(),
        np.zeros(most, dtype=np.int64),
        np.zeros(most),
        np.zeros(most, dtype=np.int64),
        np.zeros(1, dtype=np.int64),
    )


def no_nogoods() -> Nogoods:
    """None yet."""
    return Nogoods(np.zeros(1, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros(0), np.zeros(1, dtype=np.int64))
