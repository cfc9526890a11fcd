"""The API's answers as lines, dictionaries, tables and notebook pages: they say what the objects hold, and no more."""

from __future__ import annotations

import base64
import io
import json
import math
import re
from typing import Any

import numpy as np
import pytest
from PIL import Image

import verifier
from encoders.errors import InputError
from verifier import models
from verifier.problem.verdict import Bracket, Evidence, Initial, Status


@pytest.fixture(scope="module")
def model() -> verifier.Model:
    return verifier.load(models.path("digits"))


@pytest.fixture(scope="module")
def x() -> Any:
    return np.load(models.path("digits").with_name("digits_inputs.npz"))["x"][0]


@pytest.fixture(scope="module")
def bracket(model: verifier.Model, x: Any) -> Bracket:
    return verifier.minimal(model, x)


def test_a_bracket_as_a_dictionary(bracket: Bracket, x: Any) -> None:
    found = bracket.to_dict()
    assert json.loads(bracket.to_json()) == found
    assert (found["lower"], found["upper"], found["status"]) == (bracket.lower, bracket.upper, "minimal")
    assert (found["norm"], found["label"], found["model"]) == ("linf", 0, "digits.onnx")
    point = np.array(found["witness"]["point"], dtype=np.float32)
    assert point.shape == (1, 64)
    assert np.abs(point - x).max() <= found["upper"]
    assert "versions" not in found


def test_a_point_has_the_shape_of_the_input() -> None:
    x = np.linspace(0, 1, 784, dtype=np.float32)
    model = verifier.load(models.path("mnist_n"))
    found = verifier.attack(model, x, attack="fgsm").to_dict()
    assert np.array(found["witness"]["point"]).shape == model.network.input_shape


def test_lines_are_short_and_say_the_numbers(bracket: Bracket, model: verifier.Model, x: Any) -> None:
    shown = repr(bracket)
    lower, upper = map(float, re.findall(r"\[([\d.]+), ([\d.]+)\]", shown)[0])
    assert lower <= bracket.lower <= bracket.upper <= upper
    every = verifier.minimal_all_targets(model, x, targets=[3, 8])
    answers = (bracket, bracket.witness, verifier.check(model, x, 0.01), every, bracket.about, model)
    for answer in answers:
        assert len(repr(answer)) < 160
        assert "\n" not in repr(answer)
    assert "holds within L∞ 0.01, proved" in repr(answers[2])
    assert repr(every).startswith("<AllTargets 2 of 2 closed, nearest <Bracket minimal")
    assert repr(model) == "<Model digits.onnx: 64 inputs (1x64 float32), 10 classes, 32 ReLUs>"


@pytest.mark.parametrize(
    ("status", "lower", "upper", "said"),
    [
        (Status.UNREACHABLE, math.inf, math.inf, "unreachable: no point of the box"),
        (Status.ALREADY_ADVERSARIAL, 0.0, 0.0, "already-adversarial: distance 0"),
        (Status.BRACKETED, 0.25, math.inf, "bracketed: distance in [0.250000, inf]"),
    ],
)
def test_a_bracket_without_a_question(status: Status, lower: float, upper: float, said: str) -> None:
    made = Bracket(lower, upper, None, Evidence.PROVED, 1e-3, status, Initial("cw", math.inf), None, 1.0)
    assert said in repr(made)
    assert made.to_dict()["witness"] is None
    assert not {"norm", "label"} & set(made.to_dict())
    assert "<img" not in made._repr_html_()


def test_a_notebook_shows_the_picture(bracket: Bracket, model: verifier.Model, x: Any) -> None:
    every = verifier.minimal_all_targets(model, x, targets=[3, 8])
    for answer in (bracket, verifier.check(model, x, 0.5), every):
        page = answer._repr_html_()
        content = re.search(r'src="data:image/png;base64,([^"]+)"', page)
        assert content is not None
        picture = Image.open(io.BytesIO(base64.b64decode(content.group(1))))
        assert picture.width > picture.height / 2
        assert "&lt;" in page


def test_a_check_as_a_dictionary(model: verifier.Model, x: Any) -> None:
    found = verifier.check(model, x, 0.5).to_dict()
    assert (found["verdict"], found["radius"], found["command"]) == ("violated", 0.5, "check")
    assert found["witness"]["distance"] <= 0.5


def test_a_table_of_answers(bracket: Bracket, model: verifier.Model, x: Any) -> None:
    every = verifier.minimal_all_targets(model, x, targets=[3, 8])
    table = verifier.to_pandas([bracket, every, verifier.check(model, x, 0.01)])
    assert len(table) == 4
    assert table["target"].tolist()[1:3] == [3, 8]
    assert table["upper"][0] == bracket.upper
    assert table["witness_distance"][1] == every.results[0].upper
    assert table["verdict"][3] == "holds"
    assert len(verifier.to_pandas(bracket)) == 1
    with pytest.raises(InputError, match="not a dict"):
        verifier.to_pandas([bracket.to_dict()])  # type: ignore[list-item]
