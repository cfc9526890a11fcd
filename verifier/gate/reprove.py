"""Re-proves an evidence pack, alone: `python reprove.py` in the pack's folder needs Python, numpy and nothing else.

Every file is compared with MANIFEST; then reprove_claims.py checks every certificate and witness by checker.py, against
what evidence.json claims of it. What is not as it should be is named, reprove.log keeps what was said, and the last
line says what stands.

Exit codes: 0 all that the pack claims to be provable stands, 1 something does not, 2 wrong usage.
"""

from __future__ import annotations

import sys

if __name__ == "__main__" and not (sys.flags.isolated or getattr(sys.flags, "safe_path", False)):
    del sys.path[0]  # the pack's own folder: a file that somebody put there is not imported in numpy's place

import argparse
import contextlib
import hashlib
import os
import re
import stat
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

FORMAT = "relu-verifier evidence 1"
MANIFEST, EVIDENCE, PAGE, LOG = "MANIFEST", "evidence.json", "index.html", "reprove.log"
CHECKER, CLAIMS = "checker.py", "reprove_claims.py"
SLOT = re.compile(rb'(<code id="manifest">)([0-9a-f]{64})(</code>)')
"""Where the page shows the sha256 of MANIFEST, which counts the page with zeros there."""
ZEROS = "0" * 64
PAGE_LINE = f"# {PAGE}, with zeros for the sha256 of this file that it shows: "
"""Begins the line of MANIFEST about the page; `sha256sum -c MANIFEST` passes over what begins with #."""
LINE = re.compile(r"([0-9a-f]{64})  (.+)")
BLOCK = 1 << 20
"""Bytes that are hashed at a time."""


# -------------------------------------------------------------------------------------------------------------- files


