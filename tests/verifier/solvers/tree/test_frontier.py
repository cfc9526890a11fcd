"""The frontier: whichever node is next, its lower end is the least key; nodes come back rounded outwards at most."""

from __future__ import annotations

import gc
import math
from collections.abc import Iterator

import numpy as np
import pytest

from verifier.problem.memory import Memory, resident
from verifier.solvers.tree.frontier import REFUSALS, Frontier, NearestUntilCrowded, NodeSelection, TreeNode


class NewestFirst:
    """Depth-first: another selection that a tree might have."""

    name = "newest first"

    def __init__(self) -> None:
        self._nodes: list[TreeNode] = []

    def push(self, node: TreeNode) -> None:
        self._nodes.append(node)

    def pop(self) -> TreeNode:
        return self._nodes.pop()

    @property
    def least(self) -> float:
        return min((node.key for node in self._nodes), default=math.inf)

    def __len__(self) -> int:
        return len(self._nodes)

    def __iter__(self) -> Iterator[TreeNode]:
        return iter(self._nodes)


KEYS = (0.3, 0.1, 0.4, 0.1, 0.2)


def frontier(selection: NodeSelection | None = None) -> Frontier:
    """One with nodes of these keys, numbered by their start, on a ball of radius 1."""
    made = Frontier(-np.ones(2), np.ones(2), 1.0, 0.0, selection)
    (root,) = made.take()
    assert (root.key, made.open_nodes) == (0.0, 0)
    made.put(TreeNode(key, *made.root_bounds, number) for number, key in enumerate(KEYS))
    return made


@pytest.mark.parametrize(
    ("selection", "order"),
    [
        (None, [1, 3, 4, 0, 2]),
        (NewestFirst(), [4, 3, 2, 1, 0]),
        (NearestUntilCrowded(5), [1, 3, 4, 0, 2]),
        (NearestUntilCrowded(3), [4, 3, 1, 0, 2]),
        (NearestUntilCrowded(0), [4, 3, 2, 1, 0]),
    ],
)
def test_the_selection_says_which_node_is_next(selection: NodeSelection | None, order: list[int]) -> None:
    made, keys = frontier(selection), list(KEYS)
    assert made.lower_end == min(keys)
    for number in order:
        (node,) = made.take()
        assert node.start == number
        keys.remove(node.key)
        assert (made.open_nodes, made.lower_end) == (len(keys), min([*keys, 1.0]))
    assert made.take() == []


@pytest.mark.parametrize("selection", [NearestUntilCrowded, NewestFirst])
def test_what_lies_beyond_the_radius_is_not_taken(selection: type[NodeSelection]) -> None:
    made = frontier(selection())
    made.radius = 0.25
    assert sorted(node.key for node in made.take(len(KEYS))) == [0.1, 0.1, 0.2]
    assert made.lower_end == 0.25


def test_stuck_nodes_hold_the_lower_end() -> None:
    made = frontier()
    made.put_stuck(TreeNode(0.05, *made.root_bounds, None))
    assert (made.lower_end, made.stuck, made.open_nodes) == (0.05, False, 6)
    made.take(len(KEYS))
    assert (made.lower_end, made.stuck, made.open_nodes) == (0.05, True, 1)


def test_the_float32_end_is_at_most_the_lower_end() -> None:
    made = frontier()
    assert made.float32_end == made.lower_end
    made.note(0.07)
    assert (made.float32_end, made.lower_end) == (0.07, 0.1)


def test_a_forgotten_start_is_gone_from_every_node() -> None:
    made = frontier(NewestFirst())
    made.put_stuck(TreeNode(0.05, *made.root_bounds, "start"))
    made.forget_starts()
    assert [node.start for node in made.take(len(KEYS))] == [None] * len(KEYS)


def test_a_nodes_bounds_come_back_rounded_outwards_at_most() -> None:
    rng = np.random.default_rng(0)
    root = -rng.random(50) - 1.0, rng.random(50) + 1.0
    made = Frontier(*root, 1.0, 0.0)
    made.take()
    lower, upper = root[0] * rng.random(50), root[1] * rng.random(50)
    lower[::3], upper[::3] = root[0][::3], root[1][::3]
    lower[1], upper[2] = 0.0, 0.0
    made.put([TreeNode(0.0, lower.copy(), upper.copy(), None)])
    low, high = made.unpacked(made.take()[0])
    assert np.all((root[0] <= low) & (low <= lower))
    assert np.all((root[1] >= high) & (high >= upper))
    assert np.all(lower - low <= 1e-6)
    assert np.all(high - upper <= 1e-6)
    assert (low[1], high[2]) == (0.0, 0.0)
    assert np.array_equal(low[::3], root[0][::3])


