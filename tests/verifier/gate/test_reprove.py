"""A stranger re-proves a pack with Python and numpy alone; whatever was changed, or was never so, is named."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.verifier.conftest import EVIL
from tests.verifier.packs import STRANGERS, copied, reproved, resealed, told
from verifier.gate import reprove
from verifier.gate.reprove_claims import StandingEnds, ruling

MUTATIONS = 25
WHOLE = "reproved: 3 of 3 lower ends, 3 of 3 of float32, 1 of 1 witnesses; 0 not certified"


@pytest.fixture
def pack(evidence_pack: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return copied(evidence_pack, tmp_path / "pack")


def test_the_lonely_python_has_numpy_alone(lonely: Path) -> None:
    for name in ("numpy", *STRANGERS):
        found = subprocess.run([lonely, "-c", f"import {name}"], env={}, cwd="/", capture_output=True, check=False)
        assert (found.returncode == 0) == (name == "numpy"), name


def test_it_is_reproved_with_numpy_alone(pack: Path, lonely: Path) -> None:
    found = reproved(pack, lonely)
    assert (found.returncode, found.stderr) == (0, "")
    lines = found.stdout.splitlines()
    assert lines[-1] == WHOLE
    assert lines[0] == f"MANIFEST: sha256 {reprove.sha256_of(pack / 'MANIFEST')}"
    assert "not replayed" in lines[-2]
    assert sum("re-proved" in line for line in lines) == 5
    assert (pack / "reprove.log").read_text(encoding="utf-8") == found.stdout
    again = reproved(pack, lonely)
    assert (again.returncode, again.stdout) == (0, found.stdout), "its own log is no change"
    assert reprove.files_of(pack) - {"reprove.log"} == {*reprove.read_manifest((pack / "MANIFEST").read_bytes())[0],
                                                         "MANIFEST", "index.html"}  # fmt: skip


def test_witnesses_are_replayed_where_onnxruntime_is(pack: Path) -> None:
    found = reproved(pack, Path(sys.executable))
    assert found.returncode == 0, found.stdout
    assert re.search(r"ONNX Runtime [\d.]+: witnesses replayed: 1", found.stdout)
    assert found.stdout.splitlines()[-1] == WHOLE


def test_every_changed_byte_is_named(evidence_pack: Path, tmp_path: Path, lonely: Path) -> None:
    rng = np.random.default_rng(24029)
    names = sorted(reprove.files_of(evidence_pack) - {"reprove.log"})
    seen = set()
    for number in range(MUTATIONS):
        name = names[number % len(names)]
        seen.add(name)
        changed = copied(evidence_pack, tmp_path / str(number))
        content = bytearray((changed / name).read_bytes())
        content[rng.integers(len(content))] ^= int(rng.integers(1, 256))
        (changed / name).write_bytes(content)
        # What begins the check cannot vouch for itself: it is named where the check begins one step later.
        script = "reprove.py" if name == "reprove.sh" else "reprove.sh"
        found = reproved(changed, lonely, script=script)
        assert found.returncode == 1, (name, found.stdout)
        assert any(line.startswith("FAULT: ") and name in line for line in found.stdout.splitlines()), name
    assert seen == set(names)


def test_a_changed_script_is_not_run(pack: Path, lonely: Path) -> None:
    (pack / "reprove.py").write_text("print('reproved: all of it')\n", encoding="utf-8")
    found = reproved(pack, lonely)
    assert found.returncode == 1
    assert "FAULT: reprove.py: " in found.stdout
    assert "all of it" not in found.stdout


def test_without_a_python_it_says_what_it_needs(pack: Path, tmp_path: Path) -> None:
    found = reproved(pack, tmp_path / "absent")
    assert (found.returncode, found.stdout) == (1, "reprove.sh needs Python 3.11 or newer; PYTHON names one\n")


def test_missing_and_additional_files_are_named(pack: Path, lonely: Path) -> None:
    (pack / "certificates/0001.cert").unlink()
    (pack / "witnesses/0003.npy").unlink()
    (pack / "witnesses/0003.npy").symlink_to("../inputs/0003.npy")
    (pack / "inputs/9999.npy").write_bytes(b"")
    (pack / "numpy.py").write_text("raise SystemExit(0)", encoding="utf-8")
    (pack / "hashlib.py").write_text("raise SystemExit(0)", encoding="utf-8")
    found = reproved(pack, lonely)
    assert found.returncode == 1
    for name in ("certificates/0001.cert", "witnesses/0003.npy", "inputs/9999.npy", "numpy.py", "hashlib.py"):
        assert f"FAULT: {name}: " in found.stdout
    assert found.stdout.splitlines()[-1].startswith("reproved: 2 of 3 lower ends, 2 of 3 of float32, 0 of 1 witnesses")


def test_the_manifest_is_held_against_what_was_handed_over_apart(pack: Path, lonely: Path) -> None:
    digest = reprove.sha256_of(pack / "MANIFEST")
    assert reproved(pack, lonely, digest.upper()).returncode == 0
    other = reproved(pack, lonely, "0" * 64)
    assert other.returncode == 1
    assert "FAULT: MANIFEST: its sha256 is not 000" in other.stdout
    forged = resealed(pack, lambda claims: claims.update(title="another"))
    assert reproved(forged, lonely).returncode == 0, "whoever writes all files anew is found out by the digest alone"
    assert reproved(forged, lonely, digest).returncode == 1


def first_input(change: Callable[[dict[str, Any]], object], place: int = 0) -> Callable[[dict[str, Any]], None]:
    """A lie about one input."""

    def changed(claims: dict[str, Any]) -> None:
        change(claims["inputs"][place])

    return changed


def farther(entry: dict[str, Any]) -> None:
    """A larger lower end than was proved."""
    entry["lower"] = entry["claims"][0]["lower"] = 1.001 * entry["lower"]


def nearer(entry: dict[str, Any]) -> None:
    """A smaller upper end than its witness has."""
    entry["upper"] = entry["claims"][0]["upper"] = float(np.nextafter(entry["upper"], 0))


def without_witness(entry: dict[str, Any]) -> None:
    entry["claims"][0]["witness"] = None


LIES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "lower end": (first_input(farther), "certificates/0001.cert: the certificate proves less"),
    "upper end": (first_input(nearer, 2), "witnesses/0003.npy: its distance is"),
    "upper end alone": (first_input(without_witness, 2), "an upper end without a witness"),
    "label": (first_input(lambda one: one.update(label=7)), "for another label"),
    "norm": (first_input(lambda one: one.update(norm="l1")), "for another norm"),
    "margin": (first_input(lambda one: one.update(margin=1.0)), "for another margin"),
    "box": (first_input(lambda one: one.update(box=[0.25, 0.75])), "for another box"),
    "input": (first_input(lambda one: one.update(file="inputs/0002.npy")), "for another input"),
    "target": (first_input(lambda one: one["claims"][0].update(target=3)), "for another target"),
    "reach": (first_input(lambda one: one.update(reach=0.5)), "its reach is"),
    "least end": (first_input(lambda one: one.update(lower=0.5)), "its lower is"),
    "model": (lambda claims: claims["models"][0].update(sha256="0" * 64), "is another model"),
    "verdict": (lambda claims: claims["requirements"][1].update(ruling="pass"), "say fail, not pass"),
    "need": (lambda claims: claims["requirements"][1].update(need=2), "say pass, not fail"),
    "accuracy": (lambda claims: claims["groups"][0]["accuracy"][1].update(proved=3), "say 2 to 2, not 3 to 2"),
    "malformed": (lambda claims: claims.pop("groups"), "evidence.json: KeyError"),
    "not a number": (first_input(lambda one: one.update(lower="nan")), "evidence.json: ValueError"),
}


@pytest.mark.parametrize("lie", LIES)
def test_what_is_not_so_is_named(lie: str, pack: Path, lonely: Path) -> None:
    change, said = LIES[lie]
    found = reproved(resealed(pack, change), lonely)
    assert found.returncode == 1
    assert any(said in line for line in found.stdout.splitlines() if line.startswith("FAULT: ")), found.stdout
    assert found.stdout.splitlines()[-1].endswith("named above")


def test_a_witness_that_is_none_does_not_stand(pack: Path, lonely: Path) -> None:
    point = np.load(pack / "inputs/0003.npy")
    np.save(pack / "witnesses/0003.npy", point)
    found = reproved(resealed(pack), lonely)
    assert "FAULT: 0003" in found.stdout
    assert "the witness is not adversarial" in found.stdout
    np.save(pack / "witnesses/0003.npy", point.astype(np.float64))
    assert "it is of another type or size" in reproved(resealed(pack), lonely).stdout


def test_lower_ends_without_certificates_are_said_and_are_no_fault(pack: Path, lonely: Path) -> None:
    def uncertified(entry: dict[str, Any]) -> None:
        entry["claims"][0].update(certificate=None, uncertified="no time was left")

    (pack / "certificates/0001.cert").unlink()
    found = reproved(resealed(pack, first_input(uncertified)), lonely)
    assert found.returncode == 0
    assert "not certified: no time was left" in found.stdout
    assert "certified accuracy of digits in linf at 0.005: 3 to 3 of 3; re-proved 2 to 3" in found.stdout
    assert "requirement 'kept' of digits.onnx in linf: pass; re-proved: undecided" in found.stdout
    assert (
        found.stdout.splitlines()[-1]
        == "reproved: 2 of 3 lower ends, 2 of 2 of float32, 1 of 1 witnesses; 1 not certified"
    )


def test_names_do_not_reach_the_terminal_as_they_are(pack: Path, lonely: Path) -> None:
    found = reproved(resealed(pack, first_input(lambda one: one.update(name="\x1b[2J\n" + EVIL))), lonely)
    assert "\x1b" not in found.stdout
    assert r"\x1b[2J\n" + EVIL in found.stdout


def test_without_numpy_nothing_is_said_to_stand(pack: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "$@"\n', encoding="utf-8")
    bare.chmod(0o755)
    found = reproved(pack, bare)
    assert (found.returncode, found.stdout.splitlines()[-1]) == (
        1,
        "reproved: nothing, without numpy; 1 FAULT, named above",
    )


def test_wrong_usage_is_told(pack: Path, lonely: Path) -> None:
    assert reproved(pack, lonely, "--what", "is this").returncode == 2


@pytest.mark.parametrize("module", ["reprove", "reprove_claims"])
def test_strangers_import_the_standard_library_and_numpy_only(module: str) -> None:
    tree = ast.parse(Path(reprove.__file__).with_name(f"{module}.py").read_text(encoding="utf-8"))
    found = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    found |= {node.module or "." for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    allowed = set() if module == "reprove" else {"numpy", "onnxruntime"}
    assert {name.partition(".")[0] for name in found} - sys.stdlib_module_names == allowed


def test_a_mean_is_judged_by_what_stands(evidence_pack: Path) -> None:
    claims = told(evidence_pack)
    (mean,) = (one for one in claims["requirements"] if one["need"] is None)
    reaches = {one["id"]: one["reach"] for one in claims["inputs"]}
    for lower, upper, expected in ((0.004, 0.1, "pass"), (0.0, 0.1, "undecided"), (0.0, 0.003, "fail")):
        ends = {key: StandingEnds(lower, upper) for key in reaches}
        assert ruling(mean, ends, reaches) == expected
