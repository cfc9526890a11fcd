"""Attack tasks in the store: which one is next, with what it needs, and what came of it."""

from __future__ import annotations

import json
import math
import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from encoders.errors import without_folders
from verifier.campaign.plan.attack_tasks import DONE, FAILED, MISSED, OPEN, AttackTask, Finding, Kind, StoredFinding
from verifier.campaign.plan.tasks import GivenPoints, Target, Wanted
from verifier.campaign.store.columns import DamagedColumnError, Kinds, json_column, vector
from verifier.campaign.store.owner import Owner
from verifier.campaign.store.witness_columns import columns, witness_of

SOURCES = f"""
    FROM members JOIN instances ON instances.id = members.instance JOIN tasks ON tasks.id = instances.task
    JOIN audits ON audits.plan = members.plan
    LEFT JOIN findings ON findings.instance = instances.id AND findings.kind = audits.kind
         AND findings.attack = audits.attack
    LEFT JOIN points ON points.instance = instances.id AND points.attack = audits.attack
    LEFT JOIN findings AS hit ON hit.instance = instances.id AND hit.kind = '{Kind.ATTACK}'
         AND hit.attack = audits.attack AND hit.state = '{DONE}'
"""
STILL_OPEN = f"""
      coalesce(findings.state, '{OPEN}') = '{OPEN}'
      AND CASE audits.kind
          WHEN '{Kind.ATTACK}' THEN instances.evidence != '' AND instances.status != 'already-adversarial'
          WHEN '{Kind.POINTS}' THEN points.instance IS NOT NULL AND instances.evidence != ''
               AND instances.status != 'already-adversarial'
          ELSE instances.status = 'minimal' AND hit.instance IS NOT NULL
               AND hit.distance > instances.upper + max(tasks.precision, {MISSED} * instances.upper)
          END
"""
"""Of the instances of a plan, and of what it asks about them, what has no answer yet and can have one: points and
attacks once there is a bracket, restarts once that is closed, where the attack has missed (`attack_tasks.missed`)."""
IN_ORDER = """
    SELECT kind, attack FROM audits WHERE plan = :plan ORDER BY instr('points attack restart', kind), attack
"""
ANY_OF = f"""
    SELECT instances.task AS task {SOURCES}
    WHERE members.plan = :plan AND {STILL_OPEN} AND audits.kind = :kind AND audits.attack = :attack
      AND NOT EXISTS (SELECT 1 FROM leases WHERE leases.task = instances.task) LIMIT 1
"""
"""Any will do: to look for the first one would mean to look at all, with every claim."""
ALL_OF = f"""
    SELECT instances.target AS target {SOURCES}
    WHERE members.plan = :plan AND {STILL_OPEN} AND instances.task = :task AND audits.kind = :kind
      AND audits.attack = :attack ORDER BY members.place
"""


@dataclass(frozen=True)
class Ready:
    """Attack tasks of one kind, by one attack, for the targets of one task."""

    task: str
    kind: Kind
    attack: str
    targets: tuple[Target, ...]


def enter(connection: sqlite3.Connection, plan: str, attacks: Sequence[str], wanted: Sequence[Wanted]) -> None:
    """Note what a plan asks besides brackets, and let what has failed be asked again."""
    given = {(one.task.instance(each.target), each.tool): each for one in wanted for each in one.given}
    asked = [(plan, kind.value, name) for name in attacks for kind in (Kind.ATTACK, Kind.RESTART)]
    asked += [(plan, Kind.POINTS.value, name) for name in dict.fromkeys(name for _, name in given)]
    _enter_points(connection, plan, given)
    connection.execute("DELETE FROM audits WHERE plan = ?", (plan,))
    connection.executemany("INSERT INTO audits VALUES (?, ?, ?)", asked)
    connection.execute(
        "UPDATE findings SET state = ?, losses = 0 WHERE state = ? "
        "AND instance IN (SELECT instance FROM members WHERE plan = ?)",
        (OPEN, FAILED, plan),
    )


