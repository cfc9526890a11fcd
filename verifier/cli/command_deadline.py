"""The time limit of a command, from the start of the process, and what it imports within it. Imports nothing heavy."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from encoders.errors import InputError
from verifier import PROCESS_START

if TYPE_CHECKING:
    from verifier.cli.time_limit import Deadline

NO_BRACKET = {"status": "bracketed", "lower": 0.0, "upper": None}
NO_VERDICT = {"verdict": "unknown"}
NO_RANGES: dict[str, Any] = {"ranges": []}
NO_CLAIM = '{"valid": false, "reason": "the time is up", "claim": null, "not_demanded": []}'
"""What the JSON says where the time was too short to read the model."""


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
