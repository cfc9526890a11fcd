"""A stranger's list: how each instance ends, what is kept and asked again, and who is contradicted."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from benchmarks.referee import __main__ as referee
from benchmarks.vnncomp import certifying, run
from benchmarks.vnncomp.instances import ToolAnswer, VnnInstance
from benchmarks.vnncomp.submitted import Judged, Kind
from verifier.certificates import checker
from verifier.problem.budget import Budget


@dataclass(frozen=True)
class Dying:
    model: Path
    query: Path

    def built(self, budget: Budget) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


KEYS = [("mine", "ramp.onnx", "over.vnnlib"), ("mine", "ramp.onnx.gz", "never.vnnlib")]


@pytest.fixture
def words(listed: Path, tmp_path: Path) -> list[str]:
    return ["--instances", str(listed), "--out", str(tmp_path / "r.json"), "--limit", "30"]


def content(words: list[str]) -> Any:
    return json.loads(Path(words[3]).read_text())


def submit(folder: Path, tool: str, name: str, text: str) -> None:
    place = folder / tool / "2025_mine" / f"{name}.counterexample"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)


def test_what_is_known_is_not_asked_again_and_what_is_said_is_judged(
    words: list[str], listed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = ["--proofs", str(tmp_path / "p"), "--witnesses", str(tmp_path / "w/ours"), "--page", str(tmp_path / "page")]
    assert referee.main([*words, *kept]) == 0
    told = capsys.readouterr().out
    assert "3 instances: 1 proved sat, 1 proved unsat, 1 tolerance only, 0 open; 1 certificates accepted" in told
    ends = {tuple(one["instance"]): one for one in content(words)["findings"]["instances"]}
    assert [ends[key]["ends"] for key in KEYS] == ["proved sat", "proved unsat"]
    assert "float32" in ends["mine", "ramp.onnx", "torn.vnnlib"]["why"]
    assert (ends[KEYS[1]]["certificate"], ends[KEYS[1]]["float32"]) == ("accepted", True)
    proof, query = (
        tmp_path / "p/mine/ramp_never.cert",
        checker.Demands(property=(listed.parent / "never.vnnlib").read_bytes()),
    )
    assert checker.files_judged(proof, listed.parent / "ramp.onnx.gz", query).valid
    assert "| ramp.onnx " in (tmp_path / "page").read_text()
    # Nothing is asked again, and our own counterexample is one by the rules for everybody's.
    before = content(words)["rows"]
    assert referee.main([*words, "--submitted", str(tmp_path / "w")]) == 0
    assert ": sat" not in (told := capsys.readouterr().out)
    assert "| ours      | 1 " in told
    assert content(words)["rows"] == before
    # A witness and a published answer that are not so.
    given = tmp_path / "given"
    submit(given, "other", "ramp_over", "sat\n((X_0 0.39995)\n (Y_0 0.4))\n")
    submit(given, "other", "ramp_never", "sat\n((X_0 0.5)\n (Y_0 0.7))\n")
    answers = given / "other/results.csv"
    answers.write_text(
        "mine,./b/mine/ramp.onnx,./b/mine/over.vnnlib,0.1,holds,2\nmine,ramp.onnx,other.vnnlib,0,sat,1\n"
    )
    assert referee.main([*words, "--submitted", str(given)]) == 1
    found = content(words)["findings"]
    assert {(tuple(one["instance"]), one["answer"]) for one in found["contradictions"]} == {
        (KEYS[0], "unsat"),
        (KEYS[1], "sat"),
    }
    assert {one["is"] for one in found["witnesses"]} == {"tolerance only", "none"}
    # A file that has changed is asked anew.
    (listed.parent / "never.vnnlib").write_text((listed.parent / "over.vnnlib").read_text())
    assert referee.main(words) == 0
    assert content(words)["findings"]["instances"][1]["ends"] == "proved sat"


def test_what_cannot_be_read_is_open_and_asked_again_on_request(
    words: list[str], listed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listed.write_text("ramp.onnx,odd.vnnlib,30\n")
    for again, asked in ([], True), ([], False), (["--again"], True):
        assert referee.main([*words, *again]) == 3
        told = capsys.readouterr().out
        assert ("refused" in told) is asked
        assert "1 open" in told
        assert "sin" in told


def test_a_counterexample_that_was_not_confirmed_is_open_and_asked_again(
    words: list[str], listed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    listed.write_text("ramp.onnx,over.vnnlib,30\n")
    monkeypatch.setattr(run, "is_counterexample", lambda *_: False)
    for again, confirmed, code in (([], False, 3), ([], True, 3), (["--again"], True, 0)):
        if confirmed:
            monkeypatch.undo()
        assert referee.main([*words, *again]) == code
    assert "1 proved sat" in capsys.readouterr().out


def test_a_builder_that_dies_is_a_row_and_the_run_goes_on(
    words: list[str], listed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Killed for memory, or by a crash: what builds certificates kills itself here."""
    listed.write_text("ramp.onnx,never.vnnlib,30\nramp.onnx,over.vnnlib,30\n")
    monkeypatch.setattr(certifying, "CertificateBuilder", Dying)
    assert referee.main(words) == 0
    assert "2 instances: 1 proved sat, 1 proved unsat" in capsys.readouterr().out
    assert "none was built" in content(words)["findings"]["instances"][0]["certificate"]
    monkeypatch.undo()
    assert referee.main(words) == 0
    assert "; 0 certificates accepted" in capsys.readouterr().out
    assert referee.main([*words, "--again"]) == 0
    assert "; 1 certificates accepted" in capsys.readouterr().out


