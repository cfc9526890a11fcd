"""BLAS on one thread: matrices are small, and its own threads mostly wait for each other.

Beside other work 2 s became 27 s, and 50 ms 1.4 s.
"""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import Any

from threadpoolctl import ThreadpoolController


def single_threaded_blas() -> AbstractContextManager[Any]:
    """A context within which every BLAS that is loaded computes on one thread."""
    limited: AbstractContextManager[Any] = _controller(len(sys.modules)).limit(limits=1, user_api="blas")
    return limited


@lru_cache(maxsize=1)
def _controller(_modules: int) -> ThreadpoolController:
    """To find the libraries takes 2 ms: it is done anew where modules, which may bring one, were imported since."""
    return ThreadpoolController()
