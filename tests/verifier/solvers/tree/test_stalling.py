"""After how many generations without headway an LP is asked."""

from __future__ import annotations

from verifier.solvers.tree.stalling import LEFT, REST, Headway


def test_generations_without_headway_are_counted() -> None:
    node = Headway(1.0)
    for generation in range(1, 4):
        node = node.child(1.01 * LEFT * node.lack)
        assert node.stalled == generation
    assert node.child(0.99 * LEFT * node.lack).stalled == 0
    assert node.child(2.0 * node.lack).stalled == 4


def test_a_node_that_an_lp_leaves_open_rests_first() -> None:
    """Its children are not asked of sooner because they make headway."""
    node = Headway(1.0, 5).rested()
    assert (node.lack, node.stalled) == (1.0, -REST)
    for left in range(REST - 1, -1, -1):
        node = node.child(0.1 * node.lack)
        assert node.stalled == -left
    assert node.child(0.1 * node.lack).stalled == 0
    assert node.child(node.lack).stalled == 1
