"""Campaigns about the inputs that can occur: what is stored and asked, what attacks, points and reports make of it."""

from __future__ import annotations

import itertools
import json
import math
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import verifier
from encoders.errors import InputError
from encoders.network.exact import exact_outputs
from verifier import Columns
from verifier.campaign.backends import Backend
from verifier.campaign.certificates import CertificateJob, certificate, certify
from verifier.campaign.plan.attack_tasks import Kind
from verifier.campaign.plan.identity import columns_sha256
from verifier.campaign.plan.plan import Plan, read_plan
from verifier.campaign.plan.selection import tasks_of
from verifier.campaign.runner import run
from verifier.campaign.store.records import Result
from verifier.campaign.store.store import Store
from verifier.campaign.worker import short_of_steps
from verifier.certificates.checker import Demands, judged
from verifier.cli.exit_codes import Exit
from verifier.cli.main import main
from verifier.problem.budget import Budget
from verifier.problem.verdict import Evidence
from verifier.report.campaign.instance_rows import Pictures, rows
from verifier.report.campaign.study import study_of
from verifier.report.campaign.tables import csv_files, latex_file
from verifier.runtime.refusal import Refusal

STEPS = 4
INPUTS = np.float32([[0.25, 0.25, 0.0], [0.75, 0.0, 1.0], [0.5, 0.25, 0.0]])
RICH = 1.4
"""Class 1 where x₀ + 2x₁ ≥ this: between two sums of quarters."""


@pytest.fixture(scope="module")
def net(truth: Any, save_net: Callable[..., Any]) -> Any:
    first = ([[1.0, 2.0, 0.0], [0.0, 0.0, 1.0]], [0.0, 0.0])
    return save_net(truth.of_layers(first, ([[0.0, 0.0], [1.0, 0.0]], [RICH, 0.0])))


