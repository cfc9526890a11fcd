"""`verify` about VNN-LIB 2 and `supports`: the standard's solver interface, byte for byte where it says so."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import defs

from verifier.cli.exit_codes import Exit
from verifier.cli.main import main
from verifier.cli.solver_commands import CapabilityOptions
from verifier.cli.supports_command import ANSWERS

Write = Callable[..., str]


@pytest.fixture(scope="module")
def ramp(truth: Any, save_net: Callable[..., Any]) -> str:
    """y = min(x, 1 − x) on [0, 1]: 0.5 at most."""
    return str(save_net(truth.of_layers(([[1.0], [1.0]], [0.0, -0.5]), ([[1.0, -2.0]], [0.0]))).path)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    pytest.importorskip("vnnlib", reason="VNN-LIB 2 needs the extra vnnlib", exc_type=ImportError)

    def written(goal: str, dtype: str = "float32", hidden: str = "", second: str = "") -> str:
        file = tmp_path / "q.vnnlib"
        declared = f"(declare-input X {dtype} [1,1]) {hidden} (declare-output Y {dtype} [1,1])"
        box = "(assert (and (>= X[0,0] 0.1) (<= X[0,0] 1.0)))"
        file.write_text(f"(vnnlib-version <2.0>)(declare-network N {declared}){second}{box}(assert {goal})")
        return str(file)

    return written


def numbers(out: str) -> dict[str, list[float]]:
    """The assignment as a reader sees it: a header NAME type [shape], then its numbers."""
    found: dict[str, list[float]] = {}
    for line in out.splitlines()[1:]:
        if header := re.fullmatch(r"(\w+) (?:float32|real) \[[\d,]*\]", line):
            found[header[1]] = values = []
        else:
            values.append(float(line))
    return found


@pytest.mark.parametrize("dtype", ["float32", "real"])
def test_answers(ramp: str, write: Write, dtype: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", write("(>= Y[0,0] 0.6)", dtype), "--network", f"N={ramp}"]) == Exit.GOOD
    assert capsys.readouterr() == ("unsat\n", "")
    assert (
        main(["verify", write("(>= Y[0,0] 0.4)", dtype), "--network", f"N={ramp}", "--timeout", "60"]) == Exit.VIOLATED
    )
    out = capsys.readouterr().out
    assert out.startswith(f"sat\nX {dtype} [1,1]\n")
    found = numbers(out)
    (y,) = onnxruntime.InferenceSession(ramp).run(None, {"x": np.array([found["X"]], np.float32)})
    assert found["Y"][0] == pytest.approx(float(y[0, 0]), abs=1e-6)
    assert 0.1 <= found["X"][0] <= 1
    assert found["Y"][0] >= 0.4


def test_hidden_nodes_and_two_copies(ramp: str, write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    hidden = '(declare-hidden H float32 [1,2] "z0")'
    second = "(declare-network M (equal-to N) (declare-input U float32 [1,1]) (declare-output V float32 [1,1]))"
    box = "(<= U[0,0] 0.25) (>= U[0,0] 0.0)"
    apart = f"(and {box} (>= H[0,1] 0.25) (>= (- Y[0,0] V[0,0]) 0.2))"  # x >= 0.75, so that y <= 0.25
    assert main(["verify", write(apart, hidden=hidden, second=second), "--network", f"N={ramp}"]) == Exit.VIOLATED
    found = numbers(capsys.readouterr().out)
    assert found["H"] == [found["X"][0], found["X"][0] - 0.5]
    assert found["Y"][0] - found["V"][0] >= 0.2
    never = f"(and {box} (>= H[0,1] 0.25) (>= (- Y[0,0] V[0,0]) 0.26))"
    assert main(["verify", write(never, hidden=hidden, second=second), "--network", f"N={ramp}"]) == Exit.GOOD


@pytest.mark.parametrize("dtype", ["float32", "real"])
def test_unsat_leaves_a_certificate(
    ramp: str, write: Write, dtype: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept, query = tmp_path / "c.cert", write("(or (>= Y[0,0] 0.6) (>= Y[0,0] (+ X[0,0] 0.25)))", dtype)
    assert main(["verify", query, "--network", f"N={ramp}", "--certificate", str(kept)]) == Exit.GOOD
    assert capsys.readouterr() == ("unsat\n", "")
    assert main(["certify", str(kept), ramp, "--property", query]) == Exit.GOOD
    for_float32 = "and for every float32 evaluation" in capsys.readouterr().out
    assert for_float32 == (dtype == "float32")
    assert main(["certify", str(kept), ramp, "--property", write("(>= Y[0,0] 0.7)", dtype)]) == Exit.VIOLATED
    assert "for another property" in capsys.readouterr().out
    query = write("(>= Y[0,0] 0.6)", dtype)
    real = ["check", ramp, "--property", query, "--semantics", "real", "--certificate", str(kept)]
    assert main(real) == Exit.GOOD
    code = main(["certify", str(kept), ramp, "--property", query])
    assert code == (Exit.VIOLATED if dtype == "float32" else Exit.GOOD), "the query's types say what it is about"
    capsys.readouterr()
    assert main(["verify", write("(>= Y[0,0] 0.4)"), "--network", ramp, "--certificate", str(kept)]) == Exit.VIOLATED
    assert capsys.readouterr().err == ""
    assert not kept.exists()


HIDDEN = '(declare-hidden H float32 [1,2] "z0")'
SECOND = "(declare-network M (equal-to N) (declare-input U float32 [1,1]) (declare-output V float32 [1,1]))"
JOINT = "(and (<= U[0,0] 0.25) (>= U[0,0] 0.0) (>= (+ V[0,0] Y[0,0]) 1.1))"


@pytest.mark.parametrize(
    ("goal", "declared", "tensors"),
    [
        ("(>= H[0,1] 0.6)", {"hidden": HIDDEN}, "'X', 'H', 'Y'"),
        (JOINT, {"second": SECOND}, "'X', 'Y', 'U', 'V'"),
    ],
    ids=["a hidden node", "two networks"],
)
def test_what_has_no_certificate_is_told(
    goal: str,
    declared: dict[str, str],
    tensors: str,
    ramp: str,
    write: Write,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    kept = tmp_path / "c.cert"
    kept.write_bytes(b"old")
    call = ["verify", write(goal, **declared), "--network", f"N={ramp}", "--certificate", str(kept)]
    assert main(call) == Exit.UNDECIDED
    out, err = capsys.readouterr()
    assert (out, err.count("\n"), kept.exists()) == ("unsat\n", 1, False)
    assert f"speaks of {tensors}: only `verifier verify` answers about hidden tensors and several networks" in err


def test_serialised_assignments(ramp: str, write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "out" / "here"
    call = ["verify", write("(>= Y[0,0] 0.4)"), "--network", f"N={ramp}", "--serialise-assignments", str(folder)]
    assert main(call) == Exit.VIOLATED
    assert capsys.readouterr().out == "sat\n"
    arrays = {}
    for file in sorted(folder.iterdir()):
        tensor = onnx.TensorProto.FromString(file.read_bytes())
        arrays[file.name] = onnx.numpy_helper.to_array(tensor)
    assert {name: (array.shape, array.dtype.name) for name, array in arrays.items()} == {
        "X.pb": ((1, 1), "float32"), "Y.pb": ((1, 1), "float32"),
    }  # fmt: skip
    (y,) = onnxruntime.InferenceSession(ramp).run(None, {"x": arrays["X.pb"]})
    np.testing.assert_array_equal(y, arrays["Y.pb"])


def test_a_limit_that_is_too_short_is_timed_out(ramp: str, write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", write("(>= Y[0,0] 0.6)"), "--network", f"N={ramp}", "--timeout", "1e-9"]) == Exit.UNDECIDED
    assert capsys.readouterr().out == "timed-out\n"


def test_a_limit_within_which_nothing_is_read_says_so_too(tmp_path: Path) -> None:
    for text, word in (
        ("; nothing\n(vnnlib-version <2.0>)", b"timed-out\n"),
        ("(declare-const X_0 Real)", b"timeout\n"),
    ):
        file = tmp_path / "q.vnnlib"
        file.write_text(text)
        call = [
            sys.executable,
            "-m",
            "verifier",
            "verify",
            str(file),
            "--network",
            "N=none.onnx",
            "--timeout",
            "0.001s",
        ]
        done = subprocess.run(call, capture_output=True, check=False)
        assert (done.returncode, done.stdout) == (Exit.UNDECIDED, word)


@pytest.mark.parametrize(
    ("networks", "told"),
    [
        (["N={}", "M={}"], "'M' is no network of it; those are N"),
        (["M={}"], "'M' is no network of it"),
        (["N={}", "N={}"], "--network gives 'N' twice"),
        (["N="], "--network takes NAME=FILE.onnx"),
    ],
)
def test_networks_that_do_not_fit(
    ramp: str, write: Write, networks: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [part for network in networks for part in ("--network", network.format(ramp))]
    assert main(["verify", write("(>= Y[0,0] 0.6)"), *given]) == Exit.BAD_INPUT
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert told in err


@pytest.mark.parametrize("named", ["", "N="])
def test_paths_may_hold_the_sign_that_names_do_not(
    ramp: str, write: Write, named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, first = tmp_path / "n=2_M=3.onnx", tmp_path / "first.vnnlib"
    file.write_bytes(Path(ramp).read_bytes())
    first.write_text(
        "(declare-const X_0 Real) (declare-const Y_0 Real)(assert (>= X_0 0)) (assert (<= X_0 1)) (assert (>= Y_0 0.6))"
    )
    for query in (write("(>= Y[0,0] 0.6)"), str(first)):
        assert main(["verify", query, "--network", f"{named}{file}"]) == Exit.GOOD
        assert capsys.readouterr() == ("unsat\n", "")


def test_types_about_which_nothing_is_proved_are_refused(
    ramp: str, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", write("(>= Y[0,0] 0.6)", "float64"), "--network", f"N={ramp}"]) == Exit.BAD_INPUT
    assert "nothing can be proved about 'X' in float64" in capsys.readouterr().err
    assert main(["check", ramp, "--property", write("(>= Y[0,0] 0.6)", "float64")]) == Exit.BAD_INPUT
    assert "nothing can be proved about 'X' in float64" in capsys.readouterr().err


def test_check_takes_a_property_of_either_syntax(ramp: str, write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", ramp, "--property", write("(>= Y[0,0] 0.6)")]) == Exit.GOOD
    assert main(["check", ramp, "--property", write("(>= Y[0,0] 0.4)")]) == Exit.VIOLATED
    capsys.readouterr()


@pytest.mark.parametrize("capability", [field.name for field in fields(CapabilityOptions)])
def test_each_capability_is_told(capability: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["supports", "--" + capability.replace("_", "-")]) == Exit.GOOD
    assert capsys.readouterr() == ("".join(f"{line}\n" for line in ANSWERS[capability]()), "")


def test_capabilities_are_told_one_at_a_time(capsys: pytest.CaptureFixture[str]) -> None:
    for given in ([], ["--vnnlib-versions", "--onnx-operators"]):
        assert main(["supports", *given]) == Exit.BAD_INPUT
        assert "one capability at a time: --onnx-opset-versions, " in capsys.readouterr().err
    oldest, newest = map(int, ANSWERS["onnx_opset_versions"]())
    assert oldest < newest <= defs.onnx_opset_version()
    assert ANSWERS["onnx_element_types"]() == ["float32", "real"]
    assert {"Conv", "Relu", "Gemm"} <= set(ANSWERS["onnx_operators"]())
    # A product or quotient of two variables, a cast to whole numbers and a Softmax in the middle are refused.
    assert not {"Cast", "Div", "Mul", "Softmax"} & set(ANSWERS["onnx_operators"]())


def test_the_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--name"]) == Exit.GOOD
    assert capsys.readouterr().out == "relu-verifier\n"


def test_verify_in_a_process_of_its_own(ramp: str, write: Write) -> None:
    call = [sys.executable, "-m", "verifier", "verify", write("(>= Y[0,0] 0.6)"), "--network", f"N={ramp}"]
    done = subprocess.run(call, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"unsat\n", b"")
