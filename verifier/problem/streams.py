"""Standard output of our own processes: answers, and nothing that a library prints there. Standard error: remarks."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import Any

DEBUG = "VERIFIER_DEBUG"
"""The environment variable that asks for tracebacks, warnings and what libraries print."""


class UnwrittenError(Exception):
    """The answer, or a file of it, could not be written: the disk is full, or has gone away."""


class Answers(io.TextIOWrapper):
    """Standard output, whose failures are told apart from those of any other file."""

    def write(self, text: str, /) -> int:
        with _unwritten():
            return super().write(text)

    def flush(self) -> None:
        with _unwritten():
            super().flush()


@contextlib.contextmanager
def _unwritten() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        forget_stdout()
        raise UnwrittenError(f"the answer cannot be written to stdout: {error.strerror or error}") from None


class RemarkStream(io.TextIOWrapper):
    """Standard error: what cannot be written there is lost, and nothing else with it."""

    def write(self, text: str, /) -> int:
        with contextlib.suppress(OSError):
            return super().write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            super().flush()


def debugging() -> bool:
    return bool(os.environ.get(DEBUG))


def keep_stdout_for_answers() -> None:
    """Give `sys.stdout` a private duplicate of file descriptor 1, and native code nothing there, or stderr to debug.

    What child processes inherit is the latter. Where stdout or stderr is closed, what is written there goes nowhere.
    """
    _open_closed()
    private = os.dup(1)
    native_output_elsewhere()
    answers, remarks = sys.stdout, sys.stderr
    # rich and shutil ask the latter how wide the terminal is.
    sys.stdout = sys.__stdout__ = Answers(  # type: ignore[misc]
        open(private, "wb"),  # noqa: SIM115, until the end
        encoding=answers.encoding if answers is not None else "utf-8",
        errors=answers.errors if answers is not None else None,
        line_buffering=os.isatty(private),
    )
    # Unbuffered: what could not be written is not tried again as the interpreter ends.
    sys.stderr = sys.__stderr__ = RemarkStream(  # type: ignore[misc]
        _raw(2),
        encoding=remarks.encoding if remarks is not None else "utf-8",
        errors="backslashreplace",
        line_buffering=True,
        write_through=True,
    )


def _raw(descriptor: int) -> Any:
    """A file without a buffer; TextIOWrapper takes it, whatever its type says."""
    return open(descriptor, "wb", buffering=0, closefd=False)


def _open_closed() -> None:
    """Let no file of ours become descriptor 0, 1 or 2: libraries and child processes write there."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest that is free


def forget_stdout() -> None:
    """Let the interpreter's end write nothing more to where writing has failed."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


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
