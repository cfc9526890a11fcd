"""Claims: a task is worked on by one campaign at a time, the most worthwhile one first."""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass

from verifier.campaign.plan.messages import Claim
from verifier.campaign.store import attack_queue
from verifier.campaign.store.merge import ERROR, FINISHED
from verifier.campaign.store.owner import Owner

LEASE = 60.0
"""Seconds after which a claim ends unless it is renewed: for owners on other hosts; dead ones of this host end at once.
"""
LOSSES = 3
"""How often the workers of an instance may be lost before it counts as failed."""

NOT_ASKED_AGAIN = ", ".join(f"'{status}'" for status in sorted({*FINISHED, ERROR}))
OPEN = f"instances.status NOT IN ({NOT_ASKED_AGAIN})"
CANDIDATES = f"""
    SELECT instances.task AS task, min(instances.tried) AS tried, min(members.place) AS place,
           avg(CASE WHEN upper < 9e999 THEN (upper - lower) / upper ELSE 1.0 END) AS gap
    FROM members JOIN instances ON instances.id = members.instance
    WHERE members.plan = :plan AND {OPEN} AND instances.tried < :most
          AND NOT EXISTS (SELECT 1 FROM leases WHERE leases.task = instances.task)
    GROUP BY instances.task ORDER BY tried, gap DESC, place LIMIT 1
"""
"""First what was tried least, then the largest mean relative gap: what a second buys there shows most in the report."""


@dataclass(frozen=True)
class Limits:
    """Seconds for an instance: `first`, then `growth` times the last ones, never more than `most`."""

    most: float
    first: float = math.inf
    growth: float = 4.0

    def after(self, tried: float) -> float:
        """The limit that follows one of `tried` seconds (0: none yet)."""
        return min(self.most, max(self.first, self.growth * tried))


def claim(
    connection: sqlite3.Connection, plan: str, owner: Owner, limits: Limits, now: Callable[[], float] = time.time
) -> Claim | None:
    """Take the most worthwhile task that is free; None when there is none. Within a transaction."""
    reap(connection, now())
    row = connection.execute(CANDIDATES, {"plan": plan, "most": limits.most}).fetchone()
    if row is None or row["tried"] > 0:  # every bracket has had its first try
        attack_task = attack_queue.ready(connection, plan)
        if attack_task is not None:
            _lease(connection, attack_task.task, owner, now(), attack_task.kind.value, attack_task.attack)
            return Claim(attack_task.task, attack_task.targets, limits.most, (attack_task.kind, attack_task.attack))
    if row is None:
        return None
    task, limit = str(row["task"]), limits.after(float(row["tried"]))
    _lease(connection, task, owner, now())
    rows = connection.execute(
        f"SELECT id, target FROM instances JOIN members ON members.instance = id "
        f"WHERE plan = ? AND task = ? AND tried < ? AND {OPEN} ORDER BY target",
        (plan, task, limit),
    ).fetchall()
    connection.executemany(
        "UPDATE instances SET attempts = attempts + 1, earlier = seconds WHERE id = ?", [(each["id"],) for each in rows]
    )
    return Claim(task, tuple(each["target"] for each in rows), limit)


def _lease(
    connection: sqlite3.Connection, task: str, owner: Owner, now: float, kind: str = "", attack: str = ""
) -> None:
    connection.execute(
        "INSERT INTO leases (task, owner, expires, kind, attack, since) VALUES (?, ?, ?, ?, ?, ?)",
        (task, owner.text, now + LEASE, kind, attack, now),
    )


def reap(connection: sqlite3.Connection, now: float) -> None:
    """Remove the claims of owners that are dead or have not renewed them."""
    connection.execute("DELETE FROM leases WHERE expires < ?", (now,))
    for row in connection.execute("SELECT DISTINCT owner FROM leases").fetchall():
        if Owner(row["owner"]).gone:
            connection.execute("DELETE FROM leases WHERE owner = ?", (row["owner"],))


def renew(connection: sqlite3.Connection, owner: Owner) -> None:
    """Keep an owner's claims for another LEASE seconds."""
    connection.execute("UPDATE leases SET expires = ? WHERE owner = ?", (time.time() + LEASE, owner.text))


def free(connection: sqlite3.Connection, owner: Owner, task: str | None = None) -> None:
    """End the claim on a task, or all of the owner's."""
    connection.execute("DELETE FROM leases WHERE owner = ? AND (? IS NULL OR task = ?)", (owner.text, task, task))


def lost(connection: sqlite3.Connection, owner: Owner, why: str, task: str | None = None) -> None:
    """End the claim on a task, or all of the owner's, after its worker was lost.

    What loses its workers again and again counts as failed.
    """
    attack_queue.lost(connection, owner, why, task, LOSSES)
    mine = f"{OPEN} AND task IN (SELECT task FROM leases WHERE owner = ? AND (? IS NULL OR task = ?) AND kind = '')"
    whose = (owner.text, task, task)
    connection.execute(f"UPDATE instances SET losses = losses + 1 WHERE {mine}", whose)
    connection.execute(
        f"UPDATE instances SET status = ?, reason = ? WHERE losses >= ? AND {mine}", (ERROR, why, LOSSES, *whose)
    )
    free(connection, owner, task)


def waiting(connection: sqlite3.Connection, plan: str, most: float) -> int:
    """How many open instances and attack tasks of a plan are not to be had, since others have them, or were given up by
    others since the last claim, as by campaigns that have died: the next claim takes them."""
    leased = connection.execute(
        "SELECT count(*) FROM leases WHERE kind != '' AND task IN "
        "(SELECT task FROM instances JOIN members ON id = instance WHERE plan = ?)",
        (plan,),
    ).fetchone()[0]
    still_open = connection.execute(
        f"SELECT count(*) FROM members JOIN instances ON id = instance WHERE plan = ? AND tried < ? AND {OPEN}",
        (plan, most),
    ).fetchone()[0]
    attack_tasks, _ = attack_queue.waiting(connection, plan)
    return int(still_open) + int(leased) + attack_tasks