def _enter_points(connection: sqlite3.Connection, plan: str, given: Mapping[tuple[str, str], GivenPoints]) -> None:
    """Keep the points of a plan's instances; what was found of other points under the same names is forgotten."""
    new = {key: (each.points.dtype.str, each.points.tobytes()) for key, each in given.items()}
    for tool in {tool for _, tool in new}:
        rows = connection.execute(
            "SELECT points.* FROM points JOIN members ON members.instance = points.instance "
            "WHERE members.plan = ? AND points.attack = ?",
            (plan, tool),
        ).fetchall()
        kept = {(row["instance"], tool): (row["dtype"], row["data"]) for row in rows}
        changed = [(*key, Kind.POINTS.value) for key, content in kept.items() if new.get(key) != content]
        connection.executemany("DELETE FROM findings WHERE instance = ? AND attack = ? AND kind = ?", changed)
        connection.executemany("DELETE FROM points WHERE instance = ? AND attack = ?", [key[:2] for key in changed])
    connection.executemany(
        "INSERT OR IGNORE INTO points VALUES (?, ?, ?, ?)", [(*key, *content) for key, content in new.items()]
    )


def ready(connection: sqlite3.Connection, plan: str) -> Ready | None:
    """The next attack tasks that can be done; None where there are none, or others have them."""
    for audit in connection.execute(IN_ORDER, {"plan": plan}).fetchall():
        asked = {"plan": plan, **dict(audit)}
        found = connection.execute(ANY_OF, asked).fetchone()
        if found is not None:
            rows = connection.execute(ALL_OF, {**asked, "task": found["task"]})
            return Ready(found["task"], Kind(audit["kind"]), audit["attack"], tuple(row["target"] for row in rows))
    return None


def waiting(connection: sqlite3.Connection, plan: str | None) -> tuple[int, int]:
    """How many attack tasks of a plan, or of all, can be done now or have failed."""
    of_plan = "plan = :plan" if plan is not None else "true"
    members = f"members.{of_plan}" if plan is not None else of_plan
    values = {"plan": plan, "failed": FAILED}
    if connection.execute(f"SELECT 1 FROM audits WHERE {of_plan} LIMIT 1", values).fetchone() is None:
        return 0, 0
    each = "SELECT DISTINCT instances.id, audits.kind, audits.attack"
    wanted = f"SELECT count(*) FROM ({each} {SOURCES} WHERE {members} AND {STILL_OPEN})"
    failed = (
        "SELECT count(*) FROM (SELECT DISTINCT findings.instance, findings.kind, findings.attack FROM findings "
        "JOIN members ON members.instance = findings.instance JOIN audits ON audits.plan = members.plan "
        "AND audits.kind = findings.kind AND audits.attack = findings.attack "
        f"WHERE findings.state = :failed AND {members})"
    )
    return connection.execute(wanted, values).fetchone()[0], connection.execute(failed, values).fetchone()[0]


def answered(connection: sqlite3.Connection, plan: str) -> int:
    """How many attack tasks of a plan need not be done again in this run: done, or failed."""
    row = connection.execute(
        f"SELECT count(*) AS number {SOURCES} WHERE members.plan = :plan "
        f"AND coalesce(findings.state, '{OPEN}') != '{OPEN}'",
        {"plan": plan},
    ).fetchone()
    return int(row["number"])


def attack_task(connection: sqlite3.Connection, instance: str, target: Target, kind: Kind, attack: str) -> AttackTask:
    """What a worker needs to know."""
    row = connection.execute(
        "SELECT instances.lower, instances.upper, instances.witness, inputs.dtype, hit.distance AS found, "
        "length(inputs.data) AS bytes "
        "FROM instances JOIN tasks ON tasks.id = task JOIN inputs ON inputs.sha256 = tasks.input "
        "LEFT JOIN findings AS hit ON hit.instance = instances.id AND hit.kind = 'attack' AND hit.attack = ? "
        "WHERE instances.id = ?",
        (attack, instance),
    ).fetchone()
    point = vector(row, "witness", row["dtype"]) if row["witness"] else None
    found = math.inf if row["found"] is None else float(row["found"])
    size = row["bytes"] // np.dtype(row["dtype"]).itemsize
    given = _given(connection, instance, attack, size) if kind is Kind.POINTS else None
    return AttackTask(target, kind, attack, row["lower"], row["upper"], point, found, given)


def _given(connection: sqlite3.Connection, instance: str, tool: str, size: int) -> npt.NDArray[np.floating]:
    """A tool's points (m, size) for an instance."""
    row = connection.execute(
        "SELECT dtype, data FROM points WHERE instance = ? AND attack = ?", (instance, tool)
    ).fetchone()
    points = vector(row, "data", row["dtype"])
    if not size or points.size % size:
        raise DamagedColumnError(f"column data holds {points.size} numbers, and the input has {size}")
    return points.reshape(-1, size)


