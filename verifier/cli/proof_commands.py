"""The command `verifier certify`: its options. Imports nothing heavy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from verifier.cli import options
from verifier.cli.command_deadline import NO_CLAIM, command_deadline, without_collection


def certify(
    context: typer.Context,
    certificate: Annotated[Path, typer.Argument(metavar="FILE", help="A certificate.")],
    model: options.ModelArgument,
    input_: Annotated[str | None, typer.Option("--input", metavar="X.npy", help="Refuse another input.")] = None,
    box: Annotated[str | None, typer.Option(metavar="LO HI", help="Refuse another box (or an .npz: lo, hi).")] = None,
    norm: Annotated[str | None, typer.Option(metavar=options.NORMS, help="Refuse another norm.")] = None,
    label: Annotated[int | None, typer.Option(metavar="L", help="Refuse another label.")] = None,
    target: Annotated[
        str | None, typer.Option(metavar="T|any", help="Refuse another target; any: every class but the label.")
    ] = None,
    margin: Annotated[str | None, typer.Option(metavar="K", help="Refuse another margin.")] = None,
    radius: Annotated[
        str | None, typer.Option(metavar="R", help="Refuse what proves less than this radius (0.01, 8/255).")
    ] = None,
    float32: Annotated[
        str | None, typer.Option(metavar="R", help="Refuse what proves less than this radius for float32 evaluations.")
    ] = None,
    grid: Annotated[
        str | None, typer.Option(metavar="K", help="Refuse an input that is no k/K; count radii in steps of 1/K.")
    ] = None,
    property_: Annotated[
        str | None, typer.Option("--property", metavar="FILE", help="Refuse another property (VNN-LIB, 1.0 or 2).")
    ] = None,
    proof: Annotated[
        list[Path] | None,
        typer.Option(metavar="PROOF.aptp", help="Make the certificate from this proof tree first; may be repeated."),
    ] = None,
    aptp: Annotated[Path | None, typer.Option(metavar="FILE", help="Write its trees there as APTP.")] = None,
    timeout: options.TimeoutOption = None,
    json: options.JsonOption = False,
) -> None:
    """Check a certificate against a model, as `python checker.py` does alone. Exit code 0: valid, 1: not.

    What is proved is printed whole; the options demand parts of it. With --proof the certificate is made first, from a
    proof tree (APTP) of another verifier; exit code 3: some leaf of it stays open.
    """
    with command_deadline(context, timeout, NO_CLAIM if json else None) as deadline:
        with without_collection(context):
            from verifier.cli import certify_command  # noqa: PLC0415, heavy

        given = {"input": input_, "box": box, "norm": norm, "label": label}
        given |= {"target": target, "margin": margin, "radius": radius, "float32": float32, "grid": grid}
        given |= {"property": property_}
        trees = certify_command.Trees(proof or (), aptp)
        code = certify_command.check(certificate, model, given, json, trees, deadline.whole)
    raise typer.Exit(code)
