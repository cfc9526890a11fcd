"""`verifier doctor`: what this machine and its Python environment offer."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from encoders.onnx_io.runtime import runtime
from verifier.cli.bug_report import write
from verifier.report import json_result, terminal
from verifier.report.versions import distribution_version, versions
from verifier.runtime.device import cuda_missing
from verifier.runtime.session import cores
from verifier.solvers.kernels import cache
from verifier.solvers.milp import available_solvers

PACKAGES = ("highspy", "pulp", "z3-solver", "numba", "scipy", "matplotlib", "pillow", "typer", "rich")


def diagnosis() -> dict[str, Any]:
    """The facts, as the JSON object has them."""
    missing = cuda_missing()
    return {
        "schema": json_result.SCHEMA,
        "versions": versions(PACKAGES),
        "python": {"version": platform.python_version(), "executable": sys.executable},
        "system": {"platform": platform.platform(), "machine": platform.machine()},
        "cores": {"usable": cores(), "total": os.cpu_count()},
        "onnxruntime": {
            "providers": list(runtime().get_available_providers()),
            "cuda": missing is None,
            "cuda_missing": missing,
        },
        "kernels": asdict(cache.state()),
        "solvers": {"milp": list(available_solvers()), "z3": distribution_version("z3-solver") is not None},
    }


def run(*, as_json: bool, bug_report: Path | None = None) -> None:
    """Print the diagnosis, or write it for a report of a defect. Raises InputError."""
    found = diagnosis()
    if bug_report is not None:
        write(bug_report, found)
        terminal.message(f"written: {bug_report}")
    if as_json:
        sys.stdout.write(json_result.dumps(found))
        return
    onnxruntime, cores_ = found["onnxruntime"], found["cores"]
    cuda = "works" if onnxruntime["cuda"] else f"not used: {onnxruntime['cuda_missing']}"
    rows = [
        ("python", f"{found['python']['version']}  {found['python']['executable']}"),
        ("system", f"{found['system']['platform']}"),
        ("cores", f"{cores_['usable']} usable of {cores_['total']}"),
        ("ONNX Runtime providers", ", ".join(onnxruntime["providers"])),
        ("CUDA", cuda),
        ("tree kernels (--method tree)", _kernels(**found["kernels"])),
        ("MILP solvers (--solver)", ", ".join(found["solvers"]["milp"]) or "none"),
        ("Z3 (--method z3)", "yes" if found["solvers"]["z3"] else "no: pip install z3-solver"),
        ("versions", "\n".join(f"{name} {version}" for name, version in found["versions"].items())),
    ]
    terminal.stdout().print(terminal.pairs("verifier doctor", rows))


def _kernels(*, ready: bool, where: str | None, why: str | None, remedy: str | None, **_: object) -> str:
    """Whether trees can call them at once: found out by loading them, not by a mark."""
    if ready:
        return f"ready: loaded from {where}"
    told = f"not ready: {why}" + ("" if where is None else f"\n{where}")
    return told if remedy is None else f"{told}\nto mend it: {remedy}"
