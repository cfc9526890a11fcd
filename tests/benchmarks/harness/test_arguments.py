"""No option of a benchmark takes a number that cannot be meant."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.harness import arguments
from benchmarks.harness.arguments import above_zero, at_least_zero, count, count_or_none

NONE = ("-1", "nan", "inf", "-inf", "", "soon", "1e999")


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (above_zero, {"0.5": 0.5, "60": 60.0, "1e-3": 1e-3}, ("0", "-0.0", "0.0")),
        (at_least_zero, {"0": 0.0, "2.5": 2.5}, ("-1e-9",)),
        (count, {"1": 1, "12": 12}, ("0", "1.5", "1e3", "²", "1" * 400)),
        (count_or_none, {"0": 0, "7": 7}, ("0.5", "-0", "١")),
    ],
)
def test_numbers_that_cannot_be_meant(
    kind: Callable[[str], float], good: dict[str, float], bad: tuple[str, ...]
) -> None:
    assert {text: kind(text) for text in good} == good
    for text in (*bad, *NONE):
        with pytest.raises(argparse.ArgumentTypeError, match="is expected, not"):
            kind(text)


def test_every_option_of_a_benchmark_asks_for_a_kind_of_number() -> None:
    """A seed may be any whole number."""
    plain = re.compile(r'"(--[\w-]+)"(?:(?!add_argument).)*?type=(?:float|int)\b', re.DOTALL)
    sources = sorted(Path(arguments.__file__).parents[1].rglob("*.py"))
    found = {(name, file.name) for file in sources for name in plain.findall(file.read_text())}
    assert {name for name, _ in found} == {"--seed"}, found
