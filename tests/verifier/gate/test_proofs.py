"""A gate's certificates: those that its passed requirements rest on, each once; what has none says why."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from verifier import models
from verifier.campaign.backends import Backend
from verifier.campaign.plan.selection import tasks_of
from verifier.campaign.store.store import Store
from verifier.certificates import checker
from verifier.gate.proofs import certified_so_far, certify_proofs, resting
from verifier.gate.requirements import read_gate
from verifier.gate.settle import Settled, Until, settle, stored
from verifier.gate.verdict import Ruling
from verifier.problem.budget import Budget

PLAN = 'models = ["{model}"]\ndata = "digits"\nselect = {{ count = 4 }}\n'
HALF = '[[require]]\nname = "half"\ncertified_accuracy = 0.5\nradius = 0.005\n'
NONE = '[[require]]\nname = "none"\nmin_distortion = 0.5\n'


def run(folder: Path, text: str, until: Until = Until.SETTLED) -> tuple[Settled, Store]:
    path = folder / "robustness.toml"
    path.write_text(text, encoding="utf-8")
    gate = read_gate(path)
    gate.plan.store.parent.mkdir(exist_ok=True)
    store = Store(gate.plan.store)
    wanted = tasks_of(gate.plan, {})
    found = settle(gate, wanted, store, Backend(jobs=1), Budget(), lambda _: None, until)
    assert stored(gate, wanted, store).judgements[0].ruling is found.judgements[0].ruling
    return found, store


def test_only_what_carries_a_passed_requirement_is_certified(tmp_path: Path) -> None:
    found, store = run(tmp_path, PLAN.format(model="digits") + HALF + NONE)
    assert [one.ruling for one in found.judgements] == [Ruling.PASS, Ruling.FAIL]
    with store:
        wanted = resting(found.judgements, found.results)
        assert len(wanted) >= 2
        assert all(one.lower >= 0.005 for one in wanted)
        assert resting(found.judgements[1:], found.results) == []
        told = certify_proofs(found.judgements, found.results, store, tmp_path / "c", 1, Budget(), 60.0)
        assert (told.count, told.certified, told.reasons) == (len(wanted), len(wanted), ())
        assert certified_so_far(found.judgements, store.results(), "late") == told
        kept = {one.id: one for one in store.results() if one.certificate}
        points = {one.id: store.task(one.task).point for one in wanted}
    assert kept.keys() == {one.id for one in wanted}
    for one in kept.values():
        proved = checker.checked(Path(one.certificate).read_bytes(), one.model.read_bytes())
        assert proved.lower == one.lower
        assert np.array_equal(proved.query.centre, points[one.id])


def test_what_is_not_certified_says_why(tmp_path: Path) -> None:
    found, store = run(tmp_path, PLAN.format(model="digits") + HALF)
    over = Budget()
    over.cancel()
    with store:
        told = certify_proofs(found.judgements, found.results, store, tmp_path / "c", 1, over, 60.0)
        assert told.certified == 0
        assert told.reasons == ((over.reason, told.count),)
        assert certified_so_far(found.judgements, found.results, over.reason) == told
        short = certify_proofs(found.judgements, found.results, store, tmp_path / "c", 1, Budget(), 1e-6)
        assert short.certified == 0
        assert "time" in short.reasons[0][0]
        changed = [replace(one, transforms="views") for one in found.results]
        under = certify_proofs(found.judgements, changed, store, tmp_path / "c", 1, Budget(), 60.0)
    assert "transformations" in under.reasons[0][0]


def test_a_model_that_the_checker_does_not_read_is_not_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    proto = onnx.load(models.path("digits"))
    proto.graph.node[0].attribute.append(onnx.helper.make_attribute("unheard_of", 1))
    found, store = run(tmp_path, PLAN.format(model="digits") + HALF)
    onnx.save(proto, tmp_path / "odd.onnx")
    monkeypatch.setattr("verifier.gate.proofs.certify", None)
    results = [replace(one, model=tmp_path / "odd.onnx") for one in found.results]
    with store:
        told = certify_proofs(found.judgements, results, store, tmp_path / "c", 1, Budget(), 60.0)
    assert told.certified == 0
    assert "does not read" in told.reasons[0][0]