def sha256(content: bytes) -> str:
    """Its sha256 as 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def sha256_of(path: Path) -> str:
    """The same of a regular file; OSError where it is none, or a link."""
    if not stat.S_ISREG(path.lstat().st_mode):
        raise OSError("this is no regular file")
    found = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(BLOCK):
            found.update(block)
    return found.hexdigest()


def files_of(folder: Path) -> set[str]:
    """Every file of the folder, with / between the parts of its path; links to folders count as files."""
    found = set()
    for place, folders, files in os.walk(folder):
        links = [name for name in folders if Path(place, name).is_symlink()]
        found |= {Path(place, name).relative_to(folder).as_posix() for name in (*files, *links)}
    return found


def page_sha256(page: bytes) -> str:
    """The page's sha256 with zeros in the place of MANIFEST's."""
    return sha256(SLOT.sub(rb"\g<1>" + ZEROS.encode() + rb"\g<3>", page))


def manifest_text(digests: Mapping[str, str], page: str) -> str:
    """MANIFEST: the digests of the files by name, and that of the page."""
    head = [f"# {FORMAT}: the sha256 of every file but this one and {LOG}", PAGE_LINE + page]
    return "\n".join([*head, *(f"{digest}  {name}" for name, digest in sorted(digests.items()))]) + "\n"


def read_manifest(content: bytes) -> tuple[dict[str, str], str]:
    """(digests by file, the page's digest). Raises ValueError for what is no manifest of ours."""
    lines = content.decode("utf-8").splitlines()
    if len(lines) < 2 or not lines[0].startswith(f"# {FORMAT}: ") or not lines[1].startswith(PAGE_LINE):
        raise ValueError("it does not begin as those of evidence packs do")
    found: dict[str, str] = {}
    for place, line in enumerate(lines[2:], 3):
        match = LINE.fullmatch(line)
        if match is None or match[2] in found:
            raise ValueError(f"its line {place} is malformed")
        found[match[2]] = match[1]
    return found, lines[1].removeprefix(PAGE_LINE)


def file_faults(folder: Path) -> dict[str, str]:
    """What is wrong with the pack's files, by file: changed, missing, not of the pack."""
    try:
        manifest = (folder / MANIFEST).read_bytes()
        digests, page = read_manifest(manifest)
    except (OSError, ValueError) as error:
        return {MANIFEST: str(error)}
    there = files_of(folder) - {MANIFEST, LOG}
    faults = dict.fromkeys(sorted(there - digests.keys() - {PAGE}), "it is not of the pack")
    for name, digest in digests.items():
        if why := _changed(folder / name, digest):
            faults[name] = why
    try:
        content = (folder / PAGE).read_bytes()
    except OSError as error:
        return {**faults, PAGE: error.strerror or str(error)}
    if page_sha256(content) != page:
        faults[PAGE] = "it is not as MANIFEST says"
    shown = SLOT.search(content)
    if shown is None or shown[2].decode() != sha256(manifest):
        faults[MANIFEST] = f"its sha256 is not the one that {PAGE} shows: one of the two has changed"
    return faults


def _changed(path: Path, digest: str) -> str:
    """Why a file is not the one of the manifest; "" where it is."""
    try:
        return "" if sha256_of(path) == digest else "it has changed: its sha256 is not the one in MANIFEST"
    except FileNotFoundError:
        return "it is missing"
    except OSError as error:
        return error.strerror or str(error)


# ---------------------------------------------------------------------------------------------------------------- log


@dataclass
class ReproveLog:
    """What is said, on the terminal and in the log; faults are counted."""

    stream: TextIO | None
    faults: int = 0

    def say(self, text: str) -> None:
        """One line; names of files may hold what a terminal obeys."""
        line = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
        print(line, flush=True)
        if self.stream is not None:
            self.stream.write(line + "\n")
            self.stream.flush()

    def fault(self, text: str) -> None:
        """Something that is not as it is claimed."""
        self.faults += 1
        self.say(f"FAULT: {text}")


@contextlib.contextmanager
def logging_to(path: Path) -> Iterator[ReproveLog]:
    """A log in that file, or on the terminal alone where it cannot be written."""
    try:
        stream = path.open("w", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        log = ReproveLog(None)
        log.say(f"{path.name} cannot be written: {error.strerror or error}")
        yield log
        return
    with stream:
        yield ReproveLog(stream)


# --------------------------------------------------------------------------------------------------------------- main


def loaded(path: Path) -> Any:
    """A module of the pack, run from the bytes of its file: so Python leaves no compiled copy in the folder."""
    module = types.ModuleType(path.stem)
    module.__file__ = str(path)
    sys.modules[path.stem] = module  # dataclasses look their module up there
    exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)
    return module


def reproved(folder: Path, expected: str | None, log: ReproveLog) -> str:
    """Check the pack in a folder; the last line."""
    faults = file_faults(folder)
    with contextlib.suppress(OSError):
        digest = sha256_of(folder / MANIFEST)
        log.say(f"{MANIFEST}: sha256 {digest}")
        if expected not in (None, digest):
            faults[MANIFEST] = f"its sha256 is not {expected}, as it should be"
    for name, why in faults.items():
        log.fault(f"{name}: {why}")
    if not faults:
        log.say("every file is as MANIFEST says")
    if needed := [name for name in (CHECKER, CLAIMS, EVIDENCE, MANIFEST) if name in faults]:
        return f"reproved: nothing, since {needed[0]} is not what it should be"
    try:
        claims = loaded(folder / CLAIMS)
    except ImportError as error:
        log.fault(str(error))
        return "reproved: nothing, without numpy"
    checker = loaded(folder / CHECKER)
    try:
        last: str = claims.checked(folder, checker, log)
    except Exception as error:  # noqa: BLE001, a claim that cannot even be read does not stand
        log.fault(f"{EVIDENCE}: {type(error).__name__}: {error}")
        return "reproved: nothing, since a claim cannot be read"
    return last


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the pack beside this file."""
    parser = argparse.ArgumentParser(prog="reprove", description="Check this evidence pack.")
    parser.add_argument("sha256", nargs="?", help="what the sha256 of MANIFEST is to be, as it was handed over apart")
    expected: str | None = parser.parse_args(arguments).sha256
    folder = Path(__file__).resolve().parent
    with logging_to(folder / LOG) as log:
        last = reproved(folder, expected.lower() if expected else None, log)
        log.say(last + (f"; {log.faults} FAULT{'S' if log.faults > 1 else ''}, named above" if log.faults else ""))
    return 1 if log.faults else 0


if __name__ == "__main__":
    sys.exit(main())
