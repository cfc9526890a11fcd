"""Points of other tools: a witness as it is, or the reason why it is none, each reason made to happen."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

import verifier
from encoders.network.exact import exact_outputs
from verifier import models
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.verdict import Witness
from verifier.runtime.refusal import Refusal, replayed
from verifier.search.question import InputRegion, Misclassification, Specification, specify

INPUT = 6
Points = npt.NDArray[np.float64]


@pytest.fixture(scope="module")
def asked() -> Specification:
    """May input 6 of the shipped digits lose its class in L∞?"""
    x = np.load(models.path("digits").with_name("digits_inputs.npz"))["x"][INPUT]
    return specify(verifier.load(models.path("digits")), InputRegion(x, "linf"), Misclassification(), Budget())


@pytest.fixture(scope="module")
def nearest(asked: Specification) -> Witness:
    found = verifier.minimal(asked.model, asked.ball.centre).witness
    assert found is not None
    return found


def judged(asked: Specification, point: npt.ArrayLike) -> Witness | Refusal:
    return replayed(asked.judge, asked.label, np.asarray(point), Budget())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_witness_stays_where_it_is(asked: Specification, nearest: Witness, dtype: type) -> None:
    found = judged(asked, nearest.point.astype(dtype))
    assert isinstance(found, Witness)
    assert np.array_equal(found.point, nearest.point)
    assert (found.distance, found.target) == (nearest.distance, nearest.target)


def test_each_reason(asked: Specification, nearest: Witness) -> None:
    x, way = asked.ball.centre, nearest.point - asked.ball.centre
    beyond = np.where(np.arange(x.size) == 3, 1.1, nearest.point)
    assert judged(asked, np.full(x.size, np.nan)) is Refusal.NOT_FINITE
    assert judged(asked, np.full(x.size, 1e300)) is Refusal.NOT_FINITE
    assert judged(asked, beyond) is Refusal.OUTSIDE
    assert judged(asked, x) is Refusal.INPUT
    assert judged(asked, x + 0.5 * way) is Refusal.LABEL
    other = next(k for k in range(10) if k not in (asked.label, nearest.target))
    assert judged(asked.only([other]), nearest.point) is Refusal.OTHER


def test_a_margin_is_kept(asked: Specification, nearest: Witness) -> None:
    region = InputRegion(asked.ball.centre, "linf")
    deeper = specify(asked.model, region, Misclassification(margin=5.0), Budget())
    assert judged(deeper, nearest.point) is Refusal.MARGIN


def test_what_rounding_to_the_models_dtype_takes_away_is_said(asked: Specification, nearest: Witness) -> None:
    """The first float64 on a way that the exact network takes for another class; rounded, one in two is not."""
    x, rng, found = asked.ball.centre, np.random.default_rng(0), []
    goal = dict(asked.goals)[nearest.target]
    for _ in range(8):
        way = (nearest.point - x) * rng.uniform(1.0, 1.1, x.size)
        low, high = 0.5, 1.2
        for _ in range(40):
            share = (low + high) / 2
            exact = goal.margin_exact(exact_outputs(asked.judge.graph, np.clip(x + share * way, 0, 1)))
            low, high = (low, share) if exact >= 0 else (share, high)
        found.append(judged(asked, np.clip(x + high * way, 0, 1)))
    assert {one for one in found if isinstance(one, Refusal)} - {Refusal.INEXACT} == {Refusal.ROUNDED}


def test_an_end_of_the_box_that_rounding_missed_is_met(nearest: Witness) -> None:
    """0.1 in float32 lies above 0.1: the point goes back by a step, as inputs do."""
    model = verifier.load(models.path("digits"))
    x = np.load(models.path("digits").with_name("digits_inputs.npz"))["x"][INPUT]
    hi, edge = np.ones(x.size), int(np.argmin(x + nearest.point))
    hi[edge] = 0.1
    asked = specify(model, InputRegion(x, "linf", (0.0, hi)), Misclassification(), Budget())
    point = np.clip(x + 1.5 * (nearest.point.astype(np.float64) - x), 0, 1)
    point[edge] = 0.1
    found = judged(asked, point)
    assert isinstance(found, Witness)
    assert float(found.point[edge]) <= 0.1 < float(np.float32(0.1))


def test_no_time_is_no_reason(asked: Specification, nearest: Witness) -> None:
    with pytest.raises(OutOfTimeError):
        replayed(asked.judge, asked.label, nearest.point, Budget(0.0))
