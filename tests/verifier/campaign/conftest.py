"""Plans over the shipped digits net, a store in a fresh folder, and brackets made up for it."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from verifier import models
from verifier.campaign.plan.plan import Plan, Selection
from verifier.campaign.plan.selection import tasks_of
from verifier.campaign.plan.tasks import Wanted
from verifier.campaign.store.store import Store
from verifier.problem.verdict import Bracket, Evidence, Initial, Status, Witness

DIGITS = models.path("digits")
INPUTS = DIGITS.with_name("digits_inputs.npz")


@pytest.fixture(scope="session")
def plan() -> Callable[..., Plan]:
    """plan(**fields): a plan over the shipped digits."""

    def make(indices: tuple[int, ...] = (6, 7), **fields: Any) -> Plan:
        return Plan(
            **{"models": (DIGITS,), "data": str(INPUTS), "select": Selection(indices), "device": "cpu", **fields}
        )

    return make


@pytest.fixture(scope="session")
def wanted(plan: Callable[..., Plan]) -> list[Wanted]:
    """Two tasks of nine targets each."""
    return tasks_of(plan())


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "s.sqlite") as opened:
        yield opened


@pytest.fixture(scope="session")
def bracket() -> Callable[..., Bracket]:
    """bracket(lower, upper): one of the digits net's, its witness made up."""

    def make(lower: float, upper: float, evidence: Evidence = Evidence.PROVED, reason: str = "") -> Bracket:
        witness = None
        if math.isfinite(upper):
            witness = Witness(np.full(64, upper, dtype=np.float32), upper, 1, 0.25, 0.5, 1)
        closed = upper - lower <= 1e-3
        status = Status.MINIMAL if closed else Status.BRACKETED
        initial = Initial("cw", 2 * upper)
        return Bracket(lower, upper, witness, evidence, 1e-3, status, initial, 1, 0.5, reason, final=True)

    return make


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of half a megabyte; `mount -o remount,size=…` makes it larger."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = shutil.which("mount")
    if mount is None or not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("a small file system can be made by root only")
    options = ["-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)]
    if subprocess.run([mount, *options], capture_output=True, check=False).returncode:
        pytest.skip("mounting is not allowed here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
