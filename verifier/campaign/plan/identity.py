"""Identities: what has the same content has the same name, wherever and whenever it is asked about."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from encoders.network.linear_maps import Sparse
from encoders.passes.from_transforms import Transforms


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
