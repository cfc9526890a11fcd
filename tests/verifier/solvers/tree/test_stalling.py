"""After how many generations without headway an LP is asked; when boxes crawl."""

from __future__ import annotations

import numpy as np

from verifier.solvers.tree.stalling import CLOSES, CRAWLS, LEFT, REST, Headway, crawls


def test_generations_without_headway_are_counted() -> None:
    """Of each node by itself: the first one makes none, the second does every time."""
    nodes = Headway(np.ones(2), np.zeros(2, dtype=np.int64))
    for generation in range(1, 4):
        nodes = nodes.child(LEFT * nodes.lack * [1.01, 0.99])
        assert nodes.stalled.tolist() == [generation, 0]
    assert nodes.child(0.99 * LEFT * nodes.lack).stalled.tolist() == [0, 0]
    assert nodes.child(2.0 * nodes.lack).stalled.tolist() == [4, 1]


def test_a_node_that_an_lp_leaves_open_rests_first() -> None:
    """Its children are not asked of sooner because they make headway."""
    node = Headway(np.ones(1), np.array([-REST]))
    for left in range(REST - 1, -1, -1):
        node = node.child(0.1 * node.lack)
        assert node.stalled == -left
    assert node.child(0.1 * node.lack).stalled == 0
    assert node.child(node.lack).stalled == 1


def test_boxes_crawl_that_close_without_taking_volume() -> None:
    many, few = int(CLOSES * 1000), int(CLOSES * 500)
    assert crawls(1000, np.full(many, 1.0 / many))
    assert not crawls(1000, np.full(many + 1, 1.0 / (many + 1)))  # none closes
    assert crawls(1000, np.full(few, 1.001 * CRAWLS / few))
    assert not crawls(1000, np.full(few, 0.999 * CRAWLS / few))
    assert not crawls(1000, np.full(few, np.nan))
    assert not crawls(1000, np.zeros(0))


def test_a_root_has_no_headway_to_make() -> None:
    """What its parent lacks is no number."""
    assert Headway(np.array([np.nan]), np.zeros(1, dtype=np.int64)).child(np.ones(1)).stalled == 0
