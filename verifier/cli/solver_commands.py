"""The commands of the VNN-LIB standard's solver interface: `verify` and `supports`. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from verifier.cli import options, question_options
from verifier.cli.command_deadline import command_deadline, without_collection
from verifier.cli.signature import with_options


@dataclass(frozen=True, kw_only=True)
class CapabilityOptions:
    """The capabilities that the standard asks for, one at a time (VNN-LIB 2.0, section 5.4)."""

    onnx_opset_versions: Annotated[
        bool, typer.Option("--onnx-opset-versions", help="The least and the greatest version of ONNX's op set.")
    ] = False
    onnx_element_types: Annotated[
        bool, typer.Option("--onnx-element-types", help="The element types about which something is proved.")
    ] = False
    onnx_operators: Annotated[bool, typer.Option("--onnx-operators", help="The operators of networks.")] = False
    vnnlib_versions: Annotated[
        bool, typer.Option("--vnnlib-versions", help="The least and the greatest version of VNN-LIB.")
    ] = False
    hidden_node_theories: Annotated[bool, typer.Option("--hidden-node-theories", help="Are hidden nodes read (H)?")] = (
        False
    )
    multiple_input_output_theories: Annotated[
        bool, typer.Option("--multiple-input-output-theories", help="Several inputs and outputs (MIO)?")
    ] = False
    multiple_network_theories: Annotated[
        bool, typer.Option("--multiple-network-theories", help="Several networks (MNET)?")
    ] = False
    multiple_node_comparison_theories: Annotated[
        bool, typer.Option("--multiple-node-comparison-theories", help="Comparisons of several nodes (MNC)?")
    ] = False
    arithmetic_complexity_theories: Annotated[
        bool,
        typer.Option("--arithmetic-complexity-theories", help="How far arithmetic goes: bounds, comparisons, linear."),
    ] = False
    optimised_disjunctive_reasoning: Annotated[
        bool, typer.Option("--optimised-disjunctive-reasoning", help="Is a disjunction more than its disjunctive form?")
    ] = False
    serialise_assignments: Annotated[
        bool, typer.Option("--serialise-assignments", help="Can assignments be written as files?")
    ] = False


@dataclass(frozen=True, kw_only=True)
class QueryFiles:
    """Where an answer to a query goes, beside stdout."""

    results: Annotated[Path | None, typer.Option(metavar="FILE", help="Write what is printed there as well.")] = None
    serialise_assignments: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write the assignment there, a TensorProto a tensor: NAME.pb.")
    ] = None
    certificate: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a proof of unsat there, which `verifier certify` checks.")
    ] = None


@dataclass(frozen=True)
class QueryOptions:
    """How the answer to a query is sought."""

    timeout: options.TimeoutOption = None
    threads: Annotated[int, typer.Option(metavar="N", help="Threads of a tree.")] = 1
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of random points.")] = 0
    memory: options.MemoryOption = None


@with_options(order=("query", "network", "timeout"))
def verify(
    context: typer.Context,
    query: Annotated[Path, typer.Argument(metavar="QUERY.vnnlib", help="A VNN-LIB file, 1.0 or 2; perhaps .gz.")],
    network: Annotated[
        list[str],
        typer.Option(metavar="NAME=FILE.onnx", help="A network's file; repeated for each. Of 1.0 the name is any."),
    ],
    files: QueryFiles,
    how: QueryOptions,
) -> None:
    """Answer a VNN-LIB query: sat and the assignment, unsat, unknown or timed-out. Exit code 1: sat, 0: unsat.

    For VNN-LIB 1.0 as VNN-COMP asks (timeout), for 2 as the standard's solver interface does.
    """
    with command_deadline(context, how.timeout, late_word(query), how.memory) as deadline:
        with without_collection(context):
            from verifier.cli import property_command  # noqa: PLC0415, see the module's docstring

        sought = question_options.SearchOptions(**vars(how))
        asked = property_command.AskedQuery(query, network, **vars(files))
        code = property_command.verify(asked, sought, deadline)
    raise typer.Exit(code)


BEGINNING = 1 << 16
"""Bytes of a file in which VNN-LIB 2 says its version, behind comments."""


def late_word(query: Path) -> str:
    """What `verify` prints where the time was too short to read the query: the standard's word, or VNN-COMP's."""
    try:
        with query.open("rb") as stream:
            begins = stream.read(BEGINNING)
    except OSError:
        begins = b""
    return "timed-out" if b"vnnlib-version" in begins else "timeout"


@with_options()
def supports(asked: CapabilityOptions) -> None:
    """What queries `verify` answers, as the standard's solver interface asks: one capability at a time."""
    from verifier.cli import supports_command  # noqa: PLC0415, see the module's docstring

    typer.echo(supports_command.told([name for name, wanted in vars(asked).items() if wanted]), nl=False)
