"""Keeps off standard output what a library's native code writes there by itself.

In a caller's own process file descriptor 1 is the caller's: it is moved aside for the moment of one call only. Another
thread may write to it in that moment, so that what arrives is handed on, but for the library's own lines. (A write that
has begun by then and ends later is lost: a pipe would wait for it, and for ever for a child that inherits it.)
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator, Sequence
from typing import IO

from encoders.files.temporary import nameless_file

_moved = threading.Lock()
"""Two threads that moved the descriptor at once would put each other's file in its place."""


@contextlib.contextmanager
def native_output_dropped(own: Sequence[bytes]) -> Iterator[None]:
    """Drop what is written to file descriptor 1 meanwhile; with several threads only lines that begin with an `own`.

    Where nothing is open there, nothing can be written.
    """
    with _moved, nameless_file() as aside:
        try:
            saved = os.dup(1)
        except OSError:
            saved = None
        try:
            if saved is not None:
                os.dup2(aside.fileno(), 1)
            yield
        finally:
            if saved is not None:
                os.dup2(saved, 1)
                os.close(saved)
                _hand_on(aside, tuple(own))


def _hand_on(aside: IO[bytes], own: tuple[bytes, ...]) -> None:
    if threading.active_count() == 1:
        return
    aside.seek(0)
    rest = b"".join(line for line in aside if not line.startswith(own))
    with contextlib.suppress(OSError):  # as it would have failed for the thread that wrote it
        while rest:
            rest = rest[os.write(1, rest) :]
