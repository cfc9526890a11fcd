"""Witnesses near a tie: secured against rounding within the slack, by one LP a goal; polishing never loses distance."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import verifier
from verifier import models
from verifier.problem.budget import Budget
from verifier.problem.query import Norm, distance_exact
from verifier.runtime import witness as judging
from verifier.runtime.activation_region import deepest, nearest, region_of
from verifier.search.question import InputRegion, Misclassification, Specification, specify

ROUNDING = 1e-6
"""What rounding 64 pixels to float32 may add to a distance in L1, with room to spare."""

LP_TOLERANCE = 1e-6
"""What an LP's point may lie beyond the ball that it was given."""


@pytest.fixture(scope="module")
def model() -> verifier.Model:
    return verifier.load(models.path("digits"))


def asked(model: verifier.Model, index: int, target: int, norm: Norm) -> Specification:
    x = np.load(models.path("digits").with_name("digits_inputs.npz"))["x"][index]
    return specify(model, InputRegion(x, norm), Misclassification(target), Budget())


def on_the_tie(model: verifier.Model, question: Specification) -> Any:
    """The nearest point of the region of an attack's witness: rounding decides on which side of the goal it falls."""
    found = verifier.attack(
        model, question.ball.centre, target=question.goals[0][0], norm=question.ball.norm.value, device="cpu"
    )
    assert found.witness is not None
    region = region_of(question.judge.lowered, found.witness.point.astype(float), question.goals[0][1])
    assert region is not None
    return nearest(region, question.ball, Budget())


@pytest.mark.parametrize("norm", list(Norm), ids=str)
@pytest.mark.parametrize(("index", "target"), [(6, 8), (2, 9), (0, 3), (5, 7)])
@pytest.mark.parametrize("slack", [1e-2, 1e-4, 1e-6])
def test_a_point_on_a_tie_is_secured_within_the_slack(
    model: verifier.Model, monkeypatch: pytest.MonkeyPatch, index: int, target: int, norm: Norm, slack: float
) -> None:
    solved = []
    monkeypatch.setattr(judging, "deepest", lambda *given: solved.append(1) or deepest(*given))
    question = asked(model, index, target, norm)
    point = on_the_tie(model, question)
    length = float(distance_exact(norm, point, question.ball.centre))
    found = question.judge.secured(point, slack, Budget())
    assert len(solved) <= 1
    if found is None:
        assert slack < ROUNDING * 10
        return
    assert found.target == target
    assert found.distance <= length + max(slack, length * judging.NUDGES[1]) + ROUNDING + LP_TOLERANCE


def test_other_roundings_give_witnesses_within_one_float(model: verifier.Model) -> None:
    """Points on ties that are no witnesses when each entry is rounded to nearest."""
    refused = found = 0
    for index, target in [(6, 8), (2, 9), (0, 3), (5, 7), (1, 4), (3, 0), (4, 6), (8, 1)]:
        question = asked(model, index, target, Norm.LINF)
        if target == model.predict(question.ball.centre):
            continue
        point = on_the_tie(model, question)
        if question.judge.witness(point, Budget()) is not None:
            continue
        refused += 1
        other = question.judge._rounded_otherwise(point, Budget())
        if other is not None:
            found += 1
            step = np.spacing(np.maximum(np.abs(point), np.abs(other.point)).astype(np.float32))
            assert np.all(np.abs(other.point - point) <= step)
            assert 1 <= np.count_nonzero(other.point != point.astype(np.float32)) <= judging.ROUNDED
            assert question.judge.witness(other.point.astype(float), Budget()) is not None
    assert refused >= 3
    assert found >= 1


def test_what_is_far_from_the_goal_is_not_secured(model: verifier.Model) -> None:
    question = asked(model, 6, 8, Norm.LINF)
    assert question.judge.secured(question.ball.centre, 1e-3, Budget()) is None


@pytest.mark.parametrize("norm", list(Norm), ids=str)
def test_polishing_only_brings_nearer(model: verifier.Model, norm: Norm) -> None:
    question = asked(model, 6, 8, norm)
    found = verifier.attack(model, question.ball.centre, target=8, norm=norm.value, attack="fgsm", device="cpu")
    assert found.witness is not None
    better = question.judge.polished(found.witness, 1e-4, Budget())
    assert better.distance <= found.witness.distance
    assert question.judge.witness(better.point.astype(float), Budget()) is not None
