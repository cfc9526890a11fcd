"""Leaves → their split tree: trees come out again, and gaps are found exactly, whatever order leaves are in."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest

from encoders.errors import InputError
from verifier.problem.properties import pattern_tree as tree_module
from verifier.problem.properties.pattern_tree import pattern_tree, told

NEURONS = 5


def random_leaves(rng: np.random.Generator, path: dict[int, bool]) -> list[dict[int, bool]]:
    """Of a random tree below this path."""
    free = [neuron for neuron in range(NEURONS) if neuron not in path]
    if not free or rng.random() < 0.2:
        return [path]
    neuron = int(rng.choice(free))
    return [leaf for side in (False, True) for leaf in random_leaves(rng, {**path, neuron: side})]


def leaves_of(tokens: Sequence[int]) -> list[dict[int, bool]]:
    found, waiting = [], [{}]
    for token in tokens:
        path: dict[int, bool] = waiting.pop()
        if token == 0:
            found.append(path)
        else:
            waiting += [{**path, token - 1: True}, {**path, token - 1: False}]
    assert not waiting
    return found


@pytest.mark.parametrize("seed", range(30))
def test_the_leaves_of_a_tree_give_a_tree_of_as_many(seed: int) -> None:
    rng = np.random.default_rng(seed)
    leaves = random_leaves(rng, {})
    rng.shuffle(leaves)  # type: ignore[arg-type]
    found = leaves_of(pattern_tree(leaves, "p"))
    assert sorted(map(sorted, map(dict.items, found))) == sorted(map(sorted, map(dict.items, leaves)))


@pytest.mark.parametrize("seed", range(60))
def test_any_leaves_are_refused_just_where_they_leave_a_gap(seed: int) -> None:
    """Overlapping leaves, against all patterns one by one."""
    rng = np.random.default_rng(seed)
    leaves = [
        {int(n): bool(rng.integers(2)) for n in rng.choice(4, int(rng.integers(1, 3)), replace=False)}
        for _ in range(int(rng.integers(1, 14)))
    ]

    def covered(pattern: Sequence[bool]) -> bool:
        return any(all(pattern[n] is side for n, side in leaf.items()) for leaf in leaves)

    everywhere = all(map(covered, itertools.product((False, True), repeat=4)))
    try:
        found = leaves_of(pattern_tree(leaves, "p"))
    except InputError as error:
        assert not everywhere
        words = str(error).removeprefix("p: no leaf covers ").split(", ")
        gap = {int(word.split()[0][2:]) - 1: word.split()[1] == ">=" for word in words}
        for pattern in itertools.product((False, True), repeat=4):
            if all(pattern[n] is side for n, side in gap.items()):
                assert not covered(pattern)
    else:
        assert everywhere
        # Each leaf of the tree lies in one of those given.
        assert all(any(leaf.items() <= path.items() for leaf in leaves) for path in found)


def test_the_gap_is_told() -> None:
    with pytest.raises(InputError, match=r"^p: no leaf covers N_1 >= 0, N_3 >= 0$"):
        pattern_tree([{0: False}, {0: True, 2: False}], "p")
    with pytest.raises(InputError, match=r"^p: the tree has no leaf$"):
        pattern_tree([], "p")
    assert told([(0, False), (6, True)]) == "N_1 < 0, N_7 >= 0"


def test_a_tree_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree_module, "MOST_NODES", 20)
    every = [dict(enumerate(pattern)) for pattern in itertools.product((False, True), repeat=5)]
    with pytest.raises(InputError, match=r"^p: the tree of these leaves has more than 20 nodes$"):
        pattern_tree(every, "p")


def test_it_looks_at_the_budget() -> None:
    looks = []
    pattern_tree([{0: False}, {0: True}] * 3000, "p", lambda: looks.append(0))
    assert len(looks) > 10