def test_children_of_a_refused_node_are_refused_once_that_has_happened_often() -> None:
    made = frontier()
    (node,) = made.take()
    made._source = node
    for count in range(1, REFUSALS + 2):
        made.refuse()
        assert node.refused
        child = made.child(node, 0.5, *made.root_bounds, None)
        assert child.refused == (count > REFUSALS)


def test_a_crowd_forgets_what_has_left_it() -> None:
    """Whichever way nodes leave, those that are kept are known, and entries of others do not pile up."""
    made, rng, kept = NearestUntilCrowded(20), np.random.default_rng(0), dict[int, float]()
    for number in range(3000):
        key = float(rng.random())
        made.push(TreeNode(key, np.zeros(1), np.ones(1), number))
        kept[number] = key
        if len(kept) > 30 or rng.random() < 0.4:
            crowded = len(kept) > 20
            node = made.pop()
            assert node.start == (max(kept) if crowded else min(kept, key=lambda place: kept[place]))
            del kept[node.start]
        assert len(made) == len(kept) == len({node.start for node in made})
        assert made.least == min(kept.values(), default=math.inf)
        assert len(made._heap) + len(made._newest) <= 4 * len(kept) + 2


def test_the_newest_is_next_where_nodes_take_what_they_may() -> None:
    memory = Memory(resident() + 1e9)
    made = Frontier(-np.ones(2), np.ones(2), 1.0, 0.0, memory=memory)
    made.take()
    assert memory.nodes == 0
    made.put(TreeNode(key, *made.root_bounds, number) for number, key in enumerate(KEYS))
    one = memory.nodes // len(KEYS)
    memory.room = 3.5 * one
    order = []
    while made.open_nodes:
        (node,) = made.take()
        order.append(node.start)
        assert memory.nodes == one * made.open_nodes
    assert order == [4, 3, 1, 0, 2]


def test_all_that_a_frontier_keeps_is_counted() -> None:
    memory = Memory(resident() + 1e9)
    made = Frontier(-np.ones(2), np.ones(2), 1.0, 0.0, memory=memory)
    (root,) = made.take()
    made.postpone(root)
    alone = memory.nodes
    assert alone > 0
    made.put_stuck(TreeNode(0.05, *made.root_bounds, np.zeros(1000)))
    assert memory.nodes >= 2 * alone + 8000
    assert made.charge()
    assert memory.nodes >= 2 * alone + 8000
    made.take()
    assert memory.nodes >= alone + 8000
    before = memory.nodes
    made.put([TreeNode(0.1, *made.root_bounds, None, box=np.zeros((2, 1000)))])
    assert memory.nodes >= before + alone + 16_000
    del made
    gc.collect()
    assert memory.nodes == 0


def test_a_silent_frontier_offers_nothing() -> None:
    made = frontier()
    made.silence()
    (node,) = made.take()
    assert node.refused
    assert made.child(node, 0.5, *made.root_bounds, None).refused


def test_halves_are_the_two_children() -> None:
    """What is kept of them is what two nodes made one by one keep."""
    rng = np.random.default_rng(4)
    made = Frontier(-rng.random(9), rng.random(9), 1.0, 0.0)
    (root,) = made.take()
    lower, upper = 0.9 * made.root_bounds[0], made.root_bounds[1].copy()
    lower[[1, 5]], upper[[2, 5]] = made.root_bounds[0][[1, 5]], made.root_bounds[1][[2, 5]] * 0.7
    for place in (1, 5):
        low, high = lower.copy(), upper.copy()
        low[place], high[place] = 0.0, 0.0
        wanted = [(lower, high), (low, upper)]
        for node, (below, above) in zip(made.halves(root, 0.2, lower, upper, "start", place), wanted, strict=True):
            assert (node.key, node.start) == (0.2, "start")
            alone = made._packed(made.child(root, 0.2, below, above, "start"))
            for found, kept in zip(made.unpacked(node), made.unpacked(alone), strict=True):
                assert np.array_equal(found, kept)
