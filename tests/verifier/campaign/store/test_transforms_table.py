"""Campaigns under transformations of the input: what is stored, what is asked, what attacks and reports make of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import verifier
from verifier import models
from verifier.campaign.backends import Backend
from verifier.campaign.plan.attack_tasks import Kind, StoredFinding
from verifier.campaign.plan.identity import maps_sha256
from verifier.campaign.plan.messages import Outcome
from verifier.campaign.plan.plan import Plan, read_plan
from verifier.campaign.plan.selection import tasks_of
from verifier.campaign.runner import run
from verifier.campaign.store.records import Result
from verifier.campaign.store.store import Store
from verifier.cli.exit_codes import Exit
from verifier.cli.main import main
from verifier.problem.budget import Budget
from verifier.problem.verdict import Bracket
from verifier.report.campaign.sections import defence
from verifier.report.campaign.study import Study
from verifier.runtime.transformed import predictions

VIEWS = "[[transform]]\nidentity = true\n[[transform]]\nrotate = 10\nscale = 0.9\n"
TARGETS = (1, 7)
MODEL = models.path("digits")
TOLD = "identity; rotate 10, scale 0.9"


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("views") / "views.toml"
    path.write_text(VIEWS, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def ran(
    plan: Callable[..., Plan], views: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[Result], list[StoredFinding]]:
    """One digit towards two targets and untargeted, as it is and under two views, with an attack that misses."""
    path = tmp_path_factory.mktemp("ran") / "s.sqlite"
    with Store(path) as store:
        for targets in (TARGETS, "untargeted"):
            for transforms in (views, None):
                one = plan((6,), targets=targets, transforms=transforms, attacks=("fgsm",))
                assert run(one, tasks_of(one), store, Backend(jobs=1), Budget()).done
        return path, store.results(), store.findings()


def test_a_task_comes_back_with_its_maps(store: Store, plan: Callable[..., Plan], views: Path) -> None:
    asked = plan((6,), transforms=views)
    (wanted,) = tasks_of(asked)
    store.begin(asked, [wanted])
    read = store.task(wanted.task.id)
    assert read.id == wanted.task.id
    assert read.transforms is not None
    assert wanted.task.transforms is not None
    assert read.transforms.names == wanted.task.transforms.names
    points = np.random.default_rng(0).uniform(size=(3, 64))
    for one, other in zip(read.transforms.maps, wanted.task.transforms.maps, strict=True):
        assert np.array_equal(one.apply(points), other.apply(points))


def test_the_maps_are_what_makes_a_question_another_one(plan: Callable[..., Plan], views: Path, tmp_path: Path) -> None:
    (plain,), (seen,) = (tasks_of(plan((6,), transforms=path)) for path in (None, views))
    assert plain.task.id != seen.task.id
    named, turned = tmp_path / "named.toml", tmp_path / "turned.toml"
    named.write_text(f'{VIEWS}name = "tilted"\n', encoding="utf-8")
    turned.write_text(VIEWS.replace("10", "11"), encoding="utf-8")
    (same,), (other,) = (tasks_of(plan((6,), transforms=path)) for path in (named, turned))
    assert same.task.id == seen.task.id != other.task.id
    assert maps_sha256(other.task.transforms) != maps_sha256(seen.task.transforms)  # type: ignore[arg-type]


def test_plans_without_transformations_keep_their_identity(plan: Callable[..., Plan], views: Path) -> None:
    """Stores from before there were any hold plans under this sha256: what was asked is not to be asked again."""
    bare = Plan((Path("n.onnx"),), "x.npz")
    assert bare.sha256 == "e3a07dfc3c1e5e3b663ba82dc878c50037abc9ccd014c8da2c52d1bf355f59de"
    assert plan(transforms=views).sha256 != plan().sha256


def by_target(results: list[Result], *, seen: bool) -> dict[int | None, Result]:
    return {one.target: one for one in results if (one.transforms is not None) == seen}


def alone(target: int | None, views: Path) -> Bracket:
    model = verifier.load(MODEL)
    image = np.load(MODEL.with_name("digits_inputs.npz"))["x"][6]
    return verifier.minimal(model, image, target=target, transforms=verifier.load_transforms(model, views))


def test_brackets_are_those_of_the_single_question(
    ran: tuple[Path, list[Result], list[StoredFinding]], views: Path
) -> None:
    found = by_target(ran[1], seen=True)
    model = verifier.load(MODEL)
    transforms = verifier.load_transforms(model, views)
    assert set(found) == {*TARGETS, None}
    for target, one in found.items():
        other = alone(target, views)
        assert one.closed
        assert max(one.lower, other.lower) <= min(one.upper, other.upper)
        assert one.witness is not None
        seen_as = predictions(model, transforms, one.witness.point)
        assert set(seen_as) == {target} if target is not None else one.label not in seen_as


def test_more_views_are_no_nearer(ran: tuple[Path, list[Result], list[StoredFinding]]) -> None:
    plain, seen = by_target(ran[1], seen=False), by_target(ran[1], seen=True)
    assert all(seen[target].upper >= plain[target].lower for target in plain)
    assert any(seen[target].lower > plain[target].upper for target in plain)


@pytest.mark.long
def test_attacks_and_restarts_are_about_all_views(
    ran: tuple[Path, list[Result], list[StoredFinding]], views: Path
) -> None:
    model = verifier.load(MODEL)
    transforms = verifier.load_transforms(model, views)
    seen = {one.id: one for one in ran[1] if one.transforms is not None}
    attacks = [found for found in ran[2] if found.instance in seen and found.kind is Kind.ATTACK]
    assert len(attacks) == 3
    for found in attacks:
        one = seen[found.instance]
        assert found.distance >= one.lower
        if found.witness is not None:
            seen_as = predictions(model, transforms, found.witness.point)
            assert set(seen_as) == {one.target} if one.target is not None else one.label not in seen_as
    restarts = [found for found in ran[2] if found.instance in seen and found.kind is Kind.RESTART]
    assert {found.state for found in restarts} == {"done"}


def test_float32_ends_are_kept(ran: tuple[Path, list[Result], list[StoredFinding]]) -> None:
    assert all(one.float32 is not None and 0 < one.float32 <= one.upper for one in ran[1])


def test_float32_ends_only_grow(store: Store, plan: Callable[..., Plan], bracket: Callable[..., Bracket]) -> None:
    (wanted,) = tasks_of(plan((6,)))
    key = store.begin(plan((6,)), [wanted])
    for float32, known in ((None, None), (0.125, 0.125), (0.0625, 0.125), (None, 0.125), (0.25, 0.25)):
        found = replace(bracket(0.25, 0.5), float32=float32)
        store.save(Outcome(wanted.task.id, wanted.targets[0], found))
        assert store.results(key)[0].float32 == known


def test_the_report_tells_the_questions_apart(
    ran: tuple[Path, list[Result], list[StoredFinding]], tmp_path: Path
) -> None:
    assert main(["report", str(ran[0]), "--out", str(tmp_path / "out")]) == Exit.GOOD
    told = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert {(line["transforms"], line["instances"]) for line in told["table1"]} == {("", 3), (TOLD, 3)}
    assert not told["table2"]  # the same model on other questions is no defence
    assert {row["transforms"] for row in told["instances"]} == {"", TOLD}
    assert all(row["float32_lower"] <= row["upper"] for row in told["instances"])
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert f"under {TOLD}" in page
    assert str(ran[0].parent) not in (tmp_path / "out" / "report.json").read_text(encoding="utf-8")


def test_defences_are_compared_on_the_same_questions(ran: tuple[Path, list[Result], list[StoredFinding]]) -> None:
    with Store(ran[0], readonly=True) as store:
        contents = store.contents()
    defended = [replace(one, model_sha256="0" * 64, model=Path("defended.onnx")) for one in contents.results]
    study = Study(replace(contents, results=(*contents.results, *defended)), "both")
    assert [(row["transforms"], row["closed_on_both"], row["factor"]) for row in defence.table(study)] == [
        (TOLD, 3, 1.0),
        ("", 3, 1.0),
    ]


def test_a_plan_names_its_file_relative_to_itself(views: Path) -> None:
    path = views.with_name("plan.toml")
    path.write_text('models = ["digits"]\ndata = "digits"\ntransforms = "views.toml"\n', encoding="utf-8")
    assert read_plan(path).transforms == views


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--certificates", "c"], "--certificates does not go with transforms: certificates are about the network"),
        (["--transforms", "none.toml"], "none.toml: no such file"),
    ],
)
def test_what_cannot_be(
    words: list[str], message: str, views: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["--model", "digits", "--data", "digits", "--count", "1", "--store", str(tmp_path / "s.sqlite")]
    assert main(["campaign", *line, "--transforms", str(views), *words]) == Exit.BAD_INPUT
    assert message in capsys.readouterr().err
    assert not (tmp_path / "s.sqlite").exists()
