"""A search's split tree, kept for a search about another network of the same shape, such as this one trained again.

Its nodes are phases of ReLUs: whatever the weights are, the leaves cover the ball. What is kept beside them, each
node's multipliers and each leaf's LP basis, are proposals: the new search evaluates them on its own network before it
closes anything.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from encoders.files.array_files import BROKEN
from encoders.network.graph import Array

LEAF = -1
"""In place of the ReLU that a node is split at."""

MOST = 1 << 15
"""Nodes up to which a tree is kept: some 5 MB on disk. Larger ones would take longer to write than they save."""

STEPS = 32767
"""Multipliers are kept as so many parts of a node's largest: with 127, most leaves of a slightly changed network no
longer closed by them."""

LARGEST = 1 << 28
"""Bytes of an unpacked tree: beyond what `MOST` nodes of a network with an LP take."""


@dataclass(frozen=True, eq=False)
class PhaseTree:
    """Node 0 is the root. split (nodes,): the ReLU that a node is split at, LEAF for none; first (nodes,): its child
    with that ReLU inactive, after which the active one comes. numbers (nodes, rows + relus): its multipliers λ of the
    goal's `rows` and ν, in STEPS of its largest. kept: the ReLUs in the LP whose bases basic (leaves, …) and keys
    (leaves, kept) are, in the order of the leaves; basic is −1 where there is none."""

    rows: npt.NDArray[np.int32]
    split: npt.NDArray[np.int32]
    first: npt.NDArray[np.int32]
    numbers: npt.NDArray[np.int16]
    kept: npt.NDArray[np.int32]
    basic: npt.NDArray[np.int16]
    keys: npt.NDArray[np.int8]

    @property
    def nodes(self) -> int:
        return len(self.split)

    @property
    def relus(self) -> int:
        """ReLUs of the network."""
        return int(self.numbers.shape[1]) - len(self.rows)

    def about(self, rows: npt.NDArray[np.integer]) -> PhaseTree:
        """The same tree with λ of these rows of the goal, 0 where it knows nothing of them; none below 0."""
        numbers = np.zeros((self.nodes, len(rows) + self.relus), dtype=np.int16)
        _, mine, theirs = np.intersect1d(rows, self.rows, assume_unique=True, return_indices=True)
        numbers[:, mine] = np.maximum(self.numbers[:, theirs], 0)
        numbers[:, len(rows) :] = self.numbers[:, len(self.rows) :]
        return replace(self, rows=np.asarray(rows, dtype=np.int32), numbers=numbers)

    def multipliers(self, node: int) -> tuple[Array, Array]:
        """λ (rows,) and ν (relus,) of a node."""
        numbers = self.numbers[node] / np.float64(STEPS)
        return numbers[: len(self.rows)], numbers[len(self.rows) :]

    def encoded(self) -> bytes:
        """The tree as bytes."""
        packed = io.BytesIO()
        np.savez_compressed(packed, **{name: getattr(self, name) for name in KINDS})
        return packed.getvalue()


KINDS = {
    "rows": (np.int32, 1),
    "split": (np.int32, 1),
    "first": (np.int32, 1),
    "numbers": (np.int16, 2),
    "kept": (np.int32, 1),
    "basic": (np.int16, 2),
    "keys": (np.int8, 2),
}
"""The arrays of a tree: their types and axes."""


def seed(relus: int) -> PhaseTree:
    """The tree of which nothing but the root is known."""
    nothing = np.zeros(0, dtype=np.int32)
    none = np.full(1, LEAF, dtype=np.int32)
    numbers, basic = np.zeros((1, relus), dtype=np.int16), np.zeros((1, 0), dtype=np.int16)
    return PhaseTree(nothing, none, none, numbers, nothing, basic, basic.astype(np.int8))


def decoded(content: bytes) -> PhaseTree | None:
    """The tree of `encoded` bytes; None for any that are none: nothing is lost but time."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in KINDS}
    except BROKEN:
        return None
    for name, (kind, axes) in KINDS.items():
        if found[name].dtype != kind or found[name].ndim != axes or found[name].nbytes > LARGEST:
            return None
    tree = PhaseTree(**found)
    return tree if _whole(tree) else None


def _whole(tree: PhaseTree) -> bool:
    """Is it a tree: each node but the root is one child of one node before it?"""
    nodes, split, first = tree.nodes, tree.split, tree.first
    if not nodes == len(first) == len(tree.numbers) <= MOST or tree.relus < 0:
        return False
    inner = np.flatnonzero(split != LEAF)
    children = first[inner]
    leaves = nodes - inner.size
    return (
        bool(np.all((split >= LEAF) & (split < tree.relus)))
        and bool(np.all(children > inner))
        and np.array_equal(np.sort(np.concatenate([[0], children, children + 1])), np.arange(nodes))
        and len(tree.basic) == len(tree.keys) == leaves
        and tree.keys.shape[1] == len(tree.kept)
        and len(np.unique(tree.rows)) == len(tree.rows)
    )
