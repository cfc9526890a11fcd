"""After how many generations without headway an LP is asked; when boxes crawl."""

from __future__ import annotations

import numpy as np

from verifier.solvers.tree.stalling import CLOSES, CRAWLS, LEFT, REST, Headway, crawls


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


def test_boxes_crawl_that_close_without_taking_volume() -> None:
    many, few = int(CLOSES * 1000), int(CLOSES * 500)
    assert crawls(1000, np.full(many, 1.0 / many))
    assert not crawls(1000, np.full(many + 1, 1.0 / (many + 1)))  # none closes
    assert crawls(1000, np.full(few, 1.001 * CRAWLS / few))
    assert not crawls(1000, np.full(few, 0.999 * CRAWLS / few))
    assert not crawls(1000, np.full(few, np.nan))
    assert not crawls(1000, np.zeros(0))
