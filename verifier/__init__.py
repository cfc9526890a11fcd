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


def _queued(told: str = "/proc/self/schedstat") -> float:
    """Seconds that this process has waited for a processor, where the system tells (Linux)."""
    try:
        with open(told, encoding="ascii") as stream:
            return int(stream.read().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


PROCESS_START = time.monotonic() - time.process_time() - _queued()
"""When the process began, to within what it waited for disks so far: until this first import it did little else but
compute and wait for its turn."""

if TYPE_CHECKING:
    from encoders.errors import InputError, SolverError
    from encoders.passes.from_transforms import Transforms
    from verifier.api import (
        attack,
        available_solvers,
        brackets,
        certificate,
        check,
        load,
        load_transforms,
        minimal,
        minimal_all_targets,
        output_ranges,
    )
    from verifier.certificates.builder import Certified
    from verifier.certificates.property_builder import CertifiedProperty, property_certificate
    from verifier.certificates.split_tree import NotCertifiedError
    from verifier.problem.answer import Subject
    from verifier.problem.budget import Budget, OutOfTimeError
    from verifier.problem.inputs.columns import Columns
    from verifier.problem.query import Halfspaces
    from verifier.problem.verdict import (
        Bracket,
        Counterexample,
        Evidence,
        Holds,
        Initial,
        Search,
        Semantics,
        Status,
        Unknown,
        Verdict,
        Violated,
        Witness,
    )
    from verifier.problem.workers import Workers
    from verifier.report.answers import to_pandas
    from verifier.runtime.model import Model
    from verifier.search.all_targets import AllTargets
    from verifier.search.output_ranges import OutputRange, OutputRanges
    from verifier.search.property_check import PropertyCheck
    from verifier.search.property_minimum import PropertyMinimum
    from verifier.search.robustness import Check

__version__ = "0.1.0"
__all__ = [
    "AllTargets",
    "Bracket",
    "Budget",
    "Certified",
    "CertifiedProperty",
    "Check",
    "Columns",
    "Counterexample",
    "Evidence",
    "Halfspaces",
    "Holds",
    "Initial",
    "InputError",
    "Model",
    "NotCertifiedError",
    "OutOfTimeError",
    "OutputRange",
    "OutputRanges",
    "PropertyCheck",
    "PropertyMinimum",
    "Search",
    "Semantics",
    "SolverError",
    "Status",
    "Subject",
    "Transforms",
    "Unknown",
    "Verdict",
    "Violated",
    "Witness",
    "Workers",
    "attack",
    "available_solvers",
    "brackets",
    "certificate",
    "check",
    "load",
    "load_transforms",
    "minimal",
    "minimal_all_targets",
    "output_ranges",
    "property_certificate",
    "to_pandas",
]

VERDICT = "verifier.problem.verdict"
HOMES = {
    **dict.fromkeys(("InputError", "SolverError"), "encoders.errors"),
    **dict.fromkeys(("Bracket", "Counterexample", "Evidence", "Holds", "Initial", "Search"), VERDICT),
    **dict.fromkeys(("Semantics", "Status"), VERDICT),
    **dict.fromkeys(("Unknown", "Verdict", "Violated", "Witness"), VERDICT),
    **dict.fromkeys(("Budget", "OutOfTimeError"), "verifier.problem.budget"),
    "AllTargets": "verifier.search.all_targets",
    "Certified": "verifier.certificates.builder",
    **dict.fromkeys(("CertifiedProperty", "property_certificate"), "verifier.certificates.property_builder"),
    "Check": "verifier.search.robustness",
    "Columns": "verifier.problem.inputs.columns",
    "Halfspaces": "verifier.problem.query",
    **dict.fromkeys(("OutputRange", "OutputRanges"), "verifier.search.output_ranges"),
    "PropertyCheck": "verifier.search.property_check",
    "PropertyMinimum": "verifier.search.property_minimum",
    "Model": "verifier.runtime.model",
    "NotCertifiedError": "verifier.certificates.split_tree",
    "Subject": "verifier.problem.answer",
    "Transforms": "encoders.passes.from_transforms",
    "Workers": "verifier.problem.workers",
    "to_pandas": "verifier.report.answers",
}
"""The modules of the names whose home is not the API."""


def __getattr__(name: str) -> Any:
    """A public name on first use: `import verifier` alone, as the terminal and the solver processes do, stays cheap."""
    if name in __all__:
        value = getattr(importlib.import_module(HOMES.get(name, "verifier.api")), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'verifier' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
