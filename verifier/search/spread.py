"""A hard query's tree, explored by several processes: parts of its open nodes are given away in rounds.

A round's parts have an equal time, and the incumbent of its beginning. What is left of each comes back as it ends:
points are judged here, what is closed is what the same code has closed elsewhere.
"""

from __future__ import annotations

import math
import os
import queue
import threading
import time
import uuid
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import replace

from encoders.errors import InputError
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.memory import resident
from verifier.problem.workers import THREADING, Workers, in_one_line
from verifier.solvers.tree.frontier import TreeNode
from verifier.solvers.tree.part import LentPart, PartDone, make_portable, packed
from verifier.solvers.tree.protocol import TreeRoot
from verifier.solvers.tree.relu_tree import ReluTree

PARTS = 4
"""Parts of a round for each job: one that closes early leaves time for another's, and the round's end is short."""

SLICE = 0.5
"""Seconds for a part: handing nodes over takes some milliseconds."""

NODES = 64
"""Nodes of a part at most: as many more as are explored in its time come back."""

LASTS = 1.0
"""Seconds that a tree has taken before it is given away: quick questions pay nothing for it."""

FAREWELL = 0.25
"""Seconds that parts may come in after the budget's end, before their nodes are taken as they were."""

POLL = 0.05
"""Seconds between two looks at the budget."""

LOSSES = 3
"""Rounds in a row that may fail: after that this process goes on alone."""


class Spreading:
    """Explores trees by `workers`."""

    def __init__(self, workers: Workers) -> None:
        self._tell = workers.tell
        self._workers = replace(workers, tell=self._waits)
        self._waited_for, self._answered = "", False
        self._packed = weakref.WeakKeyDictionary[TreeRoot, tuple[str, bytes]]()
        self._losses = 0

    def pays(self, tree: ReluTree, seconds: float) -> bool:
        """Has the tree enough nodes for all, and lasted for so long that it is worth while?"""
        if self._losses >= LOSSES:
            return False
        return seconds >= LASTS and tree.open_nodes >= PARTS * self._workers.jobs and not tree.follows

    def round(self, tree: ReluTree, budget: Budget) -> Iterator[PartDone]:
        """Parts of the tree as they are done, which are back in it then; whatever ends it, the tree has all its nodes.

        Raises OutOfTimeError; InputError where no cluster answers the first time.
        """
        parts, heard = self._parts(tree, budget), queue.SimpleQueue[PartDone | Exception | None]()
        threading.Thread(target=self._pump, args=(parts, budget, heard), daemon=True).start()
        ended: float | None = None
        try:
            while True:
                if budget.ended:
                    ended = time.monotonic() if ended is None else ended
                    if self._waited_for or time.monotonic() - ended > FAREWELL:
                        raise OutOfTimeError(": ".join(filter(None, (budget.reason, self._waited_for))))
                try:
                    done = heard.get(timeout=POLL)
                except queue.Empty:
                    continue
                if done is None and self._waited_for:
                    continue  # the budget has ended
                if done is None:
                    self._losses = 0
                    return
                if isinstance(done, Exception):
                    self._lost(done)
                    return
                self._waited_for, self._answered = "", True
                tree.returned(done.loan, done.left)
                tree.nodes += done.nodes
                if done.exceeded:
                    budget.memory.exceed()
                    budget.check()
                yield done
        finally:
            tree.recall()

    def _parts(self, tree: ReluTree, budget: Budget) -> list[LentPart]:
        """The next nodes of the tree, dealt out: each part has near ones and far ones."""
        if tree.root not in self._packed:  # a tree may begin anew with another one
            self._packed[tree.root] = uuid.uuid4().hex, packed(tree)
        count, memory = PARTS * self._workers.jobs, budget.memory.limit
        if self._workers.backend != THREADING and math.isfinite(memory):
            memory = max(0.0, memory - resident()) / self._workers.jobs if self._workers.others else math.inf
        with tree.whole():
            nodes = tree.take(min(NODES * count, tree.open_nodes))
            for node in nodes:
                make_portable(node)
            lent = [(tree.lend(part), part) for part in dealt(nodes, count)]
        return [
            LentPart(
                loan,
                *self._packed[tree.root],
                part,
                tree.radius,
                tree.nodes,
                tree.inherited,
                min(SLICE, budget.remaining),
                memory,
                os.getpid() if self._workers.others else None,
            )
            for loan, part in lent
        ]

    def _pump(
        self, parts: Sequence[LentPart], budget: Budget, heard: queue.SimpleQueue[PartDone | Exception | None]
    ) -> None:
        """Hand parts that are done over, at last None; by a thread, since waiting for a worker knows no budget."""
        try:
            for done in self._workers.each(LentPart.run, parts, budget):
                heard.put(done)
            heard.put(None)
        except Exception as error:  # noqa: BLE001, told in the caller's thread
            heard.put(error)

    def _waits(self, what: str) -> None:
        self._waited_for = what
        self._tell(what)

    def _lost(self, error: Exception) -> None:
        """Where rounds fail again and again there are no more. Raises InputError where there is no cluster."""
        if isinstance(error, InputError) and not self._answered:
            raise error
        self._losses += 1
        if self._losses >= LOSSES:
            self._workers.gone(f"the processes that explore the tree were lost {LOSSES} times: {in_one_line(error)}")


def dealt(nodes: Sequence[TreeNode], count: int) -> list[list[TreeNode]]:
    """Every count-th of them to each part; those without any are left out."""
    return [list(nodes[place::count]) for place in range(min(count, len(nodes)))]
