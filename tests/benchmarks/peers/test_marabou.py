"""The bisection that drives Marabou, with a worker that knows the distance; and with Marabou, where it is installed."""

from __future__ import annotations

import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.peers import marabou
from benchmarks.peers.marabou import Marabou, MarabouMissingError, default_environment, interpreter, network
from benchmarks.peers.peer_case import Case
from encoders.formulations.to_stages import to_stages
from verifier.bounds.alpha_crown import linear_bounds
from verifier.problem.budget import Budget
from verifier.problem.norms.table import FLAT_NORMS
from verifier.problem.query import Ball, Norm, Targeted, disjuncts

DISTANCE = 0.3
STAND_IN = f"""
import json, sys, time
inputs = json.loads(sys.stdin.readline())["inputs"]
print(json.dumps({{"ready": True, "cpu_seconds": 0.0}}), flush=True)
for line in sys.stdin:
    query = json.loads(line)
    reach = query["sum"] if query["sum"] is not None else query["upper"][0] - CENTRE
    far = [{DISTANCE} if query["sum"] is not None else CENTRE + {DISTANCE}] + [0.0] * (inputs - 1)
    sat = reach >= {DISTANCE}
    time.sleep(SLEEP)
    print(json.dumps({{"answer": "sat" if sat else "unsat", "point": far if sat else None}}), flush=True)
"""


def case_of(net: Any, norm: Norm, centre: Any, radius: float) -> Case:
    ball = Ball(norm, centre, radius, net.lo, net.hi)
    ((_, goal),) = disjuncts(Targeted(1), 3)
    return Case(to_stages(net.graph), ball, goal, linear_bounds(net.graph, ball, Budget()))


def stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch, sleep: float = 0.0) -> Path:
    script = folder / "worker.py"
    script.write_text(STAND_IN.replace("CENTRE", "0.0").replace("SLEEP", str(sleep)))
    monkeypatch.setattr(marabou, "WORKER", script)
    return Path(sys.executable)


@pytest.mark.parametrize("norm", list(FLAT_NORMS))
def test_bisection_closes_around_the_distance(
    truth: Any, norm: Norm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = stand_in(tmp_path, monkeypatch)
    with Marabou(python, case_of(truth.net(0, (2, 3, 3)), norm, np.zeros(2), 0.9)) as process:
        found = process.bisect(1e-3, 20.0)
    assert found.lower < DISTANCE <= found.upper + 1e-12
    assert found.upper - found.lower <= 1e-3
    assert found.reason == ""


def test_a_worker_that_is_late_is_killed(truth: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python, start = stand_in(tmp_path, monkeypatch, sleep=60.0), time.monotonic()
    with Marabou(python, case_of(truth.net(0, (2, 3, 3)), Norm.LINF, np.zeros(2), 0.9)) as process:
        found = process.bisect(1e-3, 0.2)
    assert time.monotonic() - start < 20.0
    assert (found.lower, found.upper) == (0.0, 0.9)
    assert "killed" in found.reason


@pytest.mark.parametrize("norm", list(FLAT_NORMS))
def test_the_message_is_the_network(truth: Any, norm: Norm) -> None:
    net, centre = truth.net(3, (4, 5, 5, 3)), np.array([0.0, 0.25, 1.0, 0.5])
    asked = case_of(net, norm, centre, 0.4)
    message = json.loads(json.dumps(network(asked)))
    moves = np.random.default_rng(0).random(asked.moves.room.size) * asked.moves.room
    x = centre + asked.moves.matrix @ moves
    known = [moves if norm is Norm.L1 else x]
    assert message["inputs"] == known[0].size
    for stage in message["stages"]:
        parts = [np.array(matrix) @ known[int(source)] for source, matrix in stage["blocks"].items()]
        known.append(np.maximum(sum(parts) + np.array(stage["constant"]), 0.0))
        last = sum(parts) + np.array(stage["constant"])
    np.testing.assert_allclose(last, asked.stages.values(x)[1][0], atol=1e-12)


def test_entries_move_only_where_there_is_room(truth: Any) -> None:
    asked = case_of(truth.net(3, (4, 5, 5, 3)), Norm.L1, np.array([0.0, 0.25, 1.0, 0.5]), 0.4)
    assert asked.moves.room.tolist() == [0.4, 0.4, 0.4, 0.25, 0.4, 0.4]
    assert asked.moves.matrix.toarray().sum(axis=1).tolist() == [1.0, 0.0, -1.0, 0.0]


def test_what_cannot_be_installed_is_a_reason(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MarabouMissingError, match="venv"):
        interpreter(tmp_path / "file" / "environment")


@pytest.mark.parametrize("norm", list(FLAT_NORMS))
def test_marabou_finds_the_true_distance(truth: Any, norm: Norm) -> None:
    if not default_environment().exists():
        pytest.skip("python -m benchmarks.peers.peers has not made Marabou's environment here")
    net, centre = truth.net(1, (3, 4, 3)), np.array([0.0, 0.25, 0.5])
    asked = case_of(net, norm, centre, 0.0)
    true = net.nearest(norm, centre, asked.goal)
    assert math.isfinite(true)
    with Marabou(interpreter(default_environment()), case_of(net, norm, centre, 1.5 * true)) as process:
        found = process.bisect(1e-3, 20.0)
    assert found.lower - 1e-6 <= true <= found.upper + 1e-6
    assert found.upper - found.lower <= 1e-3
