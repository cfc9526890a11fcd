"""The folder of an evidence pack: built beside its place under another name, sealed by MANIFEST, put there whole."""

from __future__ import annotations

import io
import json
import os
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from encoders.errors import InputError
from verifier.certificates import checker
from verifier.gate import reprove, reprove_claims
from verifier.gate.reprove import LOG, MANIFEST, PAGE, ZEROS, files_of, page_sha256, read_manifest, sha256

REPROVE_SH = """\
#!/bin/sh
# Re-proves this folder: sh reprove.sh [SHA256 of MANIFEST]. It needs Python 3.11 or newer with numpy; PYTHON names one.
cd "$(dirname "$0")" || exit 1
python=${PYTHON:-python3}
"$python" -I -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "reprove.sh needs Python 3.11 or newer; PYTHON names one"
    exit 1
}
"$python" -I -c '
import hashlib, sys
with open("MANIFEST", "rb") as manifest, open("reprove.py", "rb") as script:
    line = hashlib.sha256(script.read()).hexdigest() + "  reprove.py"
    sys.exit(line.encode() not in manifest.read().splitlines())
' || {
    echo "FAULT: reprove.py: its sha256 is not the one in MANIFEST, or reprove.sh has changed: nothing was checked"
    exit 1
}
exec "$python" -B reprove.py "$@"
"""
"""What begins the check: it looks at reprove.py, which looks at everything else, before that is run."""
STRANGERS = {
    reprove.CHECKER: checker,
    reprove.CLAIMS: reprove_claims,
    "reprove.py": reprove,
}
"""What checks a pack: files of this package that need Python and numpy alone."""


TRIES, PAUSE = 20, 0.01
"""Times, and seconds between them, that a folder is removed in which a process is just writing a certificate."""


class PackFolder:
    """A context in which the files of a pack are written; `seal` puts it in its place, else nothing is left.

    Nothing is made before something is written. Raises InputError: on entry where the place cannot be written to, or
    holds what is no evidence pack; on writing, where the disk is full.
    """

    def __init__(self, path: Path, option: str) -> None:
        self.given, self.place, self._option = path, Path(os.path.abspath(path)), option
        self.path = self.place.with_name(f".{self.place.name}.{secrets.token_hex(4)}")
        self._digests: dict[str, str] = {}
        self._removed = False
        self._lock = threading.RLock()

    def __enter__(self) -> PackFolder:
        try:
            self._check_place()
            with tempfile.TemporaryFile(dir=self.place.parent):
                pass
        except OSError as error:
            raise InputError(f"{self._option} {self.given}: cannot write there: {error.strerror or error}") from None
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.remove()

    def remove(self) -> None:
        """Leave nothing of a pack that was not sealed: for the thread that ends a command, too, while others write."""
        with self._lock:
            self._removed = True
            for _ in range(TRIES):
                shutil.rmtree(self.path, ignore_errors=True)
                if not self.path.exists():
                    break
                time.sleep(PAUSE)

    def _check_place(self) -> None:
        """What lies in the place already may be replaced only where it is a pack, and nothing but one."""
        said = f"{self._option} {self.given}"
        if self.place.is_symlink() or (self.place.exists() and not self.place.is_dir()):
            raise InputError(f"{said}: this is no folder")
        if not self.place.is_dir() or not any(self.place.iterdir()):
            return
        try:
            digests, _ = read_manifest((self.place / MANIFEST).read_bytes())
        except (OSError, ValueError):
            raise InputError(f"{said}: this folder exists, and is no evidence pack") from None
        others = files_of(self.place) - digests.keys() - {MANIFEST, PAGE, LOG}
        if others:
            raise InputError(f"{said}: it holds what is not of the evidence pack there: {min(others)}")

    def write(self, name: str, content: bytes) -> str:
        """Write a file of the pack, once; its name. Does not return where the folder was removed: the process ends."""
        assert name not in self._digests
        path = self.path / name
        self._lock.acquire()
        if self._removed:
            self._lock.release()
            threading.Event().wait()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        except OSError as error:
            raise self._unwritable(name, error) from None
        finally:
            self._lock.release()
        self._digests[name] = sha256(content)
        return name

    def array(self, name: str, values: npt.NDArray[Any]) -> str:
        """Write an array as .npy; its name."""
        stream = io.BytesIO()
        np.save(stream, values, allow_pickle=False)
        return self.write(name, stream.getvalue())

    def digest(self, name: str) -> str:
        """The sha256 of a file that was written."""
        return self._digests[name]

    def added(self, name: str) -> str:
        """Take in a file that others have written to the folder; its name."""
        try:
            self._digests[name] = reprove.sha256_of(self.path / name)
        except OSError as error:
            raise self._unwritable(name, error) from None
        return name

    def add_checkers(self) -> Mapping[str, str]:
        """Write what checks the pack; their digests."""
        for name, module in STRANGERS.items():
            self.write(name, Path(str(module.__file__)).read_bytes())
        self.write("reprove.sh", REPROVE_SH.encode())
        (self.path / "reprove.sh").chmod(0o755)
        return {name: self._digests[name] for name in (*STRANGERS, "reprove.sh")}

    def seal(self, page: str) -> str:
        """Write MANIFEST, and the page with its sha256 for the zeros in it; put the folder in its place; that sha256.

        Certificates that were begun and not finished are left out.
        """
        content = page.encode()
        text = reprove.manifest_text(self._digests, page_sha256(content)).encode()
        digest = sha256(text)
        try:
            for name in files_of(self.path) - self._digests.keys():
                (self.path / name).unlink()
            (self.path / MANIFEST).write_bytes(text)
            (self.path / PAGE).write_bytes(reprove.SLOT.sub(rf"\g<1>{digest}\g<3>".encode(), content))
            self._put_in_place()
        except OSError as error:
            raise self._unwritable("", error) from None
        return digest

    def _put_in_place(self) -> None:
        if not self.place.exists():
            self.path.rename(self.place)
            return
        aside = self.path.with_name(f"{self.path.name}.old")
        self.place.rename(aside)
        try:
            self.path.rename(self.place)
        except OSError:
            aside.rename(self.place)
            raise
        shutil.rmtree(aside, ignore_errors=True)

    def _unwritable(self, name: str, error: OSError) -> InputError:
        return InputError(f"{self._option} {self.given}: cannot write {name}: {error.strerror or error}")


SLOT = f'<code id="manifest">{ZEROS}</code>'
"""What the page holds where the sha256 of MANIFEST is to stand."""


def earlier_certificates(place: Path) -> dict[str, Path]:
    """The certificates of a pack that is there already, by the instance that each is of: they are checked again."""
    try:
        told = json.loads((place / reprove.EVIDENCE).read_bytes())
        claims = [claim for entry in told["inputs"] for claim in entry["claims"] if claim["certificate"]]
        found = {str(claim["instance"]): place / str(claim["certificate"]) for claim in claims}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return {key: path for key, path in found.items() if path.is_file()}
