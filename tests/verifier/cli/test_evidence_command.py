"""`verifier gate --evidence` and `verifier evidence`: a whole pack or none, exit codes, one line for bad input."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import pytest

from tests.verifier.packs import told
from verifier.cli.evidence_command import nothing
from verifier.cli.exit_codes import Exit
from verifier.cli.main import main
from verifier.cli.time_limit import Deadline
from verifier.gate.evidence_folder import PackFolder
from verifier.gate.reprove import file_faults, sha256_of

SCHEMA = Path(__file__).resolve().parents[3] / "docs" / "schemas" / "evidence.json"
PLAN = 'models = ["digits"]\ndata = "digits"\nselect = { count = 3 }\n'
KEPT = '[[require]]\nname = "kept"\nmin_distortion = 0.005\n'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "robustness.toml").write_text(PLAN + KEPT, encoding="utf-8")
    return tmp_path


def test_the_json_is_as_its_schema_says(evidence_pack: Path) -> None:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(told(evidence_pack), schema)


def test_a_requirement_leads_to_what_carries_it(evidence_pack: Path) -> None:
    """From a name to inputs, and from these to the files that prove or refute."""
    broken = told(evidence_pack)["requirements"][1]
    carried = [(one["id"], one["ruling"], one["files"]) for one in broken["inputs"]]
    assert carried == [
        ("0001", "pass", ["certificates/0001.cert"]),
        ("0002", "pass", ["certificates/0002.cert"]),
        ("0003", "fail", ["certificates/0003.cert", "witnesses/0003.npy"]),
    ]
    assert all((evidence_pack / name).is_file() for _, _, files in carried for name in files)


def test_a_passing_gate_writes_a_pack_and_says_its_digest(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gate", "--jobs", "1", "--evidence", "pack"]) == Exit.GOOD
    out = capsys.readouterr().out
    digest = sha256_of(folder / "pack/MANIFEST")
    assert f"pack: inputs: 3, lower ends certified: 3 of 3, witnesses: 0, sha256 of MANIFEST: {digest}\n" in out
    assert file_faults(folder / "pack") == {}
    (group,) = told(folder / "pack")["groups"]
    assert group["drawn"]
    assert group["accuracy"][0]["interval"][1] == 1.0
    assert main(["gate", "--jobs", "1", "--json", "--evidence", "pack"]) == Exit.GOOD
    out, err = capsys.readouterr()
    assert json.loads(out)["ruling"] == "pass"
    assert re.search(r"sha256 of MANIFEST: [0-9a-f]{64}\n", err)
    assert sorted(path.name for path in folder.iterdir()) == [".verifier", "pack", "robustness.toml"]


def test_every_input_is_asked_although_one_refutes(folder: Path) -> None:
    (folder / "robustness.toml").write_text(PLAN + KEPT.replace("0.005", "0.3"), encoding="utf-8")
    assert main(["gate", "--jobs", "1", "--evidence", "pack"]) == Exit.VIOLATED
    assert [one["undecided"] for one in told(folder / "pack")["inputs"]] == [""] * 3


def test_a_gate_s_store_gives_a_pack_too(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gate", "--jobs", "1"]) == Exit.GOOD
    (store,) = (folder / ".verifier").glob("*.sqlite")
    assert main(["evidence", str(store), "--out", "pack", "--title", "A gate's", "--jobs", "1"]) == Exit.GOOD
    found = told(folder / "pack")
    assert (found["title"], found["requirements"]) == ("A gate's", [])
    assert {one["lower"] for one in found["inputs"]} == {0.005}
    assert "lower ends certified: 3 of 3" in capsys.readouterr().out


def test_undecided_inputs_and_missing_certificates_are_in_the_pack(folder: Path) -> None:
    """Answers that are known, and no time for a certificate."""
    assert main(["gate", "--jobs", "1"]) == Exit.GOOD
    (store,) = (folder / ".verifier").glob("*.sqlite")
    assert main(["evidence", str(store), "--out", "pack", "--jobs", "1", "--timeout", "3"]) in (Exit.GOOD, 3)
    claims = [claim for one in told(folder / "pack")["inputs"] for claim in one["claims"]]
    assert all(claim["certificate"] or claim["uncertified"] for claim in claims)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["gate", "--evidence", "file"], "this is no folder"),
        (["gate", "--evidence", "mine"], "no evidence pack"),
        (["gate", "--evidence", "no/such/folder"], "cannot write there"),
        (["gate", "--evidence", "pack", "--update-baseline", "b.json"], "exclude each other"),
        (["gate", "absent.toml", "--evidence", "pack"], "absent.toml"),
        (["evidence", "absent.sqlite", "--out", "pack"], "no such file"),
        (["evidence", "file", "--out", "pack"], "not a store"),
        (["evidence", "file", "--out", "mine"], "not a store"),
        (["evidence", "file", "--out", "pack", "--timeout", "0"], "--timeout"),
    ],
)
def test_bad_usage_is_one_line_and_leaves_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    (folder / "file").write_text("mine" * 100, encoding="utf-8")
    (folder / "mine").mkdir()
    (folder / "mine/notes.txt").write_text("mine", encoding="utf-8")
    assert main(arguments) == Exit.BAD_INPUT
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert said in err
    assert sorted(path.name for path in folder.iterdir()) == ["file", "mine", "robustness.toml"]


def test_what_was_not_asked_in_time_is_in_the_pack(folder: Path) -> None:
    (folder / "robustness.toml").write_text(f"{PLAN}total_budget = 1e-6\n{KEPT}", encoding="utf-8")
    assert main(["gate", "--jobs", "1", "--evidence", "pack"]) == Exit.UNDECIDED
    assert {one["undecided"] for one in told(folder / "pack")["inputs"]} == {"open within 0.005: not begun"}
    assert told(folder / "pack")["requirements"][0]["ruling"] == "undecided"


def test_a_process_whose_time_is_up_leaves_nothing(folder: Path) -> None:
    (folder / "robustness.toml").write_text(f"{PLAN}total_budget = 0.05\n{KEPT}", encoding="utf-8")
    command = [sys.executable, "-m", "verifier", "gate", "--jobs", "1", "--evidence", "pack", "--undecided", "warn"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == Exit.UNDECIDED
    assert not [path for path in folder.iterdir() if "pack" in path.name]


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_pack_that_is_not_whole_in_time_is_not_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], interrupted: bool
) -> None:
    deadline = Deadline(1e-6, time.monotonic(), ends_process=False)
    with PackFolder(tmp_path / "pack", "--out") as folder:
        folder.write("a", b"1")
        if interrupted:
            deadline.whole.cancel()
        assert nothing(folder, deadline) == (Exit.INTERRUPTED if interrupted else Exit.UNDECIDED)
        assert list(tmp_path.iterdir()) == []
    assert "before the evidence pack was whole" in capsys.readouterr().err
