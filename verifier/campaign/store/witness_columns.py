"""A witness as columns of the store: its point as bytes, all else of it as JSON."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import asdict

import numpy as np

from verifier.campaign.store.columns import Kinds, facts_column, json_column, vector
from verifier.problem.verdict import Witness


def columns(witness: Witness | None) -> dict[str, bytes | str | None]:
    """The columns `witness` and `witness_facts`."""
    if witness is None:
        return {"witness": None, "witness_facts": None}
    facts = {name: value for name, value in asdict(witness).items() if name != "point"}
    return {"witness": witness.point.tobytes(), "witness_facts": json.dumps(facts)}


def witness_of(row: sqlite3.Row) -> Witness | None:
    """The witness of a row with those columns, and `dtype` and `bytes` of its input; JSON has no tuples."""
    if not row["witness"]:
        return None
    point = vector(row, "witness", row["dtype"], row["bytes"] // np.dtype(row["dtype"]).itemsize)
    old = "classes" not in json_column(row, "witness_facts", dict)  # from before there were transformations
    needed = {name: kind for name, kind in FACTS.items() if name != "classes" or not old}
    facts = facts_column(row, "witness_facts", needed)
    return Witness(point, **{**facts, "classes": tuple(facts.get("classes", ()))})


FACTS: Kinds = {
    **dict.fromkeys(("distance", "exact_margin", "onnxruntime_margin"), (int, float)),
    **dict.fromkeys(("predicted", "target"), int),
    "classes": list,
}
