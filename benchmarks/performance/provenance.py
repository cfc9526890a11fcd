"""A benchmark's record as its page sees it: rows, and where they come from (command, date, machine, load)."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.harness.instances import Result
from benchmarks.harness.record import RESULTS, Json, from_json

Row = TypeVar("Row")

WAY = ("--fresh",)
"""Options that say how a run was begun, not what was measured."""


@dataclass(frozen=True, eq=False)
class Measured:
    """A record that is there: its name, and the content of its file."""

    name: str
    content: Json

    @property
    def setting(self) -> Json:
        return dict(self.content.get("setting") or {})

    @property
    def rows(self) -> list[Json]:
        """The rows as they stand in the file."""
        return list(self.content["rows"])

    @property
    def sessions(self) -> list[Json]:
        """The runs that made it; a file from before there could be several is one run."""
        return self.content.get("sessions") or [self.content]

    @property
    def results(self) -> list[Result]:
        """The rows as results of instances; a radius that was not asked for may be missing, and the method and model
        of the setting then hold for all."""
        known = {field.name for field in fields(Result)} & self.setting.keys()
        common = {name: self.setting[name] for name in known & {"model", "method"}}
        return [from_json(Result, {**common, **row}) for row in self.rows]

    def provenance(self, command: str = "") -> str:
        """Command, date, machine, load and wall time, as far as the record has them."""
        command = command or common_command([one["command"] for one in self.sessions if "command" in one])
        parts = [f"`{command}`"] if command else []
        if len(self.sessions) > 1:
            parts.append(f"{len(self.sessions)} runs")
        parts += [part for part in (self._date(), self._machine(), self._load(), self._wall()) if part]
        return "; ".join([*parts, f"[{self.name}.json](benchmarks/results/{self.name}.json)"])

    def _date(self) -> str:
        return span(sorted(one["started"][:10] for one in self.sessions if "started" in one), " to ")

    def _machine(self) -> str:
        machines = [one["machine"] for one in self.sessions if "machine" in one]
        names = dict.fromkeys(re.sub(r"\(R\)| Processor", "", each["processor"]) for each in machines)
        cores = span(sorted(str(each["cores"]) for each in machines), " to ")
        return f"{' and '.join(names)}, {cores} core{'s' * (cores != '1')}" if names else ""

    def _load(self) -> str:
        found = [one.get(f"load_average_at_{when}") for one in self.sessions for when in ("start", "end")]
        loads = sorted(float(each) for each in found if each is not None)
        return f"load {span([f'{each:.1f}' for each in loads], ' to ')}" if loads else ""

    def _wall(self) -> str:
        seconds = sum(one.get("wall_seconds", 0.0) for one in self.sessions)
        return f"{seconds:.0f} s" if seconds else ""


def measured(name: str, results: Path = RESULTS) -> Measured | None:
    """The record of that name, None where it has not been made."""
    path = results / f"{name}.json"
    return Measured(name, json.loads(path.read_text(encoding="utf-8"))) if path.exists() else None


def rows_of(kind: type[Row], record: Measured) -> list[Row]:
    """The rows as objects of a benchmark's own class."""
    return [from_json(kind, row) for row in record.rows]  # type: ignore[type-var]


def span(values: Sequence[str], between: str) -> str:
    """The first and the last of sorted values, or the only one, or nothing."""
    return between.join(dict.fromkeys((values[0], values[-1]))) if values else ""


def common_command(commands: Sequence[str]) -> str:
    """What all commands have in common: the program, and options with the values that they agree on."""
    if not commands:
        return ""
    program, *options = _groups(commands[0])
    shared = [each for each in options if all(each in _groups(command) for command in commands)]
    return " ".join(shlex.join(group) for group in (program, *shared) if group[0] not in WAY)


def _groups(command: str) -> list[tuple[str, ...]]:
    """The program, and each option with its values."""
    groups: list[list[str]] = [[]]
    for word in shlex.split(command):
        if word.startswith("--"):
            groups.append([])
        groups[-1].append(word)
    return [tuple(group) for group in groups]


def share(parts: Iterable[Any], whole: Sequence[Any]) -> str:
    """How many of how many."""
    return f"{sum(map(bool, parts))}/{len(whole)}"
