"""What a store has of other models at a task's input: their witnesses, and the split trees of their searches.

What fooled a model before it was trained again may fool it still, and what proved its lower ends may prove them again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

from verifier.campaign.plan.messages import Before
from verifier.campaign.store.columns import vector
from verifier.problem.verdict import Status

MOST_TRIED = 8
"""Witnesses of other models that are tried: each costs a run of the file, and an exact evaluation where it fools."""

OTHERS_KEPT = 3
"""Other models whose trees are kept beside a model's: a gate's file may name some, and each is trained again."""

OTHERS = (
    "FROM tasks AS own JOIN tasks AS other ON other.input = own.input AND other.label = own.label "
    "AND other.norm = own.norm AND other.lattice IS own.lattice AND other.model != own.model "
    "JOIN instances ON instances.task = other.id "
)


def save(connection: sqlite3.Connection, instance: str, lower: float, trees: Mapping[int, bytes]) -> None:
    """Keep the packed trees that proved a lower end, unless there are some that proved more; older models' go."""
    connection.executemany(
        "INSERT INTO trees VALUES (?, ?, ?, ?) ON CONFLICT (instance, goal) DO UPDATE "
        "SET lower = excluded.lower, tree = excluded.tree WHERE excluded.lower >= lower",
        [(instance, goal, lower, tree) for goal, tree in trees.items()],
    )
    connection.executemany(
        f"DELETE FROM trees WHERE goal = ? AND instance IN (SELECT trees.instance {OTHERS} JOIN trees ON "
        "trees.instance = instances.id AND trees.goal = ? WHERE own.id = (SELECT task FROM instances WHERE id = ?) "
        "ORDER BY instances.updated DESC LIMIT -1 OFFSET ?)",
        [(goal, goal, instance, OTHERS_KEPT) for goal in trees],
    )


def of_other_models(connection: sqlite3.Connection, task: str) -> Before:
    """The nearest witnesses, those of closed brackets, and each goal's last tree, with the same label and norm, among
    the same inputs that can occur."""
    rows = connection.execute(
        f"SELECT witness, dtype, status {OTHERS} JOIN inputs ON inputs.sha256 = own.input "
        "WHERE own.id = ? AND witness IS NOT NULL AND upper > 0 ORDER BY upper LIMIT ?",
        (task, MOST_TRIED),
    ).fetchall()
    points = [(vector(row, "witness", row["dtype"]), row["status"]) for row in rows]
    packed = connection.execute(  # of a group SQLite gives the row that has the maximum
        f"SELECT goal, tree, max(instances.updated) AS updated {OTHERS} JOIN trees ON trees.instance = instances.id "
        "WHERE own.id = ? AND own.margin = other.margin AND own.transforms IS other.transforms GROUP BY goal",
        (task,),
    )
    return Before(
        tuple(point for point, _ in points),
        tuple(point for point, status in points if status == Status.MINIMAL.value),
        {row["goal"]: row["tree"] for row in packed},
    )
