"""The options of many questions: of campaigns, gates and what is made of their stores."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from verifier.cli.options import DEVICES, METHODS, NORMS, IntegerOption, JsonOption, OneHotOption, SolverOption

GATE_FILE = Path("robustness.toml")
"""The file that `verifier gate` reads where none is named."""

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
    grid: Annotated[
        int | None, typer.Option(metavar="K", help="Only inputs whose entries are multiples of 1/K, such as 255.")
    ] = None
    integer: IntegerOption = None
    one_hot: OneHotOption = None
    units: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Offset and scale (.npz) of the units of the three above."),
    ] = None
    method: Annotated[str | None, typer.Option(metavar=METHODS, help="What decides.")] = None
    solver: SolverOption = None
    threads: Annotated[int | None, typer.Option(metavar="N", help="Threads of each task.")] = None
    memory: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="For all tasks of this machine, such as 4GB; half of what is free."),
    ] = None
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
    store: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Where answers are kept; by default PLAN.sqlite beside the plan, of a gate in .verifier there.",
        ),
    ] = None

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
