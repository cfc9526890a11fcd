"""What a pack holds is what the store says, copied so that it needs nothing else; what cannot be re-proved says why."""

from __future__ import annotations

import gzip
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from encoders.errors import InputError
from tests.verifier.certificates.nets import whole
from tests.verifier.packs import reproved, told
from verifier import models
from verifier.campaign.backends import Backend
from verifier.campaign.plan.messages import Outcome
from verifier.campaign.plan.plan import Plan, Selection
from verifier.campaign.plan.selection import tasks_of
from verifier.campaign.plan.tasks import Target
from verifier.campaign.runner import run
from verifier.campaign.store.store import Store
from verifier.cli.exit_codes import Exit
from verifier.cli.main import main
from verifier.gate.evidence_certificates import with_certificates
from verifier.gate.evidence_folder import PackFolder
from verifier.gate.evidence_pack import PackSource
from verifier.gate.evidence_packing import packed
from verifier.problem.budget import Budget
from verifier.problem.verdict import Bracket, Evidence, Initial, Status
from verifier.runtime.model import load

DIGITS = models.path("digits")
INPUTS = str(DIGITS.with_name("digits_inputs.npz"))
PLAN = Plan((DIGITS,), INPUTS, select=Selection((0, 1)), targets="untargeted", device="cpu")


def proved(lower: float, reason: str = "") -> Bracket:
    """A bracket without a witness."""
    return Bracket(
        lower, math.inf, None, Evidence.PROVED, 1e-3, Status.BRACKETED, Initial("cw", math.inf), None, 0.1, reason
    )


@pytest.fixture
def store(tmp_path: Path) -> Callable[..., Path]:
    """store(plan, lowers): a store in which the plan's inputs have these lower ends; None: not begun."""

    def make(plan: Plan = PLAN, *lowers: float | None, target: Target = None) -> Path:
        path = tmp_path / "s.sqlite"
        with Store(path) as opened:
            wanted = tasks_of(plan)
            opened.begin(plan, wanted)
            for one, lower in zip(wanted, lowers, strict=True):
                if lower is not None:
                    opened.save(Outcome(one.task.id, target, proved(lower, "out of time")))
        return path

    return make


def evidence(store: Path, place: Path, code: int = Exit.GOOD) -> Path:
    """The store's pack, by the command."""
    assert main(["evidence", str(store), "--out", str(place), "--jobs", "1"]) == code
    return place


@pytest.mark.long
def test_open_lower_ends_are_certified_and_undecided_inputs_told(
    store: Callable[..., Path], tmp_path: Path, lonely: Path
) -> None:
    pack = evidence(store(PLAN, 0.005, None), tmp_path / "pack")
    first, second = told(pack)["inputs"]
    assert (first["lower"], first["evidence"], first["claims"][0]["certificate"]) == (
        0.005, "certified", "certificates/0001.cert",
    )  # fmt: skip
    assert first["undecided"] == "the bracket is open: out of time"
    assert (second["evidence"], second["undecided"]) == (None, "the bracket is open: not begun")
    assert told(pack)["groups"][0]["selection"] == "named one by one in digits_inputs.npz"
    assert all(one["interval"] is None for one in told(pack)["groups"][0]["accuracy"])
    page = (pack / "index.html").read_text(encoding="utf-8")
    assert "the bracket is open: out of time" in page
    assert "the bracket is open: not begun" in page
    found = reproved(pack, lonely)
    assert (found.returncode, found.stdout.splitlines()[-1]) == (
        0, "reproved: 1 of 1 lower ends, 0 of 0 of float32, 0 of 0 witnesses; 0 not certified",
    )  # fmt: skip


def test_the_copies_are_what_was_asked_about(store: Callable[..., Path], tmp_path: Path) -> None:
    pack = evidence(store(PLAN, 0.005, 0.005), tmp_path / "pack")
    assert (pack / told(pack)["models"][0]["file"]).read_bytes() == DIGITS.read_bytes()
    with np.load(INPUTS) as shipped:
        for place, one in enumerate(told(pack)["inputs"]):
            copy = np.load(pack / one["file"])
            assert (copy.dtype, copy.shape) == (np.float32, tuple(load(DIGITS).network.input_shape))
            assert np.array_equal(copy.ravel(), shipped["x"][place].ravel())
            assert one["label"] == shipped["y"][place]


