"""The open nodes of a search tree over ReLU phases, each kept as what differs from the root; which of them is next."""

from __future__ import annotations

import heapq
import math
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from encoders.network.graph import Array
from verifier.problem.memory import UNLIMITED, Memory
from verifier.problem.rounding import down_to_single, up_to_single
from verifier.solvers.tree.growth import UNKNOWN


@dataclass(slots=True)
class TreeNode:
    """An open node: nothing of it lies within `key` of the input. `lower`, `upper` are its bounds (relu_count,), or in
    the queue those that differ from the root's, at `places`, in float32, rounded outwards; `start`: where
    the work on it begins (a basis, multipliers)."""

    key: float
    lower: npt.NDArray[Any]
    upper: npt.NDArray[Any]
    start: Any
    refused: bool = False
    """True once a point from this node was refused: its own points are not offered again."""
    places: npt.NDArray[Any] | None = None
    """None: all of them, in float64."""
    number: int = UNKNOWN
    """Which node of the tree that is written down it is."""
    known: int = UNKNOWN
    """Which node of an earlier tree it is, whose splits it follows."""
    box: npt.NDArray[Any] | None = None
    """The box of the input that it holds of, (2, n), where it has one of its own."""
    size: int = 0
    """Bytes that it takes where it is kept, about."""


class NodeSelection(Protocol):
    """Which of the nodes that can be gone on with is next."""

    name: str

    def push(self, node: TreeNode) -> None: ...
    def pop(self) -> TreeNode:
        """The next one, which is no longer kept."""

    @property
    def least(self) -> float:
        """The least key of all that are kept; infinite for none."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[TreeNode]: ...


_Entry = list[Any]
"""[key, order, node], in two queues: the node is None once it has left one of them."""


class NearestUntilCrowded:
    """The least key first, of equal ones that which came first, so that the tree's lower end rises; but the newest
    where there are more nodes than `most`, or these take the memory that they may: their number hardly grows then."""

    name = "nearest until crowded"

    def __init__(self, most: float = math.inf, memory: Memory = UNLIMITED) -> None:
        self._most, self._memory = most, memory
        self._heap: list[_Entry] = []
        self._newest: list[_Entry] = []
        self._count, self._order = 0, count()

    def push(self, node: TreeNode) -> None:
        entry = [node.key, next(self._order), node]
        heapq.heappush(self._heap, entry)
        self._newest.append(entry)
        self._count += 1

    def pop(self) -> TreeNode:
        crowded = self._count > self._most or self._memory.crowded
        while True:
            entry = self._newest.pop() if crowded else heapq.heappop(self._heap)
            node: TreeNode | None = entry[-1]
            if node is not None:
                break
        entry[-1] = None
        self._count -= 1
        self._tidy()
        return node

    @property
    def least(self) -> float:
        least: float = self._heap[0][0] if self._heap else math.inf
        return least

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[TreeNode]:
        return (node for _, _, node in self._heap if node is not None)

    def _tidy(self) -> None:
        """Forget entries whose nodes are gone: from the top of the heap at once, else when they are most of all."""
        while self._heap and self._heap[0][-1] is None:
            heapq.heappop(self._heap)
        if len(self._heap) > 2 * self._count:
            self._heap = [entry for entry in self._heap if entry[-1] is not None]
            heapq.heapify(self._heap)
        if len(self._newest) > 2 * self._count:
            self._newest = [entry for entry in self._newest if entry[-1] is not None]


REFUSALS = 64
"""Refused points after which the nodes below a refused one offer none either: rounding then decides, not the search."""


POSTPONED = 4096
"""Nodes closed over the reals alone that are kept, at most: where there are more, rounding decides."""


NODE, ARRAY = 280, 112
"""Bytes of an object with its entries in queues, and of an array without its numbers (sys.getsizeof, 64 bits)."""

FOREIGN = 8
"""Bytes a ReLU of a start that does not say its size: a library's basis has a byte or four a row and a column."""


