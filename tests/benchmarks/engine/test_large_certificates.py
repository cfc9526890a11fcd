"""`benchmarks.engine.large_certificates` on a ball that lines exclude at once, and what it says of refusals."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import verifier
from benchmarks.engine import large_certificates
from benchmarks.engine.large_certificates import MOST_MIB, Row, built, checked, main, missed, summary
from verifier import models

DIGITS = models.path("digits")
GOOD = Row("conv", 9022, 0.058, 100, 13_000, 3.0, 300.0, 2.0, 100.0, accepted=True)
ENOUGH = 60.0


@pytest.fixture
def certified(monkeypatch: pytest.MonkeyPatch) -> tuple[Row, bytes]:
    model = verifier.load(DIGITS)
    monkeypatch.setattr(large_certificates, "net", lambda _: model)
    image = np.full(model.graph.input_size, 0.5, dtype=np.float32)
    return built("digits", 0, 1e-4, image, model.predict(image), ENOUGH)


def test_a_certificate_is_checked_by_a_process_of_its_own(certified: tuple[Row, bytes]) -> None:
    row, content = certified
    found = checked(row, content, DIGITS, ENOUGH)
    assert (found.bytes, found.accepted, found.reason, missed([found])) == (len(content), True, "", [])
    assert found.check_seconds > 0
    # numpy alone takes some 25 MiB; of this process, with all of the engine, it would be more than 100.
    assert 10 < found.check_mib < found.build_mib
    broken = checked(row, content[:-1], DIGITS, ENOUGH)
    assert not broken.accepted
    assert "cut off" in broken.reason
    assert missed([broken]) == [broken]
    assert "not ended after 0.01 s" in checked(row, content, DIGITS, 0.01).reason


def test_too_much_memory_is_told_and_what_is_not_reached_is_no_failure() -> None:
    large, late = replace(GOOD, check_mib=MOST_MIB + 1), Row("conv", 9022, 0.06, reason="the time limit was reached")
    assert missed([GOOD, large, late]) == [large]
    assert "| 130 " in summary([GOOD])
    assert "the time limit" in summary([late])


def test_the_record_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_certificates, "QUESTIONS", {"conv": ((9022, 0.058), (9022, 0.059))})
    monkeypatch.setattr(large_certificates, "compile_kernels", lambda: None)
    monkeypatch.setattr(
        large_certificates,
        "in_processes",
        lambda _, __, tasks: [(replace(GOOD, radius=tasks[0][2], bytes=0, accepted=False), b"")],
    )
    words = ["--out", str(tmp_path / "record.json")]
    for more in (["--limit", "1"], []):
        assert main([*words, *more]) == 0
    assert [row["radius"] for row in json.loads((tmp_path / "record.json").read_text())["rows"]] == [0.058, 0.059]
    monkeypatch.setattr(large_certificates, "in_processes", None)
    assert main(words) == 0
