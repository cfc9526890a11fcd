"""`minimal_all_targets` for some targets, and from witnesses that an earlier search has found."""

from __future__ import annotations

import numpy as np
import pytest

from encoders.errors import InputError
from verifier import api, models
from verifier.problem.verdict import Status

DIGITS = models.path("digits")
MODEL = api.load(DIGITS)
X = np.load(DIGITS.with_name("digits_inputs.npz"))["x"][6]
LABEL = MODEL.predict(X)
TARGETS = [target for target in range(10) if target != LABEL][1:3]


def test_some_targets_have_the_minima_that_they_have_among_all() -> None:
    some = api.minimal_all_targets(MODEL, X, targets=TARGETS, device="cpu").results
    assert [one.target for one in some] == TARGETS
    for one in some:
        alone = api.minimal(MODEL, X, target=one.target, device="cpu")
        assert one.status is Status.MINIMAL
        assert max(one.lower, alone.lower) <= min(one.upper, alone.upper)


def test_a_known_witness_takes_the_place_of_the_attack() -> None:
    first = api.minimal_all_targets(MODEL, X, targets=TARGETS, device="cpu").results[0]
    assert first.witness is not None
    known = {TARGETS[0]: first.witness.point}
    again = api.minimal_all_targets(MODEL, X, targets=TARGETS, known=known, device="cpu").results
    assert again[0].initial.distance <= first.upper
    assert [one.status for one in again] == [Status.MINIMAL, Status.MINIMAL]
    assert again[0].upper <= first.upper


@pytest.mark.parametrize(("targets", "told"), [([LABEL], "the label itself"), ([10], "not a class"), ([], "no target")])
def test_targets_that_cannot_be(targets: list[int], told: str) -> None:
    with pytest.raises(InputError, match=told):
        api.minimal_all_targets(MODEL, X, targets=targets)
