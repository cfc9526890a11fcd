"""The versions of this package and of what its answers rest on."""

from __future__ import annotations

import platform
from importlib import metadata

ONNXRUNTIME_DISTRIBUTIONS = ("onnxruntime-gpu", "onnxruntime", "onnxruntime-directml")
METHOD_PACKAGES = {
    "tree": ("highspy", "numba", "scipy"),
    "auto": ("highspy", "numba", "pulp", "scipy", "z3-solver"),
    "milp": ("highspy", "pulp"),
    "milp-direct": ("highspy", "pulp"),
    "z3": ("z3-solver",),
}

VERSION_NAMES = {"python": "Python", "numpy": "numpy", "onnx": "onnx", "onnxruntime": "onnxruntime"}
"""What `--version` names beside this package."""


def distribution_version(name: str) -> str | None:
    """The version of an installed distribution, None when it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def versions(packages: tuple[str, ...] = ()) -> dict[str, str]:
    """Versions of relu-verifier, Python, numpy, onnx and ONNX Runtime, and of `packages` where installed."""
    onnxruntime = next(filter(None, map(distribution_version, ONNXRUNTIME_DISTRIBUTIONS)), None)
    found = {
        "relu-verifier": distribution_version("relu-verifier") or "not installed",
        "python": platform.python_version(),
        "numpy": distribution_version("numpy"),
        "onnx": distribution_version("onnx"),
        "onnxruntime": onnxruntime,
        **{name: distribution_version(name) for name in packages},
    }
    return {name: version for name, version in found.items() if version is not None}


def version_line(own: str) -> str:
    """This version and those of what answers rest on, in one line."""
    found = versions()
    others = [f"{name} {found[key]}" for key, name in VERSION_NAMES.items() if key in found]
    return f"relu-verifier {own} ({', '.join(others)})"
