"""What the columns of a store may hold. Its file comes from users: any column of it may hold anything."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Collection, Mapping
from typing import Any

from verifier.campaign.plan.attack_tasks import DONE, FAILED, OPEN, Kind
from verifier.campaign.store.columns import SHOWN, DamagedColumnError
from verifier.campaign.store.merge import CONTRADICTION, ERROR, PENDING
from verifier.campaign.store.presence import How
from verifier.problem.query import Norm
from verifier.problem.verdict import Evidence, Status

ValueCheck = Callable[[Any], bool]
YEAR_9999 = 253_370_764_800
"""Its beginning, in seconds since 1970: later moments have no date."""


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)


def _size(value: Any) -> bool:
    return _number(value) and value >= 0


def _moment(value: Any) -> bool:
    return _number(value) and 0 <= value < YEAR_9999


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _blob(value: Any) -> bool:
    return isinstance(value, bytes)


def _or_none(check: ValueCheck) -> ValueCheck:
    return lambda value: value is None or check(value)


def _one_of(values: Collection[str]) -> ValueCheck:
    return lambda value: isinstance(value, str) and value in values


def _owner(value: Any) -> bool:
    """Host, process number, beginning, nonce: as `Owner.here` writes them."""
    parts = value.rsplit("/", 3) if isinstance(value, str) else []
    return len(parts) == 4 and parts[1].isascii() and parts[1].isdigit() and len(parts[1]) <= PROCESS_DIGITS


PROCESS_DIGITS = 10
"""Of a process number; more are none, and might be more than Python turns into a number."""
STATUSES = {*(status.value for status in Status), PENDING, ERROR, CONTRADICTION}
EVIDENCES = {"", *(evidence.label for evidence in Evidence)}
DTYPES = {"<f2", "<f4", "<f8", ">f2", ">f4", ">f8"}

CHECKS: Mapping[str, ValueCheck] = {
    **dict.fromkeys(("lower", "upper", "initial", "margin", "precision", "seconds", "distance", "earlier"), _size),
    **dict.fromkeys(("tried", "expires", "until", "most"), _number),
    **dict.fromkeys(("updated", "created", "since", "began", "seen"), _moment),
    **dict.fromkeys(("attempt", "attempts", "losses", "place", "label", "source_index", "done_before", "goal"), _whole),
    **dict.fromkeys(
        ("path", "shape", "source", "method", "attack", "reason", "certificate", "text", "name", "worker", "why"), _text
    ),
    **dict.fromkeys(("told", "columns"), _text),
    **dict.fromkeys(
        ("solver", "search", "witness_facts", "transforms", "views", "output", "lattice", "only"), _or_none(_text)
    ),
    **dict.fromkeys(("data", "lo", "hi", "maps", "tree"), _blob),
    **dict.fromkeys(("witness", "units"), _or_none(_blob)),
    "target": _or_none(_whole),
    "float32": _or_none(_size),
    "ended": _or_none(_moment),
    "how": _one_of({"", *How}),
    "owner": _owner,
    "status": _one_of(STATUSES),
    "evidence": _one_of(EVIDENCES),
    "norm": _one_of(set(Norm)),
    "dtype": _one_of(DTYPES),
    "kind": _one_of({"", *Kind}),
    "state": _one_of({OPEN, DONE, FAILED}),
}
"""By name, which is the same in every table and query; columns with other names are not looked at."""


def checked_row(cursor: sqlite3.Cursor, values: tuple[Any, ...]) -> sqlite3.Row:
    """A row factory that raises DamagedColumnError for a column that cannot be."""
    for (name, *_), value in zip(cursor.description, values, strict=True):
        check = CHECKS.get(name)
        if check is not None and not check(value):
            raise DamagedColumnError(f"column {name} holds {repr(value)[:SHOWN]}")
    return sqlite3.Row(cursor, values)
