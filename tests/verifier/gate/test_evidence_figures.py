"""The figures of a pack: intervals by their definition, bands by every minimum that brackets allow, selections told."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from verifier.campaign.plan.plan import Plan, Selection
from verifier.gate.evidence_figures import accuracy, clopper_pearson, round_radii, sampling

TABLE = {(0, 10): (0.0, 0.3085), (5, 10): (0.1871, 0.8129), (10, 10): (0.6915, 1.0), (96, 100): (0.9007, 0.9890)}
"""To four decimals, as tables of the interval have them."""


@pytest.mark.parametrize(("counted", "expected"), TABLE.items())
def test_the_interval_is_the_one_in_tables(counted: tuple[int, int], expected: tuple[float, float]) -> None:
    assert clopper_pearson(*counted) == pytest.approx(expected, abs=5e-5)


@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.sampled_from([0.9, 0.95]))
def test_the_interval_ends_where_tails_are_half_of_what_is_left(counted: tuple[int, int], confidence: float) -> None:
    successes, trials = counted
    low, high = clopper_pearson(successes, trials, confidence)
    tail = (1 - confidence) / 2
    assert (low == 0) == (successes == 0)
    assert (high == 1) == (successes == trials)
    if successes > 0:
        assert binom.sf(successes - 1, trials, low) == pytest.approx(tail)
    if successes < trials:
        assert binom.cdf(successes, trials, high) == pytest.approx(tail)


ENDS = (0.0, 0.1, 0.2, 0.3)
brackets = st.lists(
    st.tuples(st.sampled_from(ENDS), st.sampled_from((*ENDS, math.inf))).filter(
        lambda ends: ends[0] < ends[1] or ends == (0.0, 0.0)
    ),
    min_size=1,
    max_size=4,
)


@given(brackets, st.sampled_from((0.05, 0.1, 0.15, 0.3)))
def test_bands_hold_whatever_the_minima_are(found: list[tuple[float, float]], radius: float) -> None:
    """The minimum of a bracket [l, u] is beyond l, and at most u; both ends are met where it is 0."""
    band = accuracy(found, radius, drawn=True)
    assert band.interval is not None
    assert band.interval[0] <= band.band[0] <= band.band[1] <= band.interval[1]
    robust = set()
    for minima in itertools.product(*[{upper, min(upper, lower + 0.01)} for lower, upper in found]):
        robust.add(sum(each > radius for each in minima))
    assert (min(robust), max(robust)) == (band.proved, band.not_refuted)


def plan(select: Selection, data: str = "folder/inputs.npz") -> dict[str, Any]:
    """A plan as the store keeps it."""
    told: dict[str, Any] = json.loads(Plan((Path("net.onnx"),), data, select=select).text)
    return told


def test_only_what_was_drawn_speaks_of_a_population() -> None:
    drawn = sampling([plan(Selection(count=20, seed=3))])
    assert drawn.drawn
    assert drawn.words == "20 of inputs.npz, drawn by seed 3"
    each = sampling([plan(Selection(per_class=2, correct=True), data="digits")])
    assert each.drawn
    assert "each class taken equally often, of those that every model classifies as labelled" in each.scope
    for select in (Selection(indices=(1, 2)), Selection()):
        assert not sampling([plan(select)]).drawn
    assert accuracy([(0.1, 0.2)], 0.1, drawn=False).interval is None


def test_several_plans_are_no_draw_unless_they_draw_the_same() -> None:
    one, other = plan(Selection(count=5, seed=0)), plan(Selection(count=5, seed=1))
    assert not sampling([one, other]).drawn
    assert sampling([one, {**one, "targets": "all"}]).drawn
    assert not sampling([]).drawn
    assert not sampling([{"select": 3}]).drawn, "a store may hold anything"


def test_the_split_of_a_folder_is_told() -> None:
    assert "mnist (test)" in sampling([plan(Selection(count=1), data="a/mnist")]).words


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=5))
def test_radii_that_nobody_names_are_round_and_few(lowers: list[float]) -> None:
    radii = round_radii([(lower, math.inf) for lower in lowers])
    assert 2 <= len(radii) <= 12
    assert all(0 < radius <= max(lowers) for radius in radii)
    assert all(len(f"{radius:.12g}".replace(".", "").strip("0").partition("e")[0]) <= 3 for radius in radii)


def test_without_a_proof_there_are_no_radii() -> None:
    assert round_radii([(0.0, 0.2), (math.inf, math.inf)]) == ()
