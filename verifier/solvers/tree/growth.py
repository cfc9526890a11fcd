"""Writes a search's split tree down while it grows, for a search about the network as it is trained again."""

from __future__ import annotations

import threading
from array import array
from typing import Any

import numpy as np
import numpy.typing as npt

from encoders.network.graph import Array
from verifier.problem.phase_tree import LEAF, MOST, STEPS, PhaseTree

UNKNOWN = -1
"""The number of a node that is not written down."""


class Growth:
    """A tree of so many ReLUs whose goal has these rows; nodes are numbered as they come, the root is 0.

    A tree of more than MOST nodes is forgotten. Threads may write at the same time.
    """

    def __init__(self, relus: int, rows: npt.NDArray[np.integer]) -> None:
        self._relus, self._rows = relus, np.asarray(rows, dtype=np.int32)
        self._lock = threading.Lock()
        self._split, self._first = array("i", [LEAF]), array("i", [LEAF])
        self._numbers: dict[int, npt.NDArray[np.int16]] = {}
        self._bases: dict[int, tuple[Any, Any]] = {}
        self._full = False

    def split_at(self, node: int, relu: int, numbers: npt.NDArray[np.int16]) -> tuple[int, int]:
        """A node with these multipliers is split: the numbers of its children, the inactive one first."""
        with self._lock:
            if node == UNKNOWN or self._full or len(self._split) + 2 > MOST:
                if node != UNKNOWN:
                    self._forget()
                return UNKNOWN, UNKNOWN
            child = len(self._split)
            self._split[node], self._first[node] = relu, child
            self._split.extend((LEAF, LEAF))
            self._first.extend((LEAF, LEAF))
            self._numbers[node] = numbers
            self._numbers[child] = self._numbers[child + 1] = numbers
            return child, child + 1

    def closed(self, node: int, numbers: npt.NDArray[np.int16], basis: tuple[Any, Any] | None) -> None:
        """A node is closed by these multipliers; basis: that of its LP."""
        with self._lock:
            if node != UNKNOWN and not self._full:
                self._numbers[node] = numbers
                if basis is not None:
                    self._bases[node] = basis

    def tree(self, kept: npt.NDArray[np.integer]) -> PhaseTree | None:
        """The tree as it is now, None where it was forgotten; kept: the ReLUs in the LP of the bases."""
        with self._lock:
            if self._full:
                return None
            split, first = np.array(self._split, dtype=np.int32), np.array(self._first, dtype=np.int32)
            numbers = np.zeros((split.size, len(self._rows) + self._relus), dtype=np.int16)
            for node, own in self._numbers.items():
                numbers[node] = own
            leaves = np.flatnonzero(split == LEAF).tolist()
            length = max((len(basic) for basic, _ in self._bases.values()), default=0)
            basic = np.full((len(leaves), length), -1, dtype=np.int16)
            keys = np.zeros((len(leaves), len(kept)), dtype=np.int8)
            for place, node in enumerate(leaves):
                found, key = self._bases.get(node, ((), ()))
                if len(found) == length and len(key) == len(kept):
                    basic[place], keys[place] = found, key
            return PhaseTree(self._rows, split, first, numbers, kept.astype(np.int32), basic, keys)

    def _forget(self) -> None:
        self._full = True
        self._numbers.clear()
        self._bases.clear()


def in_steps(weights: Array, nu: Array) -> npt.NDArray[np.int16]:
    """Multipliers (…, rows), (…, relus) of nodes as a tree keeps them; scaled, they prove the same."""
    both = np.concatenate([weights, nu], axis=-1)
    largest = np.abs(both).max(axis=-1, keepdims=True, initial=0.0)
    usable = (largest > 0.0) & np.isfinite(largest)
    return np.rint(np.where(usable, both, 0.0) / np.where(usable, largest, 1.0) * STEPS).astype(np.int16)
