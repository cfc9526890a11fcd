"""Stores that are damaged, empty, foreign, older or on read-only media: read without a trace, or refused in a line."""

import ctypes
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.verifier.report.conftest import Reported
from verifier.campaign.store.schema import APPLICATION, MIGRATIONS
from verifier.campaign.store.store import Store
from verifier.cli.exit_codes import Exit
from verifier.cli.main import main

NAN, LARGE = float("nan"), b"\x00" * 10**7
TAMPERED: list[tuple[str, str, Any, str]] = [
    ("instances", "lower", "abc", "column lower holds 'abc'"),
    ("instances", "lower", -1.0, "column lower holds -1.0"),
    ("instances", "lower", LARGE, r"column lower holds b'\\x00"),
    ("instances", "upper", "", "column upper holds ''"),
    ("instances", "status", "proved", "column status holds 'proved'"),
    ("instances", "evidence", 7, "column evidence holds '7'"),
    ("instances", "target", 0.5, "column target holds 0.5"),
    ("instances", "float32", "x", "column float32 holds 'x'"),
    ("instances", "seconds", "x", "column seconds holds 'x'"),
    ("instances", "attempts", "x", "column attempts holds 'x'"),
    ("instances", "reason", b"\xff", r"column reason holds b'\\xff'"),
    ("instances", "search", "{", "column search is no JSON dict"),
    ("instances", "search", "[1]", "column search is no JSON dict"),
    ("instances", "search", '{"engine": 1}', "column search is not what it should be at engine"),
    (
        "instances",
        "search",
        '{"engine": "LP", "nodes": 1, "open_nodes": 1, "seconds": NaN}',
        "column search is no JSON",
    ),
    ("instances", "search", "[" * 10**5, "column search is no JSON dict"),
    ("instances", "witness", b"123", "column witness holds 3 bytes"),
    ("instances", "witness", LARGE, "column witness holds 10000000 bytes"),
    ("instances", "witness", 5, "column witness holds 5"),
    ("instances", "witness_facts", "{}", "column witness_facts is not what it should be"),
    ("instances", "witness_facts", None, "column witness_facts is no JSON dict"),
    ("tasks", "norm", "l7", "column norm holds 'l7'"),
    ("tasks", "label", "x", "column label holds 'x'"),
    ("tasks", "precision", -1.0, "column precision holds -1.0"),
    ("tasks", "source_index", "x", "column source_index holds 'x'"),
    ("inputs", "dtype", "O", "column dtype holds 'O'"),
    ("inputs", "dtype", "<f8", "column (witness|data|shape)"),
    ("inputs", "data", b"", "column (witness|shape|data)"),
    ("inputs", "shape", "[-1]", "column shape is "),
    ("inputs", "shape", "8", "column shape is no JSON list"),
    ("boxes", "lo", b"abc", "column lo holds 3 bytes"),
    ("boxes", "hi", LARGE, "column hi holds 10000000 bytes"),
    ("plans", "text", "{}", "column text is a plan without models"),
    ("plans", "text", "\x00", "column text is no JSON dict"),
    ("history", "lower", "x", "column lower holds 'x'"),
    ("findings", "facts", "nothing", "column facts is no JSON dict"),
    ("findings", "facts", "{}", "column facts is not what it should be at"),
    ("findings", "facts", '{"given": 1, "refused": {"a": "b"}, "steps": [1], "towards": [2], "random": []}', "refused"),
    (
        "findings",
        "facts",
        '{"given": 1, "refused": {}, "steps": [1], "towards": [], "random": []}',
        "each of its steps",
    ),
    ("findings", "distance", "x", "column distance holds 'x'"),
    ("findings", "kind", "guess", "column kind holds 'guess'"),
    ("runs", "owner", "x", "column owner holds 'x'"),
    ("runs", "owner", f"host/{'9' * 5000}/1/n", "column owner holds 'host/9999"),
    ("runs", "began", 1e30, "column began holds 1e"),
    ("runs", "ended", "x", "column ended holds 'x'"),
    ("runs", "how", "gracefully", "column how holds 'gracefully'"),
]


@pytest.fixture
def copied(reported: Reported, tmp_path: Path) -> Path:
    """A store of its own, in a folder of its own, with all that its log had."""
    folder = tmp_path / "media"
    folder.mkdir()
    with sqlite3.connect(reported.store) as source, sqlite3.connect(folder / "s.sqlite") as target:
        source.backup(target)
    target.close()
    source.close()
    return folder / "s.sqlite"


def state(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in folder.iterdir()}


@pytest.mark.long
@pytest.mark.parametrize(("table", "column", "value", "message"), TAMPERED)
def test_a_tampered_column_is_named_in_one_line(
    copied: Path, tmp_path: Path, capfd: Any, table: str, column: str, value: Any, message: str
) -> None:
    with sqlite3.connect(copied) as connection:
        changed = connection.execute(f"UPDATE OR IGNORE {table} SET {column} = ?", (value,)).rowcount
    connection.close()
    assert changed > 0
    assert main(["report", str(copied), "--out", str(tmp_path / "out")]) == Exit.BAD_INPUT
    said, complained = capfd.readouterr()
    assert said == ""
    assert complained.count("\n") == 1
    assert len(complained) < 500
    assert f"{copied} is damaged: column" in complained
    assert re.search(message, complained)
    assert not (tmp_path / "out").exists()


