"""What every benchmark writes down: its rows, in a JSON file that an interrupted run continues, and what it ran on."""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Generic, Protocol, TypeVar

from encoders.errors import InputError
from verifier.report.versions import versions
from verifier.runtime.session import cores

PROJECT = Path(__file__).resolve().parents[2]
RESULTS = Path(__file__).parents[1] / "results"
LIBRARIES = ("highspy", "pulp", "scipy", "numba", "z3-solver")
Json = dict[str, Any]


class Keyed(Protocol):
    """A frozen dataclass of numbers and strings; `key` tells its rows apart and orders them."""

    @property
    def key(self) -> tuple[Any, ...]: ...


Row = TypeVar("Row", bound=Keyed)


class Record(Generic[Row]):
    """The rows of a benchmark, in memory and (with a path) in a file that is whole after every row.

    The file holds the setting, the rows and the sessions that made them: command, machine, versions, commit, load,
    wall seconds. Without `fresh`, a file of the same setting is continued. `defaults` are fields that older files lack.
    Raises InputError when the file holds another setting.
    """

    def __init__(
        self,
        path: Path | None,
        setting: Mapping[str, Any],
        kind: type[Row],
        *,
        note: str = "",
        fresh: bool = False,
        packages: Sequence[str] = (),
        defaults: Mapping[str, Any] | None = None,
    ) -> None:
        self.path, self.note = path, note
        self.setting: Json = json.loads(json.dumps(setting))
        self._rows: dict[tuple[Any, ...], Row] = {}
        self._earlier: list[Json] = []
        self._session: Json = {**session(packages), "wall_seconds": 0.0, "rows": 0}
        self._start = time.monotonic()
        if path is not None and path.exists() and not fresh:
            self._read(path, kind, defaults or {})

    @classmethod
    def of(cls, arguments: argparse.Namespace, names: Sequence[str], kind: type[Row], **options: Any) -> Record[Row]:
        """The record of a command line: `names` are the arguments that must agree for it to be continued."""
        setting = {name: getattr(arguments, name) for name in names}
        return cls(arguments.out, setting, kind, fresh=arguments.fresh, **options)

    @property
    def rows(self) -> list[Row]:
        """All rows, in the order of their keys."""
        return [self._rows[key] for key in sorted(self._rows)]

    @property
    def wall_seconds(self) -> float:
        """Wall time of all sessions together."""
        return math.fsum(one["wall_seconds"] for one in [*self._earlier, self._session])

    def add(self, row: Row) -> None:
        """Keep a row and write the file."""
        self._rows[row.key] = row
        self._session["rows"] += 1
        self._session["wall_seconds"] = time.monotonic() - self._start
        self._session["load_average_at_end"] = load_average()
        self._write()

    def conclude(self, findings: Json) -> None:
        """Write what all rows together say beside them, until there is another row."""
        self._write({"findings": findings})

    def _write(self, more: Mapping[str, Any] = MappingProxyType({})) -> None:
        if self.path is not None:
            note = {"note": self.note} if self.note else {}
            sessions, rows = [*self._earlier, self._session], [to_json(row) for row in self.rows]
            content = {**note, "setting": self.setting, "sessions": sessions, "rows": rows, **more}
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self.path, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())

    def _read(self, path: Path, kind: type[Row], defaults: Mapping[str, Any]) -> None:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["setting"] != self.setting:
            raise InputError(
                f"{path} holds a run with other settings, {_difference(content['setting'], self.setting)}: "
                "name another --out, or begin it anew with --fresh"
            )
        rows = [from_json(kind, {**defaults, **row}) for row in content["rows"]]
        self._rows = {row.key: row for row in rows}
        self._earlier = content.get("sessions") or [_older_session(content)]


def _difference(old: Json, new: Json) -> str:
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    return ", ".join(f"{name} {old.get(name)} instead of {new.get(name)}" for name in names)


def _older_session(content: Json) -> Json:
    """The one session of a file from before there could be several."""
    kept = {name: content[name] for name in ("command", "machine", "versions", "load_average_at_start")}
    return {**kept, "wall_seconds": 0.0, "rows": len(content["rows"])}


def session(packages: Sequence[str] = ()) -> Json:
    """What is known of a run when it starts: command, time, commit, machine, versions, load."""
    module = sys.modules["__main__"].__spec__
    program = Path(sys.argv[0]).name if module is None else f"python -m {module.name.removesuffix('.__main__')}"
    return {
        "command": f"{program} {shlex.join(sys.argv[1:])}".rstrip(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "machine": machine(),
        "versions": versions((*LIBRARIES, *packages)),
        "load_average_at_start": load_average(),
    }


def machine() -> Json:
    """The processor, the cores that this process may use, and the system."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        processor = next(line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith("model name"))
    except (OSError, StopIteration):
        processor = platform.processor() or platform.machine()
    return {"processor": processor, "cores": cores(), "system": platform.system()}


def load_average() -> float | None:
    """Processes that wanted to run in the last minute, on average; None where the system does not say."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def commit() -> str | None:
    """The commit of the project, with "-dirty" when its files differ from it; None outside a repository."""
    call = ["git", "-C", str(PROJECT), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(call, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def to_json(row: Any) -> Json:
    """A row as an object; JSON has no infinity: null stands for it."""
    infinite = {name for name, value in asdict(row).items() if isinstance(value, float) and math.isinf(value)}
    return {name: None if name in infinite else value for name, value in asdict(row).items()}


def from_json(kind: type[Row], data: Mapping[str, Any]) -> Row:
    """The row that `to_json` wrote: null in a field of type float is infinity."""
    floats = {field.name for field in fields(kind) if field.type == "float"}  # type: ignore[arg-type]
    return kind(**{name: math.inf if value is None and name in floats else value for name, value in data.items()})


def rows_in(path: Path, kind: type[Row], benchmark: str) -> list[Row]:
    """The rows of a benchmark's record. Raises InputError for a file that is none."""
    try:
        return [from_json(kind, row) for row in json.loads(path.read_text(encoding="utf-8"))["rows"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is no record of {benchmark}: {error}") from None


def cache_folder(name: str) -> Path:
    """A folder of this project in the user's cache, for what benchmarks make once: environments, nets."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / "relu-verifier" / name


def write_atomically(path: Path, content: bytes) -> None:
    """Write a neighbouring temporary file and rename it, so that no reader meets half a file."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, its columns aligned."""
    lines = [list(header), ["-"] * len(header), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    lines[1] = ["-" * width for width in widths]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    )