def test_a_search_that_dies_is_refused(monkeypatch: pytest.MonkeyPatch, words: list[str], listed: Path) -> None:
    listed.write_text("ramp.onnx,over.vnnlib,30\n")
    killed = subprocess.CompletedProcess([], -9, '{"verdict": "hol', "")
    monkeypatch.setattr(run.subprocess, "run", lambda *_, **__: killed)
    assert referee.main(words) == 3
    assert content(words)["rows"][0]["reason"] == "no answer: killed by signal 9"


def test_a_model_whose_external_data_have_changed_is_asked_anew(
    words: list[str], listed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same file, its weights beside it: y falls by 0.5 everywhere."""
    folder = listed.parent
    (folder / "ramp.onnx").write_bytes(gzip.decompress((folder / "ramp.onnx.gz").read_bytes()))
    loaded = onnx.load(folder / "ramp.onnx")
    onnx.save(loaded, folder / "ramp.onnx", save_as_external_data=True, location="ramp.data", size_threshold=0)
    listed.write_text("ramp.onnx,over.vnnlib,30\n")
    assert referee.main(words) == 0
    assert "1 proved sat" in capsys.readouterr().out
    last = loaded.graph.initializer[-1]
    changed = np.frombuffer((folder / "ramp.data").read_bytes(), np.float32).copy()
    assert numpy_helper.to_array(last, str(folder)).size == 1
    changed[int(next(entry.value for entry in last.external_data if entry.key == "offset")) // 4] -= 0.5
    (folder / "ramp.data").write_bytes(changed.tobytes())
    assert referee.main(words) == 0
    assert "1 proved unsat" in capsys.readouterr().out


def test_an_exact_witness_refutes_our_own_answer(words: list[str]) -> None:
    row = referee.Ending(*KEYS[0], "none", 0, 0, "unsat", False, True, "", "", 0, 1.0, 1.0, 1.0, "", "accepted")
    instance = VnnInstance(*KEYS[0], "none", 0, 0)
    exact = referee.SubmittedWitness("other", instance, Judged(Kind.EXACT))
    found = referee.findings([row], [exact], [ToolAnswer("third", KEYS[0], "timeout")])
    assert [(one["tool"], one["answer"]) for one in found["contradictions"]] == [("relu-verifier", "unsat")]
    (one,) = found["instances"]
    assert (one["ends"], one["by"], one["certificate"], one["float32"]) == ("proved sat", "other", "", False)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("ramp.onnx,over.vnnlib,30\nramp.onnx,gone.vnnlib,30", "line 2: "),
        ("ramp.onnx,over.vnnlib,soon", "line 1: seconds above 0 are expected, not 'soon'"),
        ("ramp.onnx,over.vnnlib,-1", "line 1: seconds above 0 are expected"),
        ("ramp.onnx", "line 1: a network, a property and perhaps seconds are expected, not 1 entries"),
        ("ramp.onnx,over\0.vnnlib,3", "line 1: "),
        ("\n", "lists no instance"),
    ],
)
def test_lists_that_are_none(
    text: str, told: str, words: list[str], listed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listed.write_text(text)
    assert referee.main(words) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == 1
    assert told in shown.err


def test_what_is_submitted_about_other_instances_is_told(
    words: list[str], listed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Lines and folders as the competition has them: benchmarks with a year, merged and single files, its words."""
    listed.write_text("ramp.onnx,over.vnnlib,30\n")
    given, where = tmp_path / "given", "vnncomp2025_benchmarks/benchmarks"
    submit(given, "other", "ramp_never", "sat\n((X_0 0.5)\n (Y_0 0.7))\n")
    lines = [
        f"mine,{where}/mine/./ramp.onnx,{where}/mine/over.vnnlib,.0059,SAT,18.1",
        f"else,{where}/else/ramp.onnx,{where}/else/over.vnnlib,.0059,unsat,18.1",
        f"mine,{where}/mine/ramp.onnx,{where}/mine/gone.vnnlib,.0059,run_instance_timeout,80.0",
        f"mine,{where}/mine/ramp.onnx,{where}/mine/gone.vnnlib,.0059,unsat,80.0",
    ]
    (given / "other/results.csv").write_text("\n".join(lines))
    (given / "other/2025_mine/results.csv").write_text(lines[0])
    assert referee.main([*words, "--submitted", str(given)]) == 0
    found, told = content(words)["findings"], capsys.readouterr().out
    assert [(one["tool"], one["answers"], one["confirmed"]) for one in found["tools"]] == [("other", 1, 1)]
    assert [(one["place"], one["count"]) for one in found["unmatched"]] == [
        ("other/results.csv", 1),
        ("other/results.csv", 2),
        ("other/2025_mine", 1),
    ]
    assert "| line 3: mine " in told
    assert "ramp_never.counterexample" in told
    # Nothing at all is about the list: it is another, or is called otherwise.
    assert referee.main([*words, "--submitted", str(given), "--name", "ours", "--fresh"]) == 2
    assert "says nothing of an instance of ours" in capsys.readouterr().err


def test_lists_of_vnnlib_2_and_of_nets_with_several_inputs(
    words: list[str], listed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("vnnlib", reason="VNN-LIB 2 needs the extra vnnlib", exc_type=ImportError)
    folder, given = listed.parent, tmp_path / "given"
    sides = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 2]) for name in "aby"]
    nodes = [helper.make_node("Add", ["a", "b"], ["s"]), helper.make_node("Relu", ["s"], ["y"])]
    made = helper.make_graph(nodes, "sum", sides[:2], sides[2:])
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), folder / "sum.onnx")
    names = "".join(f"(declare-const X_{n} Real)(assert (<= 0 X_{n}))(assert (<= X_{n} 1))" for n in range(4))
    for name, bound in (("some", "1.9"), ("none", "2.1")):
        goal = f"(declare-const Y_0 Real)(declare-const Y_1 Real)(assert (>= Y_0 {bound}))"
        (folder / f"{name}.vnnlib").write_text(names + goal)
        declared = f"(declare-input X real {SHAPE})(declare-output Y real {SHAPE})"
        box = "(assert (and (>= X[0,0] 0.1) (<= X[0,0] 1.0)))"
        limit = "0.4" if name == "some" else "0.6"
        query = f"(vnnlib-version <2.0>)(declare-network f {declared}){box}(assert (>= Y[0,0] {limit}))"
        (folder / f"{name}2.vnnlib").write_text(query)
        tensors = "(declare-input B float32 [1,2])(declare-input A float32 [1,2])(declare-output Y float32 [1,2])"
        ends = [f"{n}[0,{i}]" for n in "AB" for i in (0, 1)]
        box = "".join(f"(assert (>= {end} 0.0))(assert (<= {end} 1.0))" for end in ends)
        query = f"(vnnlib-version <2.0>)(declare-network f {tensors}){box}(assert (>= Y[0,0] (+ {bound} A[0,1])))"
        (folder / f"{name}4.vnnlib").write_text(query)
    nets = {"ramp": ("some2", "none2"), "sum": ("some", "none", "some4")}
    listed.write_text("\n".join(f"{net}.onnx,{query}.vnnlib,30" for net in nets for query in nets[net]))
    submit(given, "other", "ramp_some2", "sat\nX real [1,1]\n0.5\nY real [1,1]\n0.5\n")
    submit(given, "other", "sum_some", "(X_0 1)(X_1 0)(X_2 0.95)(X_3 0)(Y_0 1.95)(Y_1 0)")
    # Tensors of several inputs count by their names: in another order, A_1 = 1 misses the row.
    values = {"B": "1\n1\n", "A": "0.95\n0\n"}
    for tool, order in (("other", "AB"), ("other2", "BA")):
        submit(given, tool, "sum_some4", "".join(f"{name} float32 [1,2]\n{values[name]}" for name in order))
    assert referee.main([*words, "--submitted", str(given)]) == 0
    assert "3 proved sat, 2 proved unsat, 0 tolerance only, 0 open; 2 certificates" in capsys.readouterr().out
    found = content(words)["findings"]
    assert [one["is"] for one in found["witnesses"]] == ["exact"] * 4
    proofs = {one["instance"][2]: one["certificate"] for one in found["instances"]}
    assert [proofs[f"none{kind}.vnnlib"] for kind in ("", "2")] == ["accepted"] * 2


SHAPE = "[1,1]"


def test_instances_whose_files_would_have_one_name_are_refused_where_there_are_files(
    words: list[str], listed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (listed.parent / "more").mkdir()
    (listed.parent / "more/ramp.onnx.gz").write_bytes((listed.parent / "ramp.onnx.gz").read_bytes())
    listed.write_text("ramp.onnx,over.vnnlib,30\nmore/ramp.onnx,over.vnnlib,30\n")
    assert referee.main([*words, "--witnesses", str(tmp_path / "w")]) == 2
    assert "would be called ramp_over.counterexample" in capsys.readouterr().err
    assert referee.main(words) == 0


def test_submitted_folders_that_are_none(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert referee.main([*words, "--submitted", str(tmp_path / "gone")]) == 2
    (tmp_path / "given/tool").mkdir(parents=True)
    (tmp_path / "given/tool/results.csv").write_text("mine,ramp.onnx\n")
    assert referee.main([*words, "--submitted", str(tmp_path / "given")]) == 2
    told = capsys.readouterr().err
    assert "is no folder" in told
    assert "results.csv, line 1: " in told
