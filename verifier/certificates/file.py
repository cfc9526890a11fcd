"""Certificates as files: written whole or not at all, and checked by `verifier certify`."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

from verifier.certificates.checker import MAGIC, MOST_BYTES, MOST_HEADER, file_bytes
from verifier.problem.whole_file import writable, written


def claimed_ends(path: Path) -> tuple[float, float]:
    """The lower ends that a certificate claims, over the reals and for float32 evaluations, of a file that was checked
    before; 0: none."""
    try:
        head = zlib.decompressobj().decompress(file_bytes(path, MOST_BYTES)[len(MAGIC) :], MOST_HEADER)
        header = json.loads(head[4 : 4 + int.from_bytes(head[:4], "little")])
        return float.fromhex(header["radius"]), float.fromhex(header["float32"])
    except (OSError, ArithmeticError, ValueError, LookupError, TypeError, RecursionError, zlib.error):
        return 0.0, 0.0


def certified_for_float32(path: Path, end: float) -> bool:
    """Does a certificate of a lower end claim this `end` for float32 evaluations, or for them all that it claims? Of a
    grid a ball's radius is less than the end that follows."""
    lower, float32 = claimed_ends(path)
    return float32 >= min(end, lower) > 0


class CertificateFile:
    """Where a certificate will be; found unwritable before the work. Raises InputError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        writable(path, "--certificate")

    def of_target(self, target: int | None) -> CertificateFile:
        """One target's own file beside this one: c.cert → c-7.cert."""
        return CertificateFile(self.path.with_name(f"{self.path.stem}-{target}{self.path.suffix}"))

    def write(self, content: bytes) -> Path:
        """Write under a temporary name, then put it in place; the path. Raises InputError."""
        return written(self.path, lambda stream: stream.write(content))

    def remove(self) -> None:
        """Remove what an earlier run left: an old certificate beside a new answer misleads."""
        self.path.unlink(missing_ok=True)
