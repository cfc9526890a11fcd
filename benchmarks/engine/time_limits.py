"""Are time limits kept? Every command, by every method, on large and convolutional nets.

`python -m benchmarks.engine.time_limits --models FOLDER` (of ONNX files, such as VNN-COMP's; without it, the shipped
nets) asks one question each about a random input, in a process of its own as a user does, and prints by how much the
wall clock of the process overran `--timeout`. `--large`: also about a dense net of 22 MB with random weights. `busy`:
so many other processes keep cores busy meanwhile. Exit code 1 where a limit was overrun by more than 1 s and 5 %, or
there is no answer.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from benchmarks.harness.arguments import above_zero, count_or_none
from benchmarks.harness.instances import compile_kernels
from benchmarks.harness.record import RESULTS, Record, load_average, table
from encoders.errors import InputError
from encoders.onnx_io.builder import OnnxBuilder
from verifier import models
from verifier.runtime.model import load

ALLOWED, ALLOWED_SHARE = 1.0, 0.05
"""Seconds, and share of the limit, by which a command may overrun it."""

METHODS = ("tree", "milp", "milp-direct", "z3")
QUESTIONS: dict[str, list[str]] = {
    **{f"minimal, {method}": ["minimal", "--method", method] for method in METHODS},
    "minimal, tree, l1": ["minimal", "--norm", "l1"],
    "all targets, tree": ["minimal", "--all-targets"],
    "all targets, milp": ["minimal", "--all-targets", "--method", "milp"],
    "minimal with certificate": ["minimal", "--certificate", "c.cert"],
    "minimal with picture": ["minimal", "--out", "out"],
    "check, tree": ["check", "--radius", "0.02"],
    "check, z3": ["check", "--radius", "0.02", "--method", "z3"],
    "check, tree, l1": ["check", "--radius", "2", "--norm", "l1"],
    "attack": ["attack"],
    "campaign": ["campaign"],
    "gate": ["gate"],
}
LARGE = (784, 2000, 2000, 10)
"""Sizes of the layers of the large net: 5.6 million weights."""

GATE = """
models = [{model}]
data = "x.npz"
targets = "untargeted"
total_budget = {limit}
[[require]]
min_distortion = 0.02
"""
BUSY = "while True: pass"
TABLE_CODES = (0, 1, 3)
"""Exit codes that come with an answer."""


@dataclass(frozen=True)
class Row:
    """One question about one net: the wall seconds of its process, and the load when it began."""

    model: str
    question: str
    limit: float
    busy: int
    seconds: float
    code: int
    answered: bool
    load: float | None

    @property
    def key(self) -> tuple[str, int, float, int]:
        return self.model, list(QUESTIONS).index(self.question), self.limit, self.busy

    @property
    def overrun(self) -> float:
        """Seconds beyond the limit; negative where there was no need for it all."""
        return self.seconds - self.limit

    @property
    def kept(self) -> bool:
        return self.answered and self.overrun <= ALLOWED + ALLOWED_SHARE * self.limit


def asked(model: Path, question: str, limit: float, busy: int) -> Row:
    """Ask it in a process of its own, in a folder of its own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        size = load(model, limit).graph.input_size
        x = np.random.default_rng(0).random((3, size)).astype(np.float32)
        np.save(folder / "x.npy", x[0])
        np.savez(folder / "x.npz", x=x)
        call = call_of(question, model.resolve(), limit, folder)
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        load_before, start = load_average(), time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "verifier", *call], cwd=folder, env=environment, capture_output=True, check=False
        )
        seconds = time.monotonic() - start
    told = question == "campaign" or _is_json(done.stdout)  # the answer of a campaign is its store
    answered = done.returncode in TABLE_CODES and told
    return Row(model.stem, question, limit, busy, round(seconds, 2), done.returncode, answered, load_before)


