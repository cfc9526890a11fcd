"""A model card's block: its metadata say what report.json says, its plan is the plan, false claims are refused."""

from __future__ import annotations

import json
import math
import re
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml

from verifier import models
from verifier.campaign.plan.messages import Outcome
from verifier.campaign.plan.plan import Plan, Selection, read_plan
from verifier.campaign.plan.selection import tasks_of
from verifier.campaign.store.store import Store
from verifier.cli.exit_codes import Exit
from verifier.cli.main import main
from verifier.problem.verdict import Bracket, Evidence, Initial, Status, Witness

DIGITS = models.path("digits")
ENDS = ((0.0205, 0.021), (0.05, 0.0505), (0.03, 0.09), (0.00004, 0.07), (0.0, math.inf), (0.11, 0.11))
"""Closed and open ones, one without a witness."""
Made = Callable[..., Path]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """made(**fields): a store of a plan over six digits, its brackets made up."""

    def make(**fields: Any) -> Path:
        data, path = str(DIGITS.with_name("digits_inputs.npz")), tmp_path / "s.sqlite"
        plan = replace(Plan((DIGITS,), data, select=Selection(count=6, seed=3), targets="untargeted"), **fields)
        wanted = tasks_of(plan)
        with Store(path) as store:
            store.begin(plan, wanted)
            for one, ends in zip(wanted, ENDS, strict=True):
                store.save(*(Outcome(one.task.id, target, bracket(*ends)) for target in one.targets))
        return path

    return make


def bracket(lower: float, upper: float) -> Bracket:
    point = np.full(64, 0.5, dtype=np.float32)
    witness = Witness(point, upper, 1, 0.0, 0.0, 1) if math.isfinite(upper) else None
    status = Status.MINIMAL if upper - lower <= 1e-3 else Status.BRACKETED
    return Bracket(lower, upper, witness, Evidence.PROVED, 1e-3, status, Initial("cw", upper), 1, 0.5, "")


def carded(store: Path) -> tuple[str, dict[str, Any]]:
    """The card of a store's only model, and report.json."""
    out = store.parent / "out"
    assert main(["report", str(store), "--out", str(out), "--model-card"]) == Exit.GOOD
    told: dict[str, Any] = json.loads((out / "report.json").read_text(encoding="utf-8"))
    return (out / "model-card.md").read_text(encoding="utf-8"), told


def front(card: str) -> Any:
    _, metadata, _ = card.split("---\n", 2)
    return yaml.safe_load(metadata)


def test_the_metadata_say_what_the_json_says(made: Made) -> None:
    card, told = carded(made())
    (index,) = front(card)["model-index"]
    (result,) = index["results"]
    assert index["name"] == "digits"
    assert result["task"]["type"] == "image-classification"
    assert result["dataset"] == {"type": "digits_inputs", "name": "6 of digits_inputs.npz, drawn by seed 3"}
    accuracies = [one for one in result["metrics"] if one["type"] == "certified_accuracy"]
    (curve,), (distribution,) = told["curves"], told["distribution"]
    assert len(accuracies) >= 4
    for one in accuracies:
        step = [step for step in curve["steps"] if step["radius"] <= one["args"]["radius"]][-1]
        assert (one["value"], one["args"]["at_most"]) == (step["robust_at_least"], step["robust_at_most"])
        assert one["args"]["inputs"] == 6
        assert f"≤ {one['args']['radius']:g}" in one["name"]
    (median,) = [one for one in result["metrics"] if one["type"] == "median_minimal_distance"]
    told_median = next(one for one in distribution["quantiles"] if one["share"] == 0.5)
    assert (median["value"], median["args"]["at_most"]) == (told_median["at_least"], told_median["at_most"])


def test_the_words_are_rounded_outwards_and_name_the_model(made: Made) -> None:
    card, told = carded(made())
    rows = re.findall(r"^\| ([\d.]+) \| ([\d.]+) % \| ([\d.]+) % \|$", card, re.MULTILINE)
    for radius, least, most in rows:
        step = [step for step in told["curves"][0]["steps"] if step["radius"] <= float(radius)][-1]
        assert float(least) <= 100 * step["robust_at_least"] < float(least) + 0.1
        assert float(most) - 0.1 < 100 * step["robust_at_most"] <= float(most)
    assert len(rows) >= 4
    assert told["models"]["digits"] in card
    assert str(DIGITS.parent) not in card


def test_the_picture_is_a_file_of_its_own(made: Made) -> None:
    card, _ = carded(store := made())
    (name,) = re.findall(r"!\[.*\]\((.*)\)", card)
    root = ElementTree.parse(store.parent / "out" / name).getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    style = root.find("{http://www.w3.org/2000/svg}style")
    assert style is not None
    assert "prefers-color-scheme: dark" in str(style.text)


def test_the_plan_in_it_is_the_plan(made: Made, tmp_path: Path) -> None:
    card, told = carded(made(norms=("linf",), timeout=7.5, attacks=("fgsm",)))
    text = card.split("```toml\n")[1].split("```")[0]
    (tmp_path / "plan.toml").write_text(text, encoding="utf-8")
    again = read_plan(tmp_path / "plan.toml")
    assert again.models == (tmp_path / "digits.onnx",)
    assert (again.data, again.timeout, again.attacks) == (str(tmp_path / "digits_inputs.npz"), 7.5, ("fgsm",))
    kept = {**told["plans"][0]["select"], "indices": ()}
    assert again.select == Selection(**kept)
    assert again.targets == "untargeted"


def test_runs_that_contradict_each_other_certify_nothing(made: Made, capfd: Any) -> None:
    store = made()
    with sqlite3.connect(store) as connection:
        connection.execute("UPDATE instances SET status = 'contradiction' WHERE rowid = 1")
    assert main(["report", str(store), "--out", str(store.parent / "out"), "--model-card"]) == Exit.BAD_INPUT
    assert "runs about digits contradict each other" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"targets": "next"}, 'with targets "next"; certified accuracy needs one of all, untargeted'),
        ({"targets": (1, 2)}, r"with targets \[1, 2\]"),
        ({"margin": 0.5}, "with margin 0.5; certified accuracy needs 0"),
    ],
)
def test_what_is_no_certified_accuracy_is_refused(made: Made, capfd: Any, fields: dict[str, Any], told: str) -> None:
    store = made(**fields)
    assert main(["report", str(store), "--out", str(store.parent / "out"), "--model-card"]) == Exit.BAD_INPUT
    complained = capfd.readouterr().err
    assert re.search(f"--model-card: digits was asked {told}", complained)
    assert complained.count("\n") == 1
    assert not (store.parent / "out").exists()
