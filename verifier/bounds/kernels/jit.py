"""The one door to numba: `compiled` and `inner` mark kernels, `AVAILABLE` says whether they are worth calling."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt

from verifier.bounds.kernels.loaded import SHELF, NotCompiledError

Integers = npt.NDArray[np.int64]
Kernel = TypeVar("Kernel", bound=Callable[..., Any])

try:
    from numba import config, njit
    from numba.core.compiler import CompileResult
    from numba.core.serialize import dumps
    from numba.extending import register_jitable
except ImportError:  # a platform for which there are no wheels, or a numpy that numba does not know yet
    njit = None  # type: ignore[assignment]

AVAILABLE: bool = njit is not None and not cast(Any, config).DISABLE_JIT
"""False: kernels are plain Python, far too slow for use; callers take their numpy side."""

REORDERED = {"contract", "reassoc", "nsz"}
"""What LLVM may change: the order of sums, fused products. Rounding bounds of the γ kind hold for any order."""

OPTIONS: dict[str, Any] = {"fastmath": REORDERED, "error_model": "numpy", "no_cfunc_wrapper": True}
"""Of every kernel; none is handed to another as a function, which would need that wrapper."""

INNER: set[Callable[..., Any]] = set()
"""The inner kernels, as plain Python."""


class KernelCache:
    """A dispatcher's cache, as numba asks for one, over this process's shelf; `name` is the kernel's full name.

    numba's own trusts a file by the kernel's own source, while a kernel holds the code and the constants of others, and
    it writes kernel by kernel, so that a process that dies leaves some of them.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    @property
    def cache_path(self) -> str | None:
        return None if SHELF.place is None else str(SHELF.place.folder)

    def load_overload(self, signature: Any, context: Any) -> Any:
        for place, (kept, code) in enumerate(SHELF.find(self._name)):
            if pickle.loads(kept) == signature:
                context.refresh()
                SHELF.use(self._name, place)
                return cast(Any, CompileResult)._rebuild(context, *pickle.loads(code))
        if SHELF.strict:
            raise NotCompiledError(f"{self._name} is not compiled for {signature}")
        return None

    def save_overload(self, signature: Any, result: Any) -> None:
        if SHELF.collects:
            dump: Any = dumps
            SHELF.keep(self._name, dump(signature), dump(result._reduce()))

    def enable(self) -> None:
        """As numba asks for."""

    def disable(self) -> None:
        """As numba asks for."""

    def flush(self) -> None:
        """As numba asks for."""


def compiled(function: Kernel) -> Kernel:
    """`function` as machine code that runs without the interpreter's lock, taken from the file of kernels if it can.

    For what Python calls, trees or tests. To numba a constant that another kernel hands to it is a type of its own, for
    which it compiles once more.
    """
    if not AVAILABLE:
        return function
    kernel: Any = njit(nogil=True, **OPTIONS)(function)
    kernel._cache = KernelCache(f"{function.__module__}.{function.__qualname__}")
    return cast(Kernel, kernel)


def inner(function: Kernel) -> Kernel:
    """`function` as a part of the kernels that call it; called from Python it is plain Python.

    It has no wrapper and no entry in the file of its own. Whatever constants it is given, it is compiled once, or twice
    where kernels of both kinds call it.
    """
    if AVAILABLE:
        register_jitable(**OPTIONS)(function)
        INNER.add(function)
    return function


def target() -> tuple[str, ...]:
    """The processor that kernels are compiled for, as numba tells them apart."""
    from numba.core.registry import cpu_target  # noqa: PLC0415, not without numba

    return tuple(map(str, cpu_target.target_context.codegen().magic_tuple()))


def load() -> None:
    """Load from the shelf's file all that trees call. Raises NotCompiledError, or whatever numba does, if it cannot."""
    file = SHELF.look()
    if not AVAILABLE or file is None or file.target != target():
        raise NotCompiledError("they are compiled for another processor" if file else SHELF.problem)
    before, SHELF.strict = SHELF.strict, True
    try:
        for name, signatures in file.entries.items():
            module, _, function = name.rpartition(".")
            kernel = getattr(import_module(module), function)
            for place in signatures:
                kernel.compile(pickle.loads(file.kernels[name][place][0]))
    finally:
        SHELF.strict = before
