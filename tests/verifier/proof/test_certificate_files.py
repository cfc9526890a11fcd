"""Certificates from the command line, and the checker as a program that runs alone."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from verifier import cli, models
from verifier.exit_codes import Exit
from verifier.proof import checker

DIGITS, INPUTS = str(models.path("digits")), str(Path(models.path("digits")).with_name("digits_inputs.npz"))
ALLOWED = {"numpy", *sys.stdlib_module_names}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("certificates") / "c.cert"
    assert cli.main(["minimal", DIGITS, INPUTS, "--index", "3", "--certificate", str(path)]) == Exit.GOOD
    return path


def test_the_checker_imports_the_standard_library_and_numpy_only():
    tree = ast.parse(Path(checker.__file__).read_text())
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {entry.name.split(".")[0] for entry in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            names.add(str(node.module).split(".")[0])
    assert names <= ALLOWED


def test_the_checker_runs_alone_and_says_the_same_as_the_command(written, tmp_path, capsys):
    alone = shutil.copy(checker.__file__, tmp_path / "checker.py")
    arguments = [sys.executable, "-I", str(alone), str(written), DIGITS, "--norm", "linf"]
    process = subprocess.run(arguments, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (process.returncode, process.stderr) == (0, "")
    assert process.stdout.startswith("VALID: no adversarial example closer than 0.0550")
    assert cli.main(["certify", str(written), DIGITS, "--norm", "linf"]) == Exit.GOOD
    assert capsys.readouterr().out == process.stdout


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--norm", "l1"], "another norm"),
        (["--label", "7"], "another label"),
        (["--target", "7"], "another target"),
        (["--input", "other"], "another input"),
    ],
)
def test_another_question_is_refused(written, tmp_path, options, reason, capsys):
    np.save(tmp_path / "other.npy", np.zeros((1, 64), dtype=np.float32))
    given = [str(tmp_path / "other.npy") if text == "other" else text for text in options]
    assert checker.main([str(written), DIGITS, *given]) == 1
    assert cli.main(["certify", str(written), DIGITS, *given]) == Exit.VIOLATED
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"INVALID: the certificate is for {reason}"] * 2


def test_its_own_question_is_accepted(written, tmp_path):
    np.save(tmp_path / "x.npy", np.load(INPUTS)["x"][3])
    assert checker.main([str(written), DIGITS, "--input", str(tmp_path / "x.npy"), "--label", "1"]) == 0


def test_another_model_is_refused(written, capsys):
    assert checker.main([str(written), str(models.path("mnist_n"))]) == 1
    assert capsys.readouterr().out == "INVALID: the certificate is for another model\n"


def test_wrong_usage_is_code_2(written):
    for arguments in ([], [str(written)], [str(written), "nowhere.onnx"], [str(written), DIGITS, "--norm", "l2"]):
        with pytest.raises(SystemExit) as stop:
            checker.main(arguments)
        assert stop.value.code == 2
    assert cli.main(["certify", str(written), "nowhere.onnx"]) == Exit.BAD_INPUT


@pytest.mark.parametrize("method", ["tree", "milp", "z3"])
def test_the_answers_of_all_methods_are_certified(method, tmp_path, capsys):
    path = tmp_path / "c.cert"
    arguments = ["minimal", DIGITS, INPUTS, "--index", "3", "--target", "4", "--method", method, "--json"]
    assert cli.main([*arguments, "--certificate", str(path)]) == Exit.GOOD
    said = json.loads(capsys.readouterr().out)
    assert said["evidence"] == "certified"
    found = checker.checked(path.read_bytes(), Path(DIGITS).read_bytes())
    assert found.lower == said["lower"]
    assert float(found.distance) == pytest.approx(said["upper"])
    assert said["certificate"] == {
        "path": str(path),
        "reason": "",
        "bytes": path.stat().st_size,
        "leaves": said["certificate"]["leaves"],
        "query": found.digest,
    }


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (["check", "--radius", "0.01"], Exit.GOOD, "closer than 0.0100000000; none given"),
        (["check", "--radius", "0.2"], Exit.VIOLATED, "closer than 0.0000000000; one at 0.05"),
        (["minimal", "--label", "7"], Exit.GOOD, "closer than 0.0000000000; one at 0.0000000000"),
    ],
)
def test_other_answers_are_certified(tmp_path, options, code, says):
    path = tmp_path / "c.cert"
    command, *rest = options
    arguments = [command, DIGITS, INPUTS, "--index", "3", *rest, "--certificate", str(path), "--json"]
    assert cli.main(arguments) == code
    assert says in str(checker.checked(path.read_bytes(), Path(DIGITS).read_bytes()))


def test_without_time_there_is_no_certificate_and_an_old_one_is_removed(tmp_path, capsys):
    path = tmp_path / "c.cert"
    path.write_text("an old one")
    arguments = ["minimal", DIGITS, INPUTS, "--index", "0", "--timeout", "1e-6", "--json", "--certificate", str(path)]
    assert cli.main(arguments) == Exit.UNDECIDED
    said = capsys.readouterr()
    assert "no certificate was written" in said.err
    assert json.loads(said.out)["certificate"]["path"] is None
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("place", ["nowhere/c.cert", "."])
def test_a_place_that_cannot_be_written_is_told_before_the_work(tmp_path, place):
    arguments = ["minimal", DIGITS, INPUTS, "--index", "0", "--certificate", str(tmp_path / place)]
    assert cli.main(arguments) == Exit.BAD_INPUT


def test_every_target_has_a_certificate_of_its_own(tmp_path, capsys):
    arguments = ["minimal", DIGITS, INPUTS, "--index", "3", "--all-targets", "--json"]
    assert cli.main([*arguments, "--certificate", str(tmp_path / "c.cert")]) == Exit.GOOD
    said = json.loads(capsys.readouterr().out)
    assert said["evidence"] == "certified"
    assert len(said["results"]) == 9
    for result in said["results"]:
        path = tmp_path / f"c-{result['target']}.cert"
        assert result["evidence"] == "certified"
        assert result["certificate"]["path"] == str(path)
        found = checker.checked(path.read_bytes(), Path(DIGITS).read_bytes())
        assert (found.lower, found.query.target) == (result["lower"], result["target"])
        assert found.digest == result["certificate"]["query"]
    assert {path.name for path in tmp_path.iterdir()} == {f"c-{t}.cert" for t in range(10) if t != said["label"]}


def test_targets_without_a_certificate_are_told(tmp_path, capsys):
    arguments = ["minimal", DIGITS, INPUTS, "--index", "0", "--all-targets", "--timeout", "1e-6", "--json"]
    assert cli.main([*arguments, "--certificate", str(tmp_path / "c.cert")]) == Exit.UNDECIDED
    said = capsys.readouterr()
    assert "no certificate was written for target 7" in said.err
    assert {result["certificate"]["path"] for result in json.loads(said.out)["results"]} == {None}
    assert not list(tmp_path.iterdir())
