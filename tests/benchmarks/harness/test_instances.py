"""Instances are solved, timed and run in processes; what fails is a result of its own."""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks.engine import minimal_pairs
from benchmarks.harness import instances
from benchmarks.harness.instances import ERROR, ONE_THREAD, Call, Instance, Stopwatch, in_processes, loaded, solve
from benchmarks.harness.record import RESULTS
from encoders.errors import InputError


@pytest.fixture(scope="module")
def question() -> tuple[Instance, np.ndarray]:
    image = minimal_pairs.inputs("digits", None)[0]
    label = loaded("digits").predict(image)
    return Instance("digits", 0, label, (label + 1) % 10, "linf"), image


def test_a_bracket_becomes_a_result(question: tuple[Instance, np.ndarray]) -> None:
    instance, image = question
    row = solve(instance, image, Call("tree", precision=1e-2, timeout=60.0))
    assert row.instance == instance
    assert row.closed
    assert row.upper - row.lower <= 1e-2
    assert row.upper <= row.initial < math.inf
    assert row.seconds > 0
    assert row.cpu_seconds is not None
    assert row.nodes is not None
    assert row.engine


def test_an_exception_becomes_a_result(question: tuple[Instance, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr(instances.verifier, "minimal", broken, raising=False)
    row = solve(*question, Call("tree"))
    assert row.status == ERROR
    assert not row.closed
    assert row.reason == "ZeroDivisionError: by nothing"
    assert (row.lower, row.upper) == (0.0, math.inf)


def test_a_callers_mistake_is_raised(question: tuple[Instance, np.ndarray]) -> None:
    with pytest.raises(InputError, match="no such method"):
        solve(*question, Call("no such method"))


def test_the_stopwatch_counts_children() -> None:
    watch = Stopwatch()
    subprocess.run([sys.executable, "-c", "sum(range(10_000_000))"], check=True)
    read = watch.read()
    assert read["cpu_seconds"] > 0.03
    assert read["seconds"] > 0.03


def test_processes_have_one_thread() -> None:
    assert set(in_processes(1, os.getenv, [(name,) for name in ONE_THREAD])) == {"1"}


def test_processes_end_with_the_reader() -> None:
    before, start = set(multiprocessing.active_children()), time.monotonic()
    answers = in_processes(1, time.sleep, [(0.0,), (60.0,)])
    assert next(answers) is None
    answers.close()
    assert set(multiprocessing.active_children()) <= before
    assert time.monotonic() - start < 50.0


ORPHANS = """
import os, time
from benchmarks.harness.instances import in_processes
if __name__ == "__main__":
    answers = in_processes(1, os.getpid, [()])
    print(next(answers), flush=True)
    next(in_processes(1, time.sleep, [(600.0,)]))
"""


def test_processes_end_with_their_parent(tmp_path: Path) -> None:
    """Killed, not asked to end: a child that slept on would hold the pipe open."""
    script = tmp_path / "orphans.py"
    script.write_text(ORPHANS, encoding="utf-8")
    path = {"PYTHONPATH": str(Path(__file__).parents[3])}
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, env=os.environ | path)
    assert parent.stdout is not None
    assert parent.stdout.readline().strip().isdigit()
    time.sleep(3.0)
    parent.kill()
    assert parent.communicate(timeout=100.0) == (b"", None)


def _pairs(path: Path | None, targets: str = "random") -> argparse.Namespace:
    return argparse.Namespace(model="digits", seed=0, pairs=5, targets=targets, norm=["linf", "l1"], out=path)


def test_pairs_are_chosen_by_seed() -> None:
    images = minimal_pairs.inputs("digits", None)
    chosen = minimal_pairs.choose(_pairs(None), images)
    assert chosen == minimal_pairs.choose(_pairs(None), images)
    assert len(chosen) == 10
    assert all(one.label != one.target for one in chosen)
    nearest = minimal_pairs.choose(_pairs(None, "next"), images)
    for one in nearest:
        order = np.argsort(-loaded("digits").logits(images[one.index]), kind="stable")
        assert (one.label, one.target) == tuple(order[:2])


def test_a_record_of_the_first_format_is_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "pairs.json"
    content = json.loads((RESULTS / "pairs_digits_z3.json").read_text())
    content["setting"]["targets"] = "random"  # this one is from before the option
    path.write_text(json.dumps(content))
    monkeypatch.setattr(minimal_pairs, "solve", None)  # nothing is left to be solved
    assert minimal_pairs.main(["--model", "digits", "--method", "z3", "--out", str(path)]) == 0
    assert "linf: 20/20 closed" in capsys.readouterr().out
