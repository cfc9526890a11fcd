"""Commands of the documents are commands: each exists with its options, and the tutorial's run."""

from __future__ import annotations

import re
import runpy
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from verifier.cli.exit_codes import Exit
from verifier.cli.main import app, main

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md"))
)
BLOCK = re.compile(r"^( *)```(sh|console)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
GROUP: Any = typer.main.get_command(app)


def commands(page: str) -> Iterator[list[str]]:
    """The commands of a page's blocks, each as its words; in a transcript, the lines behind a prompt."""
    for _, kind, block in BLOCK.findall((ROOT / page).read_text(encoding="utf-8")):
        for line in map(str.strip, block.splitlines()):
            if kind == "sh" or line.startswith("$ "):
                yield from split(shlex.split(line.removeprefix("$ "), comments=True))


def split(words: list[str]) -> Iterator[list[str]]:
    while words:
        end = words.index("&&") if "&&" in words else len(words)
        yield words[:end]
        words = words[end + 1 :]


def options(command: Any) -> set[str]:
    """The names of its options, --no-… included."""
    return {name for option in command.params for name in (*option.opts, *option.secondary_opts)}


def faults(words: list[str]) -> Iterator[str]:
    """What a command line of `verifier` names that there is not."""
    if len(words) < 2 or words[1].startswith("--"):
        return
    command = GROUP.commands.get(words[1])
    if command is None:
        yield words[1]
        return
    known = options(command)
    yield from (word for word in words[2:] if word.startswith("--") and word.partition("=")[0] not in known)


def test_there_are_commands() -> None:
    assert sum(words[0] == "verifier" for page in PAGES for words in commands(page)) > 30


@pytest.mark.parametrize("page", PAGES)
def test_commands_and_options_exist(page: str) -> None:
    assert [(words, fault) for words in commands(page) if words[0] == "verifier" for fault in faults(words)] == []


@pytest.mark.parametrize("page", PAGES)
def test_targets_of_make_exist(page: str) -> None:
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert [words for words in commands(page) if words[0] == "make" and not {*words[1:]} <= {*targets}] == []


def test_what_does_not_exist_is_found() -> None:
    assert [*faults(["verifier", "minimise", "m"])] == ["minimise"]
    assert [*faults(["verifier", "check", "m", "x", "--radius", "1", "--quick"])] == ["--quick"]


def test_options_that_the_text_names_exist() -> None:
    """In `code`, of any command: an option that was renamed is found wherever it is told of."""
    known = set().union(*map(options, GROUP.commands.values()))
    others = {word for words in map(shlex.split, OTHERS) for word in words}
    for page in PAGES:
        if page in ("CHANGELOG.md", "docs/lab-book.md", "PERFORMANCE.md") or page.startswith("docs/decisions"):
            continue  # they tell of other programs, and of what was
        for option in re.findall(r"`(--[a-z][a-z0-9-]*)", (ROOT / page).read_text(encoding="utf-8")):
            assert option in known | others, f"{page}: {option}"


OTHERS = (
    "pytest --robustness-timeout --robustness-report --thin",
    "compile_kernels --shared",
    "dask worker --nthreads",
    "docker run --user",
    "benchmarks.referee --name --proof-limit --proofs --witnesses --again",
)
"""Options of other commands that the documents name."""


def about_shipped_nets() -> list[list[str]]:
    """What anyone can type anywhere: each command once, in the order of the pages."""
    every = [words for page in PAGES for words in commands(page) if words[0] == "verifier" and len(words) > 1]
    quick = [words for words in every if words[2:4] == ["digits", "digits"] or words[1] == "doctor"]
    quick += [words for words in every if words[1] == "certify" and words[3] == "digits"]
    return [list(words) for words in dict.fromkeys(map(tuple, quick))]


def test_commands_about_shipped_nets_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert {words[1] for words in about_shipped_nets()} == {"attack", "certify", "check", "doctor", "minimal"}
    for words in about_shipped_nets():
        assert main(words[1:]) == Exit.GOOD, words


def test_the_tutorial_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = "docs/tutorial.md"
    (script,) = PYTHON.findall((ROOT / page).read_text(encoding="utf-8"))
    (tmp_path / "train.py").write_text(script, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    ran = []
    for words in commands(page):
        if words == ["python", "train.py"]:
            runpy.run_path("train.py")
        else:
            assert words[0] == "verifier"
            assert main(words[1:]) == Exit.GOOD, words
            ran.append(words[1])
    assert ran == ["inspect", "attack", "minimal", "check", "minimal", "certify"]
    assert (tmp_path / "answer/picture.png").exists()
