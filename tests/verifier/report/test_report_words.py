"""What a report calls things: inputs by their files, "certified" by a certificate, shares in %; no empty columns."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from encoders.errors import InputError
from tests.verifier.report.conftest import Reported
from verifier.campaign.analysis.certified_accuracy import Curve
from verifier.campaign.analysis.distributions import DistanceEnds, Distribution
from verifier.campaign.analysis.table1 import TableGroup
from verifier.campaign.plan.plan import read_plan
from verifier.campaign.plan.selection import tasks_of
from verifier.campaign.store.store import Store
from verifier.cli.exit_codes import Exit
from verifier.cli.main import main
from verifier.report.campaign.page import _robust, page
from verifier.report.campaign.study import Study, study_of
from verifier.report.campaign.tables import csv_files, instances, report_json

MADE = datetime(2031, 4, 5, 6, 7, tzinfo=UTC)


@pytest.fixture
def changed(reported: Reported) -> Callable[..., Study]:
    with Store(reported.store, readonly=True) as store:
        contents = store.contents()

    def make(**fields: Any) -> Study:
        return Study(replace(contents, results=tuple(replace(one, **fields) for one in contents.results)), "t")

    return make


def test_an_input_is_called_by_its_file(changed: Callable[..., Study]) -> None:
    study = changed(name="3/cat.png")
    text = page(study, MADE)
    assert "3/cat.png, 3 → " in text
    assert not re.search(r"input \d", text)
    assert {row["name"] for row in instances(study)} == {"3/cat.png"}
    assert ",3/cat.png," in csv_files(study)["instances.csv"]


def test_the_names_of_images_are_kept(tmp_path: Path, save_net: Callable[..., Any], truth: Any) -> None:
    for label in ("0", "1"):
        (tmp_path / "d" / label).mkdir(parents=True)
        Image.fromarray(np.full((4, 4), 40 * int(label), dtype=np.uint8)).save(tmp_path / "d" / label / "scan.png")
    net = save_net(truth.net(0, (16, 3))).path
    plan = read_plan(None, {"models": [str(net)], "data": str(tmp_path / "d"), "store": str(tmp_path / "s.sqlite")})
    wanted = tasks_of(plan)
    nameless = [replace(one, task=replace(one.task, name="")) for one in wanted]
    for entered, names in (
        (nameless, {""}),
        (wanted, {"0/scan.png", "1/scan.png"}),
        (nameless, {"0/scan.png", "1/scan.png"}),
    ):
        with Store(plan.store) as store:
            store.begin(plan, entered)
            assert {one.name for one in store.results()} == names
            assert {store.task(one.task.id).name for one in wanted} == names


def test_certified_is_what_has_a_certificate(changed: Callable[..., Study]) -> None:
    assert "certified" in page(changed(), MADE)
    without = changed(certificate="", evidence="certified")
    assert "certified" not in page(without, MADE)
    assert {row["evidence"] for row in instances(without)} == {"proved"}


def test_untargeted_grids_and_columns_of_dashes_are_left_out(changed: Callable[..., Study]) -> None:
    targeted, untargeted = page(changed(), MADE), page(changed(target=None), MADE)
    assert 'id="grid"' in targeted
    assert 'href="#grid"' in targeted
    assert 'id="grid"' not in untargeted
    assert 'href="#grid"' not in untargeted
    assert "all, with the last upper end" in targeted
    assert "all, with the last upper end" not in page(changed(upper=np.inf, witness=None, status="bracketed"), MADE)


def test_the_date_is_in_the_head(changed: Callable[..., Study]) -> None:
    assert "2031-04-05 06:07 UTC" in page(changed(), MADE).partition("</header>")[0]


@pytest.mark.parametrize(
    ("inputs", "fallen", "text"),
    [(3, (1, 1), "66.7 %"), (3, (0, 1), "66.6–100.0 %"), (7, (2, 3), "57.1–71.5 %"), (2, (0, 0), "100.0 %")],
)
def test_robust_accuracy_is_rounded_outwards(inputs: int, fallen: tuple[int, int], text: str) -> None:
    known = Distribution(tuple(DistanceEnds.of(place, place, 0.0) for place in range(inputs)))
    assert _robust(Curve(TableGroup("m", "linf", "tree", None), known, {}, (1, 1)), *fallen) == text


def test_robust_accuracy_stands_beside_counts(changed: Callable[..., Study]) -> None:
    study = changed()
    for curve in report_json(study, MADE)["curves"]:
        for step in curve["steps"]:
            assert step["robust_at_least"] == pytest.approx(1 - step["at_most"] / curve["inputs"])
            assert step["robust_at_most"] >= step["robust_at_least"]
    assert re.search(r'<small class="quiet">[\d.–]+ %</small>', page(study, MADE))


def test_the_baseline_is_chosen_by_name(reported: Reported, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    first = study_of(reported.store, None).comparisons[0]
    names = study_of(reported.store, None).names
    other = study_of(reported.store, None, names[first.second.model]).comparisons[0]
    assert (other.first, other.second) == (first.second, first.first)
    assert other.factor == pytest.approx(1 / first.factor)
    with pytest.raises(InputError, match="--baseline nothing: no model of that name; there are digits, "):
        study_of(reported.store, None, "nothing")
    assert main(["report", str(reported.store), "--out", str(tmp_path), "--baseline", "nothing"]) == Exit.BAD_INPUT
    capfd.readouterr()


@pytest.mark.parametrize("sign", list("=+-@\t\r\n"))
def test_no_cell_begins_like_a_formula(changed: Callable[..., Study], sign: str) -> None:
    text = csv_files(changed(source=f"{sign}cmd()", reason=f"{sign}x"))["instances.csv"]
    assert f"'{sign}cmd()" in text
    assert f",{sign}cmd" not in text
    assert f',"{sign}cmd' not in text
