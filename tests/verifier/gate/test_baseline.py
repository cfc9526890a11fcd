"""Baselines: rounded outwards, the same text for the same brackets, and compared input by input."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoders.errors import InputError
from verifier.gate.baseline import Baseline, baseline_text, identity, read_baseline, rounded
from verifier.gate.requirements import NoWorse
from verifier.gate.verdict import Group, Known, Ruling
from verifier.problem.inputs.columns import Columns
from verifier.problem.inputs.lattice import lattice_of
from verifier.problem.query import Norm
from verifier.report.gate.words import distance, figure_text

GROUP = Group(Path("somewhere/net.onnx"), "linf")


def known(place: int, lower: float, upper: float) -> Known:
    return Known(str(place), f"input {place}", identity(f"{place:016}", 3), 3, lower, upper, "proved", reach=10.0)


def baseline(folder: Path, inputs: list[Known], radii: tuple[float, ...] = (0.02,)) -> Baseline:
    path = folder / "baseline.json"
    path.write_text(baseline_text({GROUP: inputs}, {GROUP.model: "d" * 64}, radii, "0.1.0"), encoding="utf-8")
    return read_baseline(path)


@given(st.floats(min_value=0.0, max_value=1e300))
def test_rounding_goes_outwards(value: float) -> None:
    low, high = rounded(value, up=False), rounded(value, up=True)
    assert isinstance(low, float)
    assert low <= value
    assert high == "inf" or float(high) >= value
    assert math.isinf(float(high)) or float(high) - low <= max(2e-3 * value, 1e-300)


def test_the_text_does_not_depend_on_the_order(tmp_path: Path) -> None:
    inputs = [known(k, 0.01 * k, 0.01 * k + 0.001) for k in range(1, 5)]
    texts = {
        baseline_text({GROUP: order}, {GROUP.model: "d" * 64}, (0.02, 0.01), "0.1.0")
        for order in (inputs, inputs[::-1])
    }
    (text,) = texts
    (group,) = json.loads(text)["groups"]
    assert group["certified_accuracy"] == {"0.01": 1.0, "0.02": 0.75}
    assert group["mean"] == pytest.approx([0.025, 0.026], abs=2e-5)


def test_the_same_model_is_no_worse_than_itself(tmp_path: Path) -> None:
    inputs = [known(0, 0.0203, 0.0211), known(1, 0.0301, math.inf)]
    rulings = {one.ruling for one in NoWorse("b", baseline(tmp_path, inputs), 0.0).judge(GROUP, inputs)}
    assert rulings == {Ruling.PASS}


def test_rounding_loses_no_radius_that_was_reached(tmp_path: Path) -> None:
    """8/255 has more than four digits: what was robust there counts, and fails where it is not any more."""
    before = baseline(tmp_path, [known(0, 8 / 255, math.inf)], (8 / 255, 0.05))
    required = NoWorse("b", before, 0.0, ("certified_accuracy",))
    for lower, upper, ruling in ((8 / 255, math.inf, Ruling.PASS), (0.03137, 0.031371, Ruling.FAIL)):
        assert [one.ruling for one in required.judge(GROUP, [known(0, lower, upper)])] == [ruling, Ruling.PASS]


@pytest.mark.parametrize("start", [0, 3, 13])
def test_on_a_grid_rounding_neither_gains_nor_loses_a_step(start: int, tmp_path: Path) -> None:
    """float32 has some 7/100 at more than 0.07: just short of it is not 0.07, where seven steps would be robust."""
    x = np.float32([start / 100])
    seventh = float(np.float32((start + 7) / 100)) - float(x[0])
    grid = lattice_of(Columns(grid=100), x.astype(np.float64), np.zeros(1), np.ones(1), x.dtype, Norm.LINF)
    short = replace(known(0, math.nextafter(seventh, 0.0), seventh), lattice=grid)
    found = NoWorse("b", baseline(tmp_path, [short], (0.06, 0.07)), 0.0).judge(GROUP, [short])
    assert {one.ruling for one in found} == {Ruling.PASS}
    reached = replace(known(0, grid.in_steps(0.07), math.inf), lattice=grid)
    required = NoWorse("b", baseline(tmp_path, [reached], (0.07,)), 0.0, ("certified_accuracy",))
    assert [one.ruling for one in required.judge(GROUP, [reached])] == [Ruling.PASS]
    assert [one.ruling for one in required.judge(GROUP, [short])] == [Ruling.FAIL]


def test_a_nearer_witness_fails_and_a_wide_bracket_is_undecided(tmp_path: Path) -> None:
    before = baseline(tmp_path, [known(0, 0.03, 0.031), known(1, 0.02, 0.021)])
    required = NoWorse("b", before, 0.005, ("inputs",))
    for upper, ruling in ((0.024, Ruling.FAIL), (0.0251, Ruling.UNDECIDED)):
        (judgement,) = required.judge(GROUP, [known(0, 0.0, upper), known(1, 0.02, 0.021)])
        assert judgement.ruling is ruling
        assert [wish.key for wish in judgement.wishes] == (["0"] if ruling is Ruling.UNDECIDED else [])


@pytest.mark.parametrize("by", [0.0, 0.001, 0.002, 0.003])
def test_what_just_passes_is_not_told_as_less_than_is_required(tmp_path: Path, by: float) -> None:
    """Checks are asked at before - by, and their answers are at it: (before - by) - before is no -by in floats."""
    for before in (0.01486, 0.0203, 0.0301):
        required = NoWorse("b", baseline(tmp_path, [known(0, before, 0.04)]), by, ("inputs",))
        (judgement,) = required.judge(GROUP, [known(0, before - by, 0.04)])
        assert judgement.ruling is Ruling.PASS
        assert f": {distance(0.0 - by, up=False)} to " in figure_text(judgement.figure)
        assert f"required ≥ {0.0 - by:g}" in figure_text(judgement.figure)


def test_inputs_that_the_baseline_lacks_are_told(tmp_path: Path) -> None:
    before = baseline(tmp_path, [known(0, 0.03, 0.031)])
    found = NoWorse("b", before, 0.0).judge(GROUP, [known(0, 0.03, 0.031), known(7, 0.0, math.inf)])
    assert all(one.note == "1 inputs are not in the baseline" for one in found)
    with pytest.raises(InputError, match="none of the inputs"):
        NoWorse("b", before, 0.0).judge(GROUP, [known(7, 0.0, math.inf)])


def test_what_is_misclassified_now_is_worse_whatever_is_allowed(tmp_path: Path) -> None:
    """By 0.05 a distance of 0.03 may fall to 0; being misclassified is worse than any distance."""
    before = baseline(tmp_path, [known(0, 0.03, 0.031), known(1, 0.0, 0.0)])
    required = NoWorse("b", before, 0.05, ("inputs",))
    same = [known(0, 0.0, 0.001), replace(known(1, 0.0, 0.0), wrong=True)]
    assert required.judge(GROUP, same)[0].ruling is Ruling.PASS
    (judgement,) = required.judge(GROUP, [replace(known(0, 0.0, 0.0), wrong=True), same[1]])
    assert judgement.ruling is Ruling.FAIL
    (judgement,) = required.judge(GROUP, [replace(known(0, 0.0, math.inf), wrong=True), same[1]])
    assert judgement.ruling is Ruling.UNDECIDED
    assert [wish.radius for wish in judgement.wishes] == [0.03], "that it is misclassified is found by asking"


def test_what_the_baseline_has_and_nobody_asks_about_is_never_passed(tmp_path: Path) -> None:
    before = baseline(tmp_path, [known(0, 0.03, 0.031), known(1, 0.02, 0.021)])
    found = NoWorse("b", before, 0.0).judge(GROUP, [known(0, 0.03, 0.031)])
    assert {one.ruling for one in found} == {Ruling.UNDECIDED}
    assert all(one.note == "inputs of the baseline that are not asked about any more: input 1" for one in found)
    failing = NoWorse("b", before, 0.0, ("inputs",)).judge(GROUP, [known(0, 0.0, 0.01)])
    assert [one.ruling for one in failing] == [Ruling.FAIL]


def test_a_model_of_another_name_is_compared_with_a_single_one(tmp_path: Path) -> None:
    before = baseline(tmp_path, [known(0, 0.03, 0.031)])
    assert before.of(replace(GROUP, model=Path("retrained.onnx"))) == {known(0, 0, 1).identity: 0.03}
    assert before.of(replace(GROUP, norm="l1")) == {}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"format": "another"}',
        '{"format": "relu-verifier baseline 1", "groups": 3}',
        '{"format": "relu-verifier baseline 1", "groups": [{"model": "a", "norm": "l1", "certified_accuracy": {}, '
        '"inputs": [{"identity": "x", "lower": -1}]}]}',
        "[" * 100_000,
    ],
)
def test_what_is_no_baseline_is_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "baseline.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"baseline\.json") as caught:
        read_baseline(path)
    assert "\n" not in str(caught.value)
