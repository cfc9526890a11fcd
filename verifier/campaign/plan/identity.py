"""Identities: what has the same content has the same name, wherever and whenever it is asked about."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np

from encoders.network.linear_maps import Sparse
from encoders.passes.from_transforms import Transforms
from verifier.problem.inputs.columns import Columns


def digest(*parts: Any) -> str:
    """The sha256 of texts and bytes, each with its length before it."""
    found = hashlib.sha256()
    for part in parts:
        content = part if isinstance(part, bytes) else str(part).encode()
        found.update(len(content).to_bytes(8, "big") + content)
    return found.hexdigest()


def maps_sha256(transforms: Transforms) -> str:
    """The identity of the linear maps, in their order; names and files do not matter."""
    parts = [(each.in_size, each.data.tobytes(), *_places(each)) for each in transforms.maps]
    return digest(*(part for one in parts for part in one))


def _places(one: Sparse) -> tuple[bytes, bytes]:
    return one.indices.astype(np.int64).tobytes(), one.indptr.astype(np.int64).tobytes()


def columns_sha256(columns: Columns) -> str:
    """The identity of which inputs can occur; in which order columns and groups were named does not matter."""
    groups = sorted(sorted(group) for group in columns.one_hot)
    named = json.dumps([columns.grid, sorted(columns.integer), groups])
    ends = [np.asarray(end, dtype=np.float64).reshape(-1) for end in columns.units or (0.0, 1.0)]
    return digest(named, *(end[:1].tobytes() if np.all(end == end[:1]) else end.tobytes() for end in ends))
