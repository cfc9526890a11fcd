"""Which campaigns have worked on a store: when each began, what it is at now, and how it ended."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from verifier.campaign.plan.tasks import Target
from verifier.campaign.store import attack_queue
from verifier.campaign.store.leases import LEASE, OPEN
from verifier.campaign.store.owner import Owner


class How(StrEnum):
    """How a run ended by its own account."""

    DONE = "done"
    """Nothing was left that it could do within the limits for an instance."""
    TIME_UP = "time-up"
    INTERRUPTED = "interrupted"
    FAILED = "failed"


@dataclass(frozen=True)
class Steps:
    """What a plan asks for, one step for each bracket and for each attack or restart."""

    done: int
    left: int


@dataclass(frozen=True)
class CampaignRun:
    """One campaign's work on the store; moments are in seconds since 1970.

    until: when its total budget ends, infinity without one. seen: its last sign of life. ended, how: None, "" while it
    has not said that it ended. steps: those of its plan by now; done_before: those that it found done.
    """

    owner: Owner
    plan: str
    began: float
    until: float
    seen: float
    ended: float | None
    how: str
    why: str
    steps: Steps
    done_before: int

    def at_work(self, now: float) -> bool:
        """Is it running, as far as anyone can tell?"""
        return self.ended is None and now <= self.seen + LEASE and not self.owner.gone


@dataclass(frozen=True)
class ClaimedTask:
    """A task that is claimed: since when, by which worker ("" before one has begun), for which open targets.

    kind, attack: what is to be found out besides brackets; "" for these.
    """

    owner: Owner
    expires: float
    since: float
    worker: str
    kind: str
    attack: str
    model: Path
    model_sha256: str
    input_name: str
    norm: str
    label: int
    targets: tuple[Target, ...]

    def at_work(self, now: float) -> bool:
        """Does the claim hold? That of a process of this host that is dead does not."""
        return now <= self.expires and not self.owner.gone


@dataclass(frozen=True)
class Presence:
    """created: when the first plan was entered; updated: when an instance was last changed; 0.0 for never."""

    runs: tuple[CampaignRun, ...]
    work: tuple[ClaimedTask, ...]
    created: float
    updated: float


def enter(connection: sqlite3.Connection, owner: Owner, plan: str, now: float, until: float, most: float) -> None:
    """A run begins. most: the seconds after which it does not ask for an instance again."""
    done = _steps(connection, plan, most).done
    connection.execute(
        "INSERT INTO runs (owner, plan, began, until, seen, most, done_before) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (owner.text, plan, now, until, now, most, done),
    )


def seen(connection: sqlite3.Connection, owner: Owner, now: float) -> None:
    """A run is alive."""
    connection.execute("UPDATE runs SET seen = ? WHERE owner = ?", (now, owner.text))


def leave(connection: sqlite3.Connection, owner: Owner, now: float, how: How, why: str) -> None:
    """A run ends."""
    connection.execute(
        "UPDATE runs SET ended = ?, seen = ?, how = ?, why = ? WHERE owner = ?", (now, now, how.value, why, owner.text)
    )


def begun(connection: sqlite3.Connection, owner: Owner, task: str, worker: str, now: float) -> None:
    """A worker has begun a task that was claimed."""
    connection.execute(
        "UPDATE leases SET worker = ?, since = ? WHERE owner = ? AND task = ?", (worker, now, owner.text, task)
    )


def read(connection: sqlite3.Connection) -> Presence:
    """All of it, runs in the order in which they began; within a transaction."""
    runs = connection.execute("SELECT * FROM runs ORDER BY began, rowid").fetchall()
    steps = {key: _steps(connection, *key) for key in dict.fromkeys((run["plan"], run["most"]) for run in runs)}
    (created,) = connection.execute("SELECT coalesce(min(created), 0.0) AS created FROM plans").fetchone()
    (updated,) = connection.execute("SELECT coalesce(max(updated), 0.0) AS updated FROM instances").fetchone()
    return Presence(
        tuple(_run(run, steps[run["plan"], run["most"]]) for run in runs), _works(connection), created, updated
    )


def _run(row: sqlite3.Row, steps: Steps) -> CampaignRun:
    plain = {name: row[name] for name in ("plan", "began", "until", "seen", "ended", "how", "why", "done_before")}
    return CampaignRun(owner=Owner(row["owner"]), steps=steps, **plain)


def _steps(connection: sqlite3.Connection, plan: str, most: float) -> Steps:
    again = f"{OPEN} AND tried < :most"
    row = connection.execute(
        f"SELECT count(*) AS asked, coalesce(sum({again}), 0) AS again "
        "FROM members JOIN instances ON id = instance WHERE plan = :plan",
        {"plan": plan, "most": most},
    ).fetchone()
    waiting, _ = attack_queue.waiting(connection, plan)
    answered = attack_queue.answered(connection, plan)
    return Steps(row["asked"] - row["again"] + answered, row["again"] + waiting)


CLAIMED = """
    SELECT leases.*, tasks.label AS label, tasks.norm AS norm, tasks.name AS name, tasks.source_index AS source_index,
           tasks.model AS model, models.path AS path
    FROM leases JOIN tasks ON tasks.id = leases.task JOIN models ON models.sha256 = tasks.model
    ORDER BY leases.since, leases.rowid
"""


def _works(connection: sqlite3.Connection) -> tuple[ClaimedTask, ...]:
    found = []
    for row in connection.execute(CLAIMED).fetchall():
        which = "true" if row["kind"] else OPEN
        targets = connection.execute(
            f"SELECT target FROM instances WHERE task = ? AND {which} ORDER BY target", (row["task"],)
        )
        found.append(
            ClaimedTask(
                owner=Owner(row["owner"]),
                model=Path(row["path"]),
                model_sha256=row["model"],
                input_name=row["name"] or f"input {row['source_index']}",
                targets=tuple(each["target"] for each in targets),
                **{name: row[name] for name in ("expires", "since", "worker", "kind", "attack", "norm", "label")},
            )
        )
    return tuple(found)


def at_work(connection: sqlite3.Connection, now: float) -> int:
    """How many tasks are being worked on."""
    rows = connection.execute("SELECT owner, expires FROM leases").fetchall()
    gone = {owner for owner in {row["owner"] for row in rows} if Owner(owner).gone}
    return sum(row["owner"] not in gone and now <= row["expires"] for row in rows)


def alive(works: Iterable[ClaimedTask], now: float) -> tuple[ClaimedTask, ...]:
    """Those whose claims hold."""
    return tuple(work for work in works if work.at_work(now))
