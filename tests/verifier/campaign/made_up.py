"""Results and findings that nobody measured, for tests of what is made of them."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from verifier.campaign.plan.attack_tasks import Kind, StoredFinding
from verifier.campaign.store.records import Result
from verifier.problem.verdict import Witness


def result(lower: float, upper: float, **given: Any) -> Result:
    """An instance with that bracket, closed where its ends are within 1e-3; everything else by name."""
    closed = upper - lower <= 1e-3
    target = given.get("target", 1)
    point = np.full(4, upper, dtype=np.float32)
    facts: dict[str, Any] = {
        "id": f"{given.get('task', 't')}-{given.get('model_sha256', 'a')}-{target}",
        "task": "t", "model": Path("a.onnx"), "model_sha256": "a", "input_sha256": "x", "source": "data", "index": 0,
        "norm": "linf", "label": 0, "target": 1, "margin": 0.0, "precision": 1e-3, "method": "tree", "solver": None,
        "status": "minimal" if closed else "bracketed", "lower": lower, "upper": upper, "evidence": "proved",
        "attack": "cw", "initial": 2 * upper, "search": None, "reason": "",
        "witness": Witness(point, upper, 1, 0.0, 0.0, 1) if math.isfinite(upper) else None,
        "seconds": 1.0, "tried": 0.0, "attempts": 1, "updated": 0.0,
    }  # fmt: skip
    return Result(**{**facts, **given})


def attack(on: Result, distance: float, name: str = "pgd") -> StoredFinding:
    """What an attack found on an instance."""
    point = np.full(4, min(distance, 9.0), dtype=np.float32)
    witness = Witness(point, distance, 1, 0.0, 0.0, 1) if math.isfinite(distance) else None
    return StoredFinding(on.id, Kind.ATTACK, name, "done", distance, witness, {}, 0.1, "")


def judged(on: Result, distance: float, given: int, refused: dict[str, int], name: str = "tool") -> StoredFinding:
    """What became of another tool's points on an instance."""
    return replace(attack(on, distance, name), kind=Kind.POINTS, facts={"given": given, "refused": refused})


def restart(on: Result, towards: list[float | None], random: list[float | None], name: str = "pgd") -> StoredFinding:
    """Where it came to when it began elsewhere."""
    facts = {"steps": [0.1, 0.5], "towards": towards, "random": random}
    return StoredFinding(on.id, Kind.RESTART, name, "done", math.inf, None, facts, 0.1, "")
