"""Two checkouts side by side: this one beside itself differs in nothing; a bit that differs is seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.engine import same_answers
from benchmarks.engine.same_answers import PROJECT, Asked, compared, questions


def test_this_checkout_beside_itself_differs_in_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    differ, before, now = compared(PROJECT, Path(), questions(1, 0), repeats=1)
    assert differ == 0
    assert min(before, now) > 0.0
    assert capsys.readouterr().out.count("same") == 2


def test_a_bit_that_differs_is_seen(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = iter(range(100))

    def ask(_: Any, __: Asked) -> dict[str, Any]:
        return {"ends": ["0x1p-1"], "nodes": next(nodes) // 3, "seconds": 1.0}

    monkeypatch.setattr(same_answers, "ask", ask)
    differ, _, _ = compared(PROJECT, Path(), questions(1, 0), repeats=1)
    assert differ == 1
    assert "DIFFERS" in capsys.readouterr().out
