"""The time limit of a command, from the start of the process, and what it imports within it. Imports nothing heavy."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from encoders.errors import InputError
from verifier import PROCESS_START, __version__
from verifier.cli.exit_codes import Exit

if TYPE_CHECKING:
    from verifier.cli.time_limit import Deadline

NO_BRACKET = {"status": "bracketed", "lower": 0.0, "upper": None}
NO_VERDICT = {"verdict": "unknown"}
NO_RANGES: dict[str, Any] = {"ranges": []}
NO_CLAIM = '{"valid": false, "reason": "the time is up", "claim": null, "not_demanded": []}'
"""What the JSON says where the time was too short to read the model."""


def no_verdicts(file: Path) -> dict[str, Any]:
    """The same of a gate, where the time was too short to read its file."""
    return {
        "format": "relu-verifier gate 1",
        "file": str(file),
        "ruling": "undecided",
        "exit_code": int(Exit.UNDECIDED),
        "undecided_allowed": False,
        "reason": "",
        "engine": __version__,
        "questions": 0,
        "seconds": 0.0,
        "proofs": None,
        "requirements": [],
    }


@contextmanager
def command_deadline(
    context: typer.Context,
    seconds: float | None,
    unanswered: dict[str, Any] | str | None = None,
    memory: float | None = None,
) -> Iterator[Deadline]:
    """A command's time limit, from the start of the process on, and that of its memory in bytes; raises InputError for
    a time that is none."""
    with without_collection(context):
        from verifier.cli.time_limit import Deadline  # noqa: PLC0415, heavy
        from verifier.problem.budget import OutOfTimeError  # noqa: PLC0415, heavy
        from verifier.problem.memory import Memory  # noqa: PLC0415, heavy

    if seconds is not None and not (math.isfinite(seconds) and seconds > 0):
        raise InputError(f"--timeout must be a positive number of seconds, not {seconds:g}")
    limit = math.inf if seconds is None else seconds
    own = own_process(context)
    start = PROCESS_START if own else time.monotonic()
    told = unanswered
    if isinstance(unanswered, dict):
        told = {"schema": 1, "command": context.info_name, **unanswered}
    room = Memory.of(memory, beyond=not own)
    if own:
        room.enforce()
    with Deadline(limit, start, ends_process=own, unanswered=told, memory=room) as deadline:
        try:
            with deadline.whole.within_memory():
                yield deadline
        except OutOfTimeError:
            raise typer.Exit(deadline.nothing()) from None


@contextmanager
def run_deadline(
    context: typer.Context, total: str | None, unanswered: dict[str, Any] | None = None
) -> Iterator[Deadline]:
    """The same for a command that reads a plan: `total` of the command line, of which `Deadline.limit` is told once the
    plan is read. Where it is no time, the plan's reader says so."""
    with without_collection(context):
        from verifier.cli.time_limit import Deadline  # noqa: PLC0415, heavy
        from verifier.problem.quantities import seconds  # noqa: PLC0415, heavy

    limit = math.inf
    if total is not None:
        with suppress(InputError):
            limit = seconds(total)
    own = own_process(context)
    start = PROCESS_START if own else time.monotonic()
    with Deadline(limit, start, ends_process=own, unanswered=unanswered) as deadline:
        yield deadline


@contextmanager
def without_collection(context: typer.Context) -> Iterator[None]:
    """While the engine is imported no garbage is looked for: what modules hold is kept, and looking took 40 ms of CPU.

    A process that does nothing but this command never looks there again.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if own_process(context):
            gc.freeze()
        if collects:
            gc.enable()


def own_process(context: typer.Context) -> bool:
    """Does the process do nothing but this command?"""
    return context.obj is True
