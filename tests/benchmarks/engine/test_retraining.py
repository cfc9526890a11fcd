"""What is said of searches that begin with what is known of a model before: shares of time, and contradictions."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.engine.retraining import AFTER, BEFORE, Row, share, summary
from verifier import models

ROW = Row(
    model=AFTER,
    index=0,
    label=7,
    target=1,
    norm="linf",
    old_lower=0.03,
    old_upper=0.031,
    bytes=1000,
    fresh_lower=0.032,
    fresh_upper=0.033,
    fresh_nodes=100,
    fresh_cpu=2.0,
    again_lower=0.0321,
    again_upper=0.0331,
    again_nodes=80,
    again_cpu=0.2,
    again_closed=True,
    check_fresh="holds",
    check_fresh_cpu=1.0,
    check_again="holds",
    check_again_cpu=0.5,
)


def test_shares_are_of_the_sums_and_of_the_median() -> None:
    assert share([1.0, 1.0, 10.0], [10.0, 2.0, 10.0]) == ("1/3", "0.55", "0.50")
    first, *_, last = summary([ROW, replace(ROW, again_cpu=1.8, again_closed=False)]).strip().splitlines()
    assert "within a tenth" in first
    assert "1/2" in last


def test_crossed_ends_and_other_answers_contradict() -> None:
    assert not ROW.contradicts
    assert replace(ROW, again_lower=0.0335).contradicts
    assert replace(ROW, fresh_lower=0.0335).contradicts
    assert replace(ROW, check_again="violated").contradicts
    assert not replace(ROW, check_again="unknown").contradicts


def test_both_nets_are_shipped() -> None:
    assert all(models.path(name).is_file() for name in (BEFORE, AFTER))
