"""The nets are those of the record; widths, medians and marks are what the rows say."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import verifier
from benchmarks.engine import reach
from benchmarks.engine.reach import AIMS, ANY, FOLDER, MARKS, NETS, Row, bracket, instances, missed, summary
from benchmarks.harness.instances import Instance, Result
from benchmarks.harness.record import to_json
from benchmarks.performance.others import reached
from benchmarks.performance.provenance import Measured
from encoders.network.graph import Relu
from verifier import models
from verifier.problem.verdict import Bracket, Evidence, Initial, Status

RECORD: dict[str, Any] = json.loads((FOLDER / "record.json").read_text(encoding="utf-8"))

LARGEST = 1.5e6
"""Bytes of a net that is kept with the project."""

OPEN = Bracket(
    lower=0.05, upper=1.0, witness=None, evidence=Evidence.PROVED, precision=1e-3, status=Status.BRACKETED,
    initial=Initial("cw", 1.0), target=3, seconds=1.0,
)  # fmt: skip

Made = Callable[..., Result]


@pytest.fixture
def row(result: Made) -> Callable[..., Row]:
    def made(upper_10: float = 0.6, upper_30: float = 0.55, **fields: Any) -> Row:
        known = {"model": "mlp", "target": ANY, "status": "bracketed", "lower": 0.4, "upper": 0.5}
        return Row(**asdict(result(**{**known, **fields})), upper_10=upper_10, upper_30=upper_30)

    return made


@pytest.mark.parametrize(("name", "relus"), [("mlp", 3 * 256), ("conv", 3136 + 1568 + 100)])
def test_a_net_is_the_file_of_the_record_and_of_the_size_that_is_told(name: str, relus: int) -> None:
    path = FOLDER / f"{NETS[name]}.onnx"
    assert hashlib.sha256(path.read_bytes()).hexdigest() == RECORD[NETS[name]]["sha256"]
    assert path.stat().st_size < LARGEST
    onnx.checker.check_model(onnx.load(path), full_check=True)
    nodes = reach.net(name).graph.nodes
    assert sum(node.size for node in nodes if isinstance(node, Relu)) == relus
    assert relus == sum(int(width) for width in RECORD[NETS[name]]["architecture"].split("-")[1:-1])


def test_the_nets_of_the_folder_are_those_that_are_asked_about_and_none_is_shipped() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.onnx")) == sorted(NETS.values()) == sorted(RECORD)
    assert not set(NETS.values()) & set(models.NAMES)


def test_questions_are_about_every_net_and_norm_of_an_image_before_the_next_one(mnist_folder: Path) -> None:
    found, spare = instances(mnist_folder, ["mlp", "conv"], ["linf", "l2"], 2, seed=0)
    asked = [instance for instance, _ in found]
    assert [(one.model, one.norm) for one in asked] == 2 * [(net, norm) for net in NETS for norm in ("linf", "l2")]
    assert len({one.index for one in asked}) == 2
    for one, image in found:
        assert reach.net(one.model).predict(image) == one.label
        assert not np.array_equal(image, spare)


def test_widths_and_medians_are_of_the_ends(row: Callable[..., Row]) -> None:
    assert row().width == 1.25
    assert row(lower=0.0).width == row(upper=math.inf).width == math.inf
    assert row(lower=0.0, upper=0.0).width == 1.0
    rows = [row(index=index, upper=upper) for index, upper in enumerate((0.4, 0.5, 0.8))]
    line = summary([*rows, row(index=9, status="error", lower=0.0, upper=math.inf)]).splitlines()[-1]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells == ["mlp", "L∞", "3", "0/3", "1.250", "1.3", "2.000", "1.200", "1.100", "1.0"]


def test_an_aim_is_missed_by_a_wider_median_only(row: Callable[..., Row]) -> None:
    assert missed([row(), row(index=1)]) == []
    assert missed([row(upper=0.53)]) == [("mlp", "linf")]
    assert missed([row(model="conv", norm="l2", upper=9.0)]) == []
    assert all(norm in ("linf", "l1") for _, norm in AIMS)


def test_the_page_tells_medians_and_aims(row: Callable[..., Row]) -> None:
    record = Measured("reach", {"rows": [to_json(row()), to_json(row(model="conv", norm="l2", upper=math.inf))]})
    assert reached(record) == "mlp L∞ 1.25 (aim 1.3), 1 images, 1 s; conv L2 inf, 1 images, 1 s"


def test_upper_ends_are_noted_by_cpu_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of brackets at 1, 9, 20 and 40 CPU seconds the second is the last one before the first mark."""
    spent = iter((1.0, 9.0, 20.0, 40.0, 41.0))

    class Watch:
        def read(self) -> dict[str, float]:
            used = next(spent)
            return {"seconds": used, "cpu_seconds": used}

    found = reach.net("mlp")
    ends = [replace(OPEN, upper=upper) for upper in (0.4, 0.3, 0.2, 0.1)]

    def brackets(*_: Any, **__: Any) -> Iterator[Any]:
        yield from ends

    monkeypatch.setattr(reach, "Stopwatch", Watch)
    monkeypatch.setattr(verifier, "brackets", brackets)
    image = np.zeros(784, dtype=np.float32)
    made = bracket(Instance("mlp", 0, found.predict(image), ANY, "linf"), image, 60.0, 1e-3)
    assert (made.upper_10, made.upper_30, made.upper) == (0.3, 0.2, 0.1)
    assert MARKS == (10.0, 30.0)
