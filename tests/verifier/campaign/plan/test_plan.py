"""Plans: what a file and flags say, and the one line that answers a wrong one."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest

from encoders.errors import InputError
from verifier import models
from verifier.campaign import backends
from verifier.campaign.plan.plan import Plan, Selection, read_plan
from verifier.cli.exit_codes import Exit
from verifier.cli.main import main

WHOLE = """
models = ["digits", "other.onnx"]
data = "mnist"
split = "train"
norms = ["linf", "l1"]
targets = [3, 1]
method = "milp"
solver = "cbc"
precision = 1e-2
margin = 0.5
box = [-1, 1]
timeout = "1m30s"
total_budget = 7200
threads = 2
memory = "4GB"
device = "cpu"
store = "sub/s.sqlite"

[select]
per_class = 2
seed = 5
correct = true
"""


def read(tmp_path: Path, text: str) -> Plan:
    path = tmp_path / "plan.toml"
    path.write_text(text, encoding="utf-8")
    return read_plan(path)


def test_every_key(tmp_path: Path) -> None:
    assert read(tmp_path, WHOLE) == Plan(
        models=(models.path("digits"), tmp_path / "other.onnx"),
        data=str(tmp_path / "mnist"),
        split="train",
        select=Selection(per_class=2, seed=5, correct=True),
        norms=("linf", "l1"),
        targets=(3, 1),
        method="milp",
        solver="cbc",
        precision=1e-2,
        margin=0.5,
        box="-1.0,1.0",
        timeout=90.0,
        total_budget=7200.0,
        threads=2,
        memory=4e9,
        device="cpu",
        store=tmp_path / "sub/s.sqlite",
    )


def test_defaults(tmp_path: Path) -> None:
    plan = read(tmp_path, 'models = "digits"\ndata = "digits"')
    assert (plan.targets, plan.norms, plan.method, plan.precision) == ("all", ("linf",), "tree", 1e-3)
    assert plan.timeout == plan.total_budget == math.inf
    assert plan.store == tmp_path / "plan.sqlite"


def test_flags_replace_keys_and_do_without_a_file(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text('models = "digits"\ndata = "digits"\n[select]\ncount = 3', encoding="utf-8")
    assert read_plan(path, {"count": 1, "timeout": "5s"}).select.count == 1
    assert read_plan(None, {"models": ["digits"], "data": "x.npz"}).data == "x.npz"


def test_the_time_that_a_plan_may_take_does_not_make_it_another_plan(tmp_path: Path) -> None:
    short, long = (read(tmp_path, WHOLE.replace("1m30s", time)) for time in ("1s", "2h"))
    assert short.sha256 == long.sha256 == read(tmp_path, WHOLE.replace("4GB", "1GB")).sha256
    assert short.sha256 != read(tmp_path, WHOLE.replace("1e-2", "1e-4")).sha256


@pytest.mark.parametrize(
    ("line", "key", "right"),
    [
        ('colour = "red"', "colour", "no such key; there are models, data"),
        ("models = []", "models", "at least one"),
        ('models = ["a.onnx", "a.onnx"]', "models", "each may come once"),
        ("data = 3", "data", "a text"),
        ('split = "dev"', "split", "one of test, train"),
        ('norms = ["l3"]', "norms", "one of linf, l1, l2"),
        ('norms = ["l2"]\nmethod = "z3"', "norms", "goes with the method tree"),
        ('targets = "nearest"', "targets", "one of all, next, least-likely, random, untargeted or a list of classes"),
        ("targets = [1, -1]", "targets", "a list of classes"),
        ('method = "smt2"', "method", "one of tree, auto, milp"),
        ('solver = "highs"', "solver", "goes with the methods auto, milp and milp-direct"),
        ("precision = 0", "precision", "a finite number > 0"),
        ("precision = nan", "precision", "a finite number > 0"),
        ("margin = -1", "margin", "a finite number ≥ 0"),
        ("box = [0]", "box", "two numbers [lo, hi]"),
        ('timeout = "soon"', "timeout", '"45s", "90m", "1h30m"'),
        ("total_budget = true", "total_budget", "a duration > 0"),
        ("threads = 1.5", "threads", "a whole number ≥ 1"),
        ("memory = 0", "memory", 'a size is expected, such as "512MB"'),
        ("select = 3", "select", "a table is expected"),
        ("[select]\nper_class = 0", "per_class", "a whole number ≥ 1"),
        ("[select]\ncorrect = 1", "correct", "true or false"),
        ("[select]\nn = 1", "n", "no such key; there are indices"),
        ('norm = "linf"', "norm", "no such key; did you mean 'norms'? There are models"),
        ("[selekt]\nselekt = 1", "selekt", "did you mean 'select'?"),
        ("[select]\ncount = 1\nthreads = 1", "[select]: threads", "it belongs above every [heading]"),
        ("[select]\ncount = 1\nper_class = 1", "per_class and count", "exclude each other"),
        ("= 3", "TOML", "line"),
        ("precision = 1/1000 # fine", "(at line 3, column 14): precision = 1/1000", 'texts stand in quotes: "1/1000"'),
        ("timeout = 10 minutes", "timeout = 10 minutes", 'texts stand in quotes: "10 minutes"'),
        ("[select]\n[select]", "twice", "each is headed [[select]]"),
    ],
)
def test_a_wrong_line_names_file_key_and_what_is_right(tmp_path: Path, line: str, key: str, right: str) -> None:
    keys = {"models": 'models = "digits"', "data": 'data = "digits"'}
    kept = [text for name, text in keys.items() if not line.startswith(f"{name} ")]
    with pytest.raises(InputError) as raised:
        read(tmp_path, "\n".join([*kept, line]))
    told = str(raised.value)
    assert told.startswith(str(tmp_path / "plan.toml"))
    assert key in told
    assert right in told
    assert "\n" not in told


@pytest.mark.parametrize("missing", ["models", "data"])
def test_a_missing_key(tmp_path: Path, missing: str) -> None:
    keys = {"models": 'models = "digits"', "data": 'data = "digits"'}
    with pytest.raises(InputError, match=f"{missing} is missing"):
        read(tmp_path, "\n".join(text for name, text in keys.items() if name != missing))


def test_a_backend_that_is_not_installed_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match="--backend ray needs ray: pip install ray"):
        backends.Backend("ray")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["none.toml"],
        ["--model", "digits", "--data", "none.npz"],
        ["--model", "digits", "--data", "digits", "--backend", "slurm"],
        ["--model", "digits", "--data", "digits", "--backend", "dask"],
        ["--model", "digits", "--data", "digits", "--scheduler", "tcp://here:1"],
        ["--model", "digits", "--data", "digits", "--index", "100000"],
        ["--model", "digits", "--data", "digits", "--targets", "10"],
        ["--model", "digits", "--data", "digits", "--method", "milp", "--solver", "none"],
        ["--status", "none.sqlite"],
    ],
)
def test_a_wrong_command_is_one_line_and_code_2(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["campaign", *arguments]) == Exit.BAD_INPUT
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert list(tmp_path.iterdir()) == []
