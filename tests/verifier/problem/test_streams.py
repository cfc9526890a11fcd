"""Where stdout, stderr or --out cannot be written: a clear end, the documented exit code, and never a traceback."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from encoders.errors import InputError
from verifier.cli.exit_codes import Exit
from verifier.cli.main import main
from verifier.report.out_folder import OutFolder

FULL = Path("/dev/full")
ANSWERED = {
    "verifier --help": Exit.GOOD,
    "verifier inspect digits --json": Exit.GOOD,
    "verifier check digits digits --index 6 --radius 0.2": Exit.VIOLATED,
    "verifier inspect nothing": Exit.BAD_INPUT,
}
LINE = "verifier: error: the answer cannot be written to stdout: No space left on device\n"


def run(words: str, redirection: str) -> subprocess.CompletedProcess[str]:
    command = words.replace("verifier", f"{sys.executable} -m verifier", 1)
    return subprocess.run(
        ["/bin/sh", "-c", f"{command} {redirection}"], capture_output=True, text=True, check=False, env=os.environ
    )


@pytest.mark.parametrize("words", ANSWERED)
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_change_no_exit_code(words: str, closed: str) -> None:
    done = run(words, closed)
    assert done.returncode == ANSWERED[words]
    assert "Traceback" not in done.stderr
    assert "internal error" not in done.stderr


@pytest.mark.skipif(not FULL.exists(), reason="/dev/full is Linux's")
@pytest.mark.parametrize("words", ANSWERED)
def test_a_full_disk_is_told_where_stdout_is_on_it_and_ignored_where_stderr_is(words: str) -> None:
    done = run(words, "> /dev/full")
    if ANSWERED[words] is Exit.BAD_INPUT:
        assert done.returncode == Exit.BAD_INPUT
    else:
        assert done.stderr == LINE
        assert done.returncode == Exit.UNWRITTEN
    assert run(words, "2> /dev/full").returncode == ANSWERED[words]


@pytest.mark.parametrize("option", ["--json", ""])
def test_an_answer_whose_files_cannot_be_written_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], option: str
) -> None:
    write = OutFolder.write

    def full(folder: OutFolder, name: str, save: Any) -> Path:
        def fail(stream: BinaryIO) -> None:
            save(stream)
            raise OSError(28, "No space left on device")

        return write(folder, name, fail)

    monkeypatch.setattr(OutFolder, "write", full)
    words = ["check", "digits", "digits", "--index", "6", "--radius", "0.2", "--out", str(tmp_path / "out")]
    assert main([*words, *filter(None, [option])]) == Exit.UNWRITTEN
    said, complained = capfd.readouterr()
    assert json.loads(said)["verdict"] == "violated" if option else "violated: there is an adversarial" in said
    assert complained.endswith(f"error: {tmp_path}/out/witness.npy: cannot be written: No space left on device\n")
    assert not (tmp_path / "out").exists()


def test_a_certificate_that_cannot_be_written_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def full(file: Any, _: bytes) -> Path:
        raise InputError(f"{file.path}: cannot be written: No space left on device")

    monkeypatch.setattr("verifier.certificates.file.CertificateFile.write", full)
    words = ["check", "digits", "digits", "--index", "6", "--radius", "0.01", "--certificate", str(tmp_path / "c.cert")]
    assert main([*words, "--json"]) == Exit.UNWRITTEN
    said, complained = capfd.readouterr()
    found = json.loads(said)
    assert (found["verdict"], found["certificate"]["path"]) == ("holds", None)
    assert "c.cert: cannot be written: No space left" in complained
