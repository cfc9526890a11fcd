"""What a benchmark cannot do without, as one line and exit code 2 in place of a traceback."""

from __future__ import annotations

import sys
from types import TracebackType

from encoders.errors import InputError

EXTRAS = {
    "torch": "train",
    "sklearn": "train",
    "advertorch": "bench",
    "art": "bench",
    "foolbox": "bench",
    "gurobipy": "bench",
    "torchattacks": "bench",
    "vnntest": "bench",
}
"""Module → the extra that has it."""


def tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """A hook for what a command raises: a missing package of an extra and bad input are told in one line."""
    package = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if package in EXTRAS:
        reason = f"{package} is not installed: pip install 'relu-verifier[{EXTRAS[package]}]'"
    elif isinstance(error, InputError):
        reason = str(error)
    else:
        sys.__excepthook__(kind, error, trace)
        return
    print(f"{_name()}: error: {reason}", file=sys.stderr)
    raise SystemExit(2)


def _name() -> str:
    """The command's module, as Python was told it."""
    told = sys.orig_argv
    return told[told.index("-m") + 1].removeprefix("benchmarks.") if "-m" in told[:-1] else "benchmarks"