@pytest.fixture(scope="module")
def plan(net: Any, tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """All three inputs on the grid, with an attack and points of a tool, two of which cannot occur."""
    folder = tmp_path_factory.mktemp("plan")
    np.savez(folder / "x.npz", x=INPUTS, y=[0, 0, 0])
    off, ulp = [0.3, 0.6, 0.0], np.nextafter(np.float32(0.5), np.float32(0))
    np.savez(folder / "tool.npz", points=np.float32([off, [1.5, 0.5, 0], [ulp, 0.5, 0], [0.25, 0.5, 0]]), index=[0] * 4)
    file = folder / "plan.toml"
    file.write_text(
        f'models = ["{net.path}"]\ndata = "x.npz"\ntargets = "untargeted"\ngrid = {STEPS}\nattacks = ["fgsm"]\n'
        'points = ["tool.npz"]\ndevice = "cpu"\n',
        encoding="utf-8",
    )
    return read_plan(file)


@pytest.fixture(scope="module")
def ran(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ran") / "s.sqlite"
    with Store(path) as store:
        for asked in (plan, replace(plan, grid=None, points=())):
            assert run(asked, tasks_of(asked), store, Backend(jobs=1), Budget()).done
    return path


def results(path: Path) -> tuple[list[Result], list[Result]]:
    """Those about the grid, and those about all of the box."""
    with Store(path, readonly=True) as store:
        found = store.results()
    return [one for one in found if one.lattice], [one for one in found if not one.lattice]


def nearest(net: Any, x: Any) -> float:
    values = np.arange(STEPS + 1) / STEPS
    points = [np.array(point) for point in itertools.product(values, repeat=3)]
    return min(
        float(np.abs(point - x).max())
        for point in points
        for outputs in [exact_outputs(net.graph, point)]
        if outputs[1] >= outputs[0]
    )


def test_minima_are_those_of_the_grid_and_not_those_of_the_box(net: Any, ran: Path) -> None:
    some, every = results(ran)
    assert [one.only for one in some] == ["inputs k/4"] * 3
    assert [one.only for one in every] == [""] * 3
    for one, other in zip(some, every, strict=True):
        truth = nearest(net, INPUTS[one.index])
        assert one.status == "minimal"
        assert one.upper == truth > other.upper
        assert one.lower == math.nextafter(truth, 0.0), (
            "within it nothing is adversarial, and at the truth something is"
        )
        assert truth <= one.initial < math.inf, "what was found first can occur too"
        assert one.witness is not None
        assert np.array_equal(one.witness.point * STEPS, np.rint(one.witness.point * STEPS))
        assert one.evidence == Evidence.PROVED.label


def test_what_attacks_and_tools_find_counts_where_it_can_occur(ran: Path, plan: Plan) -> None:
    some, _ = results(ran)
    with Store(ran, readonly=True) as store:
        found = store.findings()
    for one in found:
        if one.witness is not None and one.instance in {each.id for each in some}:
            assert np.array_equal(one.witness.point * STEPS, np.rint(one.witness.point * STEPS))
    assert any(one.witness is not None and one.kind is Kind.ATTACK for one in found)
    (points,) = [one for one in found if one.kind is Kind.POINTS]
    assert points.facts == {"given": 4, "refused": {Refusal.NEVER.value: 2, Refusal.LABEL.value: 1}}
    assert points.witness is not None
    assert points.witness.point.tolist() == [0.5, 0.5, 0.0]


def test_a_task_comes_back_with_its_columns(store: Store, plan: Plan, tmp_path: Path) -> None:
    np.savez(tmp_path / "u.npz", offset=[0.0, 0.25, 0.0], scale=[1.0, 1.0, 1.0])
    for asked in (plan, replace(plan, grid=None, integer=(2,), points=()), replace(plan, units=tmp_path / "u.npz")):
        (task, *_) = [one.task for one in tasks_of(asked)]
        store.begin(asked, tasks_of(asked))
        again = store.task(task.id)
        assert again.id == task.id
        assert again.columns is not None
        assert columns_sha256(again.columns) == columns_sha256(asked.columns or Columns(grid=1))
        assert (again.lo.tolist(), again.hi.tolist()) == (task.lo.tolist(), task.hi.tolist())


def test_another_lattice_is_another_question_and_the_same_in_other_words_is_not(plan: Plan) -> None:
    base = replace(plan, grid=None, points=())
    asked = [
        base,
        plan,
        replace(plan, grid=8),
        replace(base, integer=(2,)),
        replace(base, one_hot=((1, 2),), data=plan.data),
    ]
    first = [replace(one, select=replace(one.select, indices=(1,))) for one in asked]
    assert len({tasks_of(replace(one, points=()))[0].task.id for one in first}) == len(first)
    assert len({one.sha256 for one in first}) == len(first)
    same = (
        Columns(integer=(3, 1), one_hot=((5, 4), (7, 6))),
        Columns(integer=(1, 3), one_hot=((6, 7), (4, 5)), units=(0, 1)),
    )
    assert columns_sha256(same[0]) == columns_sha256(same[1])
    whole = (np.zeros(3), np.ones(3))
    assert columns_sha256(Columns(grid=2)) == columns_sha256(Columns(grid=2, units=whole))
    assert columns_sha256(Columns(grid=2)) != columns_sha256(Columns(grid=2, units=(0.0, 2.0)))


def test_columns_that_are_not_what_their_sha256_says_are_damage(ran: Path, tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    for damage in ('columns = \'{"grid": 8, "integer": [], "one_hot": []}\'', "columns = '[]'", "units = x'00'"):
        path.write_bytes(ran.read_bytes())
        with sqlite3.connect(path) as connection:
            connection.execute(f"UPDATE lattices SET {damage}")
        connection.close()
        with Store(path, readonly=True) as store, pytest.raises(InputError, match="column columns"):
            store.contents()


def test_reports_say_which_inputs_can_occur(ran: Path, tmp_path: Path) -> None:
    study = study_of(ran, None)
    assert {study.group_name(line.group) for line in study.lines} == {
        f"{study.names[line.group.model]} · L∞" + end for line in study.lines for end in ("", " · only inputs k/4")
    }
    files = csv_files(study)
    assert "inputs k/4" in files["instances.csv"]
    assert ", only inputs k/4" in latex_file(study)
    assert main(["report", str(ran), "--out", str(tmp_path), "--model-card"]) == Exit.GOOD
    told = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert [one["only"] for one in told["instances"]] == ["inputs k/4"] * 3 + [""] * 3
    assert {plan["grid"] for plan in told["plans"]} == {STEPS, None}
    (card,) = tmp_path.glob("model-card*.md")
    assert 'only: "inputs k/4"' in card.read_text(encoding="utf-8")


def lattices(path: Path) -> list[Result]:
    """The results about the grid."""
    return results(path)[0]


def test_lower_ends_of_a_grid_are_certified_in_steps(ran: Path, net: Any, tmp_path: Path) -> None:
    """Within a quarter points between those of the grid are adversarial: the ball is less, and the steps follow."""
    path, content = tmp_path / "s.sqlite", net.path.read_bytes()
    path.write_bytes(ran.read_bytes())
    with Store(path) as store:
        for done in certify(store, lattices(path), tmp_path / "c", 1, Budget(), math.inf):
            assert done.error == ""
            truth, proof = nearest(net, done.job.task.point), done.job.path.read_bytes()
            assert done.float32 == done.job.lower == math.nextafter(truth, 0.0)
            asked = Demands(grid=STEPS, radius=truth, float32=truth, input=done.job.task.point)
            assert judged(proof, content, asked).valid
            assert not judged(proof, content, replace(asked, radius=truth + 1 / STEPS)).valid
            assert not judged(proof, content, replace(asked, grid=None)).valid, "the ball alone proves less"
            before = done.job.path.stat()
            assert certificate(done.job) == done, "the file stands, and is not built anew"
            after = done.job.path.stat()  # the time of reading aside
            assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
            for wrong in (truth, truth + 0.1):  # what lies at a lower end is within it: these speak of two steps
                no = certificate(replace(done.job, lower=wrong, float32=0.0, witness=None, path=tmp_path / "n.cert"))
                assert no.error.startswith("certificates are about all inputs of a ball, and of one: ")
                assert not no.job.path.exists()
    assert {one.evidence for one in lattices(path)} == {Evidence.CERTIFIED.label}
    study = study_of(path, None)
    assert {study.float32_evidence(one) for one in lattices(path)} == {Evidence.CERTIFIED.label}
    told = [row["certificate"]["options"] for row in rows(study, Pictures()) if row["only"]]
    assert told == [f" --grid {STEPS}"] * 3, "the page says what the checker is told"


def test_of_other_columns_a_certificate_is_about_all_of_the_box(ran: Path, plan: Plan, tmp_path: Path) -> None:
    """Units that are the network's own are none; of others, and of whole numbers, it holds of all of the box."""
    job = CertificateJob("", tasks_of(plan)[0].task, None, 0.2, None, tmp_path / "c.cert", math.inf)
    for columns, lower, good in (
        (Columns(grid=4, units=(0.0, 1.0)), 0.2499, True),
        (Columns(grid=2, units=(0.0, 2.0)), 0.2499, False),
        (Columns(integer=(2,)), 0.2499, False),
        (Columns(integer=(2,)), 0.2, True),
    ):
        done = certificate(replace(job, task=replace(job.task, columns=columns), lower=lower))
        assert (done.error == "") is good, columns
        assert good or done.error.startswith("certificates are about all inputs of a ball, and of these: ")
        job.path.unlink(missing_ok=True)


def test_the_terminal_asks_the_same(net: Any, plan: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--model", str(net.path), "--data", plan.data, "--targets", "untargeted", "--jobs", "1"]
    asked = ["campaign", *words, "--index", "1", "--integer", "2", "--store", str(tmp_path / "s.sqlite")]
    assert main(asked) == Exit.GOOD
    assert "only whole numbers in 1 column" in " ".join(capsys.readouterr().out.replace("│", " ").split())


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ("grid = 3", "input 0: the grid 1/3: entry 0, 0.25, is no multiple of 1/3"),
        ("grid = 0", "grid: 0 is not right: a whole number ≥ 1"),
        ("grid = 4\ninteger = [1]", "integer and one-hot do not go with it"),
        ('integer = "2-x"', 'integer: .* columns are expected, from 0: .3, 7, 8, 9. or "3,7-9"'),
        ('one_hot = "1,2"', "one_hot: .* groups of columns are expected"),
        ("one_hot = [[1, 2], [2]]", "column 2 is named twice"),
        ('units = "u.npz"', "units goes with grid"),
        ('grid = 4\nunits = "u.npz"', r"units: .*u\.npz: no \.npz file"),
        ('grid = 4\nmethod = "milp"', "go with the method tree; milp takes any input"),
    ],
)
def test_what_a_plan_cannot_ask(net: Any, plan: Plan, tmp_path: Path, told: str, why: str) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(f'models = ["{net.path}"]\ndata = "{plan.data}"\n{told}\n', encoding="utf-8")
    with pytest.raises(InputError, match=why):
        tasks_of(read_plan(path))


def test_a_lower_end_of_no_lattice_stays_as_it_is(net: Any) -> None:
    """`short_of_steps` moves those alone that may be the distance of a point."""
    found = verifier.minimal(net, INPUTS[0])
    assert short_of_steps(found) is found
