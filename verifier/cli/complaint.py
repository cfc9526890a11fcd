"""What goes wrong, as one line on stderr."""

from __future__ import annotations

import sys

from encoders.errors import printable


def complain(text: str) -> None:
    """Print one line on stderr, with the command's name before it and nothing in it that is not printable."""
    sys.stderr.write(f"verifier: {printable(' '.join(text.split()))}\n")


def tell_waiting(what: str) -> None:
    """Say that a cluster's workers, of which there are none, are waited for."""
    complain(f"{what}: they are waited for")


def tell_gone(why: str) -> None:
    """Say that workers are done without."""
    complain(f"this process goes on alone: {why}")
