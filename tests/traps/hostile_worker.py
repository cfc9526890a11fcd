"""Reads one share of the hostile files as `verifier inspect` does, in a process whose memory is limited.

Run as a program: its arguments are the share, the number of shares, a folder to work in, and the report that it writes.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tests.traps.handmade import HANDMADE, Write, written
from tests.traps.mutants import MODELS, Mutation
from verifier.cli.main import main

MUTANTS = 80
MEMORY = 2 * 10**9
"""Bytes of data that a process may hold, whatever a file says."""

SEED = 11


def mutant(number: int) -> Write:
    """A model with changed parts, or (every third) with changed, missing or further bytes."""
    rng = np.random.default_rng((SEED, number))
    model = [*MODELS.values()][number % len(MODELS)]()
    if number % 3:
        Mutation(rng).mutate(model)
        return written(model)
    content = bytearray(model.SerializeToString())
    for place in rng.integers(0, len(content), rng.integers(1, 5)):
        content[place] = int(rng.integers(0, 256))
    cut = int(rng.integers(0, len(content))) if rng.random() < 0.2 else len(content)
    return lambda path: path.write_bytes(bytes(content[:cut])) and None


def files() -> Iterator[tuple[str, Write]]:
    for make in HANDMADE.values():
        yield from make().items()
    for number in range(MUTANTS):
        yield f"mutant {number}", mutant(number)


def inspected(path: Path) -> tuple[int, str]:
    """The exit code, and all that is printed by Python and by libraries."""
    with tempfile.TemporaryFile() as said:
        kept = os.dup(1), os.dup(2)
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
        try:
            code = main(["inspect", str(path)])
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for place, descriptor in enumerate(kept, start=1):
                os.dup2(descriptor, place)
                os.close(descriptor)
        said.seek(0)
        return int(code), said.read().decode(errors="backslashreplace")


def run(share: int, shares: int, folder: Path, report: Path) -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    with report.open("w") as lines:
        for number, (name, write) in enumerate(files()):
            if number % shares != share:
                continue
            lines.write(json.dumps([name]) + "\n")
            lines.flush()  # a file that ends the process is the last that is named
            path = folder / f"{number}.onnx"
            write(path)
            lines.write(json.dumps([name, *inspected(path)]) + "\n")
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        lines.write(json.dumps(["", peak, ""]) + "\n")


if __name__ == "__main__":
    run(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4]))
