"""A gate as SARIF 2.1.0, for code scanning: each requirement is a rule, what does not pass is a result of it."""

from __future__ import annotations

from typing import Any

from verifier.gate.verdict import Ruling
from verifier.report.gate.words import GateRun, bracket_text, deciding, figure_text, heading

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
LEVELS = {Ruling.FAIL: "error", Ruling.UNDECIDED: "warning", Ruling.PASS: "none"}
KINDS = {Ruling.FAIL: "fail", Ruling.UNDECIDED: "review", Ruling.PASS: "pass"}
SHOWN = 10
"""Inputs that a result's message names."""


def sarif(run: GateRun) -> dict[str, Any]:
    """One run of the tool; every result lies at the first line of the gate's file."""
    names = list(dict.fromkeys(judgement.requirement for judgement in run.judgements))
    rules = [{"id": name, "shortDescription": {"text": name}} for name in names]
    results = []
    for judgement in run.judgements:
        text = f"{heading(judgement)}: {figure_text(judgement.figure)}"
        text += "".join(
            f"\n{one.name} (class {one.label}): {bracket_text(one)}" for one, _ in deciding(judgement, SHOWN)
        )
        place = {"artifactLocation": {"uri": run.path.as_posix()}, "region": {"startLine": 1}}
        results.append(
            {
                "ruleId": judgement.requirement,
                "ruleIndex": names.index(judgement.requirement),
                "kind": KINDS[judgement.ruling],
                "level": LEVELS[judgement.ruling],
                "message": {"text": text},
                "locations": [{"physicalLocation": place}],
            }
        )
    driver = {"name": "relu-verifier", "version": run.version, "rules": rules}
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}
