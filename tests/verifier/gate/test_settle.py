"""Settling: the same verdicts as all brackets give, no more questions than it takes, nothing asked twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import verifier
from verifier import models
from verifier.campaign import worker
from verifier.campaign.backends import Backend
from verifier.campaign.plan.messages import Outcome
from verifier.campaign.plan.selection import tasks_of
from verifier.campaign.store.store import Store
from verifier.gate.requirements import Gate, read_gate
from verifier.gate.settle import Questions, Settled, Until, settle
from verifier.gate.verdict import Judgement, Known, Ruling
from verifier.problem.budget import Budget

PLAN = 'models = ["digits"]\ndata = "digits"\nselect = { count = 8, seed = 0 }\n'


@pytest.fixture
def settled(tmp_path: Path) -> Callable[..., Settled]:
    """Settles the requirements of a text on the shipped net, in a store that stays for the test."""

    def run(
        text: str,
        *,
        budget: Budget | None = None,
        jobs: int = 1,
        until: Until = Until.SETTLED,
        plan: str = PLAN,
    ) -> Settled:
        path = tmp_path / "robustness.toml"
        path.write_text(plan + text, encoding="utf-8")
        gate: Gate = read_gate(path, baselines=until is not Until.WHOLE)
        gate.plan.store.parent.mkdir(exist_ok=True)
        with Store(gate.plan.store) as store:
            wanted = tasks_of(gate.plan, {})
            watch: Callable[[Sequence[Judgement]], None] = lambda _: None  # noqa: E731
            return settle(gate, wanted, store, Backend(jobs=jobs), budget or Budget(), watch, until)

    return run


def minima() -> dict[str, Any]:
    """The brackets of the same inputs, each by a question of its own."""
    path = models.path("digits")
    model = verifier.load(path)
    found = {}
    for wanted in tasks_of(read_plan_of(PLAN), {}):
        task = wanted.task
        found[f"input {task.index}"] = verifier.minimal(model, task.point, label=task.label)
    return found


def read_plan_of(text: str) -> Any:
    import tomllib  # noqa: PLC0415

    from verifier.campaign.plan.plan import plan_of  # noqa: PLC0415

    return plan_of({"targets": "untargeted", "store": "x.sqlite", **tomllib.loads(text)}, Path("x.toml"), {})


def only(found: Settled) -> Judgement:
    (judgement,) = found.judgements
    return judgement


def test_verdicts_are_those_of_all_brackets(settled: Callable[..., Settled]) -> None:
    truth = minima()
    uppers = sorted(bracket.upper for bracket in truth.values())
    for radius in (0.5 * uppers[0], 0.5 * (uppers[2] + uppers[3]), 1.01 * uppers[-1]):
        robust = sum(bracket.lower >= radius for bracket in truth.values())
        for share in (0.25, 0.5, 0.875, 1.0):
            found = settled(f"[[require]]\ncertified_accuracy = {share}\nradius = {radius!r}\n")
            expected = Ruling.PASS if robust >= share * len(truth) else Ruling.FAIL
            assert only(found).ruling is expected
            for one in only(found).inputs:
                bracket = truth[one.name]
                assert one.lower <= bracket.upper
                assert bracket.lower <= one.upper


def test_no_more_is_asked_than_settles_it(settled: Callable[..., Settled]) -> None:
    nearest = min(bracket.upper for bracket in minima().values())
    failed = settled(f"[[require]]\nmin_distortion = {1.01 * nearest!r}\n")
    assert only(failed).ruling is Ruling.FAIL
    assert failed.asked < 8, "one witness refutes it: the weak are asked first"
    again = settled(f"[[require]]\nmin_distortion = {1.01 * nearest!r}\n")
    assert (only(again).ruling, again.asked) == (Ruling.FAIL, 0)


def test_for_an_evidence_pack_every_input_is_asked_at_its_radius(settled: Callable[..., Settled]) -> None:
    nearest = min(bracket.upper for bracket in minima().values())
    text = f"[[require]]\nmin_distortion = {1.01 * nearest!r}\n"
    assert only(settled(text)).unknown
    found = settled(text, until=Until.EVERY_RADIUS)
    assert only(found).ruling is Ruling.FAIL
    assert only(found).unknown == ()
    assert settled(text, until=Until.EVERY_RADIUS).asked == 0


def test_a_stricter_requirement_takes_what_is_known(settled: Callable[..., Settled]) -> None:
    first = settled("[[require]]\nmin_distortion = 0.01\n")
    assert (only(first).ruling, first.asked) == (Ruling.PASS, 8)
    looser = settled("[[require]]\nmin_distortion = 0.005\n")
    assert (only(looser).ruling, looser.asked) == (Ruling.PASS, 0)


def test_two_processes_settle_the_same(settled: Callable[..., Settled], tmp_path: Path) -> None:
    text = "[[require]]\nmin_distortion = 0.01\n[[require]]\nmean = 0.05\n"
    one = settled(text)
    (tmp_path / ".verifier").rename(tmp_path / "first")
    two = settled(text, jobs=2)
    assert [judgement.ruling for judgement in one.judgements] == [judgement.ruling for judgement in two.judgements]


def test_a_mean_takes_brackets_until_it_is_settled(settled: Callable[..., Settled]) -> None:
    truth = minima().values()
    mean = sum(bracket.upper for bracket in truth) / len(truth)
    assert only(settled(f"[[require]]\nmean = {0.9 * mean!r}\n")).ruling is Ruling.PASS
    assert only(settled(f"[[require]]\nmean = {1.1 * mean!r}\n")).ruling is Ruling.FAIL


def test_without_time_it_is_undecided(settled: Callable[..., Settled]) -> None:
    found = settled("[[require]]\nmin_distortion = 0.01\n", budget=Budget(1e-9))
    assert only(found).ruling is Ruling.UNDECIDED


def test_a_misclassified_input_fails(settled: Callable[..., Settled]) -> None:
    model = verifier.load(models.path("digits"))
    tasks = [wanted.task for wanted in tasks_of(read_plan_of(PLAN.replace("count = 8", "count = 200")), {})]
    wrong = next(task.index for task in tasks if model.predict(task.point) != task.label)
    plan = f'models = ["digits"]\ndata = "digits"\nselect = {{ indices = [{wrong}] }}\n'
    found = settled("[[require]]\nmin_distortion = 0.001\n", plan=plan)
    one: Known = only(found).inputs[0]
    assert (only(found).ruling, one.upper) == (Ruling.FAIL, 0.0)


def test_a_selection_does_not_depend_on_what_the_model_gets_right(
    settled: Callable[..., Settled],
) -> None:
    """With correct = true an input that the model gets wrong is named, and counts as wrong where accuracy is asked."""
    model = verifier.load(models.path("digits"))
    tasks = [wanted.task for wanted in tasks_of(read_plan_of(PLAN.replace("count = 8", "count = 200")), {})]
    wrong = next(task.index for task in tasks if model.predict(task.point) != task.label)
    right = [task.index for task in tasks if model.predict(task.point) == task.label][:3]
    chosen = f"indices = [{wrong}, {', '.join(map(str, right))}], correct = true"
    plan = f'models = ["digits"]\ndata = "digits"\nselect = {{ {chosen} }}\n'
    text = (
        "[[require]]\nmin_distortion = 0.001\n[[require]]\nmean = 0.001\n"
        "[[require]]\ncertified_accuracy = 0.75\nradius = 0.001\n"
        "[[require]]\ncertified_accuracy = 1.0\nradius = 0.001\n"
    )
    least, mean, three, four = settled(text, plan=plan).judgements
    assert (least.ruling, mean.ruling) == (Ruling.PASS, Ruling.PASS)
    assert least.note == mean.note == f"correct = true: left out, since they are misclassified: input {wrong}"
    assert len(least.inputs) == 3
    assert (three.ruling, four.ruling) == (Ruling.PASS, Ruling.FAIL)
    assert len(four.inputs) == 4


def test_where_all_is_misclassified_nothing_passes(settled: Callable[..., Settled]) -> None:
    model = verifier.load(models.path("digits"))
    tasks = [wanted.task for wanted in tasks_of(read_plan_of(PLAN.replace("count = 8", "count = 200")), {})]
    wrong = next(task.index for task in tasks if model.predict(task.point) != task.label)
    plan = f'models = ["digits"]\ndata = "digits"\nselect = {{ indices = [{wrong}], correct = true }}\n'
    assert only(settled("[[require]]\nmin_distortion = 0.001\n", plan=plan)).ruling is Ruling.FAIL


def test_a_question_is_chosen_by_one_look_at_the_requirements(
    settled: Callable[..., Settled], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = settled("[[require]]\nmin_distortion = 0.01\n", budget=Budget(1e-9))
    gate = read_gate(tmp_path / "robustness.toml")
    questions = Questions(gate, tasks_of(gate.plan, {}), first.results, lambda _: None, Until.SETTLED)
    looks = []
    monkeypatch.setattr(Questions, "judgements", lambda self: looks.append(1) or self.gate.judge(self.known()))
    assert questions.next() is not None
    assert len(looks) == 1


def test_targets_are_asked_one_by_one_and_the_nearest_counts(settled: Callable[..., Settled]) -> None:
    plan = 'models = ["digits"]\ndata = "digits"\ntargets = [0, 3, 8]\nselect = { count = 3, seed = 0 }\n'
    found = settled("", plan=plan + "[[require]]\nmean = 0.0001\n", until=Until.WHOLE)
    everything = settled(
        "", plan=PLAN.replace("8, seed", "3, seed") + "[[require]]\nmean = 0.0001\n", until=Until.WHOLE
    )
    (some,), (free,) = found.known.values(), everything.known.values()
    assert all(a.upper >= b.lower for a, b in zip(some, free, strict=True))
    assert all(one.width <= 1e-3 for one in (*some, *free))


def test_what_fooled_a_model_before_is_tried_first(
    settled: Callable[..., Settled], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A retrained model, by a hair: its old witnesses settle what fails, without a search."""
    first = settled("[[require]]\ncertified_accuracy = 1.0\nradius = 0.2\n", until=Until.WHOLE)
    assert all(one.upper < 0.2 for group in first.known.values() for one in group)
    model = onnx.load(models.path("digits"))
    weights = model.graph.initializer[0]
    values = numpy_helper.to_array(weights)
    weights.CopyFrom(numpy_helper.from_array(values * np.float32(1.0001), weights.name))
    onnx.save(model, tmp_path / "digits.onnx")
    checks = []
    monkeypatch.setattr(worker, "check", lambda *given: checks.append(given))
    plan = PLAN.replace('["digits"]', f'["{tmp_path / "digits.onnx"}"]')
    found = settled("[[require]]\ncertified_accuracy = 0.1\nradius = 0.2\n", plan=plan)
    assert only(found).ruling is Ruling.FAIL
    assert (checks, found.asked) == ([], 8)


def test_runs_that_contradict_each_other_settle_nothing(settled: Callable[..., Settled], tmp_path: Path) -> None:
    """A lower end above a witness's distance is a defect of some engine: neither end counts any more."""
    text = "[[require]]\nmin_distortion = 0.01\n"
    first = settled(text)
    assert only(first).ruling is Ruling.PASS
    gate = read_gate(tmp_path / "robustness.toml")
    wanted = tasks_of(gate.plan, {})
    questions = Questions(gate, wanted, first.results, lambda _: None, Until.SETTLED)
    task = wanted[0].task
    nearer = verifier.minimal(verifier.load(models.path("digits")), task.point, label=task.label)
    wrong = replace(nearer, lower=0.0, upper=0.001)
    questions.heard([Outcome(task.id, None, wrong)])
    (judgement,) = questions.judgements()
    assert judgement.ruling is Ruling.UNDECIDED
    assert "one run says lower 0.01, another upper 0.001" in judgement.inputs[0].reason
    assert questions.next() is None
