"""Certificates from the command line, and the checker as a program that runs alone."""

from __future__ import annotations

import ast
import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from encoders.errors import InputError
from verifier import models
from verifier.certificates import checker
from verifier.certificates import format as file_format
from verifier.certificates.builder import certified
from verifier.cli import main, property_command
from verifier.cli.exit_codes import Exit
from verifier.problem.budget import Budget
from verifier.problem.query import Norm
from verifier.search import minimum, robustness

DIGITS, INPUTS = str(models.path("digits")), str(Path(models.path("digits")).with_name("digits_inputs.npz"))
ALLOWED = {"numpy", *sys.stdlib_module_names}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("certificates") / "c.cert"
    assert main.main(["minimal", DIGITS, INPUTS, "--index", "3", "--certificate", str(path)]) == Exit.GOOD
    return path


def test_numbers_are_written_in_chunks(monkeypatch):
    numbers = [np.arange(-40, 60), np.zeros(0, dtype=np.int64), np.full(5, 1 << 40)]
    whole = checker.unpacked(file_format.property_encoded("digest", b"text", numbers))
    monkeypatch.setattr(file_format, "CHUNK", 7)
    looks = []
    packed = file_format.property_encoded("digest", b"text", numbers, look=lambda: looks.append(1))
    assert checker.unpacked(packed) == whole
    assert len(looks) == 16
    assert whole.endswith(b"text" + file_format.varints(np.concatenate(numbers)))


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
    given = ["--norm", "linf", "--box", "0", "1"]
    arguments = [sys.executable, "-I", str(alone), str(written), DIGITS, *given]
    process = subprocess.run(arguments, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (process.returncode, process.stderr) == (0, "")
    assert process.stdout.startswith("VALID: no adversarial example closer than 0.0550")
    assert main.main(["certify", str(written), DIGITS, *given]) == Exit.GOOD
    assert capsys.readouterr().out == process.stdout


OWN = {
    "--input": ["x.npy"],
    "--box": ["0", "1"],
    "--norm": ["linf"],
    "--label": ["1"],
    "--target": ["any"],
    "--margin": ["0"],
    "--radius": ["0.05"],
    "--float32": ["0.05"],
}
"""What the certificate is about, demand by demand."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    x = np.load(INPUTS)["x"][3]
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "x64.npy", x.astype(np.float64))
    np.save(tmp_path / "zeros.npy", np.zeros((1, 64), dtype=np.float32))
    np.save(tmp_path / "short.npy", np.ravel(x)[:1])
    np.savez(tmp_path / "box.npz", lo=np.zeros(64), hi=np.ones(64))
    np.savez(tmp_path / "point.npz", lo=x, hi=x)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--norm", "l1"], "for another norm: linf"),
        (["--label", "7"], "for another label: 1"),
        (["--target", "7"], "for another target: any class but 1"),
        (["--input", "zeros.npy"], "for another input: sha256"),
        (["--input", "short.npy"], "for another input: sha256"),
        (["--box", "0", "0.5"], "for another box: [0.0, 1.0]"),
        (["--box", "-inf", "inf"], "for another box: [0.0, 1.0]"),
        (["--box", "point.npz"], "for another box: [0.0, 1.0]"),
        (["--margin", "0.5"], "for another margin: 0.0"),
        (["--radius", "0.06"], "proves less than the radius 0.06: 0.05"),
        (["--radius", "15/255"], "proves less than the radius"),
        (["--radius", "inf"], "proves less than the radius inf"),
        (["--float32", "0.06"], "proves less than the float32 0.06: 0.05"),
    ],
)
def test_another_question_is_refused(written, folder, options, reason, capsys):
    assert checker.main([str(written), DIGITS, *options]) == 1
    assert main.main(["certify", str(written), DIGITS, *options]) == Exit.VIOLATED
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[0] == lines[1]
    assert lines[0].startswith("INVALID: the certificate ")
    assert reason in lines[0]
    assert main.main(["certify", str(written), DIGITS, *options, "--json"]) == Exit.VIOLATED
    said = json.loads(capsys.readouterr().out)
    assert (said["valid"], said["claim"], f"INVALID: {said['reason']}") == (False, None, lines[0])


@pytest.mark.parametrize("left_out", ["", *OWN])
def test_its_own_question_is_accepted_and_what_was_not_demanded_is_told(written, folder, left_out, capsys):
    options = [word for name, words in OWN.items() if name != left_out for word in (name, *words)]
    assert checker.main([str(written), DIGITS, *options]) == 0
    assert main.main(["certify", str(written), DIGITS, *options]) == Exit.GOOD
    alone, command = capsys.readouterr().out.split("VALID: ")[1:]
    assert alone == command
    told = [line for line in alone.splitlines() if line.startswith("not demanded: ")]
    assert told == ([f"not demanded: {left_out[2:]} (to demand one, give the option of its name)"] if left_out else [])
    assert main.main(["certify", str(written), DIGITS, *options, "--json"]) == Exit.GOOD
    assert json.loads(capsys.readouterr().out)["not_demanded"] == [name[2:] for name in OWN if name == left_out]


@pytest.mark.parametrize("options", [["--box", "box.npz"], ["--input", "x64.npy"], ["--radius", "14/255"]])
def test_other_ways_to_say_the_same_are_accepted(written, folder, options):
    assert checker.main([str(written), DIGITS, *options]) == 0
    assert main.main(["certify", str(written), DIGITS, *options]) == Exit.GOOD


@pytest.mark.parametrize("json_", [[], ["--json"]])
def test_an_input_that_rounding_put_outside_the_box_is_moved_as_the_question_moved_it(tmp_path, capsys, json_):
    """0.3 is more in float32 than in float64: such entries lie outside [0, 0.3]."""
    place, certificate = tmp_path / "x.npy", tmp_path / "c.cert"
    x = np.minimum(np.load(INPUTS)["x"][3], np.float32(0.3))
    moved = int(np.count_nonzero(x.astype(np.float64) > 0.3))
    assert moved > 1
    np.save(place, x)
    box = ["--box", "0", "0.3"]
    code = main.main(["minimal", DIGITS, str(place), *box, "--certificate", str(certificate), "--timeout", "60"])
    assert code == Exit.GOOD
    capsys.readouterr()
    assert main.main(["certify", str(certificate), DIGITS, "--input", str(place), *box, *json_]) == Exit.GOOD
    said = capsys.readouterr()
    assert f"{place}: {moved} entries, the first " in said.err
    assert "outside the box by rounding to float32; moved to its end" in said.err
    if json_:
        assert json.loads(said.out)["not_demanded"] == ["norm", "label", "target", "margin", "radius", "float32"]
    for value in (0.1, 0.3001, -0.0001, np.nan, np.inf):
        other = x.copy()
        other.flat[0] = value
        np.save(place, other)
        assert main.main(["certify", str(certificate), DIGITS, "--input", str(place)]) == Exit.VIOLATED
        assert capsys.readouterr().out.startswith("INVALID: the certificate is for another input: sha256")


def test_the_whole_claim_is_printed(written, capsys):
    assert checker.main([str(written), DIGITS]) == 0
    found = checker.checked(written.read_bytes(), Path(DIGITS).read_bytes())
    x = np.load(INPUTS)["x"][3].astype("<f4")
    model, own = (hashlib.sha256(content).hexdigest() for content in (Path(DIGITS).read_bytes(), x.tobytes()))
    assert capsys.readouterr().out.splitlines()[1:] == [
        f"model   sha256 {model}",
        "scores  'logits': 10 numbers",
        f"input   sha256 {own}, 64 numbers of float32",
        "box     [0.0, 1.0]",
        "norm    linf",
        "label   1",
        "target  any class but 1",
        "margin  0.0",
        f"radius  {found.lower!r}",
        f"float32 {found.float32!r}",
        f"query   sha256 {found.digest}",
        "not demanded: input, box, norm, label, target, margin, radius, float32 "
        "(to demand one, give the option of its name)",
    ]
    assert checker.main([str(written), DIGITS, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["claim"] == {
        "model": model,
        "scores": "'logits': 10 numbers",
        "input": {"sha256": own, "size": 64, "dtype": "float32"},
        "box": {"lo": [0.0, 0.0], "hi": [1.0, 1.0], "free": 64},
        "norm": "linf",
        "label": 1,
        "target": None,
        "margin": 0.0,
        "radius": found.lower,
        "whole_box": False,
        "float32": {"radius": found.float32, "whole_box": False},
        "distance": said["claim"]["distance"],
        "query": found.digest,
    }
    assert float(said["claim"]["distance"]) >= found.lower


def test_a_box_in_which_little_can_change_is_told(make_case, capsys):
    """A claim over one point holds for every radius: it must not look like a minimum."""
    case = make_case(2, (2, 3, 2), Norm.LINF, True)
    ball = case.asked.ball
    narrow = replace(ball, lo=ball.centre, hi=ball.centre)
    asked = replace(case.asked, ball=narrow)
    made = certified(asked, 5.0, None, Budget())
    assert "in which only 0 of 2 entries can change" in str(checker.judged(made.content, case.content))
    assert made.result.to_json()["box"]["free"] == 0
    demanded = checker.Demands(box=(np.zeros(1), np.ones(1)))
    assert "another box" in checker.judged(made.content, case.content, demanded).reason


def test_another_model_is_refused(written, capsys):
    assert checker.main([str(written), str(models.path("mnist_n"))]) == 1
    assert capsys.readouterr().out == "INVALID: the certificate is for another model\n"


def test_files_in_the_wrong_order_are_told(written, capsys):
    assert checker.main([DIGITS, str(written)]) == 1
    assert capsys.readouterr().out == "INVALID: this is no certificate (it comes first, then the model)\n"


def test_wrong_usage_is_code_2(written):
    for arguments in ([], [str(written)]):
        with pytest.raises(SystemExit) as stop:
            checker.main(arguments)
        assert stop.value.code == 2


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nowhere.onnx"], "nowhere.onnx"),
        (["pipe"], "no regular file"),
        ([DIGITS, "--norm", "l3"], "l3"),
        ([DIGITS, "--label", "x"], "--label"),
        ([DIGITS, "--target", "-1"], "-1"),
        ([DIGITS, "--box=0,x"], "0,x"),
        ([DIGITS, "--box", "x.npz"], "x.npz"),
        ([DIGITS, "--margin", "-1"], "-1"),
        ([DIGITS, "--radius", "1/0"], "1/0"),
        ([DIGITS, "--radius", "nan"], "nan"),
        ([DIGITS, "--input", "pipe"], "no regular file"),
        ([DIGITS, "--input", "cut.npy"], "cut.npy"),
    ],
)
def test_what_cannot_be_read_is_told_in_one_line(written, folder, words, says, capfd):
    os.mkfifo("pipe")
    Path("cut.npy").write_bytes(Path("x.npy").read_bytes()[:150])
    with pytest.raises(SystemExit) as stop:
        checker.main([str(written), *words])
    assert stop.value.code == 2
    told = capfd.readouterr().err
    assert says in told
    assert told.count("\n") == 1 or "--label" in words  # of which argparse itself complains
    assert main.main(["certify", str(written), *words]) == Exit.BAD_INPUT
    assert says in capfd.readouterr().err


@pytest.mark.parametrize("method", ["tree", "milp", "z3"])
def test_the_answers_of_all_methods_are_certified(method, tmp_path, capsys):
    path = tmp_path / "c.cert"
    arguments = ["minimal", DIGITS, INPUTS, "--index", "3", "--target", "4", "--method", method, "--json"]
    assert main.main([*arguments, "--certificate", str(path)]) == Exit.GOOD
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
        "float32": found.float32,
    }
    assert (said["float32"]["lower"], said["float32"]["evidence"]) == (found.float32, "certified")


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
    assert main.main(arguments) == code
    assert says in str(checker.checked(path.read_bytes(), Path(DIGITS).read_bytes()))


@pytest.mark.parametrize(
    ("command", "module", "name", "share"),
    [
        (["minimal"], minimum, "brackets", 0.5),
        (["check", "--radius", "0.01"], robustness, "check", 1.0),
        (["check", "--property", "p.vnnlib"], property_command, "check_property", 1.0),
    ],
    ids=["minimal", "a radius", "a property"],
)
def test_half_the_time_is_kept_where_an_open_question_has_a_certificate(
    command, module, name, share, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    names = "".join(f"(declare-const {kind}_{n} Real)" for kind, size in (("X", 64), ("Y", 10)) for n in range(size))
    Path("p.vnnlib").write_text(f"{names}(assert (>= Y_0 Y_1))")
    seen = []

    def noted(asked, settings, *_):
        seen.append(settings.budget.remaining)
        raise InputError("enough")

    monkeypatch.setattr(module, name, noted)
    given = [] if "--property" in command else [INPUTS, "--index", "3"]
    arguments = [command[0], DIGITS, *given, *command[1:], "--certificate", "c.cert", "--timeout", "10000"]
    assert main.main(arguments) == Exit.BAD_INPUT
    assert 0.9 * share < seen[0] / 10000 <= share


def test_a_model_with_several_outputs_has_none(tmp_path, capsys):
    proto = onnx.load(DIGITS)
    hidden = next(node for node in proto.graph.node if node.op_type == "Relu").output[0]
    proto.graph.output.append(onnx.helper.make_empty_tensor_value_info(hidden))
    model, certificate, scores = tmp_path / "two.onnx", tmp_path / "c.cert", proto.graph.output[0].name
    onnx.save(proto, model)
    words = ["minimal", str(model), INPUTS, "--index", "3", "--output", scores, "--certificate", str(certificate)]
    assert main.main(words) == Exit.UNDECIDED
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "no certificate" in line]
    assert line.endswith("does not read this model: the model has 2 outputs; one with the scores alone is read")
    assert not certificate.exists()


def test_without_time_there_is_no_certificate_and_an_old_one_is_removed(tmp_path, capsys):
    path = tmp_path / "c.cert"
    path.write_text("an old one")
    arguments = ["minimal", DIGITS, INPUTS, "--index", "0", "--timeout", "1e-6", "--json", "--certificate", str(path)]
    assert main.main(arguments) == Exit.UNDECIDED
    said = capsys.readouterr()
    assert "no certificate was written" in said.err
    assert json.loads(said.out)["certificate"]["path"] is None
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("place", ["nowhere/c.cert", "."])
def test_a_place_that_cannot_be_written_is_told_before_the_work(tmp_path, place):
    arguments = ["minimal", DIGITS, INPUTS, "--index", "0", "--certificate", str(tmp_path / place)]
    assert main.main(arguments) == Exit.BAD_INPUT


def test_every_target_has_a_certificate_of_its_own(tmp_path, capsys):
    arguments = ["minimal", DIGITS, INPUTS, "--index", "3", "--all-targets", "--json"]
    assert main.main([*arguments, "--certificate", str(tmp_path / "c.cert")]) == Exit.GOOD
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
    assert said["float32"]["evidence"] == "certified"
    assert main.main([*arguments[:-1], "--certificate", str(tmp_path / "c.cert")]) == Exit.GOOD
    assert "every float32 evaluation, certified" in capsys.readouterr().out


def test_targets_without_a_certificate_are_told(tmp_path, capsys):
    arguments = ["minimal", DIGITS, INPUTS, "--index", "0", "--all-targets", "--timeout", "1e-6", "--json"]
    assert main.main([*arguments, "--certificate", str(tmp_path / "c.cert")]) == Exit.UNDECIDED
    said = capsys.readouterr()
    assert "no certificate was written for target 7" in said.err
    assert {result["certificate"]["path"] for result in json.loads(said.out)["results"]} == {None}
    assert not list(tmp_path.iterdir())


def test_a_certificate_is_that_of_a_model_packed_or_not(written, tmp_path, capsys):
    packed, own = tmp_path / "digits.onnx.gz", tmp_path / "own.cert"
    packed.write_bytes(gzip.compress(Path(DIGITS).read_bytes()))
    assert main.main(["minimal", str(packed), INPUTS, "--index", "3", "--certificate", str(own)]) == Exit.GOOD
    assert own.read_bytes() == written.read_bytes()
    capsys.readouterr()
    assert main.main(["certify", str(written), str(packed)]) == Exit.GOOD
    assert capsys.readouterr().out.startswith("VALID: no adversarial example closer than 0.0550")
    packed.write_bytes(packed.read_bytes()[:-9])
    assert main.main(["certify", str(written), str(packed)]) == Exit.BAD_INPUT
    assert "is damaged" in (told := capsys.readouterr().err) or "cut off" in told
