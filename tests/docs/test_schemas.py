"""What the program writes as JSON is as the schemas in docs/schemas say."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from verifier.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
SCHEMAS = sorted((ROOT / "docs" / "schemas").glob("*.json"))
SIXTH = ["digits", "digits", "--index", "6"]

ANSWERS = {
    "minimal": ("answer", ["minimal", *SIXTH]),
    "all targets": ("answer", ["minimal", *SIXTH, "--all-targets", "--timeout", "3s"]),
    "out of time": ("answer", ["minimal", *SIXTH, "--timeout", "0.001s"]),
    "holds": ("answer", ["check", *SIXTH, "--radius", "0.02"]),
    "violated": ("answer", ["check", *SIXTH, "--radius", "51/255"]),
    "attack": ("answer", ["attack", *SIXTH]),
    "on a grid": ("answer", ["minimal", *SIXTH, "--grid", "16"]),
    "holds on a grid": ("answer", ["check", *SIXTH, "--radius", "1/16", "--grid", "16"]),
    "ranges": ("bounds", ["bounds", "digits", "--box", "0", "0.05", "--entry", "3"]),
    "inspect": ("inspect", ["inspect", "digits"]),
    "doctor": ("doctor", ["doctor"]),
}
"""Which schema a command's answer has."""


def schema(name: str) -> Any:
    return json.loads((ROOT / "docs" / "schemas" / f"{name}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", SCHEMAS, ids=lambda path: path.stem)
def test_a_schema_is_one_and_stands_on_the_page(path: Path) -> None:
    jsonschema.Draft202012Validator.check_schema(schema(path.stem))
    assert f"(../schemas/{path.name})" in (ROOT / "docs/reference/schemas.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    kind, arguments = ANSWERS[name]
    main([*arguments, "--json"])
    jsonschema.validate(json.loads(capsys.readouterr().out), schema(kind))


@pytest.mark.parametrize(
    ("row", "verdict"), [("(>= Y_3 100)", "holds"), ("(>= Y_3 0)", "violated"), ("true", "unknown")]
)
def test_an_answer_about_a_property(row: str, verdict: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"(declare-const X_{k} Real)(assert (and (>= X_{k} 0.1) (<= X_{k} 0.1)))" for k in range(1)]
    names += [f"(declare-const X_{k} Real)(assert (and (>= X_{k} 0) (<= X_{k} 0.1)))" for k in range(1, 64)]
    file = tmp_path / "p.vnnlib"
    if verdict != "unknown":
        names[0] = names[0].replace("(<= X_0 0.1)", "(<= X_0 0.2)")
    outputs = "".join(f"(declare-const Y_{k} Real)" for k in range(10))
    file.write_text("".join(names) + outputs + f"(assert {row})", encoding="utf-8")
    kept = str(tmp_path / "p.cert")
    main(["check", "digits", "--property", str(file), "--json", "--certificate", kept])
    told = json.loads(capsys.readouterr().out)
    jsonschema.validate(told, schema("property"))
    assert told["verdict"] == verdict
    assert (told["certificate"]["path"] == kept) is (verdict == "holds")
    if verdict == "holds":
        main(["certify", kept, "digits", "--json"])
        jsonschema.validate(json.loads(capsys.readouterr().out), schema("certify"))


@pytest.mark.parametrize(("row", "status"), [("(>= Y_8 Y_3)", "minimal"), ("(>= Y_3 1000)", "unreachable")])
def test_a_distance_to_a_property(row: str, status: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = "".join(f"(declare-const X_{k} Real)(assert (and (>= X_{k} 0) (<= X_{k} 1)))" for k in range(64))
    outputs = "".join(f"(declare-const Y_{k} Real)" for k in range(10))
    file = tmp_path / "p.vnnlib"
    file.write_text(f"{names}{outputs}(assert {row})", encoding="utf-8")
    main(["minimal", *SIXTH, "--property", str(file), "--precision", "0.05", "--json"])
    told = json.loads(capsys.readouterr().out)
    jsonschema.validate(told, schema("property-minimum"))
    assert told["status"] == status


def test_a_certificate_and_what_is_said_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = str(tmp_path / "6.cert")
    main(["minimal", *SIXTH, "--certificate", file, "--json"])
    written = json.loads(capsys.readouterr().out)
    jsonschema.validate(written, schema("answer"))
    assert written["certificate"]["path"] == file
    for radius in ("0.02", "3"):
        main(["certify", file, "digits", "--radius", radius, "--json"])
        jsonschema.validate(json.loads(capsys.readouterr().out), schema("certify"))


@pytest.mark.parametrize(
    ("kind", "path"), [("baseline", "examples/ci/baseline.json"), ("report", "docs/table1/report.json")]
)
def test_a_file_that_was_written(kind: str, path: str) -> None:
    jsonschema.validate(json.loads((ROOT / path).read_text(encoding="utf-8")), schema(kind))


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("answer", lambda told: told.update(status="closed")),
        ("answer", lambda told: told.pop("evidence")),
        ("answer", lambda told: told.update(more=1)),
        ("answer", lambda told: told["witness"].pop("exact_margin")),
    ],
)
def test_something_else_is_refused(kind: str, change: Callable[[Any], Any], capsys: pytest.CaptureFixture[str]) -> None:
    main(["minimal", *SIXTH, "--timeout", "2s", "--json"])
    told = json.loads(capsys.readouterr().out)
    change(told)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(told, schema(kind))
