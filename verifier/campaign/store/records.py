"""Rows of the store ↔ objects."""

from __future__ import annotations

import json
import math
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from encoders.errors import without_folders
from verifier.campaign.plan.tasks import Target, Task
from verifier.campaign.store import attack_queue, lattices_table, presence, transforms_table
from verifier.campaign.store.columns import SHOWN, DamagedColumnError, Kinds, facts_column, json_column, vector
from verifier.campaign.store.merge import CLOSED, ERROR
from verifier.campaign.store.witness_columns import witness_of
from verifier.problem.verdict import Search, Witness


@dataclass(frozen=True, eq=False)
class Result:
    """An instance as the store has it: what was asked, what is known. `status` as in `merge`."""

    id: str
    task: str
    model: Path
    model_sha256: str
    input_sha256: str
    source: str
    index: int
    norm: str
    label: int
    target: Target
    margin: float
    precision: float
    method: str
    solver: str | None
    status: str
    lower: float
    upper: float
    evidence: str
    attack: str
    initial: float
    witness: Witness | None
    search: Search | None
    reason: str
    seconds: float
    tried: float
    attempts: int
    updated: float
    certificate: str = ""
    """Where the file is that certifies the lower end; "" without one."""
    float32: float | None = None
    """The lower end for every float32 evaluation of the network; None where none was proved."""
    transforms: str | None = None
    """The identity of the transformations under which examples are adversarial; None: the input as it is."""
    views: tuple[str, ...] = ()
    """What they are called."""
    name: str = ""
    """The input's own file, within its source; "" where it has none."""
    output: str | None = None
    """The output that was chosen of a model with several; None where none was."""
    lattice: str | None = None
    """The identity of which inputs can occur; None: all of the box."""
    only: str = ""
    """Which these are, in words."""

    @property
    def closed(self) -> bool:
        return self.status in CLOSED

    @property
    def source_name(self) -> str:
        """What the source is called in what is handed on: its folder is nobody's business."""
        return Path(self.source).name

    @property
    def input_name(self) -> str:
        """What people call the input."""
        return self.name or f"input {self.index}"


@dataclass(frozen=True)
class Counts:
    """Instances in all, closed, begun but open, failed; tasks that are being worked on.

    attack_tasks, attack_tasks_failed: attacks and restarts that can be had now, and those that failed.
    """

    instances: int
    closed: int
    open: int
    failed: int
    at_work: int
    attack_tasks: int = 0
    attack_tasks_failed: int = 0

    @property
    def done(self) -> bool:
        return self.closed == self.instances and not self.attack_tasks and not self.attack_tasks_failed


def add_task(connection: sqlite3.Connection, task: Task) -> None:
    """Enter a task with its model, input and box, unless they are there."""
    shape = json.dumps(task.shape)
    point = (task.input_sha256, task.point.dtype.str, shape, task.point.tobytes())
    box = (task.box_sha256, _packed(task.lo), _packed(task.hi))
    latest = "ON CONFLICT (sha256) DO UPDATE SET path = excluded.path"
    connection.execute(f"INSERT INTO models VALUES (?, ?) {latest}", (task.model_sha256, str(task.model)))
    connection.execute("INSERT OR IGNORE INTO inputs VALUES (?, ?, ?, ?)", point)
    connection.execute("INSERT OR IGNORE INTO boxes VALUES (?, ?, ?)", box)
    asked = (task.id, task.model_sha256, task.input_sha256, task.box_sha256, task.label, task.norm, task.margin)
    transforms = None if task.transforms is None else transforms_table.add(connection, task.transforms)
    lattice = None if task.columns is None else lattices_table.add(connection, task.columns)
    how = (task.precision, task.method, task.solver, task.source, task.index, transforms, task.name, task.output)
    named = "ON CONFLICT (id) DO UPDATE SET name = excluded.name WHERE excluded.name != ''"
    connection.execute(f"INSERT INTO tasks VALUES ({', '.join('?' * 16)}) {named}", (*asked, *how, lattice))


def _packed(end: npt.NDArray[np.float64]) -> bytes:
    """A box's end as float64 bytes; one number where all are equal."""
    same = end.size > 0 and bool(np.all(end.view(np.uint64) == end.view(np.uint64)[0]))
    return end[:1].tobytes() if same else end.tobytes()


def _unpacked(row: sqlite3.Row, name: str, size: int) -> npt.NDArray[np.float64]:
    end = vector(row, name, "<f8", 1 if len(row[name]) == 8 else size)
    return np.ascontiguousarray(np.broadcast_to(end, (size,)))


