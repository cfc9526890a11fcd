"""A worker loads what it keeps before a task's clock starts."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from encoders.errors import InputError
from verifier.campaign import worker
from verifier.campaign.plan.messages import Claim, Outcome
from verifier.problem.budget import Budget


@pytest.mark.parametrize(("method", "steps"), [("tree", ["kernels", "clock"]), ("milp", ["clock"])])
def test_kernels_are_loaded_in_nobodys_time(method: str, steps: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def clock(seconds: float, **_: object) -> Budget:
        seen.append("clock")
        return Budget(seconds)

    monkeypatch.setattr(worker, "Budget", clock)
    monkeypatch.setattr(worker.cache, "at_once", lambda: seen.append("kernels"))
    task = SimpleNamespace(id="t", method=method)
    work: Any = SimpleNamespace(
        task=task,
        known={},
        seconds=1.0,
        memory=None,
        whole=True,
        attack_tasks=(),
        channel=None,
        campaign=os.getpid(),
        claim=Claim("", (), 0.0),
    )
    worker.solve(work)
    assert seen == steps


@pytest.mark.parametrize("error", [InputError("/srv/a b/net.onnx: no such file"), ValueError("/srv/a b/net.onnx: why")])
def test_what_goes_wrong_is_told_without_folders(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr(worker, "task_model", fails)
    task = SimpleNamespace(id="t", method="milp", model=Path("/srv/a b/net.onnx"))
    work: Any = SimpleNamespace(
        task=task,
        known={None: None},
        seconds=1.0,
        memory=None,
        whole=True,
        attack_tasks=(),
        channel=None,
        campaign=os.getpid(),
        claim=Claim("", (None,), 0.0),
    )
    (told,) = worker.solve(work).outcomes
    assert isinstance(told, Outcome)
    kind = "" if isinstance(error, InputError) else "ValueError: "
    assert told.error.startswith(f"{kind}net.onnx: ")
