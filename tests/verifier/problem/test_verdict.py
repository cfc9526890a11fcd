"""Budgets: what is made of one ends with it, and says why."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import encoders
import verifier
from verifier.problem.budget import Budget, OutOfTimeError

DERIVED: dict[str, Callable[[Budget], Budget]] = {
    "share": lambda whole: whole.share(3),
    "reserve": lambda whole: whole.reserve(1.0),
    "first_of": lambda whole: whole.first_of(Budget(math.inf)),
    "first_of, as the other": lambda whole: Budget(math.inf).first_of(whole),
    "a share of a reserve": lambda whole: whole.reserve(1.0).share(2),
    "a reserve of a share": lambda whole: whole.share(2).reserve(1.0),
    "the first of two shares": lambda whole: whole.share(2).first_of(whole.share(3)),
}


@pytest.mark.parametrize("seconds", [100.0, math.inf])
@pytest.mark.parametrize("derived", DERIVED.values(), ids=DERIVED)
def test_what_is_made_of_a_budget_is_cancelled_with_it(derived: Callable[[Budget], Budget], seconds: float) -> None:
    whole = Budget(seconds)
    part = derived(whole)
    assert not part.ended
    assert not part.cancelled
    whole.cancel()
    assert part.ended
    assert part.cancelled
    assert part.remaining == 0
    with pytest.raises(OutOfTimeError, match="interrupted"):
        part.check()


@pytest.mark.parametrize("derived", DERIVED.values(), ids=DERIVED)
def test_what_is_made_of_a_budget_ends_with_it(derived: Callable[[Budget], Budget], clock: Any) -> None:
    whole = Budget(100.0)
    clock.tick(90.0)
    part = derived(whole)
    clock.tick(9.999999)
    assert part.remaining <= whole.remaining
    clock.tick(0.00001)
    assert part.ended


@pytest.mark.parametrize("derived", DERIVED.values(), ids=DERIVED)
def test_cancelling_a_part_leaves_the_whole(derived: Callable[[Budget], Budget]) -> None:
    whole = Budget(100.0)
    part = derived(whole)
    part.cancel()
    assert part.ended
    assert not whole.ended
    assert not whole.cancelled


def test_a_share_is_of_what_is_left_and_says_that_it_was_used_up(clock: Any) -> None:
    whole = Budget(100.0)
    clock.tick(10.0)
    share = whole.share(3)
    assert share.remaining == pytest.approx(30.0)
    assert share.spent == 0.0
    clock.tick(30.5)
    assert share.ended
    assert share.reason == "the share of 30 s was used up"
    assert not whole.ended
    clock.tick(60.0)
    assert whole.reason == "the time limit of 100 s was reached"
    assert math.isinf(Budget(math.inf).share(3).remaining)


def test_a_reserve_ends_early_and_counts_from_the_same_start(clock: Any) -> None:
    whole = Budget(100.0, clock.now - 20.0)
    engine = whole.reserve(30.0)
    assert engine.remaining == pytest.approx(50.0)
    assert engine.spent == pytest.approx(20.0)
    assert engine.limit == pytest.approx(70.0)
    clock.tick(50.0)
    assert engine.ended
    assert engine.reason == "the time limit of 100 s was reached"
    assert whole.remaining == pytest.approx(30.0)


def test_the_first_of_two_ends_with_either(clock: Any) -> None:
    first = Budget(100.0).first_of(Budget(2.0))
    assert first.remaining == pytest.approx(2.0)
    clock.tick(2.0)
    assert first.ended
    assert first.reason == "the time limit of 2 s was reached"


def _endless(source: str) -> list[str]:
    """The calls of `Budget` that set no limit."""
    calls = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    named = (call for call in calls if ast.unparse(call.func).rsplit(".", 1)[-1] == "Budget")
    return [
        ast.unparse(call)
        for call in named
        if not (given := [*call.args[:1], *(word.value for word in call.keywords if word.arg == "seconds")])
        or any(word in ast.unparse(given[0]) for word in ("inf", "None", "1e308"))
    ]


def test_nothing_in_the_product_computes_without_a_limit_that_somebody_asked_for() -> None:
    packages = [Path(package.__file__).parent for package in (encoders, verifier)]
    files = [file for package in packages for file in package.rglob("*.py")]
    assert len(files) > 100
    found = {file.name: calls for file in files if (calls := _endless(file.read_text()))}
    assert found == {}


@pytest.mark.parametrize(
    "text",
    ["Budget()", "budget or Budget()", "Budget(math.inf)", "Budget(seconds=inf)", "verdict.Budget(float('inf'))"],
)
def test_a_budget_without_a_limit_is_seen(text: str) -> None:
    assert _endless(text)
    assert not _endless("Budget(1.0); Budget(seconds=left)")