def test_a_closed_campaign_with_targets_and_a_box_is_reproved(tmp_path: Path, lonely: Path) -> None:
    box = tmp_path / "box.npz"
    np.savez(box, lo=np.zeros(64), hi=np.linspace(1.0, 1.1, 64))
    plan = replace(PLAN, select=Selection((6,)), targets=(1, 2), box=str(box), norms=("linf", "l1"))
    with Store(tmp_path / "s.sqlite") as store:
        run(plan, tasks_of(plan), store, Backend(jobs=1), Budget())
    pack = evidence(tmp_path / "s.sqlite", tmp_path / "pack")
    first, second = told(pack)["inputs"]
    assert (first["norm"], second["norm"], second["box"]) == ("linf", "l1", "boxes/0002.npz")
    assert [claim["certificate"] for claim in first["claims"]] == [f"certificates/0001-{k}.cert" for k in (1, 2)]
    assert first["upper"] == min(claim["upper"] for claim in first["claims"])
    for claim in first["claims"]:
        assert (pack / claim["witness"]["picture"]).read_bytes().startswith(b"\x89PNG")
    found = reproved(pack, lonely)
    assert (found.returncode, found.stdout.splitlines()[-1]) == (
        0, "reproved: 4 of 4 lower ends, 4 of 4 of float32, 4 of 4 witnesses; 0 not certified",
    )  # fmt: skip


def small(folder: Path, net: onnx.ModelProto, **where: Any) -> Plan:
    """A plan on a net of 72 inputs and 3 classes."""
    onnx.save(net, folder / "net.onnx", **where)
    np.savez(folder / "inputs.npz", x=np.random.default_rng(5).random((1, 2, 6, 6)).astype(np.float32))
    data = str(folder / "inputs.npz")
    return Plan((folder / "net.onnx",), data, targets="untargeted", device="cpu", output=None)


def test_external_data_come_along_and_a_packed_model_is_called_as_the_plain_one(
    store: Callable[..., Path], tmp_path: Path, lonely: Path
) -> None:
    outside = {"save_as_external_data": True, "size_threshold": 0, "location": "net.onnx.data"}
    plan = small(tmp_path, whole("conv"), **outside)
    (tmp_path / "net.onnx.gz").write_bytes(gzip.compress((tmp_path / "net.onnx").read_bytes()))
    pack = evidence(store(replace(plan, models=(tmp_path / "net.onnx.gz",)), 0.001), tmp_path / "pack")
    assert told(pack)["models"][0]["external"] == ["models/1/net.onnx.data"]
    assert (pack / "models/1/net.onnx").is_file()
    (tmp_path / "net.onnx.data").unlink()
    assert reproved(pack, lonely).returncode == 0


def test_a_model_that_the_checker_does_not_read_says_so(tmp_path: Path, lonely: Path) -> None:
    net = whole("conv")
    net.graph.output.append(helper.make_tensor_value_info("flat", onnx.TensorProto.FLOAT, None))
    plan = replace(small(tmp_path, net), output=net.graph.output[0].name)
    with Store(tmp_path / "s.sqlite") as store:
        run(plan, tasks_of(plan), store, Backend(jobs=1), Budget())
    pack = evidence(tmp_path / "s.sqlite", tmp_path / "pack", Exit.UNDECIDED)
    (one,) = told(pack)["inputs"]
    (claim,) = one["claims"]
    assert one["evidence"] == "proved"
    assert "2 outputs" in claim["uncertified"]
    assert "2 outputs" in claim["witness"]["unchecked"]
    found = reproved(pack, lonely)
    assert (found.returncode, found.stdout.splitlines()[-1]) == (
        0, "reproved: 0 of 1 lower ends, 0 of 0 of float32, 0 of 1 witnesses; 1 not certified",
    )  # fmt: skip


