"""ONNX Runtime, imported on first use and without a line on stderr."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import sys
from collections.abc import Iterator
from functools import cache
from types import ModuleType
from typing import IO

from encoders.files.temporary import nameless_file

FATAL = 4  # ONNX Runtime's log level that prints nothing short of an abort; its errors reach us as exceptions


@cache
def runtime() -> ModuleType:
    """onnxruntime, imported without the warnings that its search for devices may print."""
    with captured_stderr():
        module = importlib.import_module("onnxruntime")
        module.set_default_logger_severity(FATAL)
    return module


@contextlib.contextmanager
def captured_stderr() -> Iterator[IO[bytes]]:
    """Point file descriptor 2 at a file without a name, native code included, and discard what Python prints."""
    with nameless_file() as sink, contextlib.redirect_stdout(io.StringIO()):
        sys.stderr.flush()
        try:
            saved = os.dup(2)
        except OSError:  # no stderr at all, as under pythonw
            yield sink
            return
        os.dup2(sink.fileno(), 2)
        try:
            yield sink
        finally:
            os.dup2(saved, 2)
            os.close(saved)
