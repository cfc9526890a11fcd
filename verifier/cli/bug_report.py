"""`verifier doctor --bug-report FILE`: what a report of a defect needs, as Markdown to paste, and nothing private.

No folder, no name of a user or machine, and of the environment only the variables of `SETTINGS`.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import locale
import os
import platform
import re
import socket
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from encoders.errors import HOLE, without_folders
from verifier.problem import streams, whole_file
from verifier.report.versions import distribution_version

SETTINGS = (
    *("CUDA_VISIBLE_DEVICES", "LANG", "LC_ALL", "MKL_NUM_THREADS", "NO_COLOR", "NUMBA_CACHE_DIR", "NUMBA_CPU_NAME"),
    *("NUMBA_DISABLE_JIT", "NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "PYTHONDONTWRITEBYTECODE"),
    *("PYTHONHASHSEED", "PYTHONOPTIMIZE", "PYTHONUTF8", "TERM", streams.DEBUG, "XDG_CACHE_HOME"),
)
"""The variables that change what the engine or its libraries do."""

FLAGS = {"-O": "optimize", "-I": "isolated", "-E": "ignore_environment", "-B": "dont_write_bytecode"}

ASKED = """\
# Bug report: relu-verifier {version}

**What I ran** (the command, or the call, and the traceback with {debug}=1):

**What came, and what I expected:**

**The model and the input**, or what `verifier inspect MODEL --json` says of it:
"""


def write(path: Path, found: Mapping[str, Any]) -> None:
    """Write the report whose facts are `found`, as `doctor` has them. Raises InputError."""
    whole_file.written(path, lambda stream: stream.write(text(found).encode()))


def text(found: Mapping[str, Any]) -> str:
    """The report."""
    kernels, onnxruntime = found["kernels"], found["onnxruntime"]
    facts = {
        "python": f"{platform.python_implementation()} {platform.python_version()}, {platform.python_compiler()}",
        "system": f"{found['system']['platform']}, {' '.join(platform.libc_ver())}".strip(", "),
        "cores": f"{found['cores']['usable']} usable of {found['cores']['total']}",
        "installed": _installed(),
        "encodings": f"{locale.getpreferredencoding(False)}, files {sys.getfilesystemencoding()}",
        "ONNX Runtime providers": ", ".join(onnxruntime["providers"]),
        "CUDA": "works" if onnxruntime["cuda"] else onnxruntime["cuda_missing"],
        "kernels": "ready" if kernels["ready"] else f"not ready: {_last_part(kernels['why'])}",
        "kernels' file": _last_part(kernels["where"] or "none"),
        "MILP solvers": ", ".join(found["solvers"]["milp"]),
        "Python flags": " ".join(flag for flag, name in FLAGS.items() if getattr(sys.flags, name)) or "none",
    }
    facts |= {name: _setting(os.environ[name]) for name in SETTINGS if name in os.environ}
    asked = ASKED.format(version=found["versions"]["relu-verifier"], debug=streams.DEBUG)
    parts = [asked, "## This machine\n", _table({name: public(str(fact)) for name, fact in facts.items()})]
    parts += ["## Packages\n", _table(_packages(found["versions"]))]
    return "\n".join(parts)


def _table(rows: Mapping[str, str]) -> str:
    cells = ((name, row.replace("|", "\\|").replace("\n", " ")) for name, row in rows.items())
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {row} |" for name, row in cells), ""])


def public(said: str) -> str:
    """The text without folders, and without the names of the user and of the machine.

    >>> public("/srv/secret/k.kernels: compiled for 8 cores")
    '…/k.kernels: compiled for 8 cores'
    """
    said = without_folders(said)
    for name in _names():
        said = re.sub(rf"\b{re.escape(name)}\b", "…", said)
    return said


def _last_part(said: str) -> str:
    """Of one path with words behind it: folders may have spaces."""
    return re.sub(r"^.*[\\/]", HOLE, said, flags=re.DOTALL)


def _setting(value: str) -> str:
    return "a folder" if Path(value).is_absolute() else value


def _names() -> list[str]:
    found = [socket.gethostname(), Path.home().name]
    with contextlib.suppress(OSError, KeyError, ImportError):  # a user without a name
        found.append(getpass.getuser())
    return [name for name in found if name]


def _packages(versions: Mapping[str, str]) -> dict[str, str]:
    """Each package's version, and what this one requires of it."""
    required: dict[str, str] = {}
    with contextlib.suppress(metadata.PackageNotFoundError):
        for line in metadata.requires("relu-verifier") or ():
            wanted, _, marker = line.partition(";")
            name = re.split(r"[^\w.-]", wanted)[0]
            if "extra ==" not in marker:
                required[name] = wanted.removeprefix(name).strip()
    rows = {**versions, **{name: distribution_version(name) or "not installed" for name in required}}
    return {name: f"{has} (asked: {required[name]})" if name in required else has for name, has in sorted(rows.items())}


def _installed() -> str:
    """From a wheel, or in place."""
    editable = False
    with contextlib.suppress(metadata.PackageNotFoundError, ValueError):
        told = json.loads(metadata.distribution("relu-verifier").read_text("direct_url.json") or "{}")
        editable = bool(told.get("dir_info", {}).get("editable"))
    where = "in an environment of its own" if sys.prefix != sys.base_prefix else "for all of Python"
    return f"{'editable' if editable else 'as a package'}, {where}"
