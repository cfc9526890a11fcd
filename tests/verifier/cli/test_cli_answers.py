"""`minimal`, `check`, `attack` and `demo` through the command line: what they print, write and return."""

import json
import math
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import verifier
from verifier import models
from verifier.attacks.base.problem import AttackProblem, Candidates
from verifier.attacks.registry import ATTACKS, Attack
from verifier.cli.exit_codes import Exit
from verifier.cli.main import main
from verifier.problem.budget import Budget
from verifier.problem.verdict import Bracket, Evidence, Initial, Status, Unknown
from verifier.search import robustness
from verifier.search.methods import DEFAULT_METHOD, METHODS
from verifier.search.robustness import Check
from verifier.search.settings import Settings

ROOT = str(Path(verifier.__file__).resolve().parents[1])
DIGITS = str(models.path("digits"))
INPUTS = str(models.path("digits").with_name("digits_inputs.npz"))
DIGIT = [DIGITS, INPUTS, "--index", "6"]
X = np.load(INPUTS)["x"][6]
KEYS = {
    *("schema", "status", "lower", "upper", "norm", "label", "target", "precision", "initial", "witness", "evidence"),
    *("method", "solver", "search", "seconds", "model_sha256", "versions"),
}


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    out, err = capsys.readouterr()
    assert err == ""
    result = json.loads(out)
    assert isinstance(result, dict)
    return result


@pytest.mark.parametrize("norm", ["linf", "l1"])
def test_minimal_closes_and_writes(norm: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    asked = ["minimal", *DIGIT, "--norm", norm, "--target", "8", "--json", "--out", str(out)]
    assert main(asked) == Exit.GOOD
    result = told(capsys)
    assert result.keys() >= KEYS
    assert (result["status"], result["norm"], result["label"], result["target"]) == ("minimal", norm, 3, 8)
    assert (result["method"], result["solver"], result["evidence"]) == ("tree", None, "proved")
    assert (result["search"]["engine"], result["search"]["open_nodes"]) == ("LP tree", 0)
    assert 0 < result["lower"] <= result["upper"] <= result["lower"] + result["precision"]
    assert json.loads((out / "result.json").read_text()) == result
    assert sorted(path.name for path in out.iterdir()) == ["picture.png", "result.json", "witness.npy"]
    witness = np.load(result["witness"]["path"])
    assert (witness.shape, witness.dtype) == ((1, 64), np.float32)
    assert witness.min() >= 0
    assert witness.max() <= 1
    gaps = np.abs(witness.reshape(-1).astype(np.float64) - X)
    distance = gaps.max() if norm == "linf" else math.fsum(gaps)
    assert distance == pytest.approx(result["upper"], rel=1e-12)
    assert verifier.load(DIGITS).predict(witness) == result["witness"]["predicted"] == 8
    with Image.open(result["picture"]) as picture:
        assert np.asarray(picture.convert("L")).var() > 0


def test_minimal_on_screen(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["minimal", *DIGIT]) == Exit.GOOD
    out, err = capsys.readouterr()
    assert err == ""
    assert all(word in out for word in ("minimal:", "lower", "upper", "evidence", "class 3 to any other", "LP tree, "))
    assert "\x1b" not in out


def test_label_of_the_file_and_of_the_option(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "x.npz", x=X, y=8)
    asked = ["minimal", DIGITS, str(tmp_path / "x.npz"), "--json"]
    assert main(asked) == Exit.GOOD
    result = told(capsys)
    assert (result["status"], result["lower"], result["upper"]) == ("already-adversarial", 0, 0)
    assert result["label"] == 8
    assert main([*asked, "--label", "3"]) == Exit.GOOD
    assert told(capsys)["status"] == "minimal"


def test_threads_do_not_change_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    found = []
    for threads in ("1", "2"):
        assert main(["minimal", *DIGIT, "--threads", threads, "--json"]) == Exit.GOOD
        found.append(told(capsys))
    assert max(result["lower"] for result in found) <= min(result["upper"] for result in found)


def test_every_target(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["minimal", *DIGIT, "--all-targets", "--precision", "0.01", "--json", "--out", str(tmp_path)]
    assert main(asked) == Exit.GOOD
    result = told(capsys)
    assert result.keys() >= {*KEYS, "results"}
    assert [entry["target"] for entry in result["results"]] == [t for t in range(10) if t != 3]
    found = [entry for entry in result["results"] if entry["witness"]]
    assert result["upper"] == min(entry["upper"] for entry in found)
    assert all(np.load(entry["witness"]["path"]).shape == (1, 64) for entry in found)
    assert np.load(result["witness"]["path"]).shape == (1, 64)
    assert main(asked[:-3]) == Exit.GOOD
    assert "Every target" in capsys.readouterr().out


def test_check_on_both_sides_of_the_minimum(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["minimal", *DIGIT, "--json"]) == Exit.GOOD
    closed = told(capsys)
    asked = ["check", *DIGIT, "--json", "--out", str(tmp_path), "--radius"]
    assert main([*asked, repr(closed["upper"] * 1.1)]) == Exit.VIOLATED
    result = told(capsys)
    assert result["verdict"] == "violated"
    assert np.load(result["witness"]["path"]).shape == (1, 64)
    assert main([*asked, repr(closed["lower"] * 0.9)]) == Exit.GOOD
    result = told(capsys)
    assert (result["verdict"], result["witness"]) == ("holds", None)
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"], "the other run's witness is gone"
    assert main(["check", *DIGIT, "--radius", "0.001"]) == Exit.GOOD
    assert "holds" in capsys.readouterr().out


def test_attack_gives_an_upper_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["attack", *DIGIT, "--json", "--out", str(tmp_path)]) == Exit.GOOD
    result = told(capsys)
    assert (result["lower"], result["method"], result["solver"]) == (0, None, None)
    assert result["upper"] > 0
    assert np.load(result["witness"]["path"]).shape == (1, 64)
    assert main(["attack", *DIGIT]) == Exit.GOOD
    assert "not proved" in capsys.readouterr().out


def test_smt_is_another_name_of_z3(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    asked: list[Settings] = []

    def check(_: object, settings: Settings, *__: object) -> Check:
        asked.append(settings)
        return Check(Unknown("why not"), None, "why not", None, 0.0, None)

    monkeypatch.setattr(robustness, "check", check)
    assert main(["check", *DIGIT, "--radius", "1", "--method", "smt", "--json"]) == Exit.UNDECIDED
    result = told(capsys)
    assert [settings.method for settings in asked] == ["z3"]
    assert (result["method"], result["verdict"], result["reason"]) == ("z3", "unknown", "why not")


BRACKET = Bracket(
    0.25,
    math.inf,
    None,
    Evidence.SOLVER,
    1e-3,
    Status.BRACKETED,
    Initial("cw", math.inf),
    None,
    1.0,
    "time",
    final=True,
)


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Budget], Iterator[Bracket]]], None]:
    """The default method gives these brackets."""

    def by(search: Callable[[Budget], Iterator[Bracket]]) -> None:
        row = replace(METHODS[DEFAULT_METHOD], minimise=lambda _, __, budget: search(budget))
        monkeypatch.setitem(METHODS, DEFAULT_METHOD, row)  # type: ignore[arg-type]

    return by


