"""Evidence packs in tests: a Python that has numpy alone, the check as a stranger runs it, packs that were changed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from verifier.gate import reprove

STRANGERS = ("onnx", "onnxruntime", "scipy", "verifier", "encoders")
"""What the lonely Python must not find."""


def lonely_python(folder: Path) -> Path:
    """A command that runs this Python without site-packages: only the standard library and numpy can be imported."""
    packages = folder / "packages"
    packages.mkdir(parents=True)
    installed = Path(np.__file__).parent
    for part in (installed, installed.with_name("numpy.libs")):
        if part.exists():
            (packages / part.name).symlink_to(part)
    command = folder / "python"
    command.write_text(f'#!/bin/sh\nPYTHONPATH="{packages}" exec "{sys.executable}" -S "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    return command


def reproved(pack: Path, python: Path, *arguments: str, script: str = "reprove.sh") -> subprocess.CompletedProcess[str]:
    """The check in a process of its own, from another folder and without this one's environment."""
    command = ["/bin/sh", str(pack / script)] if script.endswith(".sh") else [str(python), str(pack / script)]
    environment = {"PATH": "/usr/bin:/bin", "PYTHON": str(python)}
    return subprocess.run([*command, *arguments], env=environment, cwd="/", capture_output=True, text=True, check=False)


def copied(pack: Path, place: Path) -> Path:
    """A copy of the pack to be changed."""
    return Path(shutil.copytree(pack, place))


def told(pack: Path) -> dict[str, Any]:
    """The pack's evidence.json."""
    found: dict[str, Any] = json.loads((pack / "evidence.json").read_text(encoding="utf-8"))
    return found


def resealed(pack: Path, change: Callable[[dict[str, Any]], object] = lambda _: None) -> Path:
    """The pack with other claims and a manifest that fits them, as a liar hands it over."""
    claims = told(pack)
    change(claims)
    (pack / "evidence.json").write_text(json.dumps(claims), encoding="utf-8")
    names = reprove.files_of(pack) - {reprove.MANIFEST, reprove.PAGE, reprove.LOG}
    page = (pack / "index.html").read_bytes()
    digests = {name: reprove.sha256_of(pack / name) for name in names}
    text = reprove.manifest_text(digests, reprove.page_sha256(page)).encode()
    (pack / "MANIFEST").write_bytes(text)
    slot = reprove.SLOT.sub(rf"\g<1>{reprove.sha256(text)}\g<3>".encode(), page)
    (pack / "index.html").write_bytes(slot)
    return pack
