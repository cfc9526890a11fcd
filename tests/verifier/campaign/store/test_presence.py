"""What campaigns note of themselves in the store: when they began, which worker is at what, how they ended."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from verifier.campaign.backends import Backend
from verifier.campaign.plan.attack_tasks import Kind
from verifier.campaign.plan.messages import Claim
from verifier.campaign.plan.plan import Plan
from verifier.campaign.plan.selection import tasks_of
from verifier.campaign.runner import run
from verifier.campaign.store.database import StoreError
from verifier.campaign.store.leases import Limits
from verifier.campaign.store.owner import Owner
from verifier.campaign.store.presence import CampaignRun, ClaimedTask, How
from verifier.campaign.store.store import Store
from verifier.problem.budget import Budget

ALONE = Backend(jobs=1)


class Noting(Store):
    """A store that remembers who was at work whenever a worker began."""

    noted: tuple[ClaimedTask, ...] = ()

    def begun(self, owner: Owner, task: str, worker: str) -> None:
        super().begun(owner, task, worker)
        self.noted += self.presence().work


class Full(Store):
    """A store with no room for claims."""

    def claim(self, plan: str, owner: Owner, limits: Limits) -> Claim | None:
        raise StoreError("the disk is full")


@pytest.fixture
def few(plan: Callable[..., Plan]) -> Plan:
    return replace(plan((6,)), targets=(1, 2), attacks=("fgsm",))


def last(store: Store) -> CampaignRun:
    return store.presence().runs[-1]


@pytest.mark.long
def test_a_campaign_notes_its_workers_and_its_end(few: Plan, tmp_path: Path) -> None:
    store = Noting(tmp_path / "s.sqlite")
    with store:
        run(few, tasks_of(few), store, Backend(jobs=2), Budget())
        first, *others = store.noted
        found = last(store)
        assert (found.how, found.ended is not None, found.steps.left, found.done_before) == (How.DONE, True, 0, 0)
        assert found.steps.done >= 4  # two brackets, an attack on each; restarts where it missed
        assert store.presence().work == ()
        run(few, tasks_of(few), store, ALONE, Budget())
        again = last(store)
        assert (again.how, again.done_before) == (How.DONE, found.steps.done)
        assert len(store.presence().runs) == 2
    assert (first.kind, first.input_name, first.targets) == ("", "input 6", (1, 2))
    assert first.since >= found.began
    worker = re.fullmatch(rf"{re.escape(platform.node())}, process (\d+)", first.worker)
    assert worker is not None
    assert int(worker.group(1)) != os.getpid()
    assert {(one.kind, one.attack) for one in others} >= {(Kind.ATTACK.value, "fgsm")}
    assert all(one.worker for one in others)


def test_it_notes_why_it_ended_early(few: Plan, tmp_path: Path) -> None:
    path, cancelled = tmp_path / "s.sqlite", Budget()
    cancelled.cancel()
    with Store(path) as store:
        run(few, tasks_of(few), store, ALONE, cancelled)
        assert (last(store).how, last(store).steps.left) == (How.INTERRUPTED, 2)
        run(few, tasks_of(few), store, ALONE, Budget(0.0))
        assert last(store).how == How.TIME_UP
        assert last(store).until <= last(store).ended  # type: ignore[operator]
    with Full(path) as store, pytest.raises(StoreError):
        run(few, tasks_of(few), store, ALONE, Budget())
    with Store(path, readonly=True) as store:
        assert (last(store).how, last(store).why) == (How.FAILED, "the disk is full")
        assert len(store.presence().runs) == 3
