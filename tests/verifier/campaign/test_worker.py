"""A worker loads what it keeps before a task's clock starts."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import pytest

from verifier.campaign import worker
from verifier.campaign.plan.messages import Claim
from verifier.problem.budget import Budget


@pytest.mark.parametrize(("method", "steps"), [("tree", ["kernels", "clock"]), ("milp", ["clock"])])
def test_kernels_are_loaded_in_nobodys_time(method: str, steps: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def clock(seconds: float) -> Budget:
        seen.append("clock")
        return Budget(seconds)

    monkeypatch.setattr(worker, "Budget", clock)
    monkeypatch.setattr(worker.cache, "at_once", lambda: seen.append("kernels"))
    task = SimpleNamespace(id="t", method=method)
    work: Any = SimpleNamespace(
        task=task,
        known={},
        seconds=1.0,
        whole=True,
        attack_tasks=(),
        channel=None,
        campaign=os.getpid(),
        claim=Claim("", (), 0.0),
    )
    worker.solve(work)
    assert seen == steps
