"""The precision suite's known answers by evaluation at every number of its boxes, and what `verify` says of them."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from benchmarks.satisfactory.__main__ import Case, answered, precision_cases
from benchmarks.satisfactory.precision import CASES, PrecisionCase, Step
from verifier.cli.main import main

COMPARE = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "==": operator.eq}


def met(case: PrecisionCase) -> Callable[[Fraction], bool]:
    found = re.fullmatch(r"\((\S+) Y\[0\] (\S+)\)", case.goal)
    assert found is not None
    return lambda y: COMPARE[found[1]](y, Fraction(found[2]))


def exactly(case: PrecisionCase, x: Fraction) -> Fraction:
    apply = {"Add": operator.add, "Sub": operator.sub, "Mul": operator.mul, "Relu": lambda a, _: max(a, Fraction(0))}
    for kind, constant in case.steps:
        x = apply[kind](x, Fraction(float(np.float32(constant))))
    return x


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_answers_are_known_by_enumeration(case: PrecisionCase) -> None:
    low, high, satisfied = Fraction(case.low), Fraction(case.high), met(case)
    ends = [exactly(case, x) for x in (low, high)]
    if case.name == "a-third":
        assert low == high
    # Increasing in x: a goal that an end misses is missed in between too.
    assert ("sat" if any(map(satisfied, ends)) else "unsat") == case.real
    session = onnxruntime.InferenceSession(case.model().SerializeToString())
    x, points = np.float32(float(low)), []
    while Fraction(float(x)) <= high:
        points += [x] if Fraction(float(x)) >= low else []
        x = np.nextafter(x, np.float32(np.inf))
    assert len(points) < 20
    values = [float(session.run(None, {"x": np.array([point])})[0][0]) for point in points]
    expected = ("sat" if any(satisfied(Fraction(value)) for value in values) else "unsat") if points else ""
    assert expected == case.float32


def reordered(steps: Sequence[Step]) -> Iterator[Sequence[Step]]:
    """The steps, and what is left of them where neighbours' constants are added or multiplied in float32 beforehand."""
    yield steps
    for place, ((kind, first), (other, second)) in enumerate(pairwise(steps)):
        one, two = np.float32(first), np.float32(second)
        if kind == other == "Mul":
            with np.errstate(over="ignore", under="ignore"):
                folded: Step = ("Mul", float(one * two))
        elif {kind, other} <= {"Add", "Sub"}:
            folded = ("Add", float((one if kind == "Add" else -one) + (two if other == "Add" else -two)))
        else:
            continue
        if math.isfinite(folded[1]):
            yield from reordered([*steps[:place], folded, *steps[place + 2 :]])


@pytest.mark.parametrize("case", [case for case in CASES if case.float32], ids=lambda case: case.name)
def test_what_is_not_proved_for_float32_is_not_so_for_every_evaluation(case: PrecisionCase, tmp_path: Path) -> None:
    """Three cases are open since a runtime that folds constants has a point; where none has one, all are decided."""
    pytest.importorskip("vnnlib", reason="VNN-LIB 2 needs the extra vnnlib", exc_type=ImportError)
    low, high, satisfied = np.float32(case.low), Fraction(case.high), met(case)
    apply = {"Add": operator.add, "Sub": operator.sub, "Mul": operator.mul, "Relu": np.maximum}
    reached = set()
    for steps in reordered(case.steps):
        x = low
        while Fraction(float(x)) <= high:
            y = x
            for kind, constant in steps:
                with np.errstate(under="ignore"):
                    y = apply[kind](y, np.float32(constant))
            reached.add(satisfied(Fraction(float(y))))
            x = np.nextafter(x, np.float32(np.inf))
    (tmp_path / "q.vnnlib").write_text(case.query("float32"))
    onnx.save(case.model(), tmp_path / "n.onnx")
    words = ["verify", str(tmp_path / "q.vnnlib"), "--network", f"N={tmp_path / 'n.onnx'}"]
    code = main(words)
    open_still = case.float32 == "unsat" and True in reached
    assert code == (3 if open_still else 1 if case.float32 == "sat" else 0)
    assert open_still is (case.name in {"absorbed", "behind-a-relu", "underflow-of-all"})


def test_verify_is_never_wrong_about_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("vnnlib", reason="VNN-LIB 2 needs the extra vnnlib", exc_type=ImportError)
    answers: dict[str, list[bool]] = {"precision, real": [], "precision, float32": []}
    for case in precision_cases(tmp_path):
        main(["verify", str(case.query), "--network", f"N={case.networks['N']}"])
        said = capsys.readouterr().out.split("\n", maxsplit=1)[0]
        assert said in (case.expected, "unknown"), case.name
        answers[case.suite].append(said == case.expected)
    assert all(answers["precision, real"])
    assert sum(answers["precision, float32"]) == 7


def test_a_row_says_what_became_of_a_case(tmp_path: Path) -> None:
    case = Case("s", "c", tmp_path / "none.vnnlib", {"N": tmp_path / "n.onnx"}, "sat", True)
    row = answered(case, 20)
    assert (row.outcome, row.answer) == ("refused", "")
    assert "none.vnnlib" in row.reason
