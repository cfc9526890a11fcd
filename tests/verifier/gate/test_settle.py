"""Settling: the same verdicts as all brackets give, no more questions than it takes, nothing asked twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import verifier
from encoders.errors import InputError
from verifier import models
from verifier.campaign import worker
from verifier.campaign.backends import Backend
from verifier.campaign.plan import task_models
from verifier.campaign.plan.attack_tasks import DONE, Finding, Kind, StoredFinding
from verifier.campaign.plan.messages import Claim, Outcome
from verifier.campaign.plan.selection import tasks_of
from verifier.campaign.store.store import Store
from verifier.gate.requirements import Gate, read_gate
from verifier.gate.settle import Questions, Settled, Until, settle
from verifier.gate.trials import Trials
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


@cache
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


@pytest.mark.long
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


@pytest.mark.long
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


def test_old_trees_prove_what_holds_again(
    settled: Callable[..., Settled], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trees of a model travel to the search about the model as it is trained again; verdicts are those without."""
    text = "[[require]]\nmin_distortion = 0.03\n[[require]]\nmean = 0.06\n"
    settled(text, until=Until.EVERY_RADIUS)
    model = onnx.load(models.path("digits"))
    weights = model.graph.initializer[0]
    values = numpy_helper.to_array(weights)
    weights.CopyFrom(numpy_helper.from_array(values * np.float32(1.001), weights.name))
    onnx.save(model, tmp_path / "digits.onnx")
    plan = PLAN.replace('["digits"]', f'["{tmp_path / "digits.onnx"}"]')
    handed, before = [], task_models.decoded
    monkeypatch.setattr(task_models, "decoded", lambda content: handed.append(content) or before(content))
    found = settled(text, plan=plan, until=Until.EVERY_RADIUS)
    assert handed
    (tmp_path / ".verifier").rename(tmp_path / "before")
    fresh = settled(text, plan=plan, until=Until.EVERY_RADIUS)
    assert [one.ruling for one in found.judgements] == [one.ruling for one in fresh.judgements]
    for group, inputs in found.known.items():
        for one, other in zip(inputs, fresh.known[group], strict=True):
            assert one.lower <= other.upper
            assert other.lower <= one.upper


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


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The searches that are begun in this process; none comes to anything."""
    begun: list[Any] = []

    def check(*given: Any) -> Any:
        begun.append(given)
        raise InputError("no search is needed")

    monkeypatch.setattr(worker, "check", check)
    return begun


def test_a_question_whose_worker_raises_is_asked_once(
    settled: Callable[..., Settled], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise ValueError("broken")

    monkeypatch.setattr(worker, "check", broken)
    found = settled("[[require]]\nmin_distortion = 0.01\n")
    assert (only(found).ruling, found.asked) == (Ruling.UNDECIDED, 8)
    assert {one.reason for one in only(found).inputs} == {"ValueError: broken"}


def tool(folder: Path, *far: float) -> str:
    """A plan with points that lie `far` times as far as the nearest ones, one file for each; 0: the inputs."""
    found = [(wanted.task, minima()[f"input {wanted.task.index}"]) for wanted in tasks_of(read_plan_of(PLAN), {})]
    for times in far:
        points = [np.clip(task.point + times * (one.witness.point - task.point), 0, 1) for task, one in found]
        np.savez(folder / f"times{times:g}.npz", points=points, index=[task.index for task, _ in found])
    return f"points = {[f'times{times:g}.npz' for times in far]}\n" + PLAN


def test_points_of_other_tools_are_judged_before_any_search(
    settled: Callable[..., Settled], tmp_path: Path, checks: list[Any]
) -> None:
    plan = tool(tmp_path, 0.0, 1.2)
    found = settled("[[require]]\nmin_distortion = 0.5\n", plan=plan)
    assert (only(found).ruling, checks, found.asked) == (Ruling.FAIL, [], 0)
    assert {one.facts["given"] for one in found.findings} == {1}
    fooled = [one for one in found.findings if one.witness is not None]
    assert [one.attack for one in fooled] == ["times1.2"], "the first that fools settles it"
    found = settled("[[require]]\ncertified_accuracy = 0.1\nradius = 0.5\n", plan=plan)
    assert (only(found).ruling, checks, found.asked) == (Ruling.FAIL, [], 0)
    assert len({one.instance for one in found.findings if one.witness is not None}) == 8


def test_points_that_fool_nobody_change_no_verdict_and_are_judged_once(
    settled: Callable[..., Settled], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, text = tool(tmp_path, 0.0), "[[require]]\nmin_distortion = 0.01\n"
    found = settled(text, plan=plan)
    assert (only(found).ruling, found.asked) == (Ruling.PASS, 8)
    assert [dict(one.facts["refused"]) for one in found.findings] == [{"the input itself": 1}] * 8
    judged: list[Any] = []
    monkeypatch.setattr(worker, "judge_points", lambda *given: judged.append(given))
    assert only(settled(text.replace("0.01", "0.011"), plan=plan)).ruling is Ruling.PASS
    assert judged == []


def test_a_point_nearer_than_what_is_proved_settles_nothing(
    settled: Callable[..., Settled], tmp_path: Path, checks: list[Any]
) -> None:
    """A finding is merged as a bracket is: two that contradict each other are told."""
    first = settled("[[require]]\nmin_distortion = 0.5\n", plan=tool(tmp_path, 1.2))
    gate = read_gate(tmp_path / "robustness.toml")
    wanted = tasks_of(gate.plan, {})
    fooled = next(one for one in first.findings if one.witness is not None)
    task = next(one.task for one in wanted if one.task.instance(None) == fooled.instance)
    proved = [replace(one, lower=0.3, upper=0.4) if one.id == fooled.instance else one for one in first.results]
    questions = Questions(gate, wanted, proved, lambda _: None, Until.SETTLED)
    finding = Finding(task.id, None, Kind.POINTS, fooled.attack, fooled.distance, fooled.witness)
    assert fooled.distance < 0.3
    questions.heard([finding])
    reasons = [one.reason for group in questions.known().values() for one in group if one.key == task.id]
    assert reasons == [f"one run says lower 0.3, another upper {fooled.distance!r}"]


def test_attacks_run_where_a_question_is_open_before_its_search(
    settled: Callable[..., Settled], checks: list[Any]
) -> None:
    plan = 'attacks = ["fgsm"]\ntimeout = 5\n' + PLAN
    found = settled("[[require]]\nmin_distortion = 0.5\n", plan=plan)
    assert (only(found).ruling, checks, found.asked) == (Ruling.FAIL, [], 0)
    assert [one.attack for one in found.findings] == ["fgsm"], "the first example settles it"
    found = settled("[[require]]\nmin_distortion = 0.0001\n", plan=plan)
    assert (only(found).ruling, len(checks), found.asked) == (Ruling.UNDECIDED, 8, 8)
    assert {one.attack for one in found.findings} == {"fgsm"}


@pytest.mark.parametrize(
    ("complete", "limit", "again"), [(True, 60.0, False), (False, 7.0, False), (False, 60.0, True)]
)
def test_an_attack_that_its_time_limit_ended_is_run_again_with_more_time_only(
    complete: bool, limit: float, again: bool
) -> None:
    one = tasks_of(read_plan_of(PLAN), {})[0]
    facts = {"complete": complete}
    before = StoredFinding(one.task.instance(None), Kind.ATTACK, "fgsm", DONE, np.inf, None, facts, 6.9, "")
    assert before.cut is not complete
    assert (Trials(("fgsm",), limit, [before]).attack(one, (None,)) is not None) is again


def test_only_open_targets_with_points_of_their_own_are_tried(tmp_path: Path) -> None:
    plan = 'targets = [0, 3, 8]\npoints = ["a.npz"]\nmodels = ["digits"]\ndata = "digits"\nselect = { indices = [1] }\n'
    np.savez(tmp_path / "a.npz", points=np.zeros((3, 64)), index=[1, 1, 1], targets=[3, 8, 8])
    path = tmp_path / "robustness.toml"
    path.write_text(plan + "[[require]]\nmin_distortion = 0.01\n", encoding="utf-8")
    (one,) = tasks_of(read_gate(path).plan, {})
    trials = Trials(("fgsm", "pgd"), 7.0)
    assert trials.points(one, (0, 8)) == Claim(one.task.id, (8,), 7.0, (Kind.POINTS, "a"))
    assert trials.points(one, (0, 3, 8)) == Claim(one.task.id, (3,), 7.0, (Kind.POINTS, "a"))
    assert trials.points(one, (0, 3, 8)) is None
    names = [claim.attack_task for _ in range(3) if (claim := trials.attack(one, (0,))) is not None]
    assert names == [(Kind.ATTACK, "fgsm"), (Kind.ATTACK, "pgd")]
    assert Trials(("fgsm",), 7.0).attack(replace(one, wrong=True), (0,)) is None
