"""Which entries change, in few lines and under the names of a file's header."""

from __future__ import annotations

import numpy as np
import pytest

from verifier.report.changed_entries import MOST_LINES, Given, changed_rows


def test_changed_entries_stand_with_their_names() -> None:
    x = np.array([[85, 3, 8.5, 1, 0]], np.float32)
    after = np.array([85, 3, 12.9, 0, 1], np.float32)
    names = ("age", "children", " income ", "1", "\x1b[31m")
    ((name, told),) = changed_rows(Given(x, names), after)
    assert name == "changed"
    assert told.split("\n") == ["income: 8.5 to 12.9", "entry 3: 1 to 0", "entry 4: 0 to 1", "2 others stay"]
    ((_, told),) = changed_rows(Given(x[:, :1]), np.zeros(1, np.float32))
    assert told == "entry 0: 85 to 0"


@pytest.mark.parametrize("moved", [0, MOST_LINES + 1])
def test_an_image_has_no_such_row(moved: int) -> None:
    x = np.zeros(100, np.float32)
    assert changed_rows(Given(x), (np.arange(100) < moved).astype(np.float32)) == []
    assert changed_rows(None, x) == []
