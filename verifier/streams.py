"""Standard output of our own processes: answers, and nothing that a library prints there."""

from __future__ import annotations

import contextlib
import os
import sys

DEBUG = "VERIFIER_DEBUG"
"""The environment variable that asks for tracebacks, warnings and what libraries print."""


def debugging() -> bool:
    return bool(os.environ.get(DEBUG))


def keep_stdout_for_answers() -> None:
    """Give `sys.stdout` a private duplicate of file descriptor 1, and native code nothing there, or stderr to debug.

    What child processes inherit is the latter.
    """
    try:
        private = os.dup(1)
    except OSError:  # closed: there is nobody to answer
        private = None
    native_output_elsewhere()
    if private is None or sys.stdout is None:
        return
    sys.stdout.flush()
    line_by_line = 1 if os.isatty(private) else -1
    stream = open(private, "w", line_by_line, sys.stdout.encoding, sys.stdout.errors)  # noqa: SIM115, until the end
    # rich and shutil ask the latter how wide the terminal is.
    sys.stdout = sys.__stdout__ = stream  # type: ignore[misc]


def native_output_elsewhere() -> None:
    """Point file descriptor 1 at nothing, or at stderr to debug.

    Also where it is closed: the next file that is opened would get its number, and a library's lines.
    """
    elsewhere = None
    if debugging():
        with contextlib.suppress(OSError):
            elsewhere = os.dup(2)
    if elsewhere is None:
        elsewhere = os.open(os.devnull, os.O_WRONLY)
    if elsewhere == 1:
        os.set_inheritable(1, True)
        return
    os.dup2(elsewhere, 1)
    os.close(elsewhere)
