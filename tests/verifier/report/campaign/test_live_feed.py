"""What a live page says first, over a store that campaigns of made-up brackets write to, by a clock that tests turn."""

from __future__ import annotations

import asyncio
import html
import json
import os
import platform
import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from verifier.campaign.plan.messages import Outcome
from verifier.campaign.plan.plan import Plan
from verifier.campaign.plan.selection import tasks_of
from verifier.campaign.store.leases import LEASE, Limits
from verifier.campaign.store.owner import Owner
from verifier.campaign.store.presence import How
from verifier.campaign.store.store import Store
from verifier.cli import report_commands
from verifier.cli.main import main
from verifier.problem.verdict import Bracket, Evidence, Initial, Status
from verifier.report.campaign.live_feed import Feed
from verifier.report.campaign.page import page, state

for package in report_commands.NEEDED:
    pytest.importorskip(package, reason=f"needs {package}: pip install 'relu-verifier[watch]'")

DEAD = Owner(f"{platform.node()}/{os.getpid()}/1/n")


class Clock:
    """A clock that stands until it is turned."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The store's clock too; only claims end by the real one."""
    made = Clock()
    monkeypatch.setattr("verifier.campaign.store.store.time", SimpleNamespace(time=made))
    return made


@pytest.fixture
def feed(store: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Feed]:
    """A feed that looks when it is told to."""
    monkeypatch.setattr(Feed, "_look_often", lambda _: None)
    opened = Feed(store, None, clock)
    yield opened
    opened.close()


@pytest.fixture
def shown(feed: Feed) -> Callable[[], str]:
    """The words of the state's HTML, after a look."""

    def words() -> str:
        feed.look()
        drawn = state(feed.state.study, feed.live(feed.state))
        return " ".join(html.unescape(re.sub("<[^>]+>", " ", drawn)).split())

    return words


def close(store: Store, asked: Plan, *targets: int) -> None:
    task = tasks_of(asked)[0].task
    for target in targets:
        bracket = Bracket(lower=0.1, upper=0.1005, witness=None, evidence=Evidence.PROVED, precision=1e-3,
                          status=Status.MINIMAL, initial=Initial("cw", 0.2), target=target, seconds=1.0)  # fmt: skip
        store.save(Outcome(task.id, target, bracket))


def test_it_tells_elapsed_left_at_what_and_the_end(
    store: Path, asked: Plan, clock: Clock, shown: Callable[[], str]
) -> None:
    assert shown().startswith("Not running")
    owner, key = Owner.here(), asked.sha256
    with Store(store) as opened:
        opened.enter(owner, key, 600.0, 60.0)
        claim = opened.claim(key, owner, Limits(60.0, 60.0))
        assert claim is not None
        waiting = shown()
        assert waiting.startswith("Running")
        assert f"waiting for a worker of {platform.node()}, process {os.getpid()}" in waiting
        opened.begun(owner, claim.task, "desk, process 17")
        close(opened, asked, 1)
        clock.now += 12
        told = shown()
        assert re.search(r"12 s elapsed, since .* UTC ≤ 9 min 48 s left 1 / 3 brackets closed", told), told
        assert "Time left: the rest of the total budget; 1 done in this run, 2 left." in told
        assert re.search(r"digits input 6 · L∞ 3 → 2, 4 12 s desk, process 17", told), told
        close(opened, asked, 2, 4)
        opened.leave(owner, How.DONE)
    clock.now += 5000
    told = shown()
    assert re.match(r"Finished at \S+ \S+ UTC 12 s taken", told), told
    assert "3 / 3 brackets closed 3 0 open 0 contradictions" in told
    assert "Being worked on now" not in told


def test_a_campaign_that_dies_is_shown_as_dead_although_nobody_writes(
    store: Path, asked: Plan, clock: Clock, shown: Callable[[], str]
) -> None:
    with Store(store) as opened:
        opened.enter(Owner("elsewhere/1/2/n"), asked.sha256, float("inf"), 60.0)
    assert shown().startswith("Running")
    clock.now += LEASE + 1
    assert shown().startswith("Died without a word last heard of at")
    with Store(store) as opened:
        opened.enter(DEAD, asked.sha256, float("inf"), 60.0)
        opened.claim(asked.sha256, DEAD, Limits(60.0, 60.0))
        assert opened.counts().at_work == 0  # nor is its claim work
    assert shown().startswith("Died")


def test_a_store_that_cannot_be_read_is_no_dead_campaign(
    store: Path, asked: Plan, clock: Clock, shown: Callable[[], str]
) -> None:
    with Store(store) as opened:
        opened.enter(Owner.here(), asked.sha256, float("inf"), 60.0)
    assert shown().startswith("Running")
    with sqlite3.connect(store) as other:
        other.execute("UPDATE runs SET how = 'gracefully'")
    other.close()
    clock.now += 10 * LEASE
    told = shown()
    assert told.startswith("Running What follows was true at")
    assert "column how holds 'gracefully'" in told


def test_the_stream_tells_the_state_once_until_it_changes(store: Path, feed: Feed, clock: Clock) -> None:
    from verifier.report.campaign import live_server  # noqa: PLC0415, needs the optional packages

    over: list[bool] = []
    site = live_server.Site(feed, "", "localhost", lambda: bool(over))

    async def listen() -> list[str]:
        heard = []
        async for event in site._events(0):
            heard.append(event)
            if event.startswith("event: state"):
                over.append(True)
        return heard

    heard = asyncio.run(listen())
    told = json.loads(heard[1].split("data: ")[1])
    assert len(heard) == 2
    assert "Not running" in told["html"]
    assert told["tab"] == "0/3 idle · s"


def test_the_page_begins_with_it_and_the_report_does_not(feed: Feed) -> None:
    live = page(feed.state.study, feed.state.made, feed.live(feed.state))
    assert '<section id="state"' in live
    assert "<title>0/3 idle · s</title>" in live
    report = page(feed.state.study, feed.state.made)
    assert 'id="state"' not in report
    assert "0<small> / 3</small>" in report


def test_the_terminal_tells_the_same(store: Path, asked: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    with Store(store) as opened:
        opened.enter(DEAD, asked.sha256, float("inf"), 60.0)
    main(["campaign", "--status", str(store)])
    assert "Died without a word, last heard of at" in capsys.readouterr().out


def test_a_larger_plan_of_the_same_questions_is_another_run(store: Path, asked: Plan, shown: Callable[[], str]) -> None:
    owner, other = Owner.here(), replace(asked, targets=(1,))
    with Store(store) as opened:
        opened.enter(owner, asked.sha256, float("inf"), 60.0)
        opened.leave(owner, How.INTERRUPTED)
        again = Owner.here()
        opened.begin(other, tasks_of(other))
        opened.enter(again, other.sha256, float("inf"), 60.0)
    told = shown()
    assert "no estimate yet: 0 done in this run, 1 left. 1 earlier run took 0 s." in told
