"""The JSON objects: their keys, full precision, null for what JSON cannot say."""

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from verifier.problem.verdict import (
    Bracket,
    Evidence,
    Holds,
    Initial,
    Search,
    Status,
    Unknown,
    Verdict,
    Violated,
    Witness,
)
from verifier.report.json_result import RunRecord, all_targets_json, check_json, dumps, minimal_json, number

RUN = RunRecord("minimal", Path("m.onnx"), "ab", Path("x.npy"), 0, "linf", 3, None, 0.0, 1e-3, None, "milp", "highs")
WITNESS = Witness(np.zeros(4, dtype=np.float32), 0.1 + 0.2, 5, 1e-9, 2e-9, 5)
BRACKET = Bracket(
    0.1, 0.1 + 0.2, WITNESS, Evidence.SOLVER, 1e-3, Status.MINIMAL, Initial("cw", 0.5), None, 1.5, final=True
)
KEYS = {
    *("schema", "status", "lower", "upper", "norm", "label", "target", "precision", "initial", "witness", "evidence"),
    *("float32", "method", "solver", "search", "seconds", "model_sha256", "versions"),
}
SEARCH = Search("LP tree", 7600, 12, 3.8)


@dataclass(frozen=True)
class Checked:
    verdict: Verdict
    witness: Witness | None
    reason: str
    evidence: Evidence | None
    seconds: float
    target: int | None
    search: Search | None = None
    float32: bool | None = None


def test_minimal_has_the_keys_of_schema_1_at_full_precision() -> None:
    result = json.loads(dumps(minimal_json(RUN, BRACKET, Path("out/witness.npy"), None)))
    assert result.keys() >= KEYS
    assert result["schema"] == 1
    assert result["upper"] == 0.1 + 0.2
    assert result["status"] == "minimal"
    assert result["evidence"] == "solver"
    assert result["initial"] == {"attack": "cw", "distance": 0.5}
    assert result["float32"] is None
    both = minimal_json(RUN, replace(BRACKET, float32=0.09), None, None)["float32"]
    assert (both["lower"], both["upper"], both["witness"]["target"]) == (0.09, 0.1 + 0.2, 5)
    assert result["witness"]["path"] == str(Path("out/witness.npy"))
    assert result["witness"].keys() >= {"path", "predicted", "exact_margin", "onnxruntime_margin"}
    assert {"relu-verifier", "python", "numpy", "onnx", "onnxruntime", "highspy", "pulp"} >= result["versions"].keys()


def test_what_a_tree_has_cost() -> None:
    tree = replace(RUN, method="tree", solver=None)
    told = {"engine": "LP tree", "nodes": 7600, "open_nodes": 12, "seconds": 3.8}
    result = json.loads(dumps(minimal_json(tree, replace(BRACKET, search=SEARCH), None, None)))
    assert (result["search"], result["method"], result["solver"]) == (told, "tree", None)
    assert result["versions"].keys() >= {"highspy", "scipy"}
    assert json.loads(dumps(minimal_json(RUN, BRACKET, None, None)))["search"] is None
    checked = Checked(Holds(Evidence.PROVED), None, "", Evidence.PROVED, 4.0, None, SEARCH)
    assert check_json(replace(tree, radius=0.25), checked, None, None)["search"] == told


def test_infinities_become_null() -> None:
    bracket = replace(
        BRACKET,
        lower=math.inf,
        upper=math.inf,
        witness=None,
        status=Status.UNREACHABLE,
        initial=Initial("cw", math.inf),
    )
    result = json.loads(dumps(minimal_json(RUN, bracket, None, None)))
    assert (result["lower"], result["upper"], result["witness"]) == (None, None, None)
    assert result["initial"]["distance"] is None
    assert [number(value) for value in (math.inf, -math.inf, math.nan, 0.5)] == [None, None, None, 0.5]


def test_a_float_that_json_cannot_say_is_refused() -> None:
    with pytest.raises(ValueError):
        dumps({"x": math.inf})


def test_all_targets_names_each_witness_file() -> None:
    results = [replace(BRACKET, target=5), replace(BRACKET, target=6, witness=None)]
    result = json.loads(dumps(all_targets_json(RUN, BRACKET, results, {5: Path("witness-5.npy")}, None, {})))
    assert result.keys() >= {*KEYS, "results"}
    assert result["witness"]["path"] == "witness-5.npy"
    assert [entry["target"] for entry in result["results"]] == [5, 6]
    assert result["results"][0]["witness"]["path"] == "witness-5.npy"
    assert result["results"][1]["witness"] is None


@pytest.mark.parametrize(
    ("verdict", "witness", "name"),
    [
        (Holds(Evidence.EXACT), None, "holds"),
        (Violated(np.zeros(4)), WITNESS, "violated"),
        (Unknown("time"), None, "unknown"),
    ],
)
def test_check_says_its_verdict(verdict: Verdict, witness: Witness | None, name: str) -> None:
    evidence = verdict.evidence if isinstance(verdict, Holds) else None
    run = replace(RUN, command="check", radius=0.25, precision=None)
    result = json.loads(dumps(check_json(run, Checked(verdict, witness, "why", evidence, 0.5, None), None, None)))
    assert result.keys() >= {"schema", "verdict", "reason", "witness", "evidence", "seconds", "radius"}
    assert (result["verdict"], result["radius"], result["reason"]) == (name, 0.25, "why")
    assert (result["witness"] is None) == (witness is None)
    assert result["float32"] is None
    both = check_json(run, Checked(verdict, witness, "why", evidence, 0.5, None, None, True), None, None)
    assert (both["float32"]["holds"], "FMA" in both["float32"]["assumes"]) == (True, True)
