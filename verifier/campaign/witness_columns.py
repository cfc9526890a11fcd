"""A witness as columns of the store: its point as bytes, all else of it as JSON."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import asdict

import numpy as np

from verifier.verdict import Witness


def columns(witness: Witness | None) -> dict[str, bytes | str | None]:
    """The columns `witness` and `witness_facts`."""
    if witness is None:
        return {"witness": None, "witness_facts": None}
    facts = {name: value for name, value in asdict(witness).items() if name != "point"}
    return {"witness": witness.point.tobytes(), "witness_facts": json.dumps(facts)}


def witness_of(row: sqlite3.Row) -> Witness | None:
    """The witness of a row with those columns and `dtype`; JSON has no tuples."""
    if not row["witness"]:
        return None
    facts = json.loads(row["witness_facts"])
    return Witness(np.frombuffer(row["witness"], row["dtype"]), **{**facts, "classes": tuple(facts.get("classes", ()))})
