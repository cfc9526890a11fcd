"""What an assertion on robustness keeps to where its caller does not say: pytest's command line sets it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass
class AssertionLimits:
    """timeout: seconds for one assertion, all of its inputs together. report: a folder for witnesses' pictures."""

    timeout: float = 60.0
    report: Path | None = None


LIMITS = AssertionLimits()
"""Of this process. A module without imports, so that a test session that proves nothing does not pay for the engine."""
