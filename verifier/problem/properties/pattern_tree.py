"""Leaves of ReLU phases → the split tree that they are the leaves of; where they cover less than all, the gap.

At every node the neuron that most of the leaves there name is split at. Of the leaves of a tree one is named by all, so
that the tree comes out again, node for node. Leaves that overlap or skip splits give some tree that they cover. That
leaves cover every pattern is in general a matter of exponential work: there is a limit, and a budget.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from encoders.errors import InputError

MOST_NODES = 2**20
"""Of a tree: what leaves of 64 MB may say as a tree; a certificate of as many leaves is read in no reasonable time."""

TOGETHER = 1024
"""Leaves between two looks at the budget: under 10 ms."""

Path = tuple[tuple[int, bool], ...]
"""Splits from the root: neurons, counted from 0, and whether they are active."""


def pattern_tree(leaves: Sequence[dict[int, bool]], name: str, look: Callable[[], None] = lambda: None) -> list[int]:
    """Tokens in preorder: 0 a leaf, 1 + n a split at neuron n, its inactive side first. Raises InputError for a gap.

    name: what the leaves are from, in complaints; look: called now and then, what it raises ends it.

    >>> pattern_tree([{0: False}, {0: True, 2: False}, {2: True, 0: True}], "a proof")
    [1, 0, 3, 0, 0]
    """
    found: list[int] = []
    waiting: list[tuple[list[dict[int, bool]], Path]] = [([*leaves], ())]
    while waiting:
        here, path = waiting.pop()
        look()
        if not here:
            raise InputError(f"{name}: no leaf covers {told(path)}" if path else f"{name}: the tree has no leaf")
        if len(found) + len(waiting) >= MOST_NODES:
            raise InputError(f"{name}: the tree of these leaves has more than {MOST_NODES} nodes")
        if not all(here):
            found.append(0)
            continue
        neuron = _most_named(here, look)
        sides: tuple[list[dict[int, bool]], list[dict[int, bool]]] = [], []
        for number, leaf in enumerate(here):
            if number % TOGETHER == 0:
                look()
            rest = {other: active for other, active in leaf.items() if other != neuron}
            for active in (False, True):
                if leaf.get(neuron, active) is active:
                    sides[active].append(rest)
        found.append(1 + neuron)
        waiting += [(sides[active], (*path, (neuron, active))) for active in (True, False)]
    return found


def told(path: Iterable[tuple[int, bool]]) -> str:
    """Splits in words, such as "N_3 < 0, N_7 >= 0"."""
    return ", ".join(f"N_{neuron + 1} {'>=' if active else '<'} 0" for neuron, active in path)


def _most_named(leaves: Sequence[dict[int, bool]], look: Callable[[], None]) -> int:
    """The neuron that most of the leaves name; of several, that which comes first, as splits often do."""
    counts: Counter[int] = Counter()
    for first in range(0, len(leaves), TOGETHER):
        look()
        for leaf in leaves[first : first + TOGETHER]:
            counts.update(leaf.keys())
    return max(counts, key=counts.__getitem__)
