"""The options of `minimal`, `check` and `attack`: what is asked of an input, how it is sought, where results go."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

import typer

from encoders.errors import InputError
from verifier import models
from verifier.cli.complaint import tell_gone, tell_waiting
from verifier.cli.options import (
    DEVICES,
    METHODS,
    NORMS,
    IntegerOption,
    JsonOption,
    MemoryOption,
    ModelArgument,
    OneHotOption,
    OutputOption,
    SemanticsOption,
    SolverOption,
    TimeoutOption,
)
from verifier.problem.workers import LOKY, Workers

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
    *("box", "grid", "integer", "one_hot", "units"),
    *(
        "label",
        "timeout",
        "attack",
        "method",
        "solver",
        "threads",
        "jobs",
        "backend",
        "scheduler",
        "memory",
        "device",
        "semantics",
        "seed",
    ),
    *("out", "certificate", "transforms", "json"),
)
"""The order in which `minimal`, `check` and `attack` list their options."""


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
    norm: Annotated[str, typer.Option(metavar=NORMS, help="How distances are measured; l2: by trees.")] = "linf"
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
    grid: Annotated[
        int | None,
        typer.Option(
            metavar="K",
            help="Only inputs whose entries are multiples of 1/K, such as 255 for 8-bit images.",
            show_default=False,
        ),
    ] = None
    integer: IntegerOption = None
    one_hot: OneHotOption = None
    units: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="An .npz with offset and scale: an entry x is offset + scale·x in the units of the three above.",
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

    def given(self, *besides: str) -> list[str]:
        """What is given, beside the model and what `besides` names, that a property says itself."""
        elsewhere = ("model", "output", "semantics", *besides)
        found = [
            f.name for f in fields(self) if f.name not in elsewhere and getattr(self, f.name) not in (f.default, [])
        ]
        return ["INPUT" if name == "input" else f"--{name.replace('_', '-')}" for name in found]


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


@dataclass(frozen=True)
class SearchOptions:
    """How the answer is sought."""

    timeout: TimeoutOption = None
    method: Annotated[
        str,
        typer.Option(
            metavar=METHODS,
            help="What decides: a search tree with proved bounds; the same with MILPs and Z3 that propose points; "
            "bisection over MILPs; one MILP that minimises the distance; or bisection over Z3 (exact).",
        ),
    ] = "tree"
    solver: SolverOption = None
    threads: Annotated[
        int,
        typer.Option(metavar="N", help="Trees (or a MILP solver's threads) at a time; 1: the same answer every time."),
    ] = 1
    device: Annotated[str, typer.Option(metavar=DEVICES, help="Where attacks run.")] = "auto"
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the attacks' random starts.")] = 0
    memory: MemoryOption = None
    jobs: Annotated[
        int, typer.Option(metavar="N", help="Processes that explore parts of a tree that lasts; of a cluster, parts.")
    ] = 1
    backend: Annotated[
        str | None,
        typer.Option(metavar="loky|threading|dask|ray", help="Where --jobs run; other processes here by default."),
    ] = None
    scheduler: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Of the cluster, such as tcp://host:8786.")
    ] = None

    @property
    def workers(self) -> Workers | None:
        """Where parts of trees are explored; None: here. Raises InputError."""
        if self.jobs != 1:
            return Workers(self.backend or LOKY, self.jobs, self.scheduler, tell_waiting, tell_gone)
        if self.backend is not None or self.scheduler is not None:
            raise InputError("--backend and --scheduler go with --jobs N, more than one")
        return None


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
            help="Write a proof there that `verifier certify` checks; `minimal` keeps half of --timeout for it. "
            "With --all-targets one for each target, FILE-7.cert.",
        ),
    ] = None
    json: JsonOption = False
