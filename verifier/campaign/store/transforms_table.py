"""Transformations as a store keeps them: what they are, whatever file they came from."""

from __future__ import annotations

import io
import json
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np

from encoders.files.array_files import BROKEN
from encoders.network.linear_maps import Sparse, readonly
from encoders.passes.from_transforms import Transforms
from verifier.campaign.plan.identity import maps_sha256
from verifier.campaign.store.columns import DamagedColumnError, json_column


def add(connection: sqlite3.Connection, transforms: Transforms) -> str:
    """Enter transformations, unless they are there; their identity."""
    key, packed = maps_sha256(transforms), io.BytesIO()
    if connection.execute("SELECT 1 FROM transforms WHERE sha256 = ?", (key,)).fetchone() is not None:
        return key
    arrays: dict[str, Any] = {"size": np.array(transforms.maps[0].in_size)}
    for place, each in enumerate(transforms.maps):
        arrays |= {f"data{place}": each.data, f"indices{place}": each.indices, f"indptr{place}": each.indptr}
    np.savez_compressed(packed, **arrays)
    row = (key, str(transforms.path), json.dumps(transforms.names), packed.getvalue())
    connection.execute("INSERT INTO transforms VALUES (?, ?, ?, ?)", row)
    return key


def read(connection: sqlite3.Connection, key: str | None) -> Transforms | None:
    """The transformations of that identity; None for None."""
    if key is None:
        return None
    row = connection.execute("SELECT * FROM transforms WHERE sha256 = ?", (key,)).fetchone()
    if row is None:
        raise DamagedColumnError("column transforms names none that the store holds")
    names = tuple(json_column(row, "names", list))
    try:
        with np.load(io.BytesIO(row["maps"]), allow_pickle=False) as arrays:
            size = int(arrays["size"])
            maps = tuple(
                Sparse(
                    readonly(arrays[f"data{place}"]),
                    readonly(arrays[f"indices{place}"], np.intp),
                    readonly(arrays[f"indptr{place}"], np.intp),
                    size,
                )
                for place in range(len(names))
            )
    except BROKEN:
        maps = ()
    found = Transforms(Path(row["source"]), key, names, maps)
    if not maps or maps_sha256(found) != key:
        raise DamagedColumnError("column maps holds other transformations than its sha256 says")
    return found
