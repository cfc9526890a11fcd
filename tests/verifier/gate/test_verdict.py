"""Verdicts follow from the ends alone: against all minima that brackets allow, by enumeration."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.gate.requirements import CertifiedAccuracy, MeanDistortion, MinDistortion, Quantile, Requirement
from verifier.gate.verdict import Group, Judgement, Known, Ruling, Wish, overall

GROUP = Group(Path("net.onnx"), "linf")
GRID = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5)
"""Ends of brackets; minima lie in between them as well."""


def known(place: int, lower: float, upper: float, score: float = 0.0) -> Known:
    return Known(str(place), f"input {place}", f"{place}/0", 0, lower, upper, "proved", reach=3.0, score=score)


brackets = st.tuples(st.sampled_from(GRID), st.sampled_from((*GRID, math.inf))).filter(lambda ends: ends[0] < ends[1])
inputs = st.lists(brackets, min_size=1, max_size=4).map(lambda ends: [known(k, *pair) for k, pair in enumerate(ends)])
shares = st.sampled_from([Fraction(1, 4), Fraction(1, 3), Fraction(1, 2), Fraction(9, 10), Fraction(1)])
radii = st.sampled_from([0.5, 0.75, 1.0, 2.0])


def minima(one: Known) -> list[float]:
    """Minimal distortions that a bracket allows: beyond its lower end, at most its upper one (or the box's reach)."""
    high = min(one.upper, one.reach)
    return [end for end in (one.lower + 0.01, (one.lower + high) / 2, high) if one.lower < end <= high]


def kept(requirement: Requirement, distances: tuple[float, ...]) -> bool:
    """Does the requirement hold where the minimal distortions are these?"""
    count = len(distances)
    if isinstance(requirement, MinDistortion):
        return min(distances) > requirement.radius
    if isinstance(requirement, Quantile):
        return sorted(distances)[max(1, math.ceil(requirement.share * count)) - 1] > requirement.radius
    if isinstance(requirement, CertifiedAccuracy):
        return sum(each > requirement.radius for each in distances) >= requirement.least * count
    assert isinstance(requirement, MeanDistortion)
    return math.fsum(distances) / count >= requirement.least


def judged(requirement: Requirement, found: list[Known]) -> Judgement:
    (judgement,) = requirement.judge(GROUP, found)
    return judgement


@given(inputs, shares, radii)
def test_a_verdict_is_what_every_minimum_that_is_left_says(found: list[Known], share: Fraction, radius: float) -> None:
    for requirement in (
        MinDistortion("all", radius),
        Quantile("quantile", share, radius),
        CertifiedAccuracy("share", share, radius),
        MeanDistortion("mean", radius),
    ):
        judgement = judged(requirement, found)
        truths = {kept(requirement, distances) for distances in itertools.product(*map(minima, found))}
        if judgement.ruling is Ruling.PASS:
            assert truths == {True}
        elif judgement.ruling is Ruling.FAIL:
            assert truths == {False}
        else:
            assert judgement.wishes, "what is undecided can be asked about"


@given(inputs, shares, radii)
def test_wishes_settle_a_requirement(found: list[Known], share: Fraction, radius: float) -> None:
    """Once each is answered, whichever way, there is a verdict; and none is asked that is known already."""
    for requirement in (MinDistortion("all", radius), CertifiedAccuracy("share", share, radius)):
        judgement = judged(requirement, found)
        by_key = {one.key: one for one in found}
        for holds in (True, False):
            answered = dict(by_key)
            for wish in judgement.wishes:
                assert wish.radius == radius
                assert by_key[wish.key].open(radius)
                one = answered[wish.key]
                ends = (radius, one.upper) if holds else (one.lower, radius)
                answered[wish.key] = known(int(wish.key), *ends)
            assert judged(requirement, list(answered.values())).ruling is not Ruling.UNDECIDED


def test_the_weak_are_asked_first_where_one_is_enough_to_fail() -> None:
    found = [known(0, 0.0, math.inf, 5.0), known(1, 0.0, math.inf, 1.0), known(2, 0.0, math.inf, 3.0)]
    assert [wish.key for wish in judged(MinDistortion("all", 1.0), found).wishes] == ["1", "2", "0"]
    strong = judged(CertifiedAccuracy("a third", Fraction(1, 3), 1.0), found)
    assert [wish.key for wish in strong.wishes] == ["0", "2", "1"]


def test_a_mean_asks_for_the_widest_bracket() -> None:
    found = [known(0, 0.9, 1.1), known(1, 0.0, 2.0), known(2, 1.0, 1.0)]
    assert judged(MeanDistortion("mean", 1.0), found).wishes[0] == Wish("1", None)


def test_an_input_without_examples_counts_with_the_reach_of_its_box() -> None:
    found = [known(0, math.inf, math.inf), known(1, 0.5, 0.5)]
    assert judged(MeanDistortion("mean", 1.75), found).ruling is Ruling.PASS
    assert judged(MeanDistortion("mean", 1.76), found).ruling is Ruling.FAIL


@pytest.mark.parametrize(
    ("rulings", "expected"),
    [
        ([Ruling.PASS, Ruling.UNDECIDED, Ruling.FAIL], Ruling.FAIL),
        ([Ruling.PASS, Ruling.UNDECIDED], Ruling.UNDECIDED),
        ([Ruling.PASS, Ruling.PASS], Ruling.PASS),
    ],
)
def test_undecided_never_counts_as_passed(rulings: list[Ruling], expected: Ruling) -> None:
    one = judged(MinDistortion("all", 1.0), [known(0, 0.0, math.inf)])
    judgements = [Judgement("r", GROUP, ruling, one.figure, one.inputs, one.thresholds) for ruling in rulings]
    assert overall(judgements) is expected
