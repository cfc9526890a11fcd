"""Shells complete what the commands take: asked of the shells themselves, where they are installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import typer

from verifier import models
from verifier.attacks.registry import ATTACKS
from verifier.cli import completion
from verifier.cli.exit_codes import Exit
from verifier.cli.main import app, main

LINES = {
    "verifier ": set(typer.main.get_command(app).commands),  # type: ignore[attr-defined]
    "verifier ch": {"check"},
    "verifier check net.onnx x.npy --norm ": {"linf", "l1", "l2"},
    "verifier check net.onnx x.npy --norm=li": {"linf"},
    "verifier check net.onnx x.npy --no": {"--norm"},
    "verifier check net.onnx x.npy --method mi": {"milp", "milp-direct"},
    "verifier attack net.onnx x.npy --attack ": set(ATTACKS),
    "verifier gate --undecided ": {"fail", "warn"},
    "verifier gate --ju": {"--junit"},
    "verifier campaign --targets l": {"least-likely"},
    "verifier minimal --precision ": set(),
    "verifier minimal --out ": {"folder/"},
    "verifier minimal --transforms f": {"file one", "folder/"},
    "verifier inspect mnist_n_d": {name for name in models.NAMES if name.startswith("mnist_n_d")},
    "verifier inspect f": {"file one", "folder/"},
    "verifier completion ": {"bash", "zsh", "fish"},
    "verifier doctor ": set(),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the line is typed: a folder, and a file with a space in its name."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "file one").touch()
    return tmp_path


@pytest.fixture
def script(
    request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The script of the shell that is the parameter; skips where the shell is missing."""
    shell: str = request.param
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    assert main(["completion", shell]) == Exit.GOOD
    out, err = capsys.readouterr()
    assert err == ""
    path = tmp_path_factory.mktemp(shell) / "script"
    path.write_text(out)
    return path


def lines_of(*command: str, cwd: Path) -> list[str]:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.splitlines()


ASK_BASH = """
source "$0"
for line in "$@"; do
  read -ra COMP_WORDS <<< "${line//=/ = }"
  [[ $line == *" " ]] && COMP_WORDS+=("")
  COMP_CWORD=$(( ${#COMP_WORDS[@]} - 1 ))
  _verifier
  printf '%s\\n' "> $line" "${COMPREPLY[@]}"
done
"""
"""Words are split as readline splits them: `=` is a word of its own."""


@pytest.mark.parametrize("script", ["bash"], indirect=True)
def test_bash(script: Path, folder: Path) -> None:
    found: dict[str, set[str]] = {}
    for line in lines_of("bash", "--norc", "-c", ASK_BASH, str(script), *LINES, cwd=folder):
        if line.startswith("> "):
            answers = found.setdefault(line[2:], set())
        elif line:
            answers.add(line + "/" * (folder / line).is_dir())
    for line, wanted in LINES.items():
        assert found[line] - {"--help", "--version"} == wanted, line


@pytest.mark.parametrize("script", ["fish"], indirect=True)
def test_fish(script: Path, folder: Path) -> None:
    for line, wanted in LINES.items():
        found = lines_of("fish", "-c", f"source {script}; complete -C '{line}'", cwd=folder)
        answers = {
            answer.split("\t")[0].replace("\\ ", " ").partition("=")[2 * line.endswith("=li")] for answer in found
        }
        assert wanted <= answers, line
        assert not wanted or answers - wanted <= {"folder/", "file one"}, line


@pytest.mark.parametrize("script", ["zsh"], indirect=True)
def test_zsh(script: Path, folder: Path) -> None:
    """Its functions are called as its completion does, and say what they would hand to it."""
    stubs = "compdef() { }; _describe() { print -l ${(P)2%%:*} }; _arguments() { print -lr -- $@ }; source $SCRIPT"
    ask = stubs.replace("$SCRIPT", str(script)) + "; words=(verifier %s ''); CURRENT=%d; _verifier"
    assert set(lines_of("zsh", "-f", "-c", ask % ("", 2), cwd=folder)) == LINES["verifier "]
    told = lines_of("zsh", "-f", "-c", ask % ("check", 3), cwd=folder)
    assert any(line.startswith("*--norm=[") and line.endswith(":(linf l1)") for line in told)
    assert any(line.startswith("*--out=[") and line.endswith(":_files -/") for line in told)
    assert any(line.startswith("*--json[") for line in told)
    assert told[-1].startswith('*:argument:_alternative "words')


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_every_option_is_in_every_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == Exit.GOOD
    script = capsys.readouterr().out
    for command in completion.commands(typer.main.get_command(app), {}):
        for option in command.options:
            assert (f"-l {option.name[2:]} " if shell == "fish" else option.name) in script


def test_every_option_that_names_a_file_completes_files() -> None:
    for command in typer.main.get_command(app).commands.values():  # type: ignore[attr-defined]
        for parameter in command.params:
            metavar = parameter.metavar or ""
            if "." in metavar or "FILE" in metavar:
                assert completion.value(metavar).files, (command.name, metavar)


def test_another_shell_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "tcsh"]) == Exit.BAD_INPUT
    assert capsys.readouterr().err == "verifier: error: no completion for 'tcsh'; there are bash, zsh, fish\n"
