"""ONNX Runtime, imported on first use and without a line on stderr."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import re
import sys
import threading
from collections.abc import Iterator
from functools import cache
from types import ModuleType
from typing import IO, TextIO

from encoders.errors import one_line
from encoders.files.temporary import nameless_file

IR_VERSION = 8  # of models that we make: it came with opset 17, and every supported ONNX Runtime reads it
FATAL = 4  # ONNX Runtime's log level that prints nothing short of an abort; its errors reach us as exceptions


@cache
def runtime() -> ModuleType:
    """onnxruntime, imported without the warnings that its search for devices may print."""
    with captured_stderr():
        module = importlib.import_module("onnxruntime")
        module.set_default_logger_severity(FATAL)
    return module


SOURCE = re.compile(
    r"\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : |Load model from [^\n]*? failed: ?|/\S+\.(?:cc|h|cu):\d+ "
    r"(?:[\w:<>,&*~ ]*::~?\w+\((?:[^()]|\([^()]*\))*\)(?: const)?(?: \[with [^]]*\])? )?"
)
"""What ONNX Runtime says of itself in a message: a code, its file and line, the C++ function with its types."""

HELPS = (
    (
        re.compile(r"max supported IR version: (\d+)"),
        "save it with model.ir_version = {}, or a newer onnxruntime helps",
    ),
    (re.compile(r"support for domain ai\.onnx is till opset (\d+)"), "export it with opset {} or lower"),
)
"""What would be right, by what it says."""


def runtime_complaint(error: BaseException) -> str:
    """What ONNX Runtime says is wrong, on one line, and what would be right, where that is known."""
    said = SOURCE.sub("", " ".join(str(error).split()))
    helps = (f"; {help_.format(found[1])}" for told, help_ in HELPS if (found := told.search(said)))
    return one_line(said.rstrip(". ") or type(error).__name__) + next(helps, "")


_moving = threading.RLock()
"""Held while stdout and stderr are put aside or back, and for good by the thread that gives them back to all."""
_aside: list[tuple[TextIO, int | None]] = []
"""What has been put aside: `sys.stdout`, and a duplicate of file descriptor 2 where it is open."""


@contextlib.contextmanager
def captured_stderr() -> Iterator[IO[bytes]]:
    """Point file descriptor 2 at a file without a name, native code included, and discard what Python prints.

    Both hold for every thread: one that has to be heard meanwhile calls `give_back_streams`.
    """
    with nameless_file() as sink:
        sys.stderr.flush()
        with _moving:
            try:
                saved = os.dup(2)
                os.dup2(sink.fileno(), 2)
            except OSError:  # no stderr at all, as under pythonw
                saved = None
            _aside.append((sys.stdout, saved))
            sys.stdout = io.StringIO()
        try:
            yield sink
        finally:
            with _moving:
                # Another thread's, perhaps: whoever ends last puts back what was there first.
                stdout, saved = _aside.pop()
                _put_back(stdout, saved)
                if saved is not None:
                    os.close(saved)


def give_back_streams() -> None:
    """Put stdout and stderr back, for a thread that answers in another's place: that one captures nothing any more."""
    _moving.acquire()
    if _aside:
        _put_back(*_aside[0])


def _put_back(stdout: TextIO, stderr: int | None) -> None:
    sys.stdout = stdout
    if stderr is not None:
        os.dup2(stderr, 2)
