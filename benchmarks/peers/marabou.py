"""Marabou 2.0 (Wu et al. 2024) by bisection over the radius, in a virtual environment of its own.

maraboupy pins neither our Python nor our numpy, so it gets an environment; nothing of this project is imported there.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness.record import cache_folder
from benchmarks.peers.peer_case import Case, Found
from verifier.problem.query import Norm, distance_exact

VERSION = "2.0.0"
WORKER = Path(__file__).with_name("marabou_worker.py")

GRACE = 0.5
"""Seconds that Marabou may overrun its limit, which it takes in whole seconds, before it is killed."""


class MarabouMissingError(Exception):
    """Marabou cannot be had here; the message says why."""


def default_environment() -> Path:
    """Where the environment is made by default."""
    return cache_folder(f"marabou-{VERSION}-py{sys.version_info.major}.{sys.version_info.minor}")


def interpreter(folder: Path) -> Path:
    """The interpreter of the environment in `folder`, which is made first if need be. Raises MarabouMissingError."""
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if python.exists() and _imports(python):
        return python
    for step in ([sys.executable, "-m", "venv", str(folder)],
                 [str(python), "-m", "pip", "install", "--quiet", f"maraboupy=={VERSION}"]):  # fmt: skip
        done = subprocess.run(step, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            lines = done.stderr.strip().splitlines() or ["no reason given"]
            raise MarabouMissingError(f"{' '.join(step[1:4])} failed: {lines[-1]}")
    if not _imports(python):
        raise MarabouMissingError(f"maraboupy {VERSION} is installed in {folder} but cannot be imported")
    return python


def _imports(python: Path) -> bool:
    call = [str(python), "-c", "from maraboupy import MarabouCore"]
    return subprocess.run(call, capture_output=True, check=False).returncode == 0


class Marabou:
    """One process that knows the case's network; use it as a context manager. `cpu_seconds`: spent on starting."""

    def __init__(self, python: Path, case: Case) -> None:
        self._case, self._split = case, case.ball.norm is Norm.L1
        self._process = subprocess.Popen(
            [str(python), str(WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        started = self._call(network(case), seconds=math.inf)
        if not started.get("ready"):
            raise MarabouMissingError("Marabou's process ended before it had read the network")
        self.cpu_seconds = float(started["cpu_seconds"])

    def __enter__(self) -> Marabou:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def bisect(self, precision: float, seconds: float) -> Found:
        """The least radius that is not refuted, to `precision`, from the radius of our attack's witness downwards."""
        lower, upper = 0.0, self._case.ball.radius
        end = time.monotonic() + seconds
        while upper - lower > precision:
            radius, left = 0.5 * (lower + upper), end - time.monotonic()
            if left <= 0:
                return Found(lower, upper, "the time limit was reached")
            answer = self._call(self._query(radius, left), left)
            match answer["answer"]:
                case "unsat":
                    lower = radius
                case "sat":
                    upper = min(radius, max(lower, self._distance(answer["point"])))
                case other:
                    return Found(lower, upper, f"Marabou said {other} at radius {radius:g}")
        return Found(lower, upper)

    def _query(self, radius: float, seconds: float) -> dict[str, Any]:
        ball = self._case.ball.with_radius(radius)
        if self._split:
            room = np.minimum(self._case.moves.room, radius)
            lower, upper, total = np.zeros_like(room), room, radius
        else:
            (lower, upper), total = ball.interval, None
        return {"lower": lower.tolist(), "upper": upper.tolist(), "sum": total, "seconds": seconds}

    def _distance(self, values: list[float]) -> float:
        ball, moved = self._case.ball, np.array(values)
        point = ball.centre + self._case.moves.matrix @ moved if self._split else moved
        return float(distance_exact(ball.norm, point, ball.centre))

    def _call(self, message: dict[str, Any], seconds: float) -> dict[str, Any]:
        """The answer's line; the process is killed when it comes too late."""
        assert self._process.stdin is not None and self._process.stdout is not None  # noqa: PT018
        timer = threading.Timer(min(seconds + GRACE, threading.TIMEOUT_MAX), self._process.kill)
        timer.daemon = True
        timer.start()
        try:
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except OSError:
            line = ""
        finally:
            timer.cancel()
        answer: dict[str, Any] = json.loads(line) if line else {"answer": "nothing before it was killed or died"}
        return answer


def network(case: Case) -> dict[str, Any]:
    """The first message: over the input itself (L∞), or over the moves of its entries (L1)."""
    centre, moves = case.ball.centre, case.moves.matrix
    split = case.ball.norm is Norm.L1
    stages = []
    for stage in case.stages.stages:
        blocks, constant = {}, stage.constant
        for source, block in stage.blocks.items():
            matrix = block.matrix if isinstance(block.matrix, np.ndarray) else block.matrix.toarray()
            if source == 0 and split:
                constant = constant + matrix @ centre
                matrix = np.asarray(matrix @ moves)
            blocks[str(source)] = matrix.tolist()
        stages.append({"blocks": blocks, "constant": constant.tolist()})
    goal = case.goal
    return {
        "inputs": moves.shape[1] if split else centre.size,
        "stages": stages,
        "matrix": goal.matrix.tolist(),
        "offset": goal.offset.tolist(),
    }