def test_an_open_bracket_is_undecided(
    answering: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answering(lambda _: iter([BRACKET]))
    assert main(["minimal", *DIGIT, "--json", "--out", str(tmp_path)]) == Exit.UNDECIDED
    result = told(capsys)
    assert (result["lower"], result["upper"], result["witness"], result["picture"]) == (0.25, None, None, None)
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]
    assert main(["minimal", *DIGIT]) == Exit.UNDECIDED
    assert "none found" in capsys.readouterr().out


def test_nothing_reachable_is_an_answer(answering: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    nothing = replace(BRACKET, lower=math.inf, status=Status.UNREACHABLE)
    answering(lambda _: iter([nothing]))
    assert main(["minimal", *DIGIT, "--target", "1"]) == Exit.GOOD
    assert "unreachable" in capsys.readouterr().out


def test_an_attack_that_finds_nothing_is_undecided(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(_: object, problem: AttackProblem, *__: object) -> Candidates:
        count = len(problem.cases)
        return Candidates((None,) * count, np.full(count, math.inf), 0)

    monkeypatch.setitem(ATTACKS, "jsma", Attack("jsma", nothing))  # type: ignore[arg-type]
    assert main(["attack", *DIGIT, "--attack", "jsma"]) == Exit.UNDECIDED


def test_ctrl_c_prints_what_is_known(answering: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    def brackets(budget: Budget) -> Iterator[Bracket]:
        yield replace(BRACKET, final=False)
        signal.raise_signal(signal.SIGINT)
        assert budget.remaining == 0
        yield replace(BRACKET, reason=budget.reason)

    answering(brackets)
    assert main(["minimal", *DIGIT, "--json"]) == Exit.UNDECIDED
    assert told(capsys)["reason"] == "interrupted"


def test_the_time_limit_covers_the_whole_process(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["minimal", *DIGIT, "--norm", "l1", "--timeout", "1e-6", "--json"]) == Exit.UNDECIDED
    result = told(capsys)
    assert result["status"] == "bracketed"
    assert "time limit" in result["reason"]
    assert result["lower"] == 0


def test_demo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--out", str(tmp_path / "demo")]) == Exit.GOOD
    out, err = capsys.readouterr()
    assert err == ""
    assert "picture.png" in out
    assert "MODEL.onnx" in out
    assert (tmp_path / "demo" / "picture.png").exists()


def test_as_a_process_stdout_is_one_object_and_stderr_is_silent(tmp_path: Path) -> None:
    code = f"import sys; sys.path.insert(0, {ROOT!r}); from verifier.cli.main import main; sys.exit(main())"
    for method in ("tree", "milp", "z3"):
        asked = ["minimal", *DIGIT, "--target", "8", "--precision", "0.05", "--method", method, "--json"]
        done = subprocess.run(
            [sys.executable, "-c", code, *asked], capture_output=True, text=True, cwd=tmp_path, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert json.loads(done.stdout)["method"] == method
    assert list(tmp_path.iterdir()) == []
