"""The exceptions that any layer may raise and that the uppermost ones turn into answers."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

PATH = re.compile(r"(?<![\w.~…/])(?:[A-Za-z]:)?[\\/](?!\s)(?:[^\s\\/:;,'\"()]+[\\/])*")
"""All of an absolute path but its last part."""

HOLE = "…/"
"""What stands for it."""


def printable(text: str) -> str:
    """The text on one line: names out of a file may hold line ends or a terminal's escape codes."""
    return text if text.isprintable() else "".join(sign if sign.isprintable() else "?" for sign in text)


COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
"""A terminal's escape codes, with which some libraries paint their messages."""


def one_line(error: BaseException | str) -> str:
    """An error's message on one line, shortened to what a reader takes in: it says what is wrong first, or last.

    >>> one_line(ValueError("no\\nnumber"))
    'no number'
    """
    text = " ".join(COLOURS.sub("", str(error)).split()) or type(error).__name__
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} ... {text[5 - LONGEST // 2 :]}"


LONGEST = 240
"""Characters of a library's message that are shown."""


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


def there_are(names: Iterable[str], wrong: object = None) -> str:
    """The names that are known, for a complaint about a wrong one; first the one that it resembles.

    >>> there_are(["models", "norms"], "norm")
    "did you mean 'norms'? There are models, norms"
    """
    from difflib import get_close_matches  # noqa: PLC0415, half a millisecond that only a mistake costs

    known = list(names)
    near = get_close_matches(str(wrong), known, n=1, cutoff=LIKE)
    listed = f"here are {', '.join(known)}"
    return f"did you mean {near[0]!r}? T{listed}" if near else f"t{listed}"


LIKE = 0.7
"""The likeness (difflib's, 0 to 1) from which on a name is taken for a misspelling: 'mean' is none of 'mode'."""


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
