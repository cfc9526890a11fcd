"""Who has claimed a task: a process, so that the next one knows at once when it is dead."""

from __future__ import annotations

import os
import platform
import uuid
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True)
class Owner:
    """A running campaign: host, process, when that process began (a process number may come back), and a nonce."""

    text: str

    @classmethod
    def here(cls) -> Owner:
        """This process; every call makes another owner."""
        pid = os.getpid()
        return cls(f"{platform.node()}/{pid}/{_began(pid)}/{uuid.uuid4().hex[:8]}")

    @property
    def gone(self) -> bool:
        """Is the process known to be dead? Never true for another host, or where the system does not tell."""
        host, pid, began, _ = self.text.rsplit("/", 3)
        return host == platform.node() and began != "" and _began(int(pid)) != began


def _began(pid: int) -> str:
    """When a process began, in the system's ticks; "" where there is none or the system does not tell."""
    try:
        stat = (PROC / str(pid) / "stat").read_text(encoding="utf-8")
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()
    return fields[19] if fields[0] != "Z" else ""