def save(connection: sqlite3.Connection, instance: str, finding: Finding) -> None:
    """Write a finding down; saving twice does no harm."""
    values = {
        "state": FAILED if finding.error else DONE,
        "distance": finding.distance,
        **columns(finding.witness),
        "facts": json.dumps(dict(finding.facts)),
        "seconds": finding.seconds,
        "reason": finding.error,
        "updated": time.time(),
    }
    key = (instance, finding.kind.value, finding.attack)
    connection.execute("INSERT OR IGNORE INTO findings (instance, kind, attack) VALUES (?, ?, ?)", key)
    assignments = ", ".join(f"{name} = ?" for name in values)
    where = "instance = ? AND kind = ? AND attack = ?"
    connection.execute(f"UPDATE findings SET {assignments} WHERE {where}", (*values.values(), *key))


def lost(connection: sqlite3.Connection, owner: Owner, why: str, task: str | None, most: int) -> None:
    """Count the loss of a worker for the attack tasks that it was on; `most` of them are a failure."""
    leased = connection.execute(
        "SELECT task, kind, attack FROM leases WHERE owner = ? AND (? IS NULL OR task = ?) AND kind != ''",
        (owner.text, task, task),
    ).fetchall()
    for lease in leased:
        key = (lease["kind"], lease["attack"])
        connection.execute(
            "INSERT OR IGNORE INTO findings (instance, kind, attack) SELECT id, ?, ? FROM instances WHERE task = ?",
            (*key, lease["task"]),
        )
        mine = f"kind = ? AND attack = ? AND state = '{OPEN}' AND instance IN (SELECT id FROM instances WHERE task = ?)"
        connection.execute(f"UPDATE findings SET losses = losses + 1 WHERE {mine}", (*key, lease["task"]))
        connection.execute(
            f"UPDATE findings SET state = ?, reason = ? WHERE losses >= ? AND {mine}",
            (FAILED, why, most, *key, lease["task"]),
        )


def read(connection: sqlite3.Connection, plan: str | None) -> list[StoredFinding]:
    """What is known of the instances of a plan, or of all, besides their brackets."""
    chosen = "" if plan is None else "AND instances.id IN (SELECT instance FROM members WHERE plan = :plan)"
    columns = ", ".join(f"findings.{name}" for name in (*PLAIN, "kind", "facts", "witness", "witness_facts"))
    rows = connection.execute(
        f"SELECT {columns}, models.path AS path, inputs.dtype AS dtype, length(inputs.data) AS bytes "
        "FROM findings JOIN instances ON instances.id = findings.instance JOIN tasks ON tasks.id = instances.task "
        "JOIN inputs ON inputs.sha256 = tasks.input JOIN models ON models.sha256 = tasks.model "
        f"WHERE findings.state != '{OPEN}' {chosen} ORDER BY findings.rowid",
        {"plan": plan},
    )
    return [_found(row) for row in rows]


def _found(row: sqlite3.Row) -> StoredFinding:
    plain, kind = {name: row[name] for name in PLAIN}, Kind(row["kind"])
    plain["reason"] = without_folders(row["reason"], Path(row["path"]))
    return StoredFinding(kind=kind, witness=witness_of(row), facts=_facts(row, kind), **plain)


def _facts(row: sqlite3.Row, kind: Kind) -> dict[str, Any]:
    """What is known of a finding; of a done one what its kind needs. Raises DamagedColumnError."""
    facts: dict[str, Any] = json_column(row, "facts", dict)
    needed = NEEDED.get(kind, {}) if row["state"] == DONE else {}
    wrong = [name for name, what in needed.items() if not isinstance(facts.get(name), what)]
    held = [facts[name] for name in needed if name not in wrong]
    numbers = [number for one in held if one for number in (one.values() if isinstance(one, dict) else _listed(one))]
    if wrong or not all(number is None or isinstance(number, int | float) for number in numbers):
        raise DamagedColumnError(f"column facts is not what it should be at {', '.join(wrong or needed)}")
    if "steps" in needed and len(facts["steps"]) != len(facts["towards"]):
        raise DamagedColumnError("column facts has not a distance for each of its steps")
    return facts


def _listed(one: Any) -> Sequence[Any]:
    return one if isinstance(one, list) else [one]


NEEDED: Mapping[Kind, Kinds] = {
    Kind.POINTS: {"given": int, "refused": dict},
    Kind.RESTART: {"steps": list, "towards": list, "random": list},
}
"""Keys of facts, and their types, that reports count on."""


PLAIN = ("instance", "attack", "state", "distance", "seconds", "reason")
"""Columns that are fields of `StoredFinding` as they are."""
