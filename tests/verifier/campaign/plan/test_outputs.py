"""Campaigns about models with several outputs: which one is asked about, what is stored, what reports make of it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from encoders.errors import InputError
from verifier.campaign import worker
from verifier.campaign.analysis.relu_flips import switches
from verifier.campaign.plan import task_models
from verifier.campaign.plan.messages import Claim
from verifier.campaign.plan.plan import Plan, Selection, read_plan
from verifier.campaign.plan.selection import tasks_of
from verifier.campaign.plan.task_models import KEPT, task_model
from verifier.campaign.plan.tasks import Task
from verifier.campaign.store.store import Store
from verifier.cli.exit_codes import Exit
from verifier.cli.main import main
from verifier.problem.budget import Budget
from verifier.problem.verdict import Evidence
from verifier.report.campaign.sections import defence
from verifier.report.campaign.study import Study

MINIMA = {"near": 0.1, "far": 0.25}
"""Half the margin of class 0 over class 1 at the input: classes are single entries of it."""


def _heads(path: Path, *names: str) -> Path:
    """The entries of x themselves, as `near`; with 0.3 more for class 0, as `far`."""
    nodes = [
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("Gemm", ["r", "w"], ["near"]),
        helper.make_node("Gemm", ["r", "w", "b"], ["far"]),
        helper.make_node("ArgMax", ["near"], ["label"], axis=1, keepdims=0),
    ]
    kinds = {"near": TensorProto.FLOAT, "far": TensorProto.FLOAT, "label": TensorProto.INT64}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3])],
        [helper.make_tensor_value_info(name, kinds[name], [1] if name == "label" else [1, 3]) for name in names],
        [
            numpy_helper.from_array(np.eye(3, dtype=np.float32), "w"),
            numpy_helper.from_array(np.array([0.3, 0, 0], np.float32), "b"),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """heads.onnx with both heads and a label, one.onnx with `near` alone, and an input of class 0 for both."""
    path = tmp_path_factory.mktemp("heads")
    _heads(path / "heads.onnx", "near", "far", "label")
    _heads(path / "one.onnx", "near")
    np.savez(path / "inputs.npz", x=np.array([[[0.6, 0.4, 0.2]]], np.float32), y=np.array([0]))
    return path


@pytest.fixture(scope="module")
def asked(folder: Path) -> Callable[..., Plan]:
    """asked(output): one untargeted question to each model."""

    def make(output: str | None, *names: str) -> Plan:
        models = tuple(folder / f"{name}.onnx" for name in names or ("heads", "one"))
        data = str(folder / "inputs.npz")
        return Plan(models, data, select=Selection((0,)), targets="untargeted", device="cpu", output=output)

    return make


def _words(folder: Path, store: Path, *more: str, models: tuple[str, ...] = ("heads", "one")) -> list[str]:
    chosen = [word for name in models for word in ("--model", str(folder / f"{name}.onnx"))]
    own = ["--data", str(folder / "inputs.npz"), "--targets", "untargeted", "--jobs", "1", "--store", str(store)]
    return ["campaign", *chosen, *own, *more]


@pytest.fixture(scope="module")
def ran(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with both outputs of heads.onnx and the only one of one.onnx, each measured by an attack."""
    path = tmp_path_factory.mktemp("ran") / "s.sqlite"
    for name in MINIMA:
        assert main(_words(folder, path, "--output", name, "--attacks", "fgsm")) == Exit.GOOD
    return path


@pytest.mark.long
def test_each_output_has_its_own_minimum(ran: Path) -> None:
    with Store(ran, readonly=True) as store:
        results, findings = store.results(), store.findings()
    found = {(one.model.stem, one.output): one for one in results}
    assert found.keys() == {("heads", "near"), ("heads", "far"), ("one", None)}
    for (_, output), one in found.items():
        assert one.closed
        least = MINIMA[output or "near"]
        assert one.lower - 1e-6 <= least <= one.upper + 1e-6
        (measured,) = [each for each in findings if each.instance == one.id and each.kind == "attack"]
        assert measured.state == "done"
        assert measured.distance >= least - 1e-6


def test_relus_are_counted_through_the_chosen_output(ran: Path) -> None:
    with Store(ran, readonly=True) as store:
        contents = store.contents()
    told = switches(contents.results, contents.tasks)
    assert sorted((one.group.output or "", one.missing) for one in told) == [("", ""), ("far", ""), ("near", "")]


def test_the_report_tells_outputs_apart_and_compares_models(ran: Path, tmp_path: Path) -> None:
    assert main(["report", str(ran), "--out", str(tmp_path)]) == Exit.GOOD
    told = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    lines = {(line["model"], line["output"]) for line in told["table1"]}
    assert lines == {("heads", "near"), ("heads", "far"), ("one", "")}
    assert {plan["output"] for plan in told["plans"]} == {"near", "far"}
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "heads, output far" in page
    assert "heads, output near" in page
    assert "heads, output far" in (tmp_path / "tables.tex").read_text(encoding="utf-8")
    with Store(ran, readonly=True) as store:
        rows = defence.table(Study(store.contents(), "both"))
    assert [(row["undefended"], row["defended"]) for row in rows] == [
        ("heads, output near", "one"),
        ("one", "heads, output far"),
    ]


def test_the_table_names_the_output(ran: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["campaign", "--status", str(ran)]) == Exit.GOOD
    told = capsys.readouterr().out
    assert "output" in told
    assert "far" in told


def test_the_output_is_part_of_the_question_where_it_is_one_of_several(asked: Callable[..., Plan]) -> None:
    near, far, plain = tasks_of(asked("near")), tasks_of(asked("far")), tasks_of(asked(None, "one"))
    assert near[0].task.id != far[0].task.id
    assert near[1].task.id == far[1].task.id == plain[0].task.id
    assert near[1].task.output is None


