"""float32 points inside a ball, and ONNX Runtime with every combination of options to run them in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from verifier.problem.query import Ball, Norm, distance_exact

LEVELS = (
    ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
)


def all_sessions(path: Path) -> list[ort.InferenceSession]:
    """The model under all graph-optimisation levels, with one thread and with two."""
    made = []
    for level in LEVELS:
        for threads in (1, 2):
            options = ort.SessionOptions()
            options.graph_optimization_level, options.intra_op_num_threads = level, threads
            made.append(ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"]))
    return made


def inside(ball: Ball, towards: Any, seed: int, count: int) -> Any:
    """float32 points exactly inside the ball: most beside the ray to `towards`, where the margin is least."""
    rng, found = np.random.default_rng(seed), []
    step = towards - ball.centre
    while len(found) < count:
        noise = rng.normal(size=step.size) * rng.choice([0.0, 1e-4, 1e-2, 1.0]) * np.abs(step).max()
        move = np.clip(ball.centre + step + noise, ball.lo, ball.hi) - ball.centre
        length = np.abs(move).sum() if ball.norm is Norm.L1 else np.abs(move).max()
        x = np.float32(ball.centre + move * min(1.0, ball.radius / length * (1 - rng.choice([0.0, 1e-7, 1e-5, 1e-3]))))
        if np.all((x >= ball.lo) & (x <= ball.hi)) and distance_exact(ball.norm, x, ball.centre) <= ball.radius:
            found.append(x)
    return np.array(found)
