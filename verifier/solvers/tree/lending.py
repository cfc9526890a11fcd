"""Open nodes that others explore: what is lent counts as open until what is left of it is back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from verifier.solvers.tree.frontier import REFUSALS, Frontier, TreeNode


@dataclass(frozen=True, eq=False)
class Remainder:
    """What is left of nodes: those that are open, `stuck` ones, and those that only the real network has closed.

    float32, unkept: as a `Frontier` notes them. source: the open node that the last point came from.
    """

    open: list[TreeNode]
    stuck: list[TreeNode]
    postponed: list[TreeNode]
    float32: float = math.inf
    unkept: bool = False
    source: TreeNode | None = None


class LendingFrontier(Frontier):
    """A frontier whose nodes may be lent, and that may be given those of another one."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._lent: dict[int, list[TreeNode]] = {}
        self._loans = count()
        super().__init__(*arguments, **options)

    @property
    def lower_end(self) -> float:
        """As `Frontier.lower_end`; nothing is known of nodes that are lent but what was before."""
        return min([super().lower_end, *(node.key for nodes in self._lent.values() for node in nodes)])

    @property
    def open_nodes(self) -> int:
        return super().open_nodes + sum(map(len, self._lent.values()))

    @property
    def stuck(self) -> bool:
        """As `Frontier.stuck`."""
        return not self._lent and super().stuck

    def lend(self, nodes: Sequence[TreeNode]) -> int:
        """Somebody explores these nodes, which were taken: the loan's number."""
        number = next(self._loans)
        self._account.add(sum(node.size for node in nodes))
        self._lent[number] = list(nodes)
        return number

    def returned(self, loan: int, left: Remainder) -> None:
        """What is left of a loan."""
        self._account.add(-sum(node.size for node in self._lent[loan]))
        self.put(left.open)
        for node in left.stuck:
            self.put_stuck(node)
        for node in left.postponed:
            self.postpone(node)
        with self._lock:
            self._float32 = min(self._float32, left.float32)
            self._unkept = self._unkept or left.unkept
        if left.source is not None:
            self._source = left.source
        # Only now: between the two, the nodes count twice rather than not at all.
        del self._lent[loan]

    def recall(self) -> None:
        """Every node that is lent is open as it was: what was made of it is not waited for."""
        for loan, nodes in list(self._lent.items()):
            self.returned(loan, Remainder(nodes, [], []))

    def adopt(self, nodes: Sequence[TreeNode], *, inherited: bool) -> None:
        """Hold these nodes alone, of a tree with the same root. inherited: as that tree says."""
        self.handed()
        self._source, self._refusals = None, REFUSALS + 1 if inherited else 0
        self.put(nodes)

    def handed(self) -> Remainder:
        """All that is held, which is held no more."""
        nodes: list[TreeNode] = []
        while len(self._waiting):
            node = self._waiting.pop()
            if not self.beyond(node):
                nodes.append(node)
        source = self._source if any(self._source is node for node in nodes) else None
        left = Remainder(nodes, self._stuck, self._postponed, self._float32, self._unkept, source)
        self._stuck, self._postponed, self._float32, self._unkept = [], [], math.inf, False
        self._account.clear()
        return left