def test_a_table_that_is_missing(copied: Path, capfd: Any) -> None:
    with sqlite3.connect(copied) as connection:
        connection.execute("DROP TABLE history")
    connection.close()
    assert main(["report", str(copied), "--out", str(copied.parent / "out")]) == Exit.BAD_INPUT
    assert "no such table: history" in capfd.readouterr().err


def empty(path: Path) -> None:
    path.touch()


def foreign(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()


def text(path: Path) -> None:
    path.write_text("a,b\n1,2\n")


def without_tables(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA application_id = {APPLICATION}")
    connection.close()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (empty, "is empty"),
        (foreign, "is a database of another program"),
        (text, "not a store"),
        (without_tables, "is empty"),
        (os.mkfifo, "is a pipe"),
    ],
)
@pytest.mark.parametrize("words", [["campaign", "--status", "S"], ["report", "S", "--out", "out"], ["watch", "S"]])
def test_what_is_no_store_is_not_touched(
    make: Any, message: str, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    media = tmp_path / "media"
    media.mkdir()
    make(media / "S")
    monkeypatch.chdir(media)
    before = None if make is os.mkfifo else state(media)
    assert main(words) == Exit.BAD_INPUT
    said, complained = capfd.readouterr()
    assert (said, complained.count("\n")) == ("", 1)
    assert message in complained
    assert make is os.mkfifo or state(media) == before


@pytest.mark.parametrize("make", [foreign, text])
def test_a_campaign_does_not_begin_in_another_programs_file(make: Any, tmp_path: Path, capfd: Any) -> None:
    make(tmp_path / "S")
    before = state(tmp_path)
    words = ["campaign", "--model", "digits", "--data", "digits", "--index", "6", "--store", str(tmp_path / "S")]
    assert main(words) == Exit.BAD_INPUT
    assert "name another" in capfd.readouterr().err
    assert state(tmp_path) == before


def test_an_older_store_is_read_without_being_changed(tmp_path: Path, capfd: Any) -> None:
    path = tmp_path / "old.sqlite"
    with sqlite3.connect(path) as connection:
        for script in MIGRATIONS[:3]:
            connection.executescript(script)
        connection.execute(f"PRAGMA application_id = {APPLICATION}")
        connection.execute("PRAGMA user_version = 3")
    connection.close()
    before = state(tmp_path)
    with Store(path, readonly=True) as store:
        seen = store.changes
        assert store.results() == []
        assert store.changes == seen
        assert state(tmp_path) == before
        Store(path).close()  # a campaign brings the file itself to today's schema
        assert store.changes != seen
        assert store.results() == []


DROP = (
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(24, 1, 0, 0, 0); "  # PR_CAPBSET_DROP, CAP_DAC_OVERRIDE
    "os.execv(sys.executable, [sys.executable, '-m', 'verifier', *sys.argv[1:]])"
)


def without_writing(*words: object) -> subprocess.CompletedProcess[str]:
    """The command as a user, even where root runs the tests, to whom a folder's mode means something."""
    return subprocess.run([sys.executable, "-c", DROP, *map(str, words)], capture_output=True, text=True, check=False)


@pytest.mark.long
@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "prctl"), reason="needs Linux's prctl to be no root")
@pytest.mark.parametrize("log", [False, True], ids=["closed", "with a log that was not folded in"])
def test_a_store_on_read_only_media_is_read(copied: Path, tmp_path: Path, log: bool) -> None:
    with Store(copied) as store:
        wanted = [(one.id, one.lower, one.upper) for one in store.results()]
        if log:  # what a killed campaign leaves
            with store._database.writing() as connection:
                connection.execute("UPDATE instances SET reason = 'from the log'")
            for name in ("s.sqlite", "s.sqlite-wal"):
                shutil.copy(copied.parent / name, tmp_path / name)
    if log:
        for name in ("s.sqlite", "s.sqlite-wal"):
            shutil.copy(tmp_path / name, copied.parent / name)
    before = state(copied.parent)
    for file in copied.parent.iterdir():
        file.chmod(0o444)
    copied.parent.chmod(0o555)
    try:
        done = without_writing("report", copied, "--out", tmp_path / "out")
        assert (done.returncode, done.stderr) == (Exit.GOOD, "")
        status = without_writing("campaign", "--status", copied)
        assert status.returncode in {Exit.GOOD, Exit.UNDECIDED}
        assert status.stderr == ""
        refused = without_writing("campaign", "--model", "digits", "--data", "digits", "--index", 6, "--store", copied)
        assert (refused.returncode, refused.stderr.count("\n")) == (Exit.BAD_INPUT, 1)
        assert "cannot be" in refused.stderr
    finally:
        copied.parent.chmod(0o755)
    assert state(copied.parent) == before
    told = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))["instances"]
    assert [(one["id"], one["lower"], one["upper"]) for one in told] == [
        (key[:12], lower, upper if upper < float("inf") else None) for key, lower, upper in wanted
    ]
    assert not log or {one["reason"] for one in told} == {"from the log"}