@pytest.mark.long
def test_under_transformations_nothing_is_certified(tmp_path: Path, lonely: Path) -> None:
    views = tmp_path / "views.toml"
    views.write_text("[[transform]]\nidentity = true\n[[transform]]\nscale = 0.9\n", encoding="utf-8")
    plan = replace(PLAN, select=Selection((6,)), targets=(1,), transforms=views)
    with Store(tmp_path / "s.sqlite") as store:
        run(plan, tasks_of(plan), store, Backend(jobs=1), Budget(20.0))
    pack = evidence(tmp_path / "s.sqlite", tmp_path / "pack", Exit.UNDECIDED)
    (claim,) = told(pack)["inputs"][0]["claims"]
    assert "transformations" in claim["uncertified"]
    assert "transformations" in claim["witness"]["unchecked"]
    found = reproved(pack, lonely)
    assert found.returncode == 0
    assert "1 not certified" in found.stdout.splitlines()[-1]


def test_where_runs_contradict_each_other_nothing_is_claimed(store: Callable[..., Path], tmp_path: Path) -> None:
    path = store(PLAN, 0.005, 0.005)
    with Store(path) as opened:
        one = opened.results()[0]
        opened.save(Outcome(one.task, None, replace(proved(0.0), upper=0.001, status=Status.BRACKETED)))
    entry = told(evidence(path, tmp_path / "pack"))["inputs"][0]
    assert (entry["lower"], entry["upper"], entry["evidence"]) == (0.0, "inf", None)
    assert "one run says" in entry["undecided"]


def test_a_model_that_has_changed_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = shutil.copy(DIGITS, tmp_path / "net.onnx")
    plan = replace(PLAN, models=(Path(model),))
    with Store(tmp_path / "s.sqlite") as opened:
        opened.begin(plan, tasks_of(plan))
    content = bytearray(Path(model).read_bytes())
    content[-40] ^= 1
    Path(model).write_bytes(content)
    evidence(tmp_path / "s.sqlite", tmp_path / "pack", Exit.BAD_INPUT)
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "has changed" in err
    assert not [path for path in tmp_path.iterdir() if "pack" in path.name]


def source_of(path: Path) -> PackSource:
    with Store(path, readonly=True) as opened:
        contents = opened.contents()
    return PackSource("test", contents.results, contents.tasks, contents.plans)


def test_what_was_certified_is_checked_again_instead_of_built(store: Callable[..., Path], tmp_path: Path) -> None:
    """A certificate that proves more than is claimed does; one of another input does not, and is built anew."""
    more = evidence(store(PLAN, 0.01, 0.01), tmp_path / "more")
    kept, other = (more / f"certificates/000{place}.cert" for place in (1, 2))
    (tmp_path / "s.sqlite").unlink()
    source = source_of(store(PLAN, 0.005, 0.005))
    with PackFolder(tmp_path / "pack", "--out") as folder:
        pack = packed(source, folder, Budget())
        first, second = (entry.claims[0].instance for entry in pack.entries)
        earlier = {first: kept, second: kept}
        seen: list[tuple[int, int]] = []
        done = with_certificates(pack, folder, earlier, 1, Budget(), 60.0, lambda *counts: seen.append(counts))
        assert [claim.level for claim in done.claims] == ["certified", "certified"]
        assert (folder.path / "certificates/0001.cert").read_bytes() == kept.read_bytes()
        assert (folder.path / "certificates/0002.cert").read_bytes() not in (kept.read_bytes(), other.read_bytes())
        assert seen == [(1, 2), (2, 2)]


def test_without_time_it_says_so(store: Callable[..., Path], tmp_path: Path) -> None:
    source, ended = source_of(store(PLAN, 0.005, 0.005)), Budget()
    ended.cancel()
    with PackFolder(tmp_path / "pack", "--out") as folder:
        done = with_certificates(packed(source, folder, Budget()), folder, {}, 1, ended, 60.0)
    assert {(claim.certificate, claim.uncertified, claim.level) for claim in done.claims} == {
        ("", "interrupted", "proved")
    }


def test_external_data_outside_the_folder_are_refused(store: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    plan = small(tmp_path, whole("conv"), save_as_external_data=True, size_threshold=0, location="w.bin")
    net = onnx.load(tmp_path / "net.onnx", load_external_data=False)
    for tensor in net.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = "sub/../w.bin"
    (tmp_path / "net.onnx").write_bytes(net.SerializeToString())
    source = source_of(store(plan, 0.001))
    with pytest.raises(InputError, match="cannot be put"), PackFolder(tmp_path / "pack", "--out") as folder:
        packed(source, folder, Budget())
