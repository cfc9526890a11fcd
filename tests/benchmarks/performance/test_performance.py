"""PERFORMANCE.md is what the records say; each record is on it, with where it comes from."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.harness.record import RESULTS
from benchmarks.performance import __main__ as performance
from benchmarks.performance import others, pictures, tables
from benchmarks.performance.provenance import Measured, common_command, measured

LONGEST = 121
SESSION = {
    "command": "python -m benchmarks.engine.start --runs 3 --fresh",
    "started": "2026-11-22T12:00:00+00:00",
    "machine": {"processor": "Intel(R) Xeon(R) Processor", "cores": 2},
    "load_average_at_start": 1.25,
    "load_average_at_end": None,
    "wall_seconds": 40.4,
}


def test_the_page_is_up_to_date() -> None:
    assert performance.main(["--check"]) == 0


def test_a_page_that_says_something_else_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    for content in (None, performance.PAGE.read_text(encoding="utf-8").replace("90/90", "89/90")):
        if content is not None:
            page.write_text(content, encoding="utf-8")
        assert performance.main(["--check", "--out", str(page)]) == performance.STALE
        assert capsys.readouterr().err.count("\n") == 1
    assert performance.main(["--out", str(page)]) == 0
    assert page.read_text(encoding="utf-8") == performance.PAGE.read_text(encoding="utf-8")


def test_every_record_is_on_the_page_and_the_page_is_short() -> None:
    text = performance.text()
    assert len(text.splitlines()) <= LONGEST
    for path in RESULTS.glob("*.json"):
        assert f"(benchmarks/results/{path.name})" in text


def test_a_record_that_a_table_needs_is_missed_by_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tables, "measured", lambda name: measured(name) if name != "peers" else None)
    assert performance.main(["--check"]) == 2
    assert capsys.readouterr().err == "performance: error: benchmarks/results/peers.json is missing\n"


def test_a_record_is_said_with_command_date_machine_load_and_time() -> None:
    record = Measured("start", {"sessions": [SESSION], "rows": []})
    assert record.provenance() == (
        "`python -m benchmarks.engine.start --runs 3`; 2026-11-22; Intel Xeon, 2 cores; load 1.2; 40 s; "
        "[start.json](benchmarks/results/start.json)"
    )


def test_several_runs_are_said_by_what_they_share() -> None:
    other = {
        **SESSION,
        "command": "python -m benchmarks.engine.start --runs 3 --out a.json",
        "started": "2026-11-23T01:00:00+00:00",
        "machine": {"processor": "AMD EPYC", "cores": 1},
        "load_average_at_end": 3.0,
    }
    assert Measured("start", {"sessions": [SESSION, other], "rows": []}).provenance() == (
        "`python -m benchmarks.engine.start --runs 3`; 2 runs; 2026-11-22 to 2026-11-23; "
        "Intel Xeon and AMD EPYC, 1 to 2 cores; load 1.2 to 3.0; 81 s; [start.json](benchmarks/results/start.json)"
    )


def test_what_a_record_of_the_first_format_lacks_is_left_out() -> None:
    record = Measured("pairs", {"command": "python -m p --jobs 2", "machine": {"processor": "x86_64", "cores": 2}})
    assert record.provenance() == "`python -m p --jobs 2`; x86_64, 2 cores; [pairs.json](benchmarks/results/pairs.json)"


def test_options_with_other_values_are_not_shared() -> None:
    both = ["python -m p --part a b --out x", "python -m p --seed 1 --part a --out x --fresh"]
    assert common_command(both) == "python -m p --out x"
    assert common_command([]) == ""


def limit(seconds: float, model: str = "net") -> dict[str, object]:
    return {"model": model, "question": "attack", "limit": 3.0, "busy": 0, "seconds": seconds, "code": 0,
            "answered": True, "load": 0.5}  # fmt: skip


def test_time_limits_are_a_line_once_they_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    record = Measured("time_limits", {"sessions": [SESSION], "rows": [limit(2.5), limit(4.5), limit(3.1, "other")]})
    assert others.limits(record) == "2/3 kept on 2 nets; largest overrun +1.50 s"
    for there in (record, None):
        monkeypatch.setattr(others, "measured", lambda name, there=there: there if name == "time_limits" else None)
        assert others.others().count("\n- ") == 0
        assert ("2/3 kept" in others.others()) is (there is not None)


def test_a_picture_has_a_line_for_each_step_and_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        {
            "net": net,
            "relus": relus,
            "step": step,
            "answer": "",
            "seconds": 1.0,
            "cpu_seconds": cpu,
            "peak_mib": 100.0 * cpu,
        }
        for step, cpu in (("read", 0.001), ("check", 2.0))
        for net, relus in (("3x24", 72), ("6x256", 1536), ("conv-1", 1636), ("conv-8", 12388))
    ]
    monkeypatch.setattr(pictures, "measured", lambda _: Measured("growth", {"rows": rows}))
    drawn = pictures.pictures()
    assert set(drawn) == set(pictures.PICTURES)
    for content in drawn.values():
        root = ElementTree.fromstring(content)
        kinds = [each.get("class", "") for each in root.iter() if each.get("class", "").startswith("line")]
        assert sorted(kinds) == ["line s0", "line s0 conv", "line s2", "line s2 conv"]
        assert len([each for each in root.iter() if each.get("class", "").startswith("dot")]) == len(rows)
    monkeypatch.setattr(pictures, "measured", lambda _: None)
    assert pictures.pictures() == {}
