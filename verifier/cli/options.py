"""Options that several commands take, each declared once, and the one that needs a word before it is parsed: --box."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from encoders.errors import InputError
from verifier import models
from verifier.problem.quantities import Quantity, at_least, at_most, memory_size, seconds

NORMS, DEVICES, METHODS = "linf|l1|l2", "auto|cpu|cuda", "tree|auto|milp|milp-direct|z3"
"""How --help lists them."""

ModelArgument = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL",
        parser=models.model_file,
        help="An ONNX file with a feed-forward ReLU network, or the name of a shipped net, such as digits.",
    ),
]
OutputOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Which of several outputs is asked about, such as the scores of classes; needed where it is not clear.",
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
        help="A VNN-LIB file (.vnnlib, .vnnlib.gz), which says what no input may satisfy: in place of classes and "
        "--box; of check's INPUT and --radius too.",
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
IntegerOption = Annotated[
    str | None,
    typer.Option(metavar="COLUMNS", help="Only whole numbers in these entries, such as 3,7-9.", show_default=False),
]
OneHotOption = Annotated[
    list[str] | None,
    typer.Option(metavar="COLUMNS", help="Exactly one of these entries is 1, the others are 0; may be repeated."),
]
SemanticsOption = Annotated[
    str,
    typer.Option(
        metavar="both|real|float32",
        help="What is proved about: the network over the reals, every float32 evaluation of it, or both.",
    ),
]

TimeoutOption = Annotated[
    float | None,
    typer.Option(
        metavar="S",
        parser=lambda given: seconds(given, "--timeout"),
        help="For the whole command: seconds, or 90s, 5m, 1h; what is known then is printed, exit code 3.",
    ),
]
MemoryOption = Annotated[
    float | None,
    typer.Option(
        metavar="SIZE",
        parser=lambda given: memory_size(given, "--memory"),
        help="For the whole command, such as 4GB; half of what is free by default. What is known then is printed.",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else there.")]


def needed(value: Quantity | None, name: str) -> Quantity:
    """The value of an option that may be missing only where another one is given. Raises InputError."""
    if value is None:
        raise InputError(f"missing option {name}, or --property FILE in place of it and INPUT")
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
