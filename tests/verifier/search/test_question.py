"""What is asked is checked once; what is handed down from there needs no other word."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from encoders.errors import InputError
from encoders.network.graph import Array
from encoders.network.linear_maps import sparse
from encoders.passes.from_transforms import Transforms
from verifier import models
from verifier.problem.budget import Budget
from verifier.problem.query import ELSEWHERE, Norm
from verifier.problem.verdict import Semantics
from verifier.runtime.model import Model, load
from verifier.search.minimum import problem_of
from verifier.search.question import InputRegion, Misclassification, specify
from verifier.search.settings import Settings


@pytest.fixture(scope="module")
def digits() -> Model:
    return load(models.path("digits"))


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    found: np.ndarray = np.load(models.input_file("digits"))["x"][6]
    return found


def test_a_specification_is_what_the_caller_has_left_out_too(digits: Model, image: np.ndarray) -> None:
    asked = specify(digits, InputRegion(image), Misclassification(), Budget())
    assert (asked.label, asked.predicted) == (digits.predict(image), digits.predict(image))
    assert [target for target, _ in asked.goals] == [other for other in range(10) if other != asked.label]
    assert (asked.ball.norm, asked.ball.radius, asked.target) == (Norm.LINF, math.inf, None)
    assert (asked.semantics, asked.precision, asked.margin) == (Semantics.BOTH, 1e-3, 0.0)
    assert np.array_equal(asked.point, image.reshape(-1))


def test_some_targets_are_the_goals_and_the_judges(digits: Model, image: np.ndarray) -> None:
    asked = specify(digits, InputRegion(image), Misclassification(each=True, targets=[8, 1]), Budget())
    assert [target for target, _ in asked.goals] == [1, 8]
    assert asked.judge.disjuncts is asked.goals


def test_under_transformations_any_class_is_one_goal_and_each_has_its_own(digits: Model, image: np.ndarray) -> None:
    eye: Array = np.eye(64)
    views = Transforms(Path("views.toml"), "", ("one", "two"), (sparse(eye), sparse(eye)))
    region = InputRegion(image)
    targets = {
        each: [target for target, _ in specify(digits, region, Misclassification(each=each), Budget(), views).goals]
        for each in (False, True)
    }
    label = digits.predict(image)
    assert targets == {False: [ELSEWHERE], True: [other for other in range(10) if other != label]}


@pytest.mark.parametrize("method", ["milp", "z3"])
def test_float32_alone_is_the_trees(digits: Model, image: np.ndarray, method: str) -> None:
    asked = specify(digits, InputRegion(image), Misclassification(), Budget(), semantics="float32")
    with pytest.raises(InputError, match=f"goes with the method tree; {method} is about real arithmetic"):
        problem_of(asked, Settings(Budget(), method), lambda _: [])
    assert problem_of(asked, Settings(Budget()), lambda _: []).semantics is Semantics.FLOAT32
