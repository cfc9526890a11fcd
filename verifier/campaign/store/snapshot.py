"""Everything that a report needs, read from a store in one consistent view."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from encoders.files.packed import without_gz
from verifier.campaign.plan.attack_tasks import StoredFinding
from verifier.campaign.plan.messages import Step
from verifier.campaign.plan.tasks import Task
from verifier.campaign.store import attack_queue, presence, records
from verifier.campaign.store.columns import DamagedColumnError, json_column
from verifier.campaign.store.presence import Presence
from verifier.campaign.store.records import Counts, Result


@dataclass(frozen=True, eq=False)
class Contents:
    """results: every instance in the order in which they were asked; tasks by id; steps (attempt, ends) by instance."""

    plans: tuple[Mapping[str, Any], ...]
    results: tuple[Result, ...]
    tasks: Mapping[str, Task]
    findings: tuple[StoredFinding, ...]
    steps: Mapping[str, Sequence[tuple[int, Step]]]
    counts: Counts
    presence: Presence

    @property
    def names(self) -> Mapping[str, str]:
        """A name for each model, by sha256: its file's, with as much of the folder as tells it from the others."""
        return names_of({one.model_sha256: one.model for one in self.results})


def read_contents(connection: sqlite3.Connection) -> Contents:
    """All of a store; within a transaction."""
    results = records.read_results(connection, None)
    steps: dict[str, list[tuple[int, Step]]] = {}
    for row in connection.execute("SELECT * FROM history ORDER BY instance, attempt, seconds"):
        step = Step(row["seconds"], row["lower"], row["upper"])
        steps.setdefault(row["instance"], []).append((row["attempt"], step))
    plans = connection.execute("SELECT text FROM plans ORDER BY created").fetchall()
    return Contents(
        plans=tuple(_plan(row) for row in plans),
        results=tuple(results),
        tasks={key: records.read_task(connection, key) for key in dict.fromkeys(one.task for one in results)},
        findings=tuple(attack_queue.read(connection, None)),
        steps=steps,
        counts=records.read_counts(connection, None),
        presence=presence.read(connection),
    )


def _plan(row: sqlite3.Row) -> Mapping[str, Any]:
    told: Mapping[str, Any] = json_column(row, "text", dict)
    models = told.get("models")
    if not isinstance(models, list) or not all(isinstance(model, str) for model in models):
        raise DamagedColumnError("column text is a plan without models")
    return told


def names_of(paths: Mapping[str, Path]) -> dict[str, str]:
    """The shortest ends of paths that differ, without the ending where that leaves them different.

    >>> names_of({"1": Path("/a/n.onnx"), "2": Path("/b/n.onnx"), "3": Path("/b/m.onnx")})
    {'1': 'a/n', '2': 'b/n', '3': 'm'}
    """
    found: dict[str, str] = {}
    for key, path in paths.items():
        others = [other for one, other in paths.items() if one != key]
        for parts in range(1, len(path.parts) + 1):
            short = without_gz(path).with_suffix("").parts[-parts:]
            if all(without_gz(other).with_suffix("").parts[-parts:] != short for other in others):
                break
        found[key] = "/".join(short)
    if len(set(found.values())) < len(found):  # the same path with other contents, or another ending
        return {key: f"{path.name} ({key[:6]})" for key, path in paths.items()}
    return found
