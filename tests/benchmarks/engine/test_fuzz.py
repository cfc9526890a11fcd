"""Networks of `benchmarks.engine.fuzz`, half in each norm: no contradiction; the comparison finds false answers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

import verifier
from benchmarks.engine import fuzz
from benchmarks.engine.exact_minimum import evaluated
from benchmarks.engine.fuzz_nets import random_question
from verifier.problem.norms.table import FLAT_NORMS
from verifier.problem.query import Norm
from verifier.problem.verdict import Bracket, Evidence, Holds, Initial, Status, Violated

NETS, BLOCK = 24, 12

ENOUGH = 1.0
"""Seconds a question: some go on looking where rounding refuses every point; what is said holds all the same."""


@pytest.mark.parametrize(("first", "norm"), [*zip(range(0, NETS, BLOCK), itertools.cycle(FLAT_NORMS), strict=False)])
def test_nothing_contradicts_the_enumeration(first: int, norm: Norm) -> None:
    row = fuzz.block(first, BLOCK, norm, ENOUGH)
    assert row.contradictions == ()
    assert row.nets == row.closed + row.unreachable + row.already + row.open
    assert row.closed + row.unreachable >= BLOCK // 2
    assert row.held + row.violated >= BLOCK // 2


@pytest.mark.parametrize("seed", range(60))
def test_both_forms_are_the_same_network(seed: int) -> None:
    """The layers of the enumeration, and the file in ONNX Runtime, at the input and at points beside it."""
    fuzzed = random_question(seed)
    session = onnxruntime.InferenceSession(fuzzed.model.SerializeToString(), providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    rng, unit = np.random.default_rng(seed), 2**fuzzed.question.bits
    for step in (0, 1, 3):
        moved = [c + step * int(rng.integers(-unit // 2, unit // 2 + 1)) for c in fuzzed.question.centre]
        x = np.array([c / unit for c in moved], dtype=np.float32)
        found = session.run(None, {given.name: x.reshape(given.shape)})[0][0]
        exact = [float(z) for z in evaluated(fuzzed.question.layers, [Fraction(float(value)) for value in x])]
        assert found == pytest.approx(exact, rel=1e-4, abs=1e-3)


def bracket(lower: float, upper: float, status: Status = Status.MINIMAL) -> Bracket:
    first = Initial("none", math.inf)
    return Bracket(lower, upper, None, Evidence.PROVED, 1e-3, status, first, None, 0.0)


HALF = Fraction(1, 2)


@pytest.mark.parametrize(
    ("found", "truth"),
    [
        (bracket(0.5 + 1e-12, 0.5005), HALF),
        (bracket(0.4999, math.nextafter(0.5, 0.0)), HALF),
        (bracket(0.49, 0.6), HALF),
        (bracket(math.inf, math.inf, Status.UNREACHABLE), HALF),
        (bracket(0.0, 0.5, Status.BRACKETED), None),
        (bracket(0.0, 0.0, Status.ALREADY_ADVERSARIAL), HALF),
    ],
)
def test_false_brackets_are_found(found: Bracket, truth: Fraction | None) -> None:
    assert fuzz.bracket_faults(found, truth)


def test_true_brackets_are_none() -> None:
    assert not fuzz.bracket_faults(bracket(0.4995, 0.5001), HALF)
    assert not fuzz.bracket_faults(bracket(0.0, 0.7, Status.BRACKETED), HALF)
    assert not fuzz.bracket_faults(bracket(math.inf, math.inf, Status.UNREACHABLE), None)


@pytest.mark.parametrize("share", fuzz.BESIDE)
@pytest.mark.parametrize("truth", [Fraction(1, 3), HALF, Fraction(0), Fraction(10**6, 7)])
def test_radii_lie_on_both_sides(truth: Fraction, share: float) -> None:
    found = [Fraction(radius) for radius in fuzz.radii(truth, share)]
    assert max(found) >= truth
    assert min(found) < truth or truth == 0


def case(tmp_path: Path, seed: int = 1) -> fuzz.Case:
    fuzzed = random_question(seed)
    onnx.save(fuzzed.model, tmp_path / "net.onnx")
    return fuzz.Case(seed, Norm.LINF, fuzzed, verifier.load(tmp_path / "net.onnx"), ENOUGH)


def test_false_checks_and_float32_claims_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seed = next(seed for seed in range(100) if (case(tmp_path, seed).distance or 0) > 0)

    def lying(change: Callable[[Any], Any]) -> list[str]:
        asked = case(tmp_path, seed)
        with monkeypatch.context() as patch:
            real = verifier.check
            patch.setattr(verifier, "check", lambda *a, **k: change(real(*a, **k)))
            asked.checks()
        return asked.wrong

    assert lying(lambda answer: answer) == []
    assert lying(lambda answer: replace(answer, verdict=Holds(Evidence.PROVED)))
    assert lying(lambda answer: replace(answer, verdict=Violated(np.zeros(1))))
    assert lying(lambda answer: replace(answer, float32=True)) or case(tmp_path, seed).distance is None


def test_the_record_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[int] = []

    def answered(jobs: int, function: Any, arguments: Any) -> Any:
        del jobs, function
        for first, nets, norm, _ in arguments:
            asked.append(first)
            wrong = ("seed 5: false",) if first == 4 else ()
            yield fuzz.Row(norm.value, first, nets, nets, 0, 0, 0, nets, 0, 0, 9, 0.1, 0.1, wrong)

    monkeypatch.setattr(fuzz, "in_processes", answered)
    for nets, code in (("4", 0), ("4", 0)):
        assert fuzz.main(["--nets", nets, "--block", "2", "--out", str(tmp_path / "fuzz.json")]) == code
    assert asked == [0, 0, 2, 2]
    assert fuzz.main(["--nets", "6", "--block", "2", "--out", str(tmp_path / "b.json")]) == 1
    assert "seed 5: false" in capsys.readouterr().out
