"""Whatever a file holds, `inspect` ends with 0 or 2 and a printable line, within 2 GB of memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.traps.handmade import HANDMADE
from tests.traps.hostile_worker import MEMORY, MUTANTS

SHARES = 2
"""Processes that share the files; all of them take some ten seconds of two cores."""

OUT_OF_MEMORY = ("MemoryError", "bad_alloc", "bad allocation", "Unable to allocate", "Failed to allocate")
"""What is said where a limit of ours came too late."""

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> list[list[Any]]:
    """[name] before each file, [name, exit code, what was printed] after it, ["", peak memory, ""] at the end."""
    folders = [tmp_path_factory.mktemp(f"share{share}") for share in range(SHARES)]
    program = [sys.executable, "-m", "tests.traps.hostile_worker"]
    started = [
        subprocess.Popen([*program, str(share), str(SHARES), str(folder), str(folder / "report.json")], cwd=ROOT)
        for share, folder in enumerate(folders)
    ]
    codes = [process.wait() for process in started]
    lines = []
    for code, folder in zip(codes, folders, strict=True):
        found = [json.loads(line) for line in (folder / "report.json").read_text().splitlines()]
        assert code == 0, f"the file {found[-1][0]!r} ended the process with {code}"
        lines.append(found)
    return lines


def test_every_file_is_read_or_refused_in_printable_words(reports: list[list[Any]]) -> None:
    wrong, codes = [], []
    for name, code, said in (line for report in reports for line in report if len(line) == 3 and line[0]):
        codes.append(code)
        hidden = any(not sign.isprintable() and sign != "\n" for sign in said)
        if code not in (0, 2) or hidden or "Traceback" in said or any(word in said for word in OUT_OF_MEMORY):
            wrong.append((name, code, said[-300:]))
    assert wrong == []
    assert len(codes) == MUTANTS + sum(len(make()) for make in HANDMADE.values())
    assert min(codes.count(0), codes.count(2)) > 50


def test_reading_takes_less_memory_than_is_allowed(reports: list[list[Any]]) -> None:
    for report in reports:
        assert report[-1][1] < MEMORY
