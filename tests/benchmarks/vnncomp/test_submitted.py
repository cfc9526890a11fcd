"""Witness files against exact numbers: y = min(x, 1 − x) on [0.1, 1], where y ≥ 0.4 is asked."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.vnncomp.instances import read_instances, unpacked
from benchmarks.vnncomp.submitted import Kind, deciding, judge, read_point, submitted
from encoders.errors import InputError
from verifier.problem.properties.formula import And, Formula, LinearRow, Or, Property
from verifier.problem.properties.from_vnnlib import read_vnnlib
from verifier.runtime.model import Model, load


@pytest.fixture
def over(data: Path, tmp_path: Path) -> tuple[Model, Property]:
    with unpacked(data / "vnncomp/toy/onnx/ramp.onnx") as path:
        model = load(path)
    return model, read_vnnlib(data / "vnncomp/toy/vnnlib/over.vnnlib")


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        ("0.5", Kind.EXACT),
        ("0.4000000059604645", Kind.EXACT),  # the smallest float32 above 0.4
        ("0.4", Kind.EXACT),  # the network is given float32(0.4), which is above
        ("0.60000000000000000001", Kind.TOLERANCE),  # float32(0.6) is above 0.6, and so is this
        ("0.6", Kind.REAL_ONLY),  # 1 − 0.6 = 0.4 in numbers that no float32 is
        ("0.39995", Kind.TOLERANCE),
        ("0.3998", Kind.NONE),
        ("1e9", Kind.NONE),
        ("1e60", Kind.NONE),
    ],
)
def test_points(over: tuple[Model, Property], written: str, kind: Kind) -> None:
    assert judge(*over, [Fraction(written)]).kind is kind


def test_a_miss_is_told(over: tuple[Model, Property]) -> None:
    assert judge(*over, [Fraction(1, 4)]).words == "a row of Y_0 is missed by 0.15"
    assert judge(*over, [Fraction("1.5")]).words.startswith("a row of Y_0 is missed by")


def test_a_sum_that_rounds_up_counts_in_onnx_runtime_only(truth: Any, save_net: Callable[..., Any]) -> None:
    """x + 1 is 1 in float32 at x = −2⁻³⁰, and below 1."""
    net = save_net(truth.of_layers(([[1.0]], [1.0]), ([[1.0]], [0.0])))
    inside = And((LinearRow(((0, Fraction(1)),), (), Fraction(1)), LinearRow((), ((0, Fraction(1)),), Fraction(-1))))
    judged = judge(load(net.path), Property(1, 1, inside), [Fraction(-1, 2**30)])
    assert judged.kind is Kind.RUNTIME_ONLY
    assert "9.31e-10" in judged.words


def test_the_deciding_row_has_the_formula_s_truth() -> None:
    rng = np.random.default_rng(0)

    def made(depth: int) -> Formula:
        if depth == 0 or rng.random() < 0.2:
            terms = tuple((place, Fraction(int(rng.integers(-2, 3)))) for place in range(2))
            return LinearRow(terms, terms[::-1], Fraction(int(rng.integers(-2, 3))), bool(rng.random() < 0.5))
        return (And if rng.random() < 0.5 else Or)(tuple(made(depth - 1) for _ in range(int(rng.integers(0, 4)))))

    truths = set()
    for _ in range(400):
        formula = made(3)
        x, y = ([Fraction(int(entry)) for entry in rng.integers(-2, 3, 2)] for _ in range(2))
        assert deciding(formula, x, y).holds is formula.holds(x, y)
        truths.add(formula.holds(x, y))
    assert truths == {True, False}


@pytest.mark.parametrize(
    "text",
    [
        "sat\n((X_0 0.25)\n(Y_0 0.5))\n",
        "((X_0 2.5e-1))",
        "(X_0 .25)(Y_0 1)",
        "sat\nX float32 [1,1]\n0.25\nY real []\n1\n",
    ],
)
def test_files(tmp_path: Path, text: str) -> None:
    plain, packed = tmp_path / "a.counterexample", tmp_path / "a.counterexample.gz"
    plain.write_text(text)
    packed.write_bytes(gzip.compress(text.encode()))
    assert read_point(plain, 1) == read_point(packed, 1) == [Fraction(1, 4)]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("unsat", "stands in no list"),
        ("((X_0 nan))", "line 1, column 2: this is no pair"),
        ("((Y_0 1))", "gives 0 values of X; the property has 1"),
        ("((X_1 1))", "gives 1 values of X"),
        ("sat\nX real [1,2]\n0.5\n1\nY real []\n1\n", "gives 2 values of the tensor X"),
        ("X real [1]\nnan\n", "'nan' is no number"),
    ],
)
def test_files_that_are_none(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "a.counterexample").write_text(text)
    with pytest.raises(InputError, match=told):
        read_point(tmp_path / "a.counterexample", 1)


def test_files_are_found_by_the_competition_s_names(data: Path, tmp_path: Path) -> None:
    (instance,) = read_instances(data, "toy", every=3)
    for place in ("a/toy", "b/2025_toy", "c/2025_toys"):
        (tmp_path / "given" / place).mkdir(parents=True)
        (tmp_path / "given" / place / "ramp_over.counterexample").write_text("")
    assert [tool for tool, _ in submitted(tmp_path / "given", instance)] == ["a", "b"]
