"""The store of campaigns: a SQLite file that is whole after every bracket, for one writer and any number of readers
in each of any number of campaigns."""

from __future__ import annotations

import json
import math
import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt

from verifier.campaign.plan.attack_tasks import AttackTask, Finding, StoredFinding
from verifier.campaign.plan.messages import Before, Claim, Outcome, Report, Step
from verifier.campaign.plan.plan import Plan
from verifier.campaign.plan.tasks import Target, Task, Wanted, instance_id
from verifier.campaign.store import attack_queue, leases, presence, records, trees_table
from verifier.campaign.store.columns import vector
from verifier.campaign.store.database import Database
from verifier.campaign.store.leases import Limits
from verifier.campaign.store.merge import CLOSED, CONTRADICTION, ERROR, PENDING, StoredEnds
from verifier.campaign.store.owner import Owner
from verifier.campaign.store.presence import How, Presence
from verifier.campaign.store.records import Counts, Result
from verifier.campaign.store.snapshot import Contents, read_contents
from verifier.campaign.store.witness_columns import columns
from verifier.problem.verdict import Bracket, Evidence, Initial


class Store:
    """What is known, and who works on what. Every method is one transaction; all raise StoreError.

    Methods may be called by any thread. Use it as a context manager.
    """

    def __init__(self, path: Path, *, readonly: bool = False) -> None:
        self.path = path
        self._database = Database(path, readonly=readonly)

    def __enter__(self) -> Store:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    @property
    def changes(self) -> int:
        """A number that is another one whenever others have written to the store since."""
        return self._database.changes

    def begin(self, plan: Plan, wanted: Sequence[Wanted]) -> str:
        """Enter a plan and what it asks for, and let its failed instances be asked again; the plan's key."""
        key = plan.sha256
        with self._database.writing() as connection:
            latest = "ON CONFLICT (sha256) DO UPDATE SET text = excluded.text"
            connection.execute(f"INSERT INTO plans VALUES (?, ?, ?) {latest}", (key, plan.text, time.time()))
            connection.execute("DELETE FROM members WHERE plan = ?", (key,))
            place = 0
            for each in wanted:
                records.add_task(connection, each.task)
                for target in each.targets:
                    instance = each.task.instance(target)
                    connection.execute(
                        "INSERT OR IGNORE INTO instances (id, task, target) VALUES (?, ?, ?)",
                        (instance, each.task.id, target),
                    )
                    connection.execute("INSERT OR IGNORE INTO members VALUES (?, ?, ?)", (key, instance, place))
                    place += 1
            connection.execute(
                "UPDATE instances SET status = CASE WHEN attack = '' THEN ? ELSE 'bracketed' END, losses = 0 "
                "WHERE status = ? AND id IN (SELECT instance FROM members WHERE plan = ?)",
                (PENDING, ERROR, key),
            )
            attack_queue.enter(connection, key, plan.attacks, wanted)
        return key

    def claim(self, plan: str, owner: Owner, limits: Limits) -> Claim | None:
        """Take the most worthwhile task of a plan that is free; None when there is none."""
        with self._database.writing() as connection:
            return leases.claim(connection, plan, owner, limits)

    def renew(self, owner: Owner) -> None:
        """Keep an owner's claims."""
        with self._database.writing() as connection:
            leases.renew(connection, owner)
            presence.seen(connection, owner, time.time())

    def enter(self, owner: Owner, plan: str, seconds: float, most: float) -> None:
        """Note that a campaign begins a plan, for `seconds` in all, and for an instance `most`."""
        with self._database.writing() as connection:
            presence.enter(connection, owner, plan, time.time(), time.time() + seconds, most)

    def leave(self, owner: Owner, how: How, why: str = "") -> None:
        """Note how a campaign ended."""
        with self._database.writing() as connection:
            presence.leave(connection, owner, time.time(), how, why)

    def begun(self, owner: Owner, task: str, worker: str) -> None:
        """Note which worker is at a claimed task."""
        with self._database.writing() as connection:
            presence.begun(connection, owner, task, worker, time.time())

    def presence(self) -> Presence:
        """Who is at work, at what, and how earlier campaigns ended."""
        with self._database.reading() as connection:
            return presence.read(connection)

    def release(self, owner: Owner) -> None:
        """End all claims of an owner."""
        with self._database.writing() as connection:
            leases.free(connection, owner)

    def lose(self, owner: Owner, why: str) -> None:
        """End all claims of an owner whose workers were lost."""
        with self._database.writing() as connection:
            leases.lost(connection, owner, why)

    def others_at_work(self, plan: str, most: float) -> bool:
        """Is anything of the plan open that others work on, or have given up since the last claim?"""
        with self._database.writing() as connection:
            return leases.waiting(connection, plan, most) > 0

    def save(self, *outcomes: Outcome | Finding) -> list[str]:
        """Merge brackets, or note errors and findings; the instances' status after that. Twice does no harm."""
        with self._database.writing() as connection:
            return [_save(connection, instance_id(one.task, one.target), one) for one in outcomes]

    def finish(self, owner: Owner, report: Report, lost: str = "") -> None:
        """Save the last outcomes of a claim and end it. lost: why its worker was lost, "" when it was not."""
        claim = report.claim
        with self._database.writing() as connection:
            for outcome in report.outcomes:
                _save(connection, instance_id(outcome.task, outcome.target), outcome)
            if report.used_up and claim.attack_task is None:
                ids = [(claim.limit, instance_id(claim.task, target)) for target in claim.targets]
                connection.executemany("UPDATE instances SET tried = max(tried, ?) WHERE id = ?", ids)
            if lost:
                leases.lost(connection, owner, lost, claim.task)
            leases.free(connection, owner, claim.task)
            presence.seen(connection, owner, time.time())

    def certified(self, instance: str, lower: float, path: Path) -> None:
        """Note that a certificate at `path` proves `lower`, unless more than that is known by now."""
        with self._database.writing() as connection:
            connection.execute(
                "UPDATE instances SET evidence = ?, certificate = ?, updated = ? WHERE id = ? AND lower <= ?",
                (Evidence.CERTIFIED.label, str(path), time.time(), instance, lower),
            )

    def known(self, task: str, targets: Sequence[Target]) -> Mapping[Target, npt.NDArray[np.floating] | None]:
        """Those of the targets that are still open, each with its best witness so far, or None."""
        found: dict[Target, npt.NDArray[np.floating] | None] = {}
        with self._database.reading() as connection:
            for target in targets:
                row = connection.execute(
                    "SELECT status, witness, dtype FROM instances JOIN tasks ON tasks.id = task "
                    "JOIN inputs ON inputs.sha256 = tasks.input WHERE instances.id = ?",
                    (instance_id(task, target),),
                ).fetchone()
                if row["status"] not in CLOSED:
                    found[target] = vector(row, "witness", row["dtype"]) if row["witness"] else None
        return found

    def of_other_models(self, task: str) -> Before:
        """What is known of other models at a task's input."""
        with self._database.reading() as connection:
            return trees_table.of_other_models(connection, task)

    def attack_tasks(self, claim: Claim) -> tuple[AttackTask, ...]:
        """What a claim is to find out besides brackets."""
        if claim.attack_task is None:
            return ()
        with self._database.reading() as connection:
            return tuple(
                attack_queue.attack_task(connection, instance_id(claim.task, target), target, *claim.attack_task)
                for target in claim.targets
            )

    def task(self, key: str) -> Task:
        """A task as it was entered."""
        with self._database.reading() as connection:
            return records.read_task(connection, key)

    def results(self, plan: str | None = None) -> list[Result]:
        """Every instance, or those of a plan, in the order in which they were asked."""
        with self._database.reading() as connection:
            return records.read_results(connection, plan)

    def counts(self, plan: str | None = None) -> Counts:
        """How far the store, or a plan, has come."""
        with self._database.reading() as connection:
            return records.read_counts(connection, plan)

    def findings(self, plan: str | None = None) -> list[StoredFinding]:
        """What is known besides brackets: attacks and restarts."""
        with self._database.reading() as connection:
            return attack_queue.read(connection, plan)

    def contents(self) -> Contents:
        """All that a report shows, in one view."""
        with self._database.reading() as connection:
            return read_contents(connection)

    def history(self, instance: str) -> list[tuple[int, Step]]:
        """The steps of an instance with the number of the attempt that each belongs to, in order."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT attempt, seconds, lower, upper FROM history WHERE instance = ? ORDER BY attempt, seconds",
                (instance,),
            )
            return [(row["attempt"], Step(row["seconds"], row["lower"], row["upper"])) for row in rows]


def _save(connection: sqlite3.Connection, instance: str, outcome: Outcome | Finding) -> str:
    row = connection.execute("SELECT * FROM instances WHERE id = ?", (instance,)).fetchone()
    if isinstance(outcome, Finding):
        return _note(connection, row, outcome)
    steps = [(instance, row["attempts"], step.seconds, step.lower, step.upper) for step in outcome.steps]
    connection.executemany("INSERT OR REPLACE INTO history VALUES (?, ?, ?, ?, ?)", steps)
    if outcome.bracket is None:
        status = row["status"] if row["status"] in CLOSED else ERROR
        connection.execute(
            "UPDATE instances SET status = ?, reason = ?, updated = ? WHERE id = ?",
            (status, outcome.error, time.time(), instance),
        )
        return str(status)
    trees_table.save(connection, instance, outcome.bracket.lower, outcome.trees)
    return _merge(connection, row, outcome.bracket)


def _note(connection: sqlite3.Connection, row: sqlite3.Row, finding: Finding) -> str:
    """Save a finding. A point of an attack or of another tool is an upper end like any other."""
    attack_queue.save(connection, row["id"], finding)
    precision = connection.execute("SELECT precision FROM tasks WHERE id = ?", (row["task"],)).fetchone()[0]
    bracket = finding.reached(precision, row["reason"])
    if bracket is not None and bracket.upper < row["upper"]:
        initial, seconds = Initial(row["attack"], row["initial"]), row["seconds"] - row["earlier"]
        return _merge(connection, row, replace(bracket, initial=initial, seconds=seconds))
    connection.execute("UPDATE instances SET updated = ? WHERE id = ?", (time.time(), row["id"]))
    return str(row["status"])


def _merge(connection: sqlite3.Connection, row: sqlite3.Row, found: Bracket) -> str:
    old = StoredEnds(row["status"], row["lower"], row["upper"], row["evidence"])
    new = old.merged(found)
    if new.status == CONTRADICTION:
        reason = old.contradiction(found)
    else:
        reason = found.reason if new.status not in CLOSED else ""
    values = {
        **asdict(new),
        "reason": reason,
        "seconds": row["earlier"] + found.seconds,
        "updated": time.time(),
    }
    if not row["attack"] or math.isinf(row["initial"]):
        values |= {"attack": found.initial.attack, "initial": found.initial.distance}
    if new.lower != row["lower"]:
        values["certificate"] = ""
    if found.float32 is not None:
        values["float32"] = max(found.float32, row["float32"] if row["float32"] is not None else 0.0)
    if found.search is not None:
        values["search"] = json.dumps(asdict(found.search))
    if found.witness is not None and new.upper == found.upper and (found.upper < old.upper or row["witness"] is None):
        values |= columns(found.witness)
    assert all(not (isinstance(value, float) and math.isnan(value)) for value in values.values())
    assignments = ", ".join(f"{name} = :{name}" for name in values)
    connection.execute(f"UPDATE instances SET {assignments} WHERE id = :id", {**values, "id": row["id"]})
    return new.status
