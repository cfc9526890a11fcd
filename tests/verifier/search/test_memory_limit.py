"""Searches under a limit of memory: the same minimum where trees go depth-first, what is known where nothing fits."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import verifier
from verifier import models
from verifier.certificates import builder
from verifier.cli.main import main
from verifier.problem import memory
from verifier.problem.budget import Budget
from verifier.problem.memory import Memory, resident
from verifier.problem.verdict import Holds, Status, Unknown
from verifier.problem.workers import THREADING, Workers
from verifier.search import spread
from verifier.search.state import SearchState
from verifier.solvers.tree.lp_tree import LpTree

REASON = "the memory limit of 1 TB was reached"


@pytest.fixture(scope="module")
def digits() -> tuple[verifier.Model, Any]:
    return verifier.load("digits"), np.load(models.input_file("digits"))["x"]


def crowded() -> Budget:
    """A budget whose trees go depth-first from the first node on."""
    room = Memory(resident() + 1e12)
    room.room = -1
    return Budget(memory=room)


@pytest.mark.parametrize(("image", "norm"), [(6, "linf"), (0, "l1")])
def test_depth_first_the_bracket_closes_at_the_same_minimum(
    digits: tuple[verifier.Model, Any], image: int, norm: str
) -> None:
    model, images = digits
    wanted = verifier.minimal(model, images[image], norm=norm)
    budget = crowded()
    found = verifier.minimal(model, images[image], norm=norm, timeout=budget)
    assert (found.status, wanted.status) == (Status.MINIMAL, Status.MINIMAL)
    assert found.upper - found.lower <= found.precision
    assert max(found.lower, wanted.lower) <= min(found.upper, wanted.upper)
    assert budget.memory.nodes == 0


def test_a_limit_that_is_exceeded_leaves_what_is_known(
    digits: tuple[verifier.Model, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A witness, once the attack has found it; the process grows behind it."""
    model, images = digits
    used, start = [1e9], SearchState.start
    monkeypatch.setattr(memory, "resident", lambda *_: used[0])
    monkeypatch.setattr(memory, "LOOK", -1.0)

    def started(state: SearchState, points: Any) -> None:
        start(state, points)
        used[0] = 2e12

    monkeypatch.setattr(SearchState, "start", started)
    found = verifier.minimal(model, images[6], timeout=Budget(memory=Memory(1e12)))
    assert (found.status, found.reason) == (Status.BRACKETED, REASON)
    assert found.witness is not None
    assert 0 <= found.lower < found.upper < math.inf


@pytest.mark.parametrize("method", ["tree", "milp"])
def test_what_does_not_fit_at_all_is_said(
    digits: tuple[verifier.Model, Any], monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    model, images = digits

    def too_much(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(SearchState, "start", too_much)
    found = verifier.minimal(model, images[6], method=method, timeout=Budget(memory=Memory(1e12)))
    assert (found.lower, found.upper, found.reason) == (0.0, math.inf, REASON)
    checked = verifier.check(model, images[6], 0.2, method=method, timeout=Budget(memory=Memory(1e12)))
    assert checked.verdict == Unknown(REASON) or isinstance(checked.verdict, Holds)


def test_properties_and_ranges_say_it_too(digits: tuple[verifier.Model, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    model, _ = digits

    def too_much(*_: Any, **__: Any) -> None:
        raise MemoryError

    for module in ("property_track", "output_ranges"):
        monkeypatch.setattr(f"verifier.search.{module}.root_bounds", too_much)
    rows = verifier.Halfspaces(np.eye(10)[[8]] - np.eye(10)[[3]], [-80.0])
    answer = verifier.check(model, region=(0.0, 1.0), property=rows, timeout=Budget(memory=Memory(1e12)))
    assert answer.verdict == Unknown(REASON)
    assert verifier.output_ranges(model, (0.0, 1.0), timeout=Budget(memory=Memory(1e12))).reason == REASON


def test_a_certificate_that_does_not_fit_leaves_the_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def too_much(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(builder, "certified", too_much)
    given = ["minimal", "digits", "digits", "--index", "6", "--target", "8", "--certificate", str(tmp_path / "a.cert")]
    assert main(given) == 3
    assert not (tmp_path / "a.cert").exists()


@pytest.mark.parametrize("workers", [None, Workers(THREADING, 2)], ids=["alone", "in parts"])
def test_nodes_that_are_lost_with_memory_are_not_closed(
    digits: tuple[verifier.Model, Any], monkeypatch: pytest.MonkeyPatch, workers: Workers | None
) -> None:
    """All that are open are taken when their evaluation does not fit: the lower end stays where it was."""
    model, images = digits
    alone = verifier.minimal(model, images[6], target=8)
    work, slices = LpTree._slice, [0]

    def full(tree: LpTree, *given: Any, **how: Any) -> Any:
        slices[0] += 1
        if slices[0] > 1:
            tree.take(tree.open_nodes)
            raise MemoryError
        tree.settings = replace(tree.settings, slice=1)  # so that it has several open
        return work(tree, *given, **how)

    monkeypatch.setattr(LpTree, "_slice", full)
    monkeypatch.setattr(spread, "LASTS", 0.0)
    monkeypatch.setattr(spread, "PARTS", 1)
    found = verifier.minimal(model, images[6], target=8, timeout=Budget(), workers=workers)
    assert (found.status, found.reason) == (Status.BRACKETED, "what is needed next does not fit into the memory")
    assert found.lower <= alone.upper
    assert not Budget().ended