TASKS = """
    SELECT tasks.*, models.path AS path, inputs.dtype AS dtype, inputs.shape AS shape, inputs.data AS data,
           boxes.lo AS lo, boxes.hi AS hi
    FROM tasks JOIN models ON models.sha256 = tasks.model JOIN inputs ON inputs.sha256 = tasks.input
    JOIN boxes ON boxes.sha256 = tasks.box WHERE tasks.id = ?
"""


def read_task(connection: sqlite3.Connection, key: str) -> Task:
    """The task of that identity."""
    row = connection.execute(TASKS, (key,)).fetchone()
    point = vector(row, "data", row["dtype"])
    shape = json_column(row, "shape", list)
    if not all(isinstance(axis, int) and axis > 0 for axis in shape) or math.prod(shape) != point.size:
        raise DamagedColumnError(f"column shape is {str(shape)[:SHOWN]}, and the input has {point.size} entries")
    if not np.isfinite(point).all():
        raise DamagedColumnError("column data holds an input that is not finite")
    lo, hi = (_unpacked(row, end, point.size) for end in ("lo", "hi"))
    return Task(
        model=Path(row["path"]),
        model_sha256=row["model"],
        point=point,
        shape=tuple(shape),
        label=row["label"],
        norm=row["norm"],
        lo=lo,
        hi=hi,
        margin=row["margin"],
        precision=row["precision"],
        method=row["method"],
        solver=row["solver"],
        source=row["source"],
        index=row["source_index"],
        transforms=transforms_table.read(connection, row["transforms"]),
        name=row["name"],
        output=row["output"],
        columns=lattices_table.read(connection, row["lattice"]),
    )


RESULTS = """
    SELECT instances.*, tasks.*, instances.id AS instance, models.path AS path, inputs.dtype AS dtype,
           length(inputs.data) AS bytes, transforms.names AS views, lattices.told AS only
    FROM instances JOIN tasks ON tasks.id = instances.task JOIN models ON models.sha256 = tasks.model
    JOIN inputs ON inputs.sha256 = tasks.input LEFT JOIN transforms ON transforms.sha256 = tasks.transforms
    LEFT JOIN lattices ON lattices.sha256 = tasks.lattice
"""


def read_results(connection: sqlite3.Connection, plan: str | None) -> list[Result]:
    """Every instance, or those of a plan, in order."""
    if plan is None:
        rows = connection.execute(f"{RESULTS} ORDER BY instances.rowid")
    else:
        chosen = "JOIN members ON members.instance = instances.id WHERE members.plan = ? ORDER BY members.place"
        rows = connection.execute(f"{RESULTS} {chosen}", (plan,))
    return [_result(row) for row in rows]


def _result(row: sqlite3.Row) -> Result:
    return Result(
        id=row["instance"],
        task=row["task"],
        model=Path(row["path"]),
        model_sha256=row["model"],
        input_sha256=row["input"],
        source=row["source"],
        index=row["source_index"],
        witness=witness_of(row),
        search=Search(**facts_column(row, "search", SEARCH)) if row["search"] else None,
        views=tuple(json_column(row, "views", list)) if row["views"] else (),
        only=row["only"] or "",
        **{**{name: row[name] for name in PLAIN}, "reason": without_folders(row["reason"], Path(row["path"]))},
    )


SEARCH: Kinds = {"engine": str, "nodes": int, "open_nodes": int, "seconds": (int, float)}
PLAIN = (
    "norm", "label", "target", "margin", "precision", "method", "solver", "status", "lower", "upper", "evidence",
    "attack", "initial", "reason", "seconds", "tried", "attempts", "updated", "certificate", "float32", "transforms",
    "name", "output", "lattice",
)  # fmt: skip
"""Columns that are fields of a Result as they are."""


def read_counts(connection: sqlite3.Connection, plan: str | None) -> Counts:
    """How far the instances of a plan, or all, have come."""
    chosen = "" if plan is None else "WHERE id IN (SELECT instance FROM members WHERE plan = :plan)"
    rows = connection.execute(
        f"SELECT status, count(*) AS number, sum(attempts > 0) AS begun FROM instances {chosen} GROUP BY status",
        {"plan": plan},
    ).fetchall()
    at_work = presence.at_work(connection, time.time())
    closed = sum(row["number"] for row in rows if row["status"] in CLOSED)
    failed = sum(row["number"] for row in rows if row["status"] == ERROR)
    begun = sum(row["begun"] for row in rows if row["status"] not in {*CLOSED, ERROR})
    return Counts(
        sum(row["number"] for row in rows), closed, begun, failed, at_work, *attack_queue.waiting(connection, plan)
    )
