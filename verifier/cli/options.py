"""The options of the commands, each declared once, and the one that needs a word before it is parsed: --box."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import typer

from encoders.errors import InputError
from verifier import models
from verifier.problem.quantities import Quantity, at_least, at_most, seconds

NORMS, DEVICES, METHODS = "linf|l1", "auto|cpu|cuda", "tree|milp|milp-direct|z3"
"""How --help lists them."""

IN_HELP = (
    *(
        "model",
        "input",
        "radius",
        "property_",
        "output",
        "index",
        "header",
        "target",
        "all_targets",
        "precision",
        "margin",
        "norm",
    ),
    *("box", "label", "timeout", "attack", "method", "solver", "threads", "device", "semantics", "seed"),
    *("out", "certificate", "transforms", "json"),
)
"""The order in which `minimal`, `check` and `attack` list their options."""

ModelArgument = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL",
        parser=models.model_file,
        help="An ONNX file, a feed-forward ReLU classifier, or the name of a shipped net, such as digits.",
    ),
]
OutputOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Which of the model's outputs holds the scores of the classes; needed where it is not clear.",
        show_default=False,
    ),
]
SolverOption = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="For milp: highs, cbc, or another that `verifier doctor` lists."),
]
RadiusOption = Annotated[
    Quantity | None,
    typer.Option(
        metavar="R",
        parser=lambda given: at_least(given, "--radius"),
        help="The distance within which to look, such as 0.03 or 8/255 (rounded up to a float64).",
    ),
]
PropertyOption = Annotated[
    Path | None,
    typer.Option(
        "--property",
        metavar="FILE",
        help="A VNN-LIB 1.0 file (.vnnlib, .vnnlib.gz) in place of INPUT and --radius: what no input may satisfy.",
        show_default=False,
    ),
]
PrecisionOption = Annotated[
    Quantity,
    typer.Option(
        metavar="P",
        parser=lambda given: at_most(given, "--precision"),
        help="Width at which a bracket is closed, such as 1e-3 or 1/1000 (rounded down to a float64).",
        show_default="0.001",
    ),
]
PRECISION = Quantity("0.001", 1e-3)
OptionalPrecision = Annotated[
    Quantity | None,
    typer.Option(
        metavar="P",
        parser=lambda given: at_most(given, "--precision"),
        help="How near proved ends are to come to attained values; by default linear bounds are enough.",
        show_default=False,
    ),
]
SemanticsOption = Annotated[
    str,
    typer.Option(
        metavar="both|real|float32",
        help="What is proved about: the network over the reals, every float32 evaluation of it, or both.",
    ),
]

GATE_FILE = Path("robustness.toml")
"""The file that `verifier gate` reads where none is named."""

TimeoutOption = Annotated[
    float | None,
    typer.Option(
        metavar="S",
        parser=lambda given: seconds(given, "--timeout"),
        help="For the whole command: seconds, or 90s, 5m, 1h; what is known then is printed, exit code 3.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else there.")]
JobsOption = Annotated[
    int | None, typer.Option(metavar="N", help="Tasks at a time on this machine; its cores by default.")
]
StoreArgument = Annotated[Path, typer.Argument(metavar="STORE", help="The store of a campaign.")]
TitleOption = Annotated[str | None, typer.Option(metavar="TEXT", help="The page's title; by default the store's name.")]
BaselineOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="The model that the others are compared with, as the report calls it; the first."
    ),
]


@dataclass(frozen=True, kw_only=True)
class GoalOptions:
    """What is asked of an input of a model: a norm, a goal."""

    model: ModelArgument
    output: OutputOption = None
    index: Annotated[int | None, typer.Option(metavar="I", help="Which input of a file with several, from 0.")] = None
    header: Annotated[
        str,
        typer.Option(metavar="auto|yes|no", help="Is the first line of a .csv a header? auto: if it looks like one."),
    ] = "auto"
    target: Annotated[
        int | None,
        typer.Option(metavar="T", help="The class to reach; by default any but the label.", show_default=False),
    ] = None
    margin: Annotated[
        float, typer.Option(metavar="K", help="How far the target's logit must be above every other (0: ties count).")
    ] = 0.0
    norm: Annotated[str, typer.Option(metavar=NORMS, help="How distances are measured.")] = "linf"
    box: Annotated[
        str,
        typer.Option(
            metavar="LO HI",
            help="The range of valid inputs: two numbers (-inf inf for none), or one .npz with arrays lo and hi.",
            show_default="0 1",
        ),
    ] = "0,1"
    label: Annotated[
        int | None,
        typer.Option(
            metavar="L",
            help="The true class; by default y of an .npz, else the model's own prediction.",
            show_default=False,
        ),
    ] = None
    semantics: SemanticsOption = "both"
    transforms: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Transformations of the input (TOML): the example is to be adversarial under all.",
        ),
    ] = None


INPUT = typer.Argument(
    metavar="INPUT",
    parser=models.input_file,
    help="The input to perturb: .npy, .npz (array x, optional labels y), .csv, or .png/.jpg (scaled by 1/255); "
    "digits: inputs of the shipped net of that name.",
)


@dataclass(frozen=True, kw_only=True)
class QuestionOptions(GoalOptions):
    """What is asked of an input."""

    input: Annotated[Path, INPUT]


@dataclass(frozen=True, kw_only=True)
class CheckOptions(GoalOptions):
    """The same where a property may stand in place of an input."""

    input: Annotated[Path | None, INPUT] = None

    def about_input(self) -> QuestionOptions:
        """Raises InputError where there is none."""
        if self.input is None:
            raise InputError("check takes an INPUT and --radius, or --property")
        return QuestionOptions(**{**vars(self), "input": self.input})

    def given(self) -> list[str]:
        """What is given, beside the model, that a property says itself."""
        elsewhere = ("model", "output", "semantics")
        found = [f.name for f in fields(self) if f.name not in elsewhere and getattr(self, f.name) != f.default]
        return ["INPUT" if name == "input" else f"--{name}" for name in found]


@dataclass(frozen=True)
class SearchOptions:
    """How the answer is sought."""

    timeout: TimeoutOption = None
    method: Annotated[
        str,
        typer.Option(
            metavar=METHODS,
            help="What decides: a search tree with proved bounds; bisection over MILPs; one MILP that minimises the "
            "distance; or bisection over Z3 (exact).",
        ),
    ] = "tree"
    solver: SolverOption = None
    threads: Annotated[
        int,
        typer.Option(metavar="N", help="Trees (or a MILP solver's threads) at a time; 1: the same answer every time."),
    ] = 1
    device: Annotated[str, typer.Option(metavar=DEVICES, help="Where attacks run.")] = "auto"
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the attacks' random starts.")] = 0


@dataclass(frozen=True)
class ResultOptions:
    """Where the results go."""

    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write witness.npy, result.json and picture.png there.", show_default=False),
    ] = None
    certificate: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write a proof there that `verifier certify` checks; half of --timeout is kept for it. With "
            "--all-targets one for each target, FILE-7.cert.",
        ),
    ] = None
    json: JsonOption = False


@dataclass(frozen=True)
class PlanOptions:
    """A plan's keys, as `verifier campaign` takes them from the command line."""

    models: Annotated[
        list[str] | None,
        typer.Option("--model", metavar="MODEL", help="An ONNX file or a shipped net; may be repeated."),
    ] = None
    data: Annotated[
        str | None,
        typer.Option(metavar="DATA", help="An .npz, a folder of images or of idx files, or digits (scikit-learn's)."),
    ] = None
    split: Annotated[str | None, typer.Option(metavar="test|train", help="Of idx files.")] = None
    indices: Annotated[list[int] | None, typer.Option("--index", metavar="I", help="An input; may be repeated.")] = None
    per_class: Annotated[
        int | None, typer.Option(metavar="N", help="So many inputs of each class, drawn by --seed.")
    ] = None
    count: Annotated[int | None, typer.Option(metavar="N", help="So many inputs in all, drawn by --seed.")] = None
    correct: Annotated[
        bool | None, typer.Option("--correct", help="Only inputs that all models classify correctly.")
    ] = None
    seed: Annotated[int | None, typer.Option(metavar="N", help="Of selection, random targets, attacks.")] = None
    norms: Annotated[list[str] | None, typer.Option("--norm", metavar=NORMS, help="May be repeated.")] = None
    targets: Annotated[
        str | None,
        typer.Option(metavar="all|next|least-likely|random|untargeted|T,T…", help="Which targets of an input."),
    ] = None
    margin: Annotated[float | None, typer.Option(metavar="K", help="By how much the target has to win.")] = None
    precision: Annotated[str | None, typer.Option(metavar="P", help="Width of a closed bracket: 1e-3 or 1/1000.")] = (
        None
    )
    box: Annotated[str | None, typer.Option(metavar="LO HI", help="The range of inputs, or an .npz (lo, hi).")] = None
    method: Annotated[str | None, typer.Option(metavar=METHODS, help="What decides.")] = None
    solver: SolverOption = None
    threads: Annotated[int | None, typer.Option(metavar="N", help="Threads of each task.")] = None
    device: Annotated[str | None, typer.Option(metavar=DEVICES, help="Where attacks run.")] = None
    attacks: Annotated[
        str | None,
        typer.Option(metavar="NAME,NAME…", help="Such as fgsm,pgd,cw: measured too; by a gate, tried first."),
    ] = None
    points: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="What other tools have found (.npz): judged and measured; by a gate, first."),
    ] = None
    transforms: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Examples are to be adversarial under all transformations."),
    ] = None
    output: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Which output holds the scores, of models that have several."),
    ] = None
    timeout: Annotated[
        str | None, typer.Option(metavar="S", help="For an instance: seconds, or 90s, 5m; none by default.")
    ] = None
    total_budget: Annotated[
        str | None,
        typer.Option(metavar="S", help="For the run: a short time for all first, then where it helps most."),
    ] = None
    store: Annotated[str | None, typer.Option(metavar="FILE", help="The store; the plan's name, .sqlite.")] = None

    def flags(self) -> dict[str, Any]:
        """Those that are given; lists of classes in --targets and of names in --attacks are split.

        >>> PlanOptions(targets="1,2", count=3).flags()
        {'count': 3, 'targets': [1, 2]}
        """
        flags = {name: value for name, value in vars(self).items() if value not in (None, [])}
        if self.attacks is not None:
            flags["attacks"] = [name.strip() for name in self.attacks.split(",")]
        parts = (self.targets or "").split(",")
        if all(part.isdecimal() for part in parts):
            flags["targets"] = [int(part) for part in parts]
        return flags


