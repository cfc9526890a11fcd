"""A file of compiled kernels: what it was compiled from, for what, and the machine code.

It is named by what its code depends on beside our sources: the versions of Python, numpy, numba and LLVM, the processor
as numba sees it, numba's settings, the installation. What of our sources it depends on it says itself, with digests.
"""

from __future__ import annotations

import ast
import hashlib
import os
import pickle
import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = ("verifier", "encoders")
ENTRANCE = "verifier.solvers.tree.warm_up"
"""The module that calls every kernel: what it imports, and what that imports, is what kernels are compiled from."""

MAGIC = b"relu-verifier kernels 1\n"
DIGEST = hashlib.sha256().digest_size

ELSEWHERE = ("NUMBA_CACHE_DIR", "NUMBA_NUM_THREADS")
"""Settings of numba that change no kernel."""


class DamagedError(ValueError):
    """A file of kernels is not what was written."""


@dataclass(frozen=True)
class KernelFile:
    """target: numba's own description of the processor. sources: the digest of each file of ours that was compiled.

    kernels: by full name, each signature and its code, pickled. entries: the kernels that trees call themselves, with
    the places of their signatures.
    """

    target: tuple[str, ...]
    sources: Mapping[str, str]
    kernels: Mapping[str, Sequence[tuple[bytes, bytes]]]
    entries: Mapping[str, Sequence[int]]

    @property
    def current(self) -> bool:
        """Are our sources what they were when it was compiled?"""
        return all(_digest(ROOT / name) == digest for name, digest in self.sources.items())

    def to_bytes(self) -> bytes:
        content = pickle.dumps(asdict(self))
        return MAGIC + hashlib.sha256(content).digest() + content

    @classmethod
    def from_bytes(cls, data: bytes) -> KernelFile:
        """Raises DamagedError."""
        content = memoryview(data)[len(MAGIC) + DIGEST :]
        if data[: len(MAGIC)] != MAGIC:
            raise DamagedError("it is no file of kernels of this version")
        if hashlib.sha256(content).digest() != data[len(MAGIC) : len(MAGIC) + DIGEST]:
            raise DamagedError("it is damaged")
        return cls(**pickle.loads(content))


@cache
def file_name() -> str:
    """The name of the file for this installation on this processor. Raises ImportError without numba."""
    import llvmlite  # noqa: PLC0415, comes with numba, which may be missing
    from llvmlite import binding  # noqa: PLC0415

    settings = {name: value for name, value in os.environ.items() if name.startswith("NUMBA_")}
    facts = [
        str(ROOT),
        sys.version,
        platform.machine(),
        np.__version__,
        version("numba"),
        llvmlite.__version__,
        binding.get_host_cpu_name(),
        binding.get_host_cpu_features().flatten(),
        *(f"{name}={value}" for name, value in sorted(settings.items()) if name not in ELSEWHERE),
    ]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:24] + ".kernels"


def sources() -> dict[str, str]:
    """Each file of ours that kernels are compiled from, relative to ROOT, with its digest.

    A kernel holds the code of those that it calls and the constants of other modules, while numba looks at its own file
    only; so they are all files that imports lead to. Those for type checkers alone lead nowhere.
    """
    found: dict[str, str] = {}
    waiting = [ENTRANCE]
    while waiting:
        module = waiting.pop()
        path = _file_of(module)
        if path is not None and (name := path.relative_to(ROOT).as_posix()) not in found:
            found[name] = _digest(path)
            waiting += _imports(ast.parse(path.read_bytes()))
            waiting.append(module.rpartition(".")[0])
    return found


def _file_of(module: str) -> Path | None:
    """The file of a module of ours; None for any other name."""
    if module.split(".", maxsplit=1)[0] not in PACKAGES:
        return None
    path = ROOT.joinpath(*module.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


def _imports(node: ast.AST) -> Iterator[str]:
    """The names of all modules that may be imported below a node, among others that are none."""
    if isinstance(node, ast.Import):
        yield from (name.name for name in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.module is not None, "relative imports are not used"
        yield node.module
        yield from (f"{node.module}.{name.name}" for name in node.names)
    elif isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
        for inner in node.orelse:
            yield from _imports(inner)
    else:
        for child in ast.iter_child_nodes(node):
            yield from _imports(child)


def _digest(path: Path) -> str:
    """Empty for a file that cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""
