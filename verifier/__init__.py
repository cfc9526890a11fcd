"""Provably minimal adversarial examples for ReLU networks in ONNX.

>>> import verifier
>>> from verifier import models
>>> model = verifier.load(models.path("digits"))
>>> model.classes
10
"""

from __future__ import annotations

import importlib
import time
from typing import TYPE_CHECKING, Any

PROCESS_START = time.monotonic() - time.process_time()
"""When the process began, to within what it waited for so far: until this first import it did little but compute."""

if TYPE_CHECKING:
    from verifier.api import (
        AllTargets,
        Check,
        attack,
        available_solvers,
        brackets,
        certificate,
        check,
        load,
        load_transforms,
        minimal,
        minimal_all_targets,
    )
    from verifier.certificates.builder import Certified
    from verifier.report.answers import to_pandas
    from verifier.runtime.model import Model

__version__ = "0.1.0"
__all__ = [
    "AllTargets",
    "Certified",
    "Check",
    "Model",
    "attack",
    "available_solvers",
    "brackets",
    "certificate",
    "check",
    "load",
    "load_transforms",
    "minimal",
    "minimal_all_targets",
    "to_pandas",
]

ELSEWHERE = {"Certified": "verifier.certificates.builder", "to_pandas": "verifier.report.answers"}
"""Whose home is not the API."""


def __getattr__(name: str) -> Any:
    """The API on first use: `import verifier` alone, as the command line and the solver processes do, stays cheap."""
    if name in __all__:
        value = getattr(importlib.import_module(ELSEWHERE.get(name, "verifier.api")), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'verifier' has no attribute '{name}'")
