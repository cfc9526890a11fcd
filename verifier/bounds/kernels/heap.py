"""A binary heap in two arrays, compiled: keys, least first, and what goes with them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from verifier.bounds.kernels.jit import inner

Keys = npt.NDArray[np.floating[Any]]


@inner
def push(keys: Keys, others: Any, size: int, key: float, other: Any) -> int:
    """Add an entry to a heap of `size`; its new size."""
    place = size
    while place > 0:
        parent = (place - 1) >> 1
        if keys[parent] <= key:
            break
        keys[place], others[place] = keys[parent], others[parent]
        place = parent
    keys[place], others[place] = key, other
    return size + 1


@inner
def pop(keys: Keys, others: Any, size: int) -> int:
    """Move the least entry of a heap behind its new end; its new size."""
    size -= 1
    key, other = keys[size], others[size]
    keys[size], others[size] = keys[0], others[0]
    place = 0
    while True:
        child = 2 * place + 1
        if child >= size:
            break
        if child + 1 < size and keys[child + 1] < keys[child]:
            child += 1
        if keys[child] >= key:
            break
        keys[place], others[place] = keys[child], others[child]
        place = child
    if size > 0:
        keys[place], others[place] = key, other
    return size
