"""A store with everything in it: pictures and vectors, two models, attacks, certificates, an open bracket, an error."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from verifier import models
from verifier.campaign.backends import Backend
from verifier.campaign.certificates import certify
from verifier.campaign.plan.messages import Outcome
from verifier.campaign.plan.plan import Plan, Selection
from verifier.campaign.plan.selection import tasks_of
from verifier.campaign.runner import run
from verifier.campaign.store.store import Store
from verifier.cli.report_commands import report
from verifier.problem.budget import Budget
from verifier.runtime.model import Model

EVIL = "<script>alert(1)</script>"
"""What names, paths and reasons from files may hold."""
TOOL = "<b>tool"
"""Two points of it are given, and none is a witness."""


@dataclass(frozen=True)
class Reported:
    """A store, its report's folder, and the plan of the digits in it."""

    store: Path
    folder: Path
    plan: Plan


@pytest.fixture(scope="session")
def reported(truth: Any, save_net: Callable[..., Model], tmp_path_factory: pytest.TempPathFactory) -> Reported:
    """One digit with attacks and certificates; two small nets on three vectors; an untouched and a failed instance."""
    folder = tmp_path_factory.mktemp("reported")
    digits = models.path("digits")
    tool, inputs = folder / f"{TOOL}.npz", digits.with_name("digits_inputs.npz")
    x = np.load(inputs)["x"][[6, 6]]
    np.savez(tool, points=[x[0], 2 + x[1]], index=[6, 6], targets=[1, 1])
    plan = Plan((digits,), str(inputs), select=Selection((6,)), targets=(1, 2, 4), attacks=("fgsm", "pgd"),
                points=(tool,), device="cpu")  # fmt: skip
    data = folder / f"{EVIL.replace('/', '_')}.npz"
    np.savez(data, x=np.random.default_rng(0).uniform(size=(3, 5)).astype(np.float32))
    first = truth.net(1, (5, 6, 6, 3))
    second = truth.of_layers(
        *[(weight * (0.9 if place else 1.0), bias) for place, (weight, bias) in enumerate(first.layers)]
    )
    nets = tuple(save_net(net).path for net in (first, second))
    vectors = Plan(nets, str(data), attacks=("pgd",), device="cpu")
    path = folder / "all.sqlite"
    with Store(path) as store:
        for one in (plan, vectors):
            run(one, tasks_of(one), store, Backend(jobs=1), Budget())
        certify(store, store.results(plan.sha256), folder / "proofs", 1, Budget(), 60.0)
        idle = replace(plan, select=Selection((7,)), targets=(1, 2), points=())
        wanted = tasks_of(idle)
        store.begin(idle, wanted)
        store.save(Outcome(wanted[0].task.id, 2, None, error=f"ValueError: {EVIL}"))
    assert report(path, folder / "out", f"All & {EVIL}") == 0
    return Reported(path, folder / "out", plan)
