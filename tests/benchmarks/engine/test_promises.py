"""The table of promises: totals, ratios, and what counts as broken."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

import numpy as np
import pytest

from benchmarks.engine.promises import APART, EVERY, TOGETHER, Row, by_precision, by_targets, chosen_for, grown, summary
from benchmarks.harness.instances import Instance, loaded
from benchmarks.harness.table_set import MODELS, NORMS


def row(**changes: Any) -> Row:
    facts = {
        "model": "mnist_n", "index": 0, "label": 1, "target": 2, "norm": "l1", "part": "precision", "way": "0.001",
        "closed": True, "lower": 1.0, "upper": 1.001, "seconds": 3.0, "cpu_seconds": 2.0, "nodes": 9,
    }  # fmt: skip
    return Row(**{**facts, **changes})


def cells(text: str, first: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if f"| {first} " in line]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_totals_are_compared_in_the_seconds_that_a_promise_is_about() -> None:
    fine = {"way": "1e-06", "lower": 1.0005, "upper": 1.000501}
    rows = [row(), row(index=1), row(**fine, cpu_seconds=1.0), row(**fine, index=1, cpu_seconds=4.0)]
    text, broken = summary(rows)
    assert cells(text, "precision") == ["precision", "l1", "2", "0.001: 4.0 s", "1e-06: 5.0 s", "1.25", "2.00"]
    assert not broken
    text, broken = summary([row(part="threads", way="1"), row(part="threads", way="2", seconds=2.0, cpu_seconds=0.1)])
    assert cells(text, "threads")[5] == "0.67"
    assert broken == ["threads, l1: 0.67 times the seconds, more than 0.59"]


def test_brackets_that_have_nothing_in_common_are_a_contradiction() -> None:
    _, broken = summary([row(), row(way="1e-06", lower=1.002, upper=1.0021)])
    assert len(broken) == 1
    assert "contradict" in broken[0]


def test_memory_counts_for_each_open_node() -> None:
    facts = {"part": "memory", "way": "open nodes", "nodes": 1 << 20}
    text, broken = summary([row(**facts, megabytes=1024.0)])
    assert "1024 bytes a node" in text
    assert not broken
    _, broken = summary([row(**facts, megabytes=5000.0)])
    assert broken == ["memory: 5000 bytes a node, more than 4000"]


@pytest.fixture(scope="module")
def digit() -> tuple[Instance, np.ndarray]:
    x = np.random.default_rng(0).random(64).astype(np.float32)
    return Instance("digits", 0, _label(x), (_label(x) + 1) % 10, "linf"), x


def _label(x: np.ndarray) -> int:
    return loaded("digits").predict(x)


def test_both_ways_close_the_same_brackets(digit: tuple[Instance, np.ndarray]) -> None:
    instance, x = digit
    rows = [*by_precision(instance, x, 60.0), *by_targets(instance, x, 60.0)]
    assert [row.way for row in rows] == ["0.001", "1e-06", APART, TOGETHER]
    assert all(row.closed for row in rows)
    assert rows[1].upper - rows[1].lower <= 1e-6
    _, broken = summary(rows)
    assert not [line for line in broken if "contradict" in line]


def test_a_tree_is_grown_to_so_many_open_nodes(digit: tuple[Instance, np.ndarray]) -> None:
    instance, x = digit
    (found,) = grown(instance, x, 100)
    assert found.closed
    assert found.nodes >= 100


def test_targets_are_asked_of_inputs_and_memory_of_one_instance() -> None:
    every = [
        Instance(model, index, index, target, norm)
        for model in MODELS
        for norm in NORMS
        for index in range(3)
        for target in range(10)
        if target != index
    ]
    arguments = Namespace(per_norm=4, seed=0)
    inputs = chosen_for("targets", arguments, every)
    assert len(inputs) == len(set(inputs)) == 8
    assert {one.target for one in inputs} == {EVERY}
    assert len(chosen_for("memory", arguments, every)) == 1
    assert len(chosen_for("precision", arguments, every)) == 8
