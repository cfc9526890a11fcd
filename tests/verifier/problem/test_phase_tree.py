"""Trees as bytes: the same again, or none at all."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.problem.phase_tree import LEAF, PhaseTree, decoded, seed

ROWS, RELUS = 2, 5


def grown(splits: int, draw: int) -> PhaseTree:
    """A random tree with multipliers, bases at its leaves."""
    rng = np.random.default_rng(draw)
    split, first = [LEAF], [LEAF]
    for _ in range(splits):
        node = int(rng.choice([place for place, relu in enumerate(split) if relu == LEAF]))
        split[node], first[node] = int(rng.integers(RELUS)), len(split)
        split += [LEAF, LEAF]
        first += [LEAF, LEAF]
    leaves = split.count(LEAF)
    return PhaseTree(
        np.array([0, 3], dtype=np.int32),
        np.array(split, dtype=np.int32),
        np.array(first, dtype=np.int32),
        rng.integers(-5, 5, (len(split), ROWS + RELUS)).astype(np.int16),
        np.array([0, 2, 4], dtype=np.int32),
        rng.integers(-1, 30, (leaves, 6)).astype(np.int16),
        rng.integers(0, 3, (leaves, 3)).astype(np.int8),
    )


@given(st.integers(0, 20), st.integers(0, 1000))
def test_a_tree_is_the_same_again(splits: int, draw: int) -> None:
    tree = grown(splits, draw)
    again = decoded(tree.encoded())
    assert again is not None
    for name in ("rows", "split", "first", "numbers", "kept", "basic", "keys"):
        assert np.array_equal(getattr(again, name), getattr(tree, name))


def test_what_is_told_of_other_rows_is_nothing_and_no_multiplier_is_below_0() -> None:
    tree = grown(6, 3)
    other = tree.about(np.array([3, 7, 0]))
    for node in range(tree.nodes):
        weights, nu = other.multipliers(node)
        before = tree.numbers[node]
        assert weights == pytest.approx(np.maximum([before[1], 0, before[0]], 0) / 32767)
        assert nu == pytest.approx(before[ROWS:] / 32767)


def changed(name: str, place: object, value: int) -> bytes:
    tree = grown(6, 1)
    arrays = {
        each: getattr(tree, each).copy() for each in ("rows", "split", "first", "numbers", "kept", "basic", "keys")
    }
    arrays[name][place] = value
    packed = io.BytesIO()
    np.savez(packed, **arrays)
    return packed.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04",
        changed("split", 0, RELUS),
        changed("split", 0, -2),
        changed("first", 0, 0),
        changed("first", 0, 3),
        changed("first", 0, 2**30),
        changed("split", 0, LEAF),
        changed("rows", 1, 0),
        seed(3).encoded()[:-30],
    ],
)
def test_what_is_no_tree_is_none(content: bytes) -> None:
    assert decoded(content) is None


def test_any_changed_byte_leaves_a_tree_or_none() -> None:
    content = bytearray(grown(4, 2).encoded())
    for place in range(0, len(content), 7):
        content[place] ^= 0x41
        found = decoded(bytes(content))
        assert found is None or found.nodes == len(found.numbers)
        content[place] ^= 0x41


def test_a_seed_is_a_root() -> None:
    again = decoded(seed(4).encoded())
    assert again is not None
    assert (again.nodes, again.relus, again.basic.size) == (1, 4, 0)