def _task(**fields: Any) -> Task:
    return Task(
        **{
            "model": Path("n.onnx"),
            "model_sha256": "0" * 64,
            "point": np.zeros(2, np.float32),
            "shape": (1, 2),
            "label": 0,
            "norm": "linf",
            "lo": np.zeros(2),
            "hi": np.ones(2),
            "margin": 0.0,
            "precision": 1e-3,
            "method": "tree",
            "solver": None,
            **fields,
        }
    )


def test_tasks_and_plans_without_one_keep_their_identity(plan: Callable[..., Plan]) -> None:
    """Stores from before there were any hold tasks under this id: what is closed is not to be asked again."""
    assert _task().id == "456c0c9afa2b1a2df7cd73d2f7b2a089526ef89ff6b27f11bdd39f0a47443878"
    assert len({_task().id, _task(output="a").id, _task(output="b").id}) == 3
    assert Plan((Path("n.onnx"),), "x.npz").sha256 == "e3a07dfc3c1e5e3b663ba82dc878c50037abc9ccd014c8da2c52d1bf355f59de"
    assert len({plan().sha256, plan(output="a").sha256, plan(output="b").sha256}) == 3


def test_a_task_comes_back_with_its_output(store: Store, asked: Callable[..., Plan]) -> None:
    wanted = tasks_of(asked("far"))
    store.begin(asked("far"), wanted)
    for each in wanted:
        read = store.task(each.task.id)
        assert (read.id, read.output) == (each.task.id, each.task.output)


def test_a_plans_file_names_it(folder: Path) -> None:
    path = folder / "plan.toml"
    path.write_text('models = ["heads.onnx"]\ndata = "inputs.npz"\noutput = "far"\n', encoding="utf-8")
    assert read_plan(path).output == "far"
    path.write_text('models = ["heads.onnx"]\ndata = "inputs.npz"\noutput = 1\n', encoding="utf-8")
    with pytest.raises(InputError, match="output: 1 is not right: a text is expected"):
        read_plan(path)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "choose one with --output NAME (in a campaign's plan and in Python output = 'NAME')"),
        (["--output", "other"], "output: no model of the plan has an output 'other'; there are 'near', 'far', 'label'"),
        (["--output", "label"], "'label' holds no scores; its outputs are 'near' (float32 1x3)"),
    ],
)
def test_what_cannot_be(
    words: list[str], message: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(_words(folder, tmp_path / "s.sqlite", *words)) == Exit.BAD_INPUT
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not (tmp_path / "s.sqlite").exists()


def test_certificates_are_for_models_with_one_output(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "s.sqlite"
    more = ["--output", "near", "--certificates", str(tmp_path / "c")]
    assert main(_words(folder, path, *more)) == Exit.UNDECIDED
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "no certificate" in line]
    assert line.endswith("the model has 3 outputs; one with the scores alone is read")
    with Store(path, readonly=True) as store:
        certified = {one.model.stem: one.evidence == Evidence.CERTIFIED.label for one in store.results()}
    assert certified == {"heads": False, "one": True}


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> dict[Any, Any]:
    """An empty shelf of models."""
    shelf: dict[Any, Any] = {}
    monkeypatch.setattr(task_models, "_kept", shelf)
    return shelf


def test_only_a_model_that_was_compared_to_the_end_is_kept(asked: Callable[..., Plan], kept: dict[Any, Any]) -> None:
    task = tasks_of(asked("far"))[0].task
    cut = task_model(task, Budget(0.0))
    assert not cut.agreement.complete
    assert not kept
    whole = task_model(task, Budget())
    assert whole.agreement.complete
    assert whole.network.output_name == "far"
    assert task_model(task, Budget(0.0)) is whole
    assert task_model(replace(task, output="near"), Budget()).network.output_name == "near"
    with pytest.raises(InputError, match="has changed since the campaign began"):
        task_model(replace(task, model_sha256="1" * 64), Budget())


def test_the_model_that_was_not_used_for_longest_goes(
    asked: Callable[..., Plan], kept: dict[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    task = tasks_of(asked("far"))[0].task
    network, agreement = SimpleNamespace(sha256=task.model_sha256), SimpleNamespace(complete=True)
    made = mock.Mock(side_effect=lambda *_, **__: SimpleNamespace(network=network, agreement=agreement))
    monkeypatch.setattr(task_models, "load", made)
    several = [replace(task, model=Path(f"{place}.onnx")) for place in range(KEPT + 1)]
    first, *others = several
    for each in (first, *others[:-1], first, others[-1]):
        task_model(each, Budget())
    assert made.call_count == KEPT + 1
    assert [path for path, _, __ in kept] == [each.model for each in (*others[1:-1], first, others[-1])]


@pytest.mark.parametrize("attack_tasks", [(), (mock.Mock(),)])
def test_a_worker_reads_the_model_in_its_tasks_time(
    attack_tasks: tuple[Any, ...], asked: Callable[..., Plan], kept: dict[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    task = tasks_of(asked("far"))[0].task
    seen: list[tuple[float, str | None]] = []

    def load(_: Path, budget: Budget, *, output: str | None) -> Any:
        seen.append((budget.limit, output))
        raise InputError("seen")

    monkeypatch.setattr(task_models, "load", load)
    work: Any = SimpleNamespace(
        task=replace(task, method="milp"), known={None: None}, seconds=7.0, memory=None, whole=True,
        attack_tasks=attack_tasks, channel=None, campaign=os.getpid(), claim=Claim("", (), 0.0),
    )  # fmt: skip
    assert [outcome.error for outcome in worker.solve(work).outcomes] == ["seen"]
    assert seen == [(7.0, "far")]
    assert not kept
