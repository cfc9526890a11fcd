"""`verifier gate`: exit codes, what it prints and writes, and one line for what it cannot do."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Never
from xml.etree import ElementTree

import jsonschema
import numpy as np
import pytest

from encoders.errors import InputError
from verifier import models
from verifier.campaign import certificates, worker
from verifier.campaign.plan.attack_tasks import DONE, Kind, StoredFinding
from verifier.certificates import checker
from verifier.cli.campaign_command import tell_failed
from verifier.cli.exit_codes import Exit
from verifier.cli.main import main
from verifier.gate.settle import Settled
from verifier.problem.budget import OutOfTimeError

SCHEMA = Path(__file__).resolve().parents[3] / "docs" / "schemas" / "gate.json"
PLAN = 'models = ["digits"]\ndata = "digits"\nselect = { count = 4 }\n'
KEPT = '[[require]]\nname = "kept"\nmin_distortion = 0.005\n'
BROKEN = '[[require]]\nname = "broken | <b>"\nmin_distortion = 0.5\n'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(folder: Path, *requirements: str, plan: str = PLAN) -> None:
    (folder / "robustness.toml").write_text(plan + "".join(requirements), encoding="utf-8")


def test_the_file_of_the_folder_is_taken_and_kept_requirements_pass(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written(folder, KEPT)
    assert main(["gate", "--jobs", "1"]) == Exit.GOOD
    assert "1 pass" in capsys.readouterr().out
    assert [path.suffix for path in (folder / ".verifier").iterdir() if path.is_file()] == [".sqlite"]


def test_what_is_proved_is_certified_once_unless_that_is_declined(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written(folder, KEPT, plan="certificates = false\n" + PLAN)
    assert main(["gate", "--jobs", "1", "--json"]) == Exit.GOOD
    plain = json.loads(capsys.readouterr().out)
    assert plain["proofs"] is None
    assert {one["evidence"] for one in plain["requirements"][0]["inputs"]} == {"proved"}
    assert main(["gate", "--jobs", "1", "--json", "--certificates"]) == Exit.GOOD
    told = json.loads(capsys.readouterr().out)
    jsonschema.validate(told, json.loads(SCHEMA.read_text(encoding="utf-8")))
    assert (told["questions"], told["proofs"]) == (0, {"count": 4, "certified": 4, "float32": 4, "missing": []})
    assert {one["evidence"] for one in told["requirements"][0]["inputs"]} == {"certified"}
    (kept,) = (path for path in (folder / ".verifier").iterdir() if path.is_dir())
    model = models.path("digits").read_bytes()
    assert {checker.checked(path.read_bytes(), model).lower for path in kept.iterdir()} == {0.005}
    before = {path: path.stat().st_mtime_ns for path in kept.iterdir()}
    written(folder, KEPT)
    assert main(["gate", "--jobs", "1"]) == Exit.GOOD
    assert "proofs certified: 4 of 4, 4 for float32 too" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in kept.iterdir()} == before


def test_a_pack_has_the_certificates_that_the_gate_made(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(folder, KEPT)
    assert main(["gate", "--jobs", "1"]) == Exit.GOOD
    monkeypatch.setattr(certificates, "certified", None)  # nothing is built again
    assert main(["gate", "--jobs", "1", "--evidence", "pack"]) == Exit.GOOD
    assert len([*Path("pack/certificates").iterdir()]) == 4


def test_a_proof_that_is_not_certified_in_time_is_told_and_stands(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(*_: Any) -> Never:
        raise OutOfTimeError("time limit reached")

    monkeypatch.setattr(certificates, "certified", late)
    written(folder, KEPT)
    assert main(["gate", "--jobs", "1"]) == Exit.GOOD
    assert "proofs certified: 0 of 4, 0 for float32 too (4: time limit reached)" in capsys.readouterr().out


def test_a_broken_one_fails_with_everything_that_a_reviewer_wants(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    written(folder, KEPT, BROKEN)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(folder / "summary.md"))
    files = ["--junit", "j.xml", "--markdown", "m.md", "--sarif", "s.json", "--witnesses", "w"]
    assert main(["gate", "--jobs", "1", "--json", "--github", *files]) == Exit.VIOLATED
    out, err = capsys.readouterr()
    told = json.loads(out)
    jsonschema.validate(told, json.loads(SCHEMA.read_text(encoding="utf-8")))
    assert (told["ruling"], told["exit_code"]) == ("fail", 1)
    assert [one["ruling"] for one in told["requirements"]] == ["pass", "fail"]
    failing = next(one for one in told["requirements"][1]["inputs"] if one["ruling"] == "fail")
    picture = Path(failing["witness"])
    assert picture.read_bytes().startswith(b"\x89PNG")
    witness = np.load(picture.with_suffix(".npy"))
    assert witness.dtype == np.float32
    suites = ElementTree.parse("j.xml").getroot()
    assert int(suites.get("failures", 0)) >= 2
    assert suites.get("errors") == "0"
    page = Path("m.md").read_text(encoding="utf-8")
    assert "| broken \\| \\<b\\>" in page
    assert Path("summary.md").read_text(encoding="utf-8") == page
    assert "::error file=robustness.toml,title=broken | <b>%3A FAIL::" in err
    results = json.loads(Path("s.json").read_text())["runs"][0]["results"]
    assert [one["level"] for one in results] == ["none", "error"]


def test_what_cannot_be_asked_is_annotated_too(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(folder, KEPT)
    assert main(["gate", "--github", "--model", "nowhere,\n.onnx"]) == Exit.BAD_INPUT
    out, err = capsys.readouterr()
    assert out.startswith("::error file=robustness.toml,title=the gate cannot be asked::nowhere,")
    assert (out.count("\n"), err.count("\n")) == (1, 1)


@pytest.mark.parametrize(("allowed", "code"), [("fail", Exit.UNDECIDED), ("warn", Exit.GOOD)])
def test_undecided_is_no_pass_unless_it_is_let_through(
    folder: Path, capsys: pytest.CaptureFixture[str], allowed: str, code: Exit
) -> None:
    written(folder, KEPT, plan=PLAN + "total_budget = 1e-6\n")
    assert main(["gate", "--jobs", "1", "--json", "--undecided", allowed]) == code
    out, err = capsys.readouterr()
    jsonschema.validate(json.loads(out), json.loads(SCHEMA.read_text(encoding="utf-8")))
    assert json.loads(out)["ruling"] == "undecided"
    assert ("UNDECIDED" in err) == (allowed == "warn")


@pytest.mark.parametrize("kept", [True, False])
def test_ctrl_c_says_that_it_goes_on_only_where_something_is_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kept: bool
) -> None:
    def interrupted(*_: object) -> Settled:
        signal.raise_signal(signal.SIGINT)
        return Settled()

    monkeypatch.setattr("verifier.cli.gate_command.settle", interrupted)
    written(folder, KEPT)
    assert main(["gate", "--no-certificates", *([] if kept else ["--no-cache"])]) == Exit.UNDECIDED
    goes_on = ": the same command goes on from here" if kept else ""
    assert capsys.readouterr().err == f"verifier: interrupted{goes_on}\n"


def test_a_baseline_is_written_and_kept(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(folder, '[[require]]\nname = "b"\nno_worse_than = "baseline.json"\n')
    assert main(["gate", "--jobs", "1", "--update-baseline", "baseline.json"]) == Exit.GOOD
    first = Path("baseline.json").read_bytes()
    assert main(["gate", "--jobs", "1"]) == Exit.GOOD
    assert (
        main(["gate", "--jobs", "1", "--update-baseline", "baseline.json", "--no-cache", "--no-certificates"])
        == Exit.GOOD
    )
    assert Path("baseline.json").read_bytes() == first


def test_known_answers_load_no_solver(folder: Path) -> None:
    written(folder, KEPT)
    assert main(["gate", "--jobs", "1"]) == Exit.GOOD
    code = (
        "import sys; from verifier.cli.main import main; assert main(['gate', '--jobs', '1']) == 0; "
        f"print([name for name in {UNWANTED!r} if name in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=folder)
    assert told.stdout.splitlines()[-1] == "[]"


UNWANTED = ("sklearn", "numba", "matplotlib", "scipy.optimize", "highspy", "pulp", "z3", "joblib", "torch")


@pytest.mark.long
def test_verdicts_do_not_depend_on_the_cache_or_on_jobs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(folder, KEPT)
    told = []
    for flags in (["--jobs", "1"], ["--jobs", "1"], ["--jobs", "1", "--no-cache"], ["--jobs", "2", "--no-cache"]):
        assert main(["gate", "--json", *flags]) == Exit.GOOD
        found = json.loads(capsys.readouterr().out)
        told.append([(one["name"], one["ruling"]) for one in found["requirements"]])
    assert told.count(told[0]) == len(told)


def test_without_the_cache_nothing_is_kept(folder: Path) -> None:
    written(folder, KEPT)
    assert main(["gate", "--jobs", "1", "--no-cache"]) == Exit.GOOD
    assert [path.name for path in folder.iterdir()] == ["robustness.toml"]


def test_what_became_of_points_and_attacks_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez("tool.npz", points=np.full((4, 64), 2.0), index=range(4))
    written(folder, KEPT, plan='data = "inputs.npz"\nmodels = ["digits"]\npoints = ["tool.npz"]\n')
    with np.load(models.path("digits").with_name("digits_inputs.npz")) as held:
        np.savez("inputs.npz", x=held["x"][:4], y=held["y"][:4])
    said = "tool: 0 of 4 points replay; the others: 4 outside the box"
    assert main(["gate", "--jobs", "1"]) == Exit.GOOD
    assert said in capsys.readouterr().out
    assert main(["gate", "--jobs", "1", "--json"]) == Exit.GOOD
    out, err = capsys.readouterr()
    assert (json.loads(out)["ruling"], said in err) == ("pass", True)
    assert main(["gate", "--jobs", "1", "--update-baseline", "b.json"]) == Exit.GOOD
    assert said in capsys.readouterr().out


def test_attacks_that_their_time_limit_ended_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    whole, cut = (
        StoredFinding("", Kind.ATTACK, "fgsm", DONE, np.inf, None, {"complete": complete}, 1.0, "")
        for complete in (True, False)
    )
    tell_failed([], [whole])
    assert capsys.readouterr().err == ""
    tell_failed([], [whole, cut, cut])
    assert "ended by the time limit, with what was found by then: attack fgsm (2)" in capsys.readouterr().err


def test_an_attack_that_fails_is_told_and_the_search_decides(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise InputError("it is broken")

    monkeypatch.setattr(worker, "AttackTasks", broken)
    written(folder, KEPT, plan=PLAN.replace("4", "1"))
    assert main(["gate", "--jobs", "1", "--attacks", "fgsm"]) == Exit.GOOD
    assert "attack fgsm: it is broken" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--certificates", "--update-baseline", "b.json"], "--certificates and --update-baseline exclude"),
        (["absent.toml"], "absent.toml: no such file: a plan with requirements is expected, such as models = "),
        (["--undecided", "pass"], "fail or warn"),
        (["bad.toml"], "certificates: 1: true or false is expected"),
        (["--undecided", "warn", "--update-baseline", "b.json"], "--undecided and --update-baseline exclude"),
        (["--junit", "no/such/folder.xml"], "--junit"),
        (["--update-baseline", "."], "directory"),
        (["--witnesses", "bad.toml"], "--witnesses bad.toml: this is no folder"),
        (["--store", "bad.toml/gate.sqlite"], "--store FILE puts it elsewhere, --no-cache leaves it out"),
    ],
)
def test_bad_usage_is_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    written(folder, KEPT)
    (folder / "bad.toml").write_text(f"certificates = 1\n{PLAN}{KEPT}", encoding="utf-8")
    assert main(["gate", *arguments]) == Exit.BAD_INPUT
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert said in err
