"""What a command does not need is not imported: half a second of every first question went into that.

`SLOW` names each part that is slow to import, with the first of the commands below that may have it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from verifier import models

DIGITS = models.path("digits")
INPUT = str(DIGITS.with_name("digits_inputs.npz"))

COMMANDS = {
    "--help": ["--help"],
    "inspect": ["inspect", str(DIGITS)],
    "check": ["check", str(DIGITS), INPUT, "--index", "0", "--radius", "0.02"],
    "minimal": ["minimal", str(DIGITS), INPUT, "--index", "0"],
}
"""From the cheapest to the dearest; the two questions are trivial ones."""

SLOW = {
    "numpy": "inspect",
    "rich.live": "inspect",
    "onnx": "inspect",
    "onnxruntime": "inspect",
    "verifier.search.minimum": "check",
    "verifier.attacks.registry": "check",
    "highspy": "minimal",
    "scipy.sparse._base": "minimal",
    **dict.fromkeys(
        (
            "PIL",
            "encoders.passes.image_maps",
            "jinja2",
            "joblib",
            "matplotlib",
            "numba",
            "onnx.reference",
            "pandas",
            "pulp",
            "scipy.linalg",
            "scipy.optimize",
            "sklearn",
            "torch",
            "verifier.campaign",
            "verifier.certificates.builder",
            "verifier.solvers.smt",
            "verifier.certificates.checker",
            "z3",
        )
    ),
}
"""None: no trivial question needs it."""

RUN = """
import json, sys
from verifier.cli.main import main
code = main(sys.argv[1:])
sys.stderr.write(json.dumps([code, sorted(sys.modules)]))
"""


@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_slow_to_import_is_not_imported_where_it_is_not_needed(command: str, tmp_path: Path) -> None:
    call = [sys.executable, "-c", RUN, *COMMANDS[command]]
    done = subprocess.run(call, capture_output=True, text=True, check=True, cwd=tmp_path)
    code, imported = json.loads(done.stderr.splitlines()[-1])
    assert code == 0
    order = list(COMMANDS)
    here = order.index(command)
    early = [name for name, first in SLOW.items() if first is None or order.index(first) > here]
    assert [name for name in early if name in imported] == []


def test_the_names_are_those_of_modules() -> None:
    """A name that is never imported would make the test above say nothing: the commands need all that they may have."""
    call = [sys.executable, "-c", RUN, *COMMANDS["minimal"]]
    done = subprocess.run(call, capture_output=True, text=True, check=True)
    _, imported = json.loads(done.stderr.splitlines()[-1])
    assert {name for name, first in SLOW.items() if first is not None} <= set(imported)


GARBAGE = """
import gc, json, sys
looked = []
def looking(phase, _):
    module = sys.modules.get("verifier.cli.commands")
    looked.append(module is not None and module.__spec__._initializing)
gc.callbacks.append(looking)
before = gc.get_freeze_count()  # Python 3.12 keeps some of its own
from verifier.cli.main import main
code = main(sys.argv[1:])
sys.stderr.write(json.dumps([code, len(looked), sum(looked), gc.isenabled(), gc.get_freeze_count() - before]))
"""


def test_no_garbage_is_looked_for_while_the_engine_is_imported() -> None:
    """Who calls `main` finds the collector as it was: on, and with nothing kept from it."""
    call = [sys.executable, "-c", GARBAGE, *COMMANDS["check"]]
    done = subprocess.run(call, capture_output=True, text=True, check=True)
    code, looked, in_vain, collects, frozen = json.loads(done.stderr.splitlines()[-1])
    assert looked > 0
    assert (code, in_vain, collects, frozen) == (0, 0, True, 0)


GATE = """
models = ["digits"]
data = '{data}'
select = {{ indices = [0] }}
norms = ["linf"]

[[require]]
min_distortion = 0.001
"""

NOT_FOR_VERDICTS = {"PIL", "jinja2", "joblib", "matplotlib", "pandas", "pulp", "sklearn", "starlette", "torch", "z3"}
"""Pages, pictures, clusters and other methods: a gate that passes draws nothing and writes no page."""


def test_a_gate_imports_what_its_verdict_needs(tmp_path: Path) -> None:
    (tmp_path / "gate.toml").write_text(GATE.format(data=INPUT))
    call = [sys.executable, "-c", RUN, "gate", "gate.toml", "--jobs", "1"]
    done = subprocess.run(call, capture_output=True, text=True, check=True, cwd=tmp_path)
    code, imported = json.loads(done.stderr.splitlines()[-1])
    assert code == 0
    assert NOT_FOR_VERDICTS & set(imported) == set()
