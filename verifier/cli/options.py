"""The options that the commands share, and the one that needs a word before it is parsed: --box."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from verifier import models
from verifier.problem.quantities import Quantity, at_least, at_most, seconds

Model = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL",
        parser=models.model_file,
        help="An ONNX file, a feed-forward ReLU classifier, or the name of a shipped net, such as digits.",
    ),
]
Input = Annotated[
    Path,
    typer.Argument(
        metavar="INPUT",
        parser=models.input_file,
        help="The input to perturb: .npy, .npz (array x, optional labels y), .csv, or .png/.jpg (scaled by 1/255); "
        "digits: inputs of the shipped net of that name.",
    ),
]
Output = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Which of the model's outputs holds the scores of the classes; needed where it is not clear.",
        show_default=False,
    ),
]
Index = Annotated[int | None, typer.Option(metavar="I", help="Which input of a file with several, from 0.")]
Header = Annotated[
    str, typer.Option(metavar="auto|yes|no", help="Is the first line of a .csv a header? auto: if it looks like one.")
]
Norm = Annotated[str, typer.Option(metavar="linf|l1", help="How distances are measured.")]
Box = Annotated[
    str,
    typer.Option(
        metavar="LO HI",
        help="The range of valid inputs: two numbers (-inf inf for none), or one .npz with arrays lo and hi.",
        show_default="0 1",
    ),
]
Label = Annotated[
    int | None,
    typer.Option(
        metavar="L",
        help="The true class; by default y of an .npz, else the model's own prediction.",
        show_default=False,
    ),
]
Target = Annotated[
    int | None,
    typer.Option(metavar="T", help="The class to reach; by default any but the label.", show_default=False),
]
Radius = Annotated[
    Quantity,
    typer.Option(
        metavar="R",
        parser=lambda given: at_least(given, "--radius"),
        help="The distance within which to look, such as 0.03 or 8/255 (rounded up to a float64).",
    ),
]
Precision = Annotated[
    Quantity,
    typer.Option(
        metavar="P",
        parser=lambda given: at_most(given, "--precision"),
        help="Width at which a bracket is closed, such as 1e-3 or 1/1000 (rounded down to a float64).",
        show_default="0.001",
    ),
]
PRECISION = Quantity("0.001", 1e-3)
Margin = Annotated[
    float, typer.Option(metavar="K", help="How far the target's logit must be above every other (0: ties count).")
]
Timeout = Annotated[
    float | None,
    typer.Option(
        metavar="S",
        parser=lambda given: seconds(given, "--timeout"),
        help="For the whole command: seconds, or 90s, 5m, 1h; what is known then is printed, exit code 3.",
    ),
]
Method = Annotated[
    str,
    typer.Option(
        metavar="tree|milp|milp-direct|z3",
        help="What decides: a search tree with proved bounds; bisection over MILPs; one MILP that minimises the "
        "distance; or bisection over Z3 (exact).",
    ),
]
Solver = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="For milp: highs, cbc, or another that `verifier doctor` lists."),
]
Threads = Annotated[
    int, typer.Option(metavar="N", help="Trees (or a MILP solver's threads) at a time; 1: the same answer every time.")
]
Semantics = Annotated[
    str,
    typer.Option(
        metavar="both|real|float32",
        help="What lower ends are about: the network over the reals, every float32 evaluation of it, or both.",
    ),
]
Device = Annotated[str, typer.Option(metavar="auto|cpu|cuda", help="Where attacks run.")]
Seed = Annotated[int, typer.Option(metavar="N", help="Seed of the attacks' random starts.")]
Out = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Write witness.npy, result.json and picture.png there.", show_default=False),
]
Certificate = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Write a proof there that `verifier certify` checks; half of --timeout is kept for it. With --all-targets "
        "one for each target, FILE-7.cert.",
    ),
]
Transforms = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Transformations of the input (TOML): the example is to be adversarial under all.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else there.")]


Models = Annotated[
    list[str] | None, typer.Option("--model", metavar="MODEL", help="An ONNX file or a shipped net; may be repeated.")
]
Data = Annotated[
    str | None,
    typer.Option(metavar="DATA", help="An .npz, a folder of images or of idx files, or digits (scikit-learn's)."),
]
Split = Annotated[str | None, typer.Option(metavar="test|train", help="Of idx files.")]
Indices = Annotated[list[int] | None, typer.Option("--index", metavar="I", help="An input; may be repeated.")]
PerClass = Annotated[int | None, typer.Option(metavar="N", help="So many inputs of each class, drawn by --seed.")]
Count = Annotated[int | None, typer.Option(metavar="N", help="So many inputs in all, drawn by --seed.")]
Correct = Annotated[bool | None, typer.Option("--correct", help="Only inputs that all models classify correctly.")]
PlanSeed = Annotated[int | None, typer.Option("--seed", metavar="N", help="Of selection, random targets, attacks.")]
Norms = Annotated[list[str] | None, typer.Option("--norm", metavar="linf|l1", help="May be repeated.")]
Targets = Annotated[
    str | None, typer.Option(metavar="all|next|least-likely|random|untargeted|T,T…", help="Which targets of an input.")
]
PlanMargin = Annotated[float | None, typer.Option("--margin", metavar="K", help="By how much the target has to win.")]
PlanPrecision = Annotated[
    str | None, typer.Option("--precision", metavar="P", help="Width of a closed bracket: 1e-3 or 1/1000.")
]
PlanBox = Annotated[
    str | None, typer.Option("--box", metavar="LO HI", help="The range of inputs, or an .npz (lo, hi).")
]
PlanMethod = Annotated[str | None, typer.Option("--method", metavar="tree|milp|milp-direct|z3", help="What decides.")]
PlanThreads = Annotated[int | None, typer.Option("--threads", metavar="N", help="Threads of each task.")]
PlanDevice = Annotated[str | None, typer.Option("--device", metavar="auto|cpu|cuda", help="Where attacks run.")]
Attacks = Annotated[
    str | None,
    typer.Option(metavar="NAME,NAME…", help="Attacks to measure against every minimum, such as fgsm,pgd,cw."),
]
PlanTransforms = Annotated[
    str | None,
    typer.Option("--transforms", metavar="FILE", help="Examples are to be adversarial under all transformations."),
]
PlanOutput = Annotated[
    str | None,
    typer.Option("--output", metavar="NAME", help="Which output holds the scores, of models that have several."),
]
PlanTimeout = Annotated[
    str | None, typer.Option("--timeout", metavar="S", help="For an instance: seconds, or 90s, 5m; none by default.")
]
TotalBudget = Annotated[
    str | None, typer.Option(metavar="S", help="For the run: a short time for all first, then where it helps most.")
]
StoreFile = Annotated[str | None, typer.Option("--store", metavar="FILE", help="The store; the plan's name, .sqlite.")]
GATE_FILE = Path("robustness.toml")
"""The file that `verifier gate` reads where none is named."""

Jobs = Annotated[int | None, typer.Option(metavar="N", help="Tasks at a time on this machine; its cores by default.")]
BackendName = Annotated[str, typer.Option("--backend", metavar="local|dask|ray", help="Where tasks run.")]
Scheduler = Annotated[str | None, typer.Option(metavar="ADDRESS", help="Of the cluster, such as tcp://host:8786.")]
Certificates = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Write a checked certificate there for each closed bracket."),
]
StoreArgument = Annotated[Path, typer.Argument(metavar="STORE", help="The store of a campaign.")]
Title = Annotated[str | None, typer.Option(metavar="TEXT", help="The page's title; by default the store's name.")]
Baseline = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="The model that the others are compared with, as the report calls it; the first."
    ),
]
StatusOf = Annotated[Path | None, typer.Option("--status", metavar="STORE", help="Print how far a store has come.")]


def plan_flags(given: Mapping[str, Any]) -> dict[str, Any]:
    """The flags of `campaign` as a plan's keys: lists of classes in --targets and of names in --attacks are split.

    >>> plan_flags({"targets": "1,2", "count": 3})
    {'targets': [1, 2], 'count': 3}
    """
    flags = dict(given)
    if "attacks" in flags:
        flags["attacks"] = [name.strip() for name in flags["attacks"].split(",")]
    parts = str(flags.get("targets", "")).split(",")
    if all(part.isdecimal() for part in parts):
        flags["targets"] = [int(part) for part in parts]
    return flags


def join_box(arguments: Sequence[str]) -> list[str]:
    """The arguments with `--box LO HI` joined to `--box=LO,HI`; `--box FILE.npz` stays one value.

    So both forms parse, and so does -inf, which begins like an option.

    >>> join_box(["minimal", "--box", "-inf", "inf", "--box", "b.npz"])
    ['minimal', '--box=-inf,inf', '--box=b.npz']
    """
    joined: list[str] = []
    rest = list(arguments)
    while rest:
        token = rest.pop(0)
        if token == "--":
            return [*joined, token, *rest]
        if token == "--box" and rest:
            token = f"--box={rest.pop(0)}"
        if token.startswith("--box=") and _is_number(token.removeprefix("--box=")) and rest and _is_number(rest[0]):
            token = f"{token},{rest.pop(0)}"
        joined.append(token)
    return joined


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
