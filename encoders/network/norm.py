"""The norms that distances are measured in."""

from __future__ import annotations

from enum import StrEnum


class Norm(StrEnum):
    """The norms in which distances are measured."""

    LINF = "linf"
    L1 = "l1"
    L2 = "l2"
