"""Which inputs can occur, as a store keeps it: by content, whatever file the units came from."""

from __future__ import annotations

import io
import json
import sqlite3

import numpy as np

from encoders.errors import InputError
from encoders.files.array_files import BROKEN
from verifier.campaign.plan.identity import columns_sha256
from verifier.campaign.store.columns import DamagedColumnError, json_column
from verifier.problem.inputs.columns import Columns


def add(connection: sqlite3.Connection, columns: Columns) -> str:
    """Enter which inputs can occur, unless that is there; its identity."""
    key, packed = columns_sha256(columns), None
    if columns.units is not None:
        stream = io.BytesIO()
        offset, scale = (np.asarray(end, dtype=np.float64) for end in columns.units)
        np.savez_compressed(stream, offset=offset, scale=scale)
        packed = stream.getvalue()
    named = json.dumps({"grid": columns.grid, "integer": columns.integer, "one_hot": columns.one_hot})
    connection.execute("INSERT OR IGNORE INTO lattices VALUES (?, ?, ?, ?)", (key, columns.told, named, packed))
    return key


def read(connection: sqlite3.Connection, key: str | None) -> Columns | None:
    """What has that identity; None for None."""
    if key is None:
        return None
    row = connection.execute("SELECT * FROM lattices WHERE sha256 = ?", (key,)).fetchone()
    if row is None:
        raise DamagedColumnError("column lattice names none that the store holds")
    try:
        units = None
        if row["units"] is not None:
            with np.load(io.BytesIO(row["units"]), allow_pickle=False) as arrays:
                units = arrays["offset"], arrays["scale"]
        found = Columns(**json_column(row, "columns", dict), units=units)
        same = columns_sha256(found) == key
    except (*BROKEN, InputError, TypeError):
        same = False
    if not same:
        raise DamagedColumnError("column columns holds other inputs than its sha256 says")
    return found
