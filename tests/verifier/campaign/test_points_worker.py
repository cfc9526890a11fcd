"""Points of other tools, from a file to the tables: judged exactly, measured against the minimum, told if refused."""

from __future__ import annotations

import csv
import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import verifier
from tests.verifier.campaign.conftest import DIGITS, INPUTS
from verifier.campaign.plan.attack_tasks import AttackTask, Finding, Kind
from verifier.campaign.plan.messages import Claim, Work
from verifier.campaign.plan.plan import Plan, Selection
from verifier.campaign.plan.selection import tasks_of
from verifier.campaign.points_worker import judge_points
from verifier.cli.exit_codes import Exit
from verifier.cli.main import main
from verifier.problem.budget import Budget

ASKED = (5, 6, 7)
FAR = 1.25
"""By how much the points lie farther than the nearest ones."""

Minima = dict[int, verifier.Bracket]


@pytest.fixture(scope="module")
def minima() -> Minima:
    model, x, y = verifier.load(DIGITS), *(np.load(INPUTS)[name] for name in ("x", "y"))
    return {index: verifier.minimal(model, x[index], label=int(y[index]), device="cpu") for index in ASKED}


@pytest.fixture
def tool(tmp_path: Path, minima: Minima) -> Path:
    """The nearest witnesses drawn out by FAR; a point outside the box, and the input itself for another."""
    x = np.load(INPUTS)["x"].reshape(-1, 64)
    points = [np.clip(x[i] + FAR * (found.witness.point - x[i]), 0, 1) for i, found in minima.items() if found.witness]
    points[2] = x[7]
    path = tmp_path / "tool.npz"
    np.savez(path, points=[*points, points[0] + 2], index=[*ASKED, 5])
    return path


def words(folder: Path, *more: str, ask: Sequence[int] = ASKED, targets: str = "untargeted") -> list[str]:
    chosen = [word for index in ask for word in ("--index", str(index))]
    asked = ["campaign", "--model", "digits", "--data", str(INPUTS), *chosen, "--targets", targets]
    return [*asked, "--device", "cpu", "--jobs", "1", "--store", str(folder / "s.sqlite"), *more]


def rows(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / "out" / name).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_points_stand_in_the_tables_of_attacks(tool: Path, minima: Minima, tmp_path: Path, capfd: Any) -> None:
    assert main(words(tmp_path, "--points", str(tool))) == Exit.GOOD
    said = " ".join(capfd.readouterr().out.split())
    assert "tool: 2 of 4 points replay; the others: 1 outside the box; 1 the input itself" in said
    assert main(["report", str(tmp_path / "s.sqlite"), "--out", str(tmp_path / "out")]) == Exit.GOOD
    (row,) = rows(tmp_path, "attacks.csv")
    assert (row["attack"], row["measured"], row["found"], row["at_minimum"]) == ("tool", "3", "2", "0")
    assert float(row["ratio_max"]) == pytest.approx(FAR, rel=1e-5)
    assert row["restarted"] == "0"
    told = json.loads((tmp_path / "out/report.json").read_text(encoding="utf-8"))
    assert told["plans"][0]["points"] == ["tool.npz"]
    distances = {one["index"]: one["attacks"]["tool"] for one in told["instances"]}
    assert distances[7] is None
    refused = {one["index"]: one["points"]["tool"]["refused"] for one in told["instances"]}
    assert refused == {5: {"outside the box": 1}, 6: {}, 7: {"the input itself": 1}}
    assert distances[6] == pytest.approx(FAR * minima[6].upper, rel=1e-5)


def test_what_was_judged_is_judged_again_only_where_it_changed(tool: Path, tmp_path: Path) -> None:
    def judged() -> dict[str, float]:
        with sqlite3.connect(tmp_path / "s.sqlite") as connection:
            return dict(connection.execute("SELECT instance, updated FROM findings WHERE kind = 'points'").fetchall())

    command = words(tmp_path, "--points", str(tool))
    assert main(command) == Exit.GOOD
    first = judged()
    assert main(command) == Exit.GOOD
    assert judged() == first
    arrays = dict(np.load(tool))
    kept = arrays["index"] != 6
    arrays["points"][2] += 1e-3
    np.savez(tool, points=arrays["points"][kept], index=arrays["index"][kept])
    assert main(command) == Exit.GOOD
    second = judged()
    assert len(first) == 3
    assert len(second) == 2
    assert sum(first[key] == second[key] for key in second) == 1


def test_a_point_is_an_upper_end(minima: Minima, tmp_path: Path) -> None:
    """Without time for a search the bracket of one that the first attack leaves wide falls to the point."""
    path, best = tmp_path / "best.npz", minima[6]
    assert best.witness is not None
    np.savez(path, points=best.witness.point[np.newaxis], index=[6])
    assert main(words(tmp_path, "--precision", "1e-9", "--timeout", "0.2", "--points", str(path))) == Exit.UNDECIDED
    with sqlite3.connect(tmp_path / "s.sqlite") as connection:
        upper = connection.execute(
            "SELECT upper FROM instances JOIN tasks ON tasks.id = task WHERE source_index = 6"
        ).fetchone()[0]
    assert upper <= best.upper


def test_points_for_each_target_and_a_contradiction_where_they_refute_a_proof(
    minima: Minima, tmp_path: Path, capfd: Any
) -> None:
    """A lower end that the store has from elsewhere: a point below it is told, and nothing is done then."""
    found = minima[6]
    assert found.witness is not None
    path, target = tmp_path / "tool.npz", found.witness.target
    np.savez(path, points=found.witness.point[np.newaxis], index=[6], targets=[target])
    command = words(tmp_path, ask=(6,), targets=str(target))
    assert main(command) == Exit.GOOD
    with sqlite3.connect(tmp_path / "s.sqlite") as connection:
        connection.execute("UPDATE instances SET lower = 2 * upper, upper = 2 * upper")
    assert main([*command, "--points", str(path)]) == Exit.UNDECIDED
    assert "one run says lower" in capfd.readouterr().err


def test_without_time_nothing_is_said_of_a_point(minima: Minima) -> None:
    """A campaign that ends has not judged what it has not looked at: the next run does."""
    data = Plan((DIGITS,), str(INPUTS), select=Selection((6,)), targets="untargeted")
    (wanted,), found = tasks_of(data), list[Finding]()
    assert minima[6].witness is not None
    points = minima[6].witness.point[np.newaxis]
    asked = AttackTask(None, Kind.POINTS, "tool", 0.0, 1.0, None, given=points)
    work = Work(Claim(wanted.task.id, (None,), 1.0), wanted.task, {}, 1.0, attack_tasks=(asked,))
    model = verifier.load(DIGITS)
    judge_points(work, model, Budget(0.0), found.append)
    assert found == []
    judge_points(work, model, Budget(), found.append)
    assert [(one.distance, one.facts) for one in found] == [(minima[6].upper, {"given": 1, "refused": {}})]


def test_bad_files_are_a_line_and_code_2(tmp_path: Path, capfd: Any) -> None:
    np.savez(tmp_path / "t.npz", points=np.zeros((1, 64)))
    assert main(words(tmp_path, "--points", str(tmp_path / "t.npz"))) == Exit.BAD_INPUT
    told = capfd.readouterr().err
    assert "t.npz" in told
    assert told.count("\n") == 1
    assert not (tmp_path / "s.sqlite").exists()
