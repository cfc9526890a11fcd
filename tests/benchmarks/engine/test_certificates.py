"""The table of certificates: sums, ratios, and what has no certificate."""

from __future__ import annotations

from benchmarks.engine.certificates import Row, lacking, summary


def row(**changes) -> Row:
    facts = {
        "model": "mnist_n", "index": 0, "label": 1, "target": 2, "norm": "l1", "status": "minimal",
        "lower": 1.0, "nodes": 9, "leaves": 10, "size": 900, "solve_seconds": 2.0, "build_seconds": 3.0,
        "check_seconds": 0.5,
    }  # fmt: skip
    return Row(**{**facts, **changes})


def test_a_line_has_bytes_a_leaf_and_seconds_relative_to_solving():
    rows = [row(float32=1.0), row(index=1, leaves=30, size=3100, check_seconds=1.5, float32=0.9996)]
    (line,) = [text for text in summary(rows).splitlines() if "mnist_n" in text]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells == ["mnist_n", "l1", "2/2", "2", "0.9996", "20", "30", "2000", "100", "1.50", "0.50", "0.75"]


def test_instances_without_certificate_count_as_closed_only():
    rows = [row(), row(index=1, leaves=0, size=0, reason="no time"), row(index=2, status="bracketed", size=0)]
    (line,) = [text for text in summary(rows).splitlines() if "mnist_n" in text]
    assert [cell.strip() for cell in line.strip("|").split("|")][2:4] == ["2/3", "1"]


def test_what_is_not_certified_is_run_once_more_with_longer_limits():
    missing = row(size=0, reason="no time")
    assert lacking(None, None)
    assert not lacking(missing, None)
    assert lacking(missing, 400.0)
    assert not lacking(row(size=0, allowed=400.0), 400.0)
    assert lacking(row(size=0, allowed=400.0), 800.0)
    assert not lacking(row(), 400.0)
