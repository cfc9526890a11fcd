"""Several processes on one store: recorded operations have one order that explains them; tampered ones have none."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from tests.verifier.campaign.store.linearizability import Operation, by_task, explained, read
from verifier.campaign.plan.plan import Plan
from verifier.campaign.plan.tasks import Wanted
from verifier.campaign.store.store import Store

ROOT = Path(__file__).resolve().parents[4]
PROCESSES = 3


def started(log: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.verifier.campaign.recorded", str(log), *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def histories(
    tmp_path_factory: pytest.TempPathFactory, plan: Callable[..., Plan], wanted: list[Wanted]
) -> dict[str, list[Operation]]:
    folder = tmp_path_factory.mktemp("hammer")
    few = [replace(each, targets=each.targets[:2]) for each in wanted]
    with Store(folder / "s.sqlite") as store:
        key = store.begin(plan(), few)
    logs = [folder / f"{seed}.log" for seed in range(PROCESSES)]
    runs = [started(log, "hammer", str(folder / "s.sqlite"), str(seed), key) for seed, log in enumerate(logs)]
    for run in runs:
        _, err = run.communicate()
        assert run.returncode == 0, err
    return by_task([operation for log in logs for operation in read(log)])


def test_what_several_writers_and_readers_see_is_one_order_of_events(histories: dict[str, list[Operation]]) -> None:
    assert len(histories) == 2
    for history in histories.values():
        assert {operation.kind for operation in history} == {"claim", "save", "finish", "read"}
        assert explained(history)


def test_operations_did_overlap(histories: dict[str, list[Operation]]) -> None:
    for history in histories.values():
        ordered = sorted(history, key=lambda operation: operation.call)
        assert any(one.end > other.call for one, other in pairwise(ordered))


def test_a_lost_write_a_stale_read_and_a_double_claim_are_refused(histories: dict[str, list[Operation]]) -> None:
    for history in histories.values():
        seen = max((ends for one in history if one.kind == "read" for ends in one.ends), key=lambda ends: ends[1])
        lost = next(one for one in history if one.kind != "read" and seen[:2] in [ends[:2] for ends in one.ends])
        without = replace(lost, ends=tuple(ends for ends in lost.ends if ends[:2] != seen[:2]))
        assert not explained([without if one is lost else one for one in history])
        last = max((one for one in history if one.kind == "read"), key=lambda one: one.call)
        stale = replace(last, ends=((last.ends[0][0], 0.0, float("inf")),))
        assert not explained([stale if one is last else one for one in history])
        claim = next(one for one in history if one.kind == "claim")
        assert not explained([*history, replace(claim, owner="another")])
