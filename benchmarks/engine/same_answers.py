"""Did a change of the code leave every answer as it was? Two checkouts on the same questions, in turn.

`python -m benchmarks.engine.same_answers --before FOLDER` asks this checkout and the one in FOLDER about inputs of the
digits net in both norms, and about MNIST images on the pair of table 1 (where `--data` has them), each by one
thread without a time limit, `--repeats` times. The ends of brackets, witnesses and numbers of nodes are compared to the
last bit; of CPU seconds the least counts. Both checkouts need their kernels compiled: numpy rounds otherwise. Exit code
1: an answer differs, or the sum of the seconds has grown by more than `--slower`.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import verifier
from benchmarks.harness.arguments import at_least_zero, count
from verifier import models

PROJECT = Path(__file__).resolve().parents[2]
DATA = PROJECT.parent / "shared" / "data" / "mnist"
IMAGES, HEADER = "t10k-images-idx3-ubyte.gz", 16
DIGITS, PAIR = "digits", ("mnist_n", "mnist_n_adversarial")
NORMS = ("linf", "l1")
SEED = 0


@dataclass(frozen=True)
class Asked:
    """The bracket of one image towards one target, in one norm."""

    model: str
    index: int
    target: int | None
    norm: str


def questions(digits: int, table1: int) -> list[Asked]:
    """Inputs of digits, untargeted and by turns towards a class, in both norms; MNIST images and classes by seed."""
    rng = np.random.default_rng(SEED)
    asked = [Asked(DIGITS, index, None, norm) for index in range(digits) for norm in NORMS]
    for place in range(table1):
        index, target = int(rng.integers(10_000)), int(rng.integers(10))
        asked.append(Asked(PAIR[place % 2], index, target, NORMS[place // 2 % 2]))
    return asked


def answers(asked: Iterator[Asked], data: Path) -> Iterator[dict[str, Any]]:
    """Bits of the answer, and the CPU seconds of the call; uses nothing but what `verifier` itself offers."""
    loaded = {name: verifier.load(models.path(name)) for name in (DIGITS, *PAIR)}
    images = {DIGITS: np.load(models.path(DIGITS).with_name("digits_inputs.npz"))["x"]}
    for one in asked:
        x = (images[DIGITS] if one.model == DIGITS else mnist(data))[one.index]
        start = time.process_time()
        found = answer(loaded[one.model], x, one)
        yield {**found, "seconds": time.process_time() - start}


def answer(model: Any, x: npt.NDArray[np.float32], one: Asked) -> dict[str, Any]:
    target = one.target
    if target is not None and target == model.predict(model.vector(x)):
        target = (target + 1) % 10
    bracket = verifier.minimal(model, x, target=target, norm=one.norm)
    point = b"" if bracket.witness is None else np.asarray(bracket.witness.point).tobytes()
    ends = [None if end is None else float(end).hex() for end in (bracket.lower, bracket.upper, bracket.float32)]
    nodes = 0 if bracket.search is None else bracket.search.nodes
    return {"ends": ends, "witness": hashlib.sha256(point).hexdigest()[:16], "nodes": nodes}


def mnist(data: Path) -> npt.NDArray[np.float32]:
    with gzip.open(data / IMAGES) as stream:
        raw = np.frombuffer(stream.read(), dtype=np.uint8, offset=HEADER)
    return raw.reshape(-1, 784).astype(np.float32) / np.float32(255)


@contextmanager
def checkout(folder: Path, data: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that answers by the code in `folder`: one question a line in, one answer a line out."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    call = [sys.executable, str(Path(__file__).resolve()), "--answer", "--data", str(data)]
    with subprocess.Popen(
        call, cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def ask(process: subprocess.Popen[str], one: Asked) -> dict[str, Any]:
    """One question's answer."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(asdict(one)) + "\n")
    process.stdin.flush()
    found: dict[str, Any] = json.loads(process.stdout.readline())
    return found


def compared(before: Path, data: Path, asked: list[Asked], repeats: int) -> tuple[int, float, float]:
    """Prints a line a question; the number of answers that differ, and the sums of the least seconds of both sides."""
    differ, sums = 0, [0.0, 0.0]
    with ExitStack() as stack:
        sides = [stack.enter_context(checkout(folder, data)) for folder in (before, PROJECT)]
        for side in sides:
            ask(side, asked[0])
        for one in asked:
            runs = [[ask(side, one) for side in sides] for _ in range(repeats)]
            seconds = [min(run[side].pop("seconds") for run in runs) for side in (0, 1)]
            same = all(run[side] == runs[0][0] for run in runs for side in (0, 1))
            differ += not same
            sums = [total + more for total, more in zip(sums, seconds, strict=True)]
            told = "same" if same else f"DIFFERS: {runs[0]}"
            what = f"{one.model:20} {one.index:5} {one.target!s:>4} {one.norm:4}"
            print(
                f"{what}  {runs[0][0]['nodes']:7} nodes  {seconds[0]:6.2f} s  {seconds[1]:6.2f} s  {told}", flush=True
            )
    return differ, sums[0], sums[1]


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, help="the other checkout")
    parser.add_argument("--digits", type=count, default=6, help="inputs of the digits net")
    parser.add_argument("--table1", type=count, default=10, help="MNIST instances")
    parser.add_argument("--data", type=Path, default=DATA, help="the folder of MNIST's files")
    parser.add_argument("--repeats", type=count, default=3, help="of each question")
    parser.add_argument("--slower", type=at_least_zero, default=0.03, help="the share by which seconds may grow")
    parser.add_argument("--answer", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(words)
    if options.answer:
        for found in answers((Asked(**json.loads(line)) for line in sys.stdin), options.data):
            print(json.dumps(found), flush=True)
        return 0
    if options.before is None:
        parser.error("--before FOLDER is missing")
    data = options.data.resolve()
    asked = questions(options.digits, options.table1 if (data / IMAGES).exists() else 0)
    differ, before, now = compared(options.before.resolve(), data, asked, options.repeats)
    print(f"{len(asked)} questions, {differ} differ; CPU {before:.2f} s before, {now:.2f} s now: {now / before:.3f}")
    return 1 if differ or now > before * (1 + options.slower) else 0


if __name__ == "__main__":
    sys.exit(main())
