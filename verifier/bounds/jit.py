"""The one door to numba: `compiled` marks kernels, `AVAILABLE` says whether they are worth calling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Kernel = TypeVar("Kernel", bound=Callable[..., Any])

try:
    from numba import njit
except ImportError:  # a platform for which there are no wheels
    njit = None  # type: ignore[assignment]

AVAILABLE = njit is not None
"""False: kernels are plain Python, far too slow for use; callers take their numpy side."""

REORDERED = {"contract", "reassoc", "nsz"}
"""What LLVM may change: the order of sums, fused products. Rounding bounds of the γ kind hold for any order."""


def compiled(function: Kernel) -> Kernel:
    """`function` as machine code that runs without the interpreter's lock, cached on disk."""
    if njit is None:
        return function
    options: dict[str, Any] = {"cache": True, "nogil": True, "fastmath": REORDERED, "error_model": "numpy"}
    return cast(Kernel, njit(**options)(function))
