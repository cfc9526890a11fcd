"""Identities: what has the same content has the same name, wherever and whenever it is asked about."""

from __future__ import annotations

import hashlib
from typing import Any


def digest(*parts: Any) -> str:
    """The sha256 of texts and bytes, each with its length before it."""
    found = hashlib.sha256()
    for part in parts:
        content = part if isinstance(part, bytes) else str(part).encode()
        found.update(len(content).to_bytes(8, "big") + content)
    return found.hexdigest()