def call_of(question: str, model: Path, limit: float, folder: Path) -> list[str]:
    """The command line of a question; what it reads is written to the folder."""
    command, *options = QUESTIONS[question]
    if command == "campaign":
        return [command, "--model", str(model), "--data", "x.npz", "--total-budget", str(limit), "--jobs", "2"]
    if command == "gate":
        (folder / "robustness.toml").write_text(GATE.format(model=json.dumps(str(model)), limit=limit))
        return [command, "--json", "--jobs", "2"]
    return [command, str(model), "x.npy", *options, "--timeout", str(limit), "--json"]


def _is_json(text: bytes) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


@contextmanager
def cores_busy(count: int) -> Iterator[None]:
    """Processes beside that keep so many cores busy."""
    with ExitStack() as stack:
        for _ in range(count):
            process = stack.enter_context(subprocess.Popen([sys.executable, "-c", BUSY]))
            stack.callback(process.kill)
        yield


def large_net(folder: Path) -> Path:
    """A dense net with random weights, written to the folder."""
    rng, builder = np.random.default_rng(0), OnnxBuilder()
    value = builder.input("x", ["batch", LARGE[0]])
    for place, (rows, columns) in enumerate(pairwise(LARGE)):
        weights = (rng.standard_normal((rows, columns)) / np.sqrt(rows / 2)).astype(np.float32)
        value = builder.op("MatMul", value, builder.constant(weights))
        if place < len(LARGE) - 2:
            value = builder.op("Relu", value)
    path = folder / "dense_2000x2.onnx"
    onnx.save(builder.model({"logits": (value, ["batch", LARGE[-1]])}).whole, path)
    return path


def nets(folder: Path | None) -> list[Path]:
    """The ONNX files of a folder that can be read, or the shipped nets."""
    if folder is None:
        return [models.path(name) for name in ("digits", "mnist_n")]
    found = []
    for path in sorted(folder.rglob("*.onnx")):
        try:
            load(path, 60.0)
        except InputError as error:
            sys.stderr.write(f"left out: {error}\n")
        else:
            found.append(path)
    return found


def ask_all(options: argparse.Namespace, chosen: list[Path], record: Record[Row], known: set[tuple[Any, ...]]) -> None:
    """Every question about every net that the record lacks."""
    for busy in options.busy:
        with cores_busy(busy):
            for model in chosen:
                for question in options.questions:
                    for limit in options.timeout:
                        if (model.stem, list(QUESTIONS).index(question), limit, busy) not in known:
                            record.add(asked(model, question, limit, busy))


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", maxsplit=1)[0])
    parser.add_argument("--models", type=Path, help="a folder of ONNX files")
    parser.add_argument("--large", action="store_true", help="also about a dense net of 22 MB")
    parser.add_argument("--timeout", type=above_zero, nargs="+", default=[3.0, 10.0], help="the limits, in seconds")
    parser.add_argument("--busy", type=count_or_none, nargs="+", default=[0], help="so many cores are kept busy")
    parser.add_argument("--questions", nargs="+", choices=list(QUESTIONS), default=list(QUESTIONS), metavar="QUESTION")
    parser.add_argument("--out", type=Path, default=RESULTS / "time_limits.json", help="the record")
    parser.add_argument("--fresh", action="store_true", help="begin the record anew")
    options = parser.parse_args(words)
    compile_kernels()
    record = Record.of(options, [], Row)
    known = {row.key for row in record.rows}
    with tempfile.TemporaryDirectory() as folder:
        chosen = nets(options.models) + ([large_net(Path(folder))] if options.large else [])
        ask_all(options, chosen, record, known)
    lines = [
        (
            row.model,
            row.question,
            f"{row.limit:g}",
            str(row.busy),
            f"{row.overrun:+.2f}",
            "" if row.kept else "NOT KEPT",
        )
        for row in record.rows
    ]
    print(table(("net", "question", "limit, s", "busy cores", "overrun, s", ""), lines))
    return 0 if all(row.kept for row in record.rows) else 1


if __name__ == "__main__":
    sys.exit(main())