@dataclass(frozen=True)
class GateOptions:
    """Where a gate's verdicts go, besides the terminal, and what becomes of undecided ones."""

    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the verdicts as JUnit XML.")] = None
    markdown: Annotated[Path | None, typer.Option(metavar="FILE", help="Write them for a reviewer.")] = None
    sarif: Annotated[Path | None, typer.Option(metavar="FILE", help="Write them as SARIF 2.1.")] = None
    witnesses: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Draw the witnesses of what fails, and write their arrays.")
    ] = None
    evidence: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Ask every input, and write what a stranger can re-prove there.")
    ] = None
    github: Annotated[bool, typer.Option("--github", help="Annotations and a step summary for GitHub.")] = False
    undecided: Annotated[str, typer.Option(metavar="fail|warn", help="What undecided requirements do.")] = "fail"
    update_baseline: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Close the brackets and write them, instead of judging.")
    ] = None
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Ask everything anew, and keep nothing.")] = False
    certificates: Annotated[
        bool | None, typer.Option(help="Certify what is proved (default: as the file says, yes).")
    ] = None
    json: JsonOption = False

    @property
    def files(self) -> dict[str, Path]:
        """The files of the verdicts, by option."""
        named = {"--junit": self.junit, "--markdown": self.markdown, "--sarif": self.sarif}
        return {name: path for name, path in named.items() if path is not None}


@dataclass(frozen=True)
class BackendOptions:
    """Where a campaign's tasks run."""

    jobs: JobsOption = None
    backend: Annotated[str, typer.Option(metavar="local|dask|ray", help="Where tasks run.")] = "local"
    scheduler: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Of the cluster, such as tcp://host:8786.")
    ] = None


def needed(value: Quantity | None, name: str) -> Quantity:
    """The value of an option that may be missing only where another one is given. Raises InputError."""
    if value is None:
        raise InputError(f"missing option {name}")
    return value


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
