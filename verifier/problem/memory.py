"""The memory that is left: one limit for a question; what trees hold is counted, the whole process is looked at."""

from __future__ import annotations

import ctypes
import math
import os
import re
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from verifier.problem.quantities import bytes_text, memory_size

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

FREE_SHARE = 0.5
"""Of the memory that is free, what a question may take where nothing is said: others use the machine too."""

TREES_SHARE = 0.5
"""Of the limit beyond what the process held before, what open nodes may take before trees go depth-first: as much again
is left for bounds, LPs and what the allocator loses between nodes of different sizes."""

LOOK = 0.05
"""Seconds between two looks at the process, each of which takes some 20 µs."""

ROOM = 1 << 28
"""Bytes that may be mapped beyond the limit, but not used: threads' stacks and libraries' buffers."""

GPU_DRIVER = Path("/dev/nvidiactl")
"""Where it is, drivers map more than is used, and the system is asked for no limit."""

PROC, CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")
LIMITS = (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes"))
"""Of groups of processes, versions 2 and 1."""


class Memory:
    """A limit in bytes on what this process holds; inf: none. Threads may count at the same time.

    The open nodes of search trees are counted, so that these go depth-first in time (`crowded`). What nobody counts is
    seen in the size of the process: where that is beyond the limit, every budget with this memory has ended, for good.
    """

    def __init__(self, limit: float = math.inf) -> None:
        self.limit = limit
        self.room = math.inf if math.isinf(limit) else TREES_SHARE * max(0.0, limit - resident())
        """Bytes that open nodes may take."""
        self.nodes = 0
        """Bytes that they take."""
        self._lock = threading.Lock()
        self._looked, self._exceeded = -math.inf, False

    @classmethod
    def of(cls, given: str | float | None, *, beyond: bool) -> Memory:
        """`given` bytes, or a text such as "4GB"; None: half of what is free. beyond: on top of what the process holds,
        which is its user's; else for all of it. Raises InputError.

        >>> Memory.of("4GB", beyond=False).limit
        4000000000.0
        """
        if given is None:
            return cls(resident() + FREE_SHARE * free())
        size = memory_size(given, "the memory")
        return cls(size + resident() if beyond else size)

    def __reduce__(self) -> tuple[type[Memory], tuple[float]]:
        """In another process: the same limit there."""
        return Memory, (self.limit,)

    @property
    def exceeded(self) -> bool:
        """Has the process held more than the limit?"""
        if self._exceeded or math.isinf(self.limit):
            return self._exceeded
        now = time.monotonic()
        if now - self._looked > LOOK:
            self._looked, self._exceeded = now, resident() > self.limit
        return self._exceeded

    @property
    def crowded(self) -> bool:
        """Do open nodes take what they may?"""
        return self.nodes > self.room

    @property
    def reason(self) -> str:
        """What is said where it is exceeded."""
        if math.isinf(self.limit):
            return "what is needed next does not fit into the memory"
        return f"the memory limit of {bytes_text(self.limit)} was reached"

    def exceed(self) -> None:
        """What is needed next does not fit."""
        self._exceeded = True

    def holds(self, other: float) -> bool:
        """Are this process and another one, of so many bytes, within the limit together?"""
        return resident() + other <= self.limit

    def account(self, owner: object) -> Account:
        """What the nodes of a tree are counted in; it is cleared when the tree is gone."""
        account = Account(self)
        weakref.finalize(owner, account.clear).atexit = False
        return account

    def enforce(self) -> None:
        """Have the system refuse this process, and those that it starts, what does not fit at all (MemoryError).

        For a process that does nothing but answer this question, where the system can do that.
        """
        mapped = _status("VmData", "self")
        if resource is None or mapped is None or math.isinf(self.limit) or GPU_DRIVER.exists():
            return
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        most = int(mapped + max(0.0, self.limit - resident()) + ROOM)
        if most <= sys.maxsize and (hard in {resource.RLIM_INFINITY, -1} or most < hard):
            resource.setrlimit(resource.RLIMIT_DATA, (most, hard))


class Account:
    """The bytes that one tree's open nodes take."""

    def __init__(self, memory: Memory) -> None:
        self._memory, self._bytes = memory, 0

    def add(self, size: int) -> None:
        """So many bytes more, or less."""
        memory = self._memory
        with memory._lock:
            memory.nodes += size
            self._bytes += size

    def clear(self) -> None:
        """Nothing is left of the tree."""
        self.add(-self._bytes)


UNLIMITED = Memory()
"""Of what nobody limits."""


def resident(process: int | str = "self") -> float:
    """Bytes of memory that a process has in use; at its peak where a system tells no more; 0 where it tells nothing."""
    with suppress(OSError, ValueError, IndexError):
        return float(int((PROC / str(process) / "statm").read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE"))
    if resource is None or process != "self":
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(peak if sys.platform == "darwin" else peak * 1024)


def release(process: int) -> None:
    """Another process, which outlives the question, is not under its limit."""
    with suppress(OSError, ValueError, AttributeError):
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.prlimit(process, resource.RLIMIT_DATA, (hard, hard))


def give_back() -> None:
    """Have the allocator hand what is free back to the system, where it can: what is measured is in use then."""
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def free() -> float:
    """Bytes that this process may still take: of the machine, its control groups, its own limits; inf: unknown."""
    found = [_available(), *_groups()]
    if resource is not None:
        for which in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
            soft, _ = resource.getrlimit(which)
            if soft not in {resource.RLIM_INFINITY, -1}:
                found.append(soft - (_status("VmSize" if which == resource.RLIMIT_AS else "VmData", "self") or 0.0))
    return max(0.0, min(found))


def _available() -> float:
    """Of the machine."""
    with suppress(OSError):
        found = re.search(r"^MemAvailable:\s*(\d+) kB", (PROC / "meminfo").read_text(), re.MULTILINE)
        if found is not None:
            return 1024.0 * int(found[1])
    with suppress(AttributeError, ValueError, OSError):
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return math.inf


def _groups() -> Iterator[float]:
    """Of each control group with a limit that the process is in; what files that could be dropped take is not used."""
    try:
        lines = (PROC / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, kinds, path = line.split(":", 2)
        if kinds and "memory" not in kinds.split(","):
            continue
        top = CGROUPS if not kinds else CGROUPS / "memory"
        folder = top / path.lstrip("/")
        while True:
            for most, used in LIMITS:
                with suppress(OSError, ValueError):
                    limit, taken = (int((folder / name).read_text()) for name in (most, used))
                    yield limit - taken + _droppable(folder)
            if folder == top or top not in folder.parents:
                break
            folder = folder.parent


def _droppable(folder: Path) -> int:
    with suppress(OSError, ValueError):
        found = re.search(r"^(?:total_)?inactive_file (\d+)", (folder / "memory.stat").read_text(), re.MULTILINE)
        return int(found[1]) if found is not None else 0
    return 0


def _status(name: str, process: Any) -> float | None:
    """A size that the system tells of a process, in bytes; None where it does not."""
    with suppress(OSError):
        found = re.search(rf"^{name}:\s*(\d+) kB", (PROC / str(process) / "status").read_text(), re.MULTILINE)
        return None if found is None else 1024.0 * int(found[1])
    return None
