"""Nodes that are lent count as open until what is left of them is back; none is lost, whatever becomes of a loan."""

from __future__ import annotations

import numpy as np

from verifier.problem.memory import Memory, resident
from verifier.solvers.tree.frontier import REFUSALS, TreeNode
from verifier.solvers.tree.lending import LendingFrontier, Remainder

KEYS = (0.3, 0.1, 0.4, 0.2)


def frontier(memory: Memory | None = None) -> LendingFrontier:
    made = LendingFrontier(-np.ones(2), np.ones(2), 1.0, 0.0, memory=memory or Memory())
    made.take()
    made.put(TreeNode(key, *made.root_bounds, number) for number, key in enumerate(KEYS))
    return made


def test_the_lower_end_waits_for_what_is_lent() -> None:
    made = frontier()
    loan = made.lend(made.take(2))
    assert (made.lower_end, made.open_nodes, made.stuck) == (0.1, 4, False)
    made.returned(loan, Remainder([TreeNode(0.25, *made.root_bounds, None)], [], []))
    assert (made.lower_end, made.open_nodes) == (0.25, 3)
    other = made.lend(made.take(3))
    assert (made.lower_end, made.open_nodes, made.stuck) == (0.25, 3, False)
    made.returned(other, Remainder([], [TreeNode(0.7, *made.root_bounds, None)], []))
    assert (made.lower_end, made.open_nodes, made.stuck) == (0.7, 1, True)


def test_what_is_recalled_is_open_as_it_was() -> None:
    memory = Memory(resident() + 1e9)
    made = frontier(memory)
    before = memory.nodes
    for _ in range(2):
        made.lend(made.take(2))
    assert memory.nodes == before
    made.recall()
    assert (made.lower_end, made.open_nodes, memory.nodes) == (0.1, 4, before)
    assert [node.key for node in made.take(4)] == sorted(KEYS)


def test_what_holds_of_float32_comes_back() -> None:
    made = frontier()
    made.returned(made.lend(made.take(4)), Remainder([], [], [TreeNode(0.6, *made.root_bounds, None)], 0.5))
    assert (made.lower_end, made.float32_end, made.open_nodes) == (1.0, 0.5, 0)
    assert made.charge()
    assert made.open_nodes == 1
    other = frontier()
    other.returned(
        other.lend(other.take(4)), Remainder([], [], [TreeNode(0.6, *other.root_bounds, None)], 0.5, unkept=True)
    )
    assert not other.charge()


def test_a_point_s_node_is_refused_where_it_came_back() -> None:
    made = frontier()
    source = TreeNode(0.25, *made.root_bounds, None)
    made.returned(made.lend(made.take(1)), Remainder([source], [], [], source=source))
    made.refuse()
    assert source.refused


def test_who_adopts_nodes_holds_them_alone() -> None:
    lender, memory = frontier(), Memory(resident() + 1e9)
    other = frontier(memory)
    other.put_stuck(TreeNode(0.05, *other.root_bounds, None))
    other.note(0.01)
    nodes = lender.take(2)
    other.adopt(nodes, inherited=True)
    assert (other.lower_end, other.float32_end, other.open_nodes) == (0.1, 0.1, 2)
    assert other._refusals == REFUSALS + 1
    assert memory.nodes == sum(node.size for node in nodes)
    other.radius = 0.15
    left = other.handed()
    assert [node.key for node in left.open] == [0.1]
    assert (other.open_nodes, memory.nodes) == (0, 0)
