"""What of an input changes on the way to an adversarial example: the counterfactual of a record, in a few lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

MOST_LINES = 12
"""Changed entries that a table still lists: more are a picture's."""
LONGEST_NAME = 40
"""Characters of a column's name that are shown: a file may hold any."""


@dataclass(frozen=True, eq=False)
class Given:
    """An input as the model takes it, and the names of its entries where its file has them."""

    x: npt.NDArray[Any]
    names: Sequence[str] = ()

    def name(self, entry: int) -> str:
        """What the entry is called."""
        name = self.names[entry].strip()[:LONGEST_NAME] if self.names else ""
        return name if name.isprintable() and not name.isdecimal() and name else f"entry {entry}"


def _shortest(value: Any) -> str:
    """The fewest digits that tell the value from its neighbours, among float32 numbers where it is one of them."""
    single = np.float32(value)
    return str(single if single == value else value).removesuffix(".0")


def changed_rows(given: Given | None, point: npt.NDArray[Any]) -> list[tuple[str, str]]:
    """The row that lists each entry with its value before and after; none where too many entries change."""
    if given is None:
        return []
    before, after = given.x.reshape(-1), point.reshape(-1)
    moved = np.flatnonzero(before != after)
    if not 0 < moved.size <= MOST_LINES:
        return []
    lines = [
        f"{given.name(entry)}: {_shortest(before[entry])} to {_shortest(after[entry])}" for entry in moved.tolist()
    ]
    kept = before.size - moved.size
    return [("changed", "\n".join(lines) + (f"\n{kept} other{'s' if kept > 1 else ''} stay" if kept else ""))]
