"""A store of three questions."""

from __future__ import annotations

from pathlib import Path

import pytest

from verifier import models
from verifier.campaign.plan.plan import Plan, Selection
from verifier.campaign.plan.selection import tasks_of
from verifier.campaign.store.store import Store


@pytest.fixture
def asked() -> Plan:
    digits = models.path("digits")
    data = str(digits.with_name("digits_inputs.npz"))
    return Plan((digits,), data, select=Selection((6,)), targets=(1, 2, 4), device="cpu")


@pytest.fixture
def store(asked: Plan, tmp_path: Path) -> Path:
    """A store in which everything is asked and nothing begun."""
    path = tmp_path / "s.sqlite"
    with Store(path) as opened:
        opened.begin(asked, tasks_of(asked))
    return path
