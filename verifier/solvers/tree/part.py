"""A part of a tree's open nodes, explored in another process for a while: what is left of it comes back.

The process makes the tree anew from its root, once, and goes on below these nodes as one process would. Points that it
finds are judged where the tree is, like all others.
"""

from __future__ import annotations

import os
import pickle
import signal
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, is_dataclass, replace
from typing import Any

from encoders.network.graph import Array
from verifier.problem.blas import single_threaded_blas
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.child import end_with
from verifier.problem.memory import Memory
from verifier.solvers.kernels import cache
from verifier.solvers.tree.frontier import TreeNode
from verifier.solvers.tree.lending import Remainder
from verifier.solvers.tree.relu_tree import ReluTree

KEPT = 1 << 26
"""Bytes of packed trees whose trees a thread of a process keeps, one at least: those of several targets take turns."""


@dataclass(frozen=True, eq=False)
class PartDone:
    """What is `left` of the part of this loan; point: one (n,) that reaches the goal; exceeded: did it end since its
    memory was?"""

    loan: int
    left: Remainder
    nodes: int
    seconds: float
    point: Array | None
    exceeded: bool


@dataclass(frozen=True, eq=False)
class LentPart:
    """Nodes of a tree, which is named by `key` and made by unpickling `tree`, to be explored within `radius`.

    done: nodes of the tree so far. inherited: are children of refused nodes refused too? seconds, memory: what it may
    take. parent: the process that it ends with; None: it is not ours.
    """

    loan: int
    key: str
    tree: bytes
    nodes: list[TreeNode]
    radius: float
    done: int
    inherited: bool
    seconds: float
    memory: float
    parent: int | None

    def run(self) -> PartDone:
        """Explore them, in the process that this is called in."""
        if self.parent is not None:
            _end_with(self.parent)
        cache.at_once()
        tree = self._made()
        budget = Budget(self.seconds, memory=Memory(self.memory))
        begun, point = time.perf_counter(), None
        with single_threaded_blas(), suppress(OutOfTimeError), budget.within_memory():
            while tree.open_nodes and not tree.stuck and point is None:
                point = tree.explore(budget)
        seconds = time.perf_counter() - begun
        if tree.torn:
            del _here.trees[self.key]
        left = Remainder(self.nodes, [], []) if tree.torn else tree.handed()
        for node in (*left.open, *left.stuck, *left.postponed):
            make_portable(node)
        return PartDone(self.loan, left, tree.nodes - self.done, seconds, point, budget.memory.exceeded)

    def _made(self) -> Any:
        kept: dict[str, tuple[int, Any]] = _here.__dict__.setdefault("trees", {})
        _, tree = kept.pop(self.key, (0, None))
        if tree is None or tree.radius < self.radius:
            tree = made(self.tree)
        tree.cut(self.radius)
        kept[self.key] = len(self.tree), tree
        while len(kept) > 1 and sum(size for size, _ in kept.values()) > KEPT:
            del kept[next(iter(kept))]
        tree.adopt(self.nodes, inherited=self.inherited)
        tree.nodes = self.done
        return tree


_here = threading.local()


def packed(tree: ReluTree) -> bytes:
    """What `made` makes such a tree of, without nodes."""
    settings: Any = getattr(tree, "settings", None)
    return pickle.dumps((type(tree), tree.root, settings), pickle.HIGHEST_PROTOCOL)


def made(content: bytes) -> ReluTree:
    """The tree of `packed`."""
    kind, root, settings = pickle.loads(content)  # of our own process, by its own line
    tree: ReluTree = kind(root, settings)
    return tree


def make_portable(node: TreeNode) -> None:
    """Leave behind what cannot be sent: a basis of a library's, a tree of the node's own."""
    start = node.start
    if is_dataclass(start) and getattr(start, "tree", None) is not None:
        node.start = replace(start, tree=None)  # type: ignore[type-var]
    elif start is not None and not (isinstance(start, tuple) or is_dataclass(start)):
        node.start = None


def _end_with(parent: int) -> None:
    """Have this process end soon after its parent, who alone hears Ctrl-C."""
    if _watched or parent == os.getpid():
        return  # joblib calls here where it may not begin processes, or where there is one job
    _watched.add(parent)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with(parent)


_watched: set[int] = set()
"""The parent that is watched."""
