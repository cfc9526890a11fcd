"""`check --property` and `verify` through the command line: what they print, write and return."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from verifier.certificates import checker, property_builder
from verifier.cli.exit_codes import Exit
from verifier.cli.main import main
from verifier.problem.budget import OutOfTimeError
from verifier.problem.properties.from_vnnlib import read_vnnlib
from verifier.report import terminal
from verifier.search import property_check


@pytest.fixture(scope="module")
def ramp(truth: Any, save_net: Callable[..., Any]) -> str:
    """y = min(x, 1 − x) on [0, 1]: 0.5 at most."""
    return str(save_net(truth.of_layers(([[1.0], [1.0]], [0.0, -0.5]), ([[1.0, -2.0]], [0.0]))).path)


@pytest.fixture
def query(tmp_path: Path) -> Callable[[str], str]:
    def write(row: str) -> str:
        file = tmp_path / "p.vnnlib"
        box = "(declare-const X_0 Real)(declare-const Y_0 Real)(assert (and (>= X_0 0.1) (<= X_0 1)))"
        file.write_text(f"{box}(assert {row})")
        return str(file)

    return write


OVER, NEVER, TIED = "(>= Y_0 0.4)", "(>= Y_0 0.6)", "(and (<= X_0 0.1) (>= Y_0 0.1))"


def test_a_property_that_is_violated(
    ramp: str, query: Callable[[str], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["check", ramp, "--property", query(OVER), "--json", "--out", str(out)]) == Exit.VIOLATED
    text = capsys.readouterr().out
    found = json.loads(text)
    assert (out / "result.json").read_text() == text
    assert (found["verdict"], found["command"], found["certificate"]) == ("violated", "check", None)
    assert found["witness"]["path"] == str(out / "witness.npy")
    x = np.load(out / "witness.npy")
    assert x.shape == (1, 1)
    assert x.dtype == np.float32
    assert found["witness"]["point"] == x.tolist()
    assert read_vnnlib(Path(query(OVER))).satisfied(
        [Fraction(float(x[0, 0]))], [Fraction(found["witness"]["outputs"][0])]
    )


def test_a_property_that_holds(ramp: str, query: Callable[[str], str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", ramp, "--property", query(NEVER)]) == Exit.GOOD
    out, err = capsys.readouterr()
    assert err == ""
    assert "holds: there is no counterexample" in out
    assert "every float32 evaluation" in out


def test_one_that_is_undecided_says_why(
    ramp: str, query: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", ramp, "--property", query(TIED), "--json"]) == Exit.UNDECIDED
    found = json.loads(capsys.readouterr().out)
    assert (found["verdict"], found["witness"]) == ("unknown", None)
    assert found["tolerance_only"] is True
    assert "no float32 number is a value of X_0" in found["remark"]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["digits"], "INPUT does not go with --property"),
        (["--radius", "0.1"], "--radius does not go with --property"),
        (["--norm", "l1"], "--norm does not go with --property"),
        (["--box", "0", "2"], "--box does not go with --property"),
        (["--device", "cuda"], "device cuda does not go with a property"),
        (["--solver", "cbc"], "no solver to choose"),
    ],
)
def test_what_does_not_go_with_a_property_is_told(
    ramp: str, query: Callable[[str], str], given: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", ramp, "--property", query(OVER), *given]) == Exit.BAD_INPUT
    out, err = capsys.readouterr()
    assert out == ""
    assert told in err
    assert err.count("\n") == 1


def test_a_certificate_is_written_for_a_property_that_holds(
    ramp: str, query: Callable[[str], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept, asked = tmp_path / "c.cert", ["check", ramp, "--property", query(NEVER), "--json", "--certificate"]
    assert main([*asked, str(kept)]) == Exit.GOOD
    told = json.loads(capsys.readouterr().out)
    assert (told["verdict"], told["evidence"]) == ("holds", "certified")
    assert told["certificate"]["path"] == str(kept)
    assert told["certificate"]["bytes"] == kept.stat().st_size
    file = query(NEVER)
    assert main(["certify", str(kept), ramp, "--property", file]) == Exit.GOOD
    shown = capsys.readouterr().out
    assert "VALID: no input satisfies the property" in shown
    assert f"query    sha256 {told['certificate']['query']}" in shown
    assert main(["certify", str(kept), ramp, "--json"]) == Exit.GOOD
    found = json.loads(capsys.readouterr().out)
    assert found["not_demanded"] == ["property", "float32"]
    assert (told["float32"]["evidence"], found["claim"]["float32"]) == ("certified", True)
    assert main(["certify", str(kept), ramp, "--property", file, "--float32", "1"]) == Exit.GOOD
    assert "not demanded" not in capsys.readouterr().out
    in_float32 = ["check", ramp, "--property", file, "--semantics", "float32", "--certificate", str(kept)]
    assert main(in_float32) == Exit.GOOD
    assert main(["certify", str(kept), ramp, "--float32", "1"]) == Exit.GOOD
    capsys.readouterr()
    assert found["claim"]["query"] == told["certificate"]["query"]
    assert main(["certify", str(kept), ramp, "--property", query(OVER)]) == Exit.VIOLATED
    assert "for another property" in capsys.readouterr().out
    assert main(["certify", str(kept), ramp, "--radius", "0.1"]) == Exit.VIOLATED


@pytest.mark.parametrize(("row", "code"), [(OVER, Exit.VIOLATED), (TIED, Exit.UNDECIDED)])
def test_no_certificate_is_left_beside_another_answer(
    row: str, code: Exit, ramp: str, query: Callable[[str], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "c.cert"
    kept.write_bytes(b"old")
    assert main(["check", ramp, "--property", query(row), "--json", "--certificate", str(kept)]) == code
    told = json.loads(capsys.readouterr().out)
    assert told["certificate"]["path"] is None
    assert told["certificate"]["reason"]
    assert not kept.exists()


@pytest.mark.parametrize(
    ("given", "told"),
    [([], "INPUT and --radius, or --property"), (["p.vnnlib"], "missing option --radius, or --property")],
)
def test_without_a_property_check_needs_an_input_and_a_radius(
    given: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "digits", *given]) == Exit.BAD_INPUT
    assert told in capsys.readouterr().err


def test_a_property_in_the_place_of_an_input_is_told(
    query: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["minimal", "digits", query("0.5")]) == Exit.BAD_INPUT
    assert "is a property, not an input: --property" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["", "f="])
def test_verify_answers_as_the_competition_asks(
    ramp: str, query: Callable[[str], str], tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "r.txt"
    call = ["verify", query(OVER), "--network", name + ramp, "--results", str(results), "--timeout", "60"]
    assert main(call) == Exit.VIOLATED
    text = capsys.readouterr().out
    assert results.read_text() == text
    found = re.fullmatch(r"sat\n\(\(X_0 ([0-9.]+)\)\n \(Y_0 ([0-9.]+)\)\)\n", text)
    assert found is not None
    x, y = map(Fraction, found.groups())
    assert Fraction(float(np.float32(float(x)))) == x  # the number itself, all its digits
    assert read_vnnlib(Path(query(OVER))).satisfied([x], [y])


def test_verify_says_unsat_unknown_and_timeout(
    ramp: str,
    query: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["verify", query(NEVER), "--network", ramp]) == Exit.GOOD
    assert capsys.readouterr().out == "unsat\n"
    assert main(["verify", query(TIED), "--network", ramp]) == Exit.UNDECIDED
    assert capsys.readouterr().out == "unknown\n"

    def endless(search: Any) -> None:
        while True:
            search.settings.budget.check()

    monkeypatch.setattr(property_check._PropertySearch, "run", endless)
    assert main(["verify", query(NEVER), "--network", ramp, "--timeout", "1"]) == Exit.UNDECIDED
    assert capsys.readouterr().out == "timeout\n"


def test_verify_says_to_a_person_why_there_is_no_answer(
    ramp: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told: list[str] = []
    monkeypatch.setattr(terminal, "message", told.append)
    file = tmp_path / "endless.vnnlib"
    file.write_text(
        "(declare-const X_0 Real) (declare-const Y_0 Real) (assert (>= X_0 0)) (assert (and (>= Y_0 9) (<= Y_0 -9)))"
    )
    assert main(["verify", str(file), "--network", ramp]) == Exit.UNDECIDED
    assert capsys.readouterr().out == "unknown\n"
    assert "leaves X_0 without an end" in " ".join(told)


def test_unsat_leaves_a_certificate(
    ramp: str,
    query: Callable[[str], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    kept = tmp_path / "c.cert"
    asked = ["--network", ramp, "--certificate", str(kept)]
    assert main(["verify", query(NEVER), *asked]) == Exit.GOOD
    assert capsys.readouterr() == ("unsat\n", "")
    assert checker.files_judged(kept, Path(ramp), checker.Demands(property=Path(query(NEVER)).read_bytes())).valid
    assert main(["verify", query(TIED), *asked]) == Exit.UNDECIDED
    assert capsys.readouterr().out == "unknown\n"
    assert not kept.exists()

    def late(*_: Any, **__: Any) -> None:
        raise OutOfTimeError("the time is up")

    monkeypatch.setattr(property_builder, "property_certified", late)
    assert main(["verify", query(NEVER), *asked]) == Exit.UNDECIDED
    out, err = capsys.readouterr()
    assert (out, kept.exists()) == ("unsat\n", False)
    assert "no certificate was written: the time is up" in err
    nowhere = str(tmp_path / "no" / "c.cert")
    assert main(["verify", query(NEVER), "--network", ramp, "--certificate", nowhere]) == Exit.BAD_INPUT
    assert capsys.readouterr().out == ""


def test_results_that_cannot_be_written_are_told_before_the_work(
    ramp: str, query: Callable[[str], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for place, why in ((tmp_path, "directory"), (tmp_path / "none" / "out.txt", "cannot write there")):
        assert main(["verify", query(OVER), "--network", ramp, "--results", str(place)]) == Exit.BAD_INPUT
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert why in err


def test_a_query_that_cannot_be_read_is_one_line(ramp: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.vnnlib").write_text("(assert (<= X_0 1))")
    results = tmp_path / "r.txt"
    call = ["verify", str(tmp_path / "bad.vnnlib"), "--network", ramp, "--results", str(results)]
    assert main(call) == Exit.BAD_INPUT
    out, err = capsys.readouterr()
    assert (out, results.exists()) == ("", False)
    assert "line 1, column 13: 'X_0' is not declared" in err
