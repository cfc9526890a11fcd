"""The exceptions that any layer may raise and that the uppermost ones turn into answers."""

import os
import re
from pathlib import Path

PATH = re.compile(r"(?<![\w.~…/])(?:[A-Za-z]:)?[\\/](?!\s)(?:[^\s\\/:;,'\"()]+[\\/])*")
"""All of an absolute path but its last part."""

HOLE = "…/"
"""What stands for it."""


def printable(text: str) -> str:
    """The text on one line: names out of a file may hold line ends or a terminal's escape codes."""
    return text if text.isprintable() else "".join(sign if sign.isprintable() else "?" for sign in text)


def without_folders(text: str, *known: Path) -> str:
    """The text with the last part alone of every absolute path in it: reports and stores are handed on.

    known: paths that it may hold, whose folders may have spaces.

    >>> without_folders("/srv/new nets/a.onnx: no file; see /srv/log", Path("/srv/new nets/a.onnx"))
    'a.onnx: no file; see …/log'
    """
    for path in known:
        if path.is_absolute():
            text = text.replace(str(path), path.name).replace(f"{path.parent}{os.sep}", HOLE)
    return PATH.sub(HOLE, text)


class InputError(Exception):
    """What the user brought cannot be used.

    The message is one line: what is wrong, where, and what would be right. The command line prints it and exits
    with code 2; it never stands for a defect of the engine.
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


class SolverError(Exception):
    """A solver did not run, or ended in an error: nothing that it left is an answer.

    The message names the solver and what it said. A search ends with it as its reason.
    """
