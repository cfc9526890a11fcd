"""Peers beside ours: each is called with both files, its word is read from its file, who is late or silent is told."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.harness.mnist import SHARED
from benchmarks.vnncomp import peers
from benchmarks.vnncomp.peers import OURS, SAMPLE, SILENT, TOOLS, Asked, Tool, main, sample, verdict_in

ENDLESS = "import time; time.sleep(60)"


def scripted(name: str, code: str) -> Tool:
    """A peer that runs this code; RESULT there is its result file."""

    def command(_: Path, asked: Asked) -> list[str]:
        return [sys.executable, "-c", code.replace("RESULT", repr(str(asked.result)))]

    return Tool(name, ("nothing",), command)


@pytest.fixture
def words(data: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The command line for the toy benchmark, whose peers' environments are there."""
    monkeypatch.setattr(peers, "SAMPLE", {"toy": 2})
    for name in ("right", "late", "mute"):
        (data / "environments" / name).mkdir(parents=True)
        (data / "environments" / name / "ready").touch()
    out = data / "record.json"
    return ["--data", str(data), "--environments", str(data / "environments"), "--out", str(out), "--limit", "30"]


def test_the_sample_is_fixed_and_has_forty() -> None:
    if not (SHARED / "vnncomp").is_dir():
        pytest.skip("the competition's benchmarks are not beside the project")
    found = sample(SHARED)
    assert len(found) == len({one.key for one in found}) == sum(SAMPLE.values()) == 40
    assert [one.key for one in sample(SHARED)] == [one.key for one in found]


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_every_tool_is_given_both_files_and_its_limit(tool: Tool, tmp_path: Path) -> None:
    asked = Asked(tmp_path / "net.onnx", tmp_path / "q.vnnlib", 17.0, tmp_path / "result")
    call = " ".join(tool.command(tmp_path, asked))
    for part in (asked.model, asked.query, asked.result, "17"):
        assert str(part) in call
    assert (tool.packages == ()) == (tool.name == OURS)


@pytest.mark.parametrize(
    ("text", "verdict"),
    [("unsat\n", "unsat"), ("sat\n((X_0 1))", "sat"), ("UNSAT 0.3 0 0", "unsat"), ("timeout,3.1", "unknown"),
     ("", SILENT), ("Traceback", SILENT)],
)  # fmt: skip
def test_a_verdict_is_the_first_word(text: str, verdict: str, tmp_path: Path) -> None:
    (tmp_path / "result").write_text(text)
    assert verdict_in(tmp_path / "result") == verdict
    assert verdict_in(tmp_path / "none") == SILENT


def test_ours_and_peers_are_asked_in_turn(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Official of the two: sat, unsat. A peer that says sat of both is wrong once, which is no fault of ours."""
    right = scripted("right", "open(RESULT, 'w').write('sat 0.1')")
    mute = scripted("mute", "print('no license')")
    monkeypatch.setattr(peers, "TOOLS", (TOOLS[0], right, mute))
    assert main(words) == 0
    told = capsys.readouterr().out
    lines = {line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[2:8]] for line in told.splitlines()
             if line.startswith("| ")}  # fmt: skip
    assert lines[OURS] == ["2", "2", "1", "1", "0", "0"]
    assert lines["right"] == ["2", "2", "2", "0", "0", "1"]
    assert lines["mute"] == ["2", "0", "0", "0", "2", "0"]
    assert "silent" in told
    assert "no license" in told
    assert main(words) == 0
    assert capsys.readouterr().out.startswith("| tool")  # everything is in the record


def test_who_is_late_is_killed(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "TOOLS", (scripted("late", ENDLESS),))
    monkeypatch.setattr(peers, "SPARE", 0.2)
    words[words.index("30")] = "0.3"
    assert main(words) == 0


def test_a_peer_that_cannot_be_had_is_left_out(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(peers, "TOOLS", (scripted("absent", "pass"),))
    monkeypatch.setattr(peers, "_installed", lambda *_: "pip install failed")
    assert main(words) == 0
    assert "absent is left out: pip install failed" in capsys.readouterr().err