class Frontier:
    """The open nodes below a root with `lower`, `upper` (relu_count,) on a ball of `radius`, which may shrink.

    memory: what nodes are counted in. Threads may put nodes in and take them out at the same time.
    """

    def __init__(
        self,
        lower: Array,
        upper: Array,
        radius: float,
        floor: float,
        selection: NodeSelection | None = None,
        memory: Memory = UNLIMITED,
    ) -> None:
        self.root_bounds = np.array(lower), np.array(upper)
        self.radius = self.root_radius = radius
        self._lock = threading.Lock()
        self._source: TreeNode | None = None
        self._refusals = 0
        self._waiting: NodeSelection = NearestUntilCrowded(memory=memory) if selection is None else selection
        self._account = memory.account(self)
        self._stuck: list[TreeNode] = []
        self._float32 = math.inf
        self._postponed: list[TreeNode] = []
        self._charged_alone = self._unkept = False
        self.torn = False
        """May nodes be lost? Then nothing counts as proved any more."""
        if not np.any(lower > upper):
            self.put([TreeNode(floor, *self.root_bounds, None, number=0, known=0)])

    @property
    def lower_end(self) -> float:
        """The least radius of an open node; the frontier's radius when none is open."""
        return 0.0 if self.torn else min([*(node.key for node in self._stuck), self._waiting.least, self.radius])

    @property
    def float32_end(self) -> float:
        """As `lower_end`, for every evaluation that bounds are charged for, not only over the reals."""
        return min(self.lower_end, self._float32)

    @property
    def open_nodes(self) -> int:
        return len(self._waiting) + len(self._stuck) + int(self.torn)

    @property
    def known_nodes(self) -> int:
        """Nodes to be worked on that an earlier tree has as well."""
        with self._lock:
            return sum(node.known != UNKNOWN for node in self._waiting)

    @property
    def stuck(self) -> bool:
        """True when only nodes are left that neither close nor split any more."""
        return not len(self._waiting) and (bool(self._stuck) or self.torn)

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Work on nodes that are taken inside: where memory does not suffice for it, they may not be back."""
        try:
            yield
        except MemoryError:
            self.torn = True
            raise

    def put(self, nodes: Iterable[TreeNode]) -> None:
        """Nodes to be worked on, or worked on again."""
        packed = [self._packed(node) for node in nodes]
        self._account.add(self._sized(packed))
        with self._lock:
            for node in packed:
                self._waiting.push(node)

    def put_stuck(self, node: TreeNode) -> None:
        """A node that nothing can be done about."""
        packed = self._packed(node)
        self._account.add(self._sized([packed]))
        self._stuck.append(packed)

    def forget_starts(self) -> None:
        """Work on open nodes begins from nothing: who goes on with them cannot read what was left for it."""
        with self._lock:
            for node in (*self._waiting, *self._stuck):
                node.start = None

    def note(self, float32: float) -> None:
        """A node has closed over the reals; evaluations do not reach the goal within `float32`."""
        with self._lock:
            self._float32 = min(self._float32, float32)
            self._unkept = self._unkept or float32 < self.radius

    def postpone(self, node: TreeNode) -> None:
        """As `note`, where the node could be gone on with until bounds with charges close it."""
        packed = self._packed(node)
        with self._lock:
            self._float32 = min(self._float32, node.key)
            self._unkept = self._unkept or len(self._postponed) >= POSTPONED
            if not self._unkept:
                self._account.add(self._sized([packed]))
                self._postponed.append(packed)

    def charge(self) -> bool:
        """Open what only the real network has closed: from now on bounds are charged. False where that is not kept.

        No point is offered any more: over the reals there is none.
        """
        if self._unkept or not self._postponed:
            return False
        nodes, self._postponed = self._postponed, []
        self._charged_alone, self._float32 = True, math.inf
        self._account.add(-sum(node.size for node in nodes))
        self.put(nodes)
        return True

    def take(self, most: int = 1) -> list[TreeNode]:
        """The next nodes that reach into the radius; fewer than `most` when there are no more."""
        taken: list[TreeNode] = []
        freed = 0
        with self._lock:
            while len(self._waiting) and len(taken) < most:
                node = self._waiting.pop()
                freed += node.size
                if not self.beyond(node):
                    taken.append(node)
        self._account.add(-freed)
        return taken

    def refuse(self) -> None:
        """The point that was found last was no good: the node that it came from is split without it."""
        self._refusals += 1
        if self._source is not None:
            self._source.refused = True

    def silence(self) -> None:
        """No node offers a point any more, nor what comes of it."""
        self._refusals = REFUSALS + 1
        with self._lock:
            for node in (*self._waiting, *self._stuck):
                node.refused = True

    @property
    def inherited(self) -> bool:
        """Are children of refused nodes refused too?"""
        return self._refusals > REFUSALS

    def beyond(self, node: TreeNode) -> bool:
        """Does the node hold nothing within the radius? At radius 0 there is no smaller one to say so."""
        return node.key >= self.radius > 0.0

    def child(
        self,
        parent: TreeNode,
        key: float,
        lower: Array,
        upper: Array,
        start: Any,
        number: int = UNKNOWN,
        box: Array | None = None,
    ) -> TreeNode:
        """A node with these bounds (relu_count,) below another one; number: that of the tree that is written down."""
        return TreeNode(key, lower, upper, start, parent.refused and self.inherited, number=number, box=box)

    def halves(
        self, parent: TreeNode, key: float, lower: Array, upper: Array, start: Any, place: int
    ) -> tuple[TreeNode, TreeNode]:
        """The `child` of these bounds whose ReLU at `place` is inactive and the one where it is active, as they are
        kept: of what both share there is one array."""
        whole = self._packed(self.child(parent, key, lower, upper, start), place)
        assert whole.places is not None
        at = np.searchsorted(whole.places, place)
        low, high = whole.lower.copy(), whole.upper.copy()
        low[at], high[at] = 0.0, 0.0
        refused = whole.refused
        return (
            TreeNode(key, whole.lower, high, start, refused, whole.places),
            TreeNode(key, low, whole.upper, start, refused, whole.places),
        )

    def _packed(self, node: TreeNode, place: int | None = None) -> TreeNode:
        """The node as it is kept in the queue, with the bounds at `place` in any case."""
        if node.places is None:
            lower, upper = node.lower, node.upper
            differs = (lower != self.root_bounds[0]) | (upper != self.root_bounds[1])
            if place is not None:
                differs[place] = True
            places = np.flatnonzero(differs).astype(np.int32)
            node.lower, node.upper, node.places = down_to_single(lower[places]), up_to_single(upper[places]), places
        return node

    def _sized(self, nodes: Iterable[TreeNode]) -> int:
        """Note the bytes that packed nodes take; their sum. What a node shares with its sibling counts for both."""
        total, start, its = 0, None, 0
        for node in nodes:
            if node.start is not start:
                start, its = node.start, size_of(node.start, FOREIGN * self.root_bounds[0].size)
            assert node.places is not None
            node.size = NODE + 3 * ARRAY + node.lower.nbytes + node.upper.nbytes + node.places.nbytes
            node.size += (its if start is not None else 0) + size_of(node.box)
            total += node.size
        return total

    def unpacked(self, node: TreeNode) -> tuple[Array, Array]:
        """The node's bounds (relu_count,), lower and upper; not to be written to."""
        if node.places is None:
            return node.lower, node.upper
        lower, upper = (end.copy() for end in self.root_bounds)
        lower[node.places] = np.maximum(lower[node.places], node.lower)
        upper[node.places] = np.minimum(upper[node.places], node.upper)
        return lower, upper


def size_of(kept: Any, foreign: int = 0) -> int:
    """Bytes of an array, and of a tuple or dataclass of them, of which all else counts nothing; `foreign`: of what is
    none of these."""
    if kept is None:
        return 0
    if isinstance(kept, np.ndarray):
        return ARRAY + kept.nbytes
    names = () if isinstance(kept, tuple) else getattr(kept, "__dataclass_fields__", None)
    if names is None:
        return NODE + foreign
    parts = (getattr(kept, name) for name in names) if names else kept
    return NODE + sum(ARRAY + part.nbytes for part in parts if isinstance(part, np.ndarray))
