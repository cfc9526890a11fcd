"""Results made by hand, and the MNIST files where they are beside the project."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.harness.instances import Result
from benchmarks.harness.mnist import shared


@pytest.fixture(scope="session")
def result() -> Callable[..., Result]:
    """A closed result of the tree on one instance; the arguments replace its fields."""

    def made(**fields: Any) -> Result:
        known: dict[str, Any] = {
            "model": "mnist_n", "index": 3, "label": 1, "target": 2, "norm": "linf", "method": "tree",
            "status": "minimal", "lower": 0.5, "upper": 0.501, "initial": math.inf, "evidence": "proved",
            "seconds": 1.0, "cpu_seconds": 1.0, "nodes": 10,
        }  # fmt: skip
        return Result(**{**known, **fields})

    return made


@pytest.fixture(scope="session")
def mnist_folder() -> Path:
    folder = shared("mnist")
    if folder is None:
        pytest.skip("the MNIST files are not beside the project (../shared/data/mnist)")
    return folder
