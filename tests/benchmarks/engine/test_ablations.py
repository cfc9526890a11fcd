"""Every variant is a setting that there is; the sizes' images are read; opposite answers are a contradiction."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmarks.engine.ablations import BASELINE, BATCHES, VARIANTS, summary
from benchmarks.engine.sizes import _centre, contradictions
from benchmarks.harness.instances import HOLDS, UNKNOWN, VIOLATED, Result

Made = Callable[..., Result]


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_differs_from_what_it_is_compared_with(name: str) -> None:
    variant = VARIANTS[name]
    against = VARIANTS[variant.against]
    assert (variant.decider == against.decider) is (name == BASELINE)
    assert variant.decider.engine == against.decider.engine or name == BATCHES


def test_the_table_gives_multiples_of_the_baseline(result: Made) -> None:
    rows = [result(method=BASELINE, nodes=10), result(method="no descents", nodes=25, cpu_seconds=2.0)]
    line = summary(rows, ["no descents"], 60.0).splitlines()[-1]
    assert [cell.strip() for cell in line.strip("|").split("|")] == ["no descents", BASELINE, "linf", "1/1", "2.5", "2"]


@pytest.mark.parametrize("zipped", [False, True])
def test_the_middle_of_a_property_is_read(tmp_path: Path, zipped: bool) -> None:
    text = "(declare-const X_0 Real)\n(assert (<= X_0 0.5))\n(assert (>= X_0 0.25))\n(assert (<= X_1 1e-1))\n"
    text += "(assert (>= X_1 -0.3))\n(assert (or (and (<= Y_0 Y_1))))\n"
    path = tmp_path / "property.vnnlib"
    if zipped:
        path.with_name("property.vnnlib.gz").write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    np.testing.assert_allclose(_centre(path), [0.375, -0.1], atol=1e-7)


def test_opposite_answers_are_named(result: Made) -> None:
    lp = result(method="lp", radius=0.1, status=HOLDS)
    assert contradictions([lp, result(method="bound", radius=0.1, status=UNKNOWN)]) == []
    assert contradictions([lp, result(method="bound", radius=0.2, status=VIOLATED)]) == []
    (line,) = contradictions([lp, result(method="bound", radius=0.1, status=VIOLATED)])
    assert "lp" in line
    assert "bound" in line
