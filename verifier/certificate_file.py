"""Certificates as files: written whole or not at all, and checked by `verifier certify`."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np

from encoders.errors import InputError
from verifier.exit_codes import Exit
from verifier.proof import checker


class CertificateFile:
    """Where a certificate will be; found unwritable before the work. Raises InputError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.is_dir():
            raise InputError(f"--certificate {path}: this is a directory")
        try:
            with tempfile.TemporaryFile(dir=path.parent):
                pass
        except OSError as error:
            raise InputError(f"--certificate {path}: cannot write there: {error.strerror or error}") from None

    def of_target(self, target: int | None) -> CertificateFile:
        """One target's own file beside this one: c.cert → c-7.cert."""
        return CertificateFile(self.path.with_name(f"{self.path.stem}-{target}{self.path.suffix}"))

    def write(self, content: bytes) -> None:
        """Write under a temporary name, then put it in place. Raises InputError."""
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        try:
            temporary.write_bytes(content)
            os.replace(temporary, self.path)
        except BaseException as error:
            temporary.unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise InputError(f"{self.path}: cannot be written: {error.strerror or error}") from None
            raise

    def remove(self) -> None:
        """Remove what an earlier run left: an old certificate beside a new answer misleads."""
        self.path.unlink(missing_ok=True)


def check(
    certificate: Path, model: Path, input_: Path | None, *, norm: str | None, label: int | None, target: int | None
) -> Exit:
    """Answer `verifier certify`. Raises InputError where a file cannot be read."""
    try:
        contents = certificate.read_bytes(), model.read_bytes()
        x = None if input_ is None else np.load(input_, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputError(str(error)) from None
    valid, text = checker.judged(*contents, x, {"norm": norm, "label": label, "target": target})
    print(text)
    return Exit.GOOD if valid else Exit.VIOLATED
