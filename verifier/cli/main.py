"""The command `verifier`: parses the command line and turns whatever happens into one answer or one line.

Nothing heavy is imported before a command runs, so that `verifier --help` is quick and `--timeout` starts at the start
of the process.
"""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from encoders.errors import InputError
from verifier import __version__
from verifier.cli import campaign_options, options, proof_commands, question_options, solver_commands
from verifier.cli.command_deadline import (
    NO_BRACKET,
    NO_RANGES,
    NO_VERDICT,
    command_deadline,
    no_verdicts,
    run_deadline,
    without_collection,
)
from verifier.cli.complaint import complain, tell_waiting
from verifier.cli.exit_codes import Exit
from verifier.cli.signature import with_options
from verifier.problem import streams, workers

USAGE_ERROR = cast(type[Exception], typer.BadParameter.__mro__[1])
"""UsageError: of click, or of the copy of click that newer versions of typer carry."""

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Provably minimal adversarial examples for ReLU networks in ONNX.",
    epilog="Exit codes: 0 answered, 1 check, verify: violated, certify: invalid, gate: a requirement fails, "
    "2 bad input, 3 undecided within the budget, or no certificate.",
)


def _version(wanted: bool) -> None:
    if wanted:
        from verifier.report.versions import version_line  # noqa: PLC0415, see the module's docstring

        typer.echo(version_line(__version__))
        raise typer.Exit


def _name(wanted: bool) -> None:
    if wanted:
        typer.echo("relu-verifier")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def top(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the versions.")
    ] = False,
    name: Annotated[bool, typer.Option("--name", callback=_name, is_eager=True, help="Print the name.")] = False,
) -> None:
    if context.invoked_subcommand is None and not (version or name):
        typer.echo(context.get_help())


@app.command()
@with_options(order=question_options.IN_HELP)
def minimal(
    context: typer.Context,
    asked: question_options.QuestionOptions,
    how: question_options.SearchOptions,
    results: question_options.ResultOptions,
    all_targets: Annotated[bool, typer.Option("--all-targets", help="Every target.")] = False,
    precision: options.PrecisionOption = options.PRECISION,
    property_: options.PropertyOption = None,
) -> None:
    """Find the nearest adversarial example, or point that breaks a property, and prove that none is nearer."""
    if all_targets and asked.target is not None:
        raise InputError("--target and --all-targets exclude each other")
    with command_deadline(context, how.timeout, NO_BRACKET if results.json else None, how.memory) as deadline:
        with without_collection(context):
            from verifier.cli import commands, job, nearest_command  # noqa: PLC0415, see the module's docstring

        request = job.Request(asked, how, results, deadline)
        if property_ is not None:
            code = nearest_command.nearest(property_, request, precision=precision.value, all_targets=all_targets)
        else:
            code = commands.minimal(request, precision=precision.value, all_targets=all_targets)
    raise typer.Exit(code)


@app.command()
@with_options(order=question_options.IN_HELP)
def check(
    context: typer.Context,
    asked: question_options.CheckOptions,
    how: question_options.SearchOptions,
    results: question_options.ResultOptions,
    radius: options.RadiusOption = None,
    property_: options.PropertyOption = None,
) -> None:
    """Is the input robust within a radius, or a property kept? Exit code 0: yes, 1: no, 3: undecided."""
    with command_deadline(context, how.timeout, NO_VERDICT if results.json else None, how.memory) as deadline:
        with without_collection(context):
            from verifier.cli import commands, job, property_command  # noqa: PLC0415, see the module's docstring

        if property_ is not None:
            given = [*asked.given(), *(["--radius"] if radius is not None else [])]
            code = property_command.check(property_, asked, how, results, deadline, given)
        else:
            request = job.Request(asked.about_input(), how, results, deadline)
            code = commands.check(request, radius=options.needed(radius, "--radius"))
    raise typer.Exit(code)


app.command()(solver_commands.verify)
app.command()(solver_commands.supports)


@app.command()
def bounds(
    context: typer.Context,
    model: options.ModelArgument,
    box: Annotated[
        str, typer.Option(metavar="LO HI", help="Where inputs lie: two numbers, or one .npz with arrays lo and hi.")
    ],
    entry: Annotated[
        list[int] | None, typer.Option(metavar="J", help="Which entry of the output; may be repeated; all by default.")
    ] = None,
    precision: options.OptionalPrecision = None,
    output: options.OutputOption = None,
    timeout: options.TimeoutOption = None,
    memory: options.MemoryOption = None,
    semantics: options.SemanticsOption = "both",
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of random points.")] = 0,
    json: options.JsonOption = False,
) -> None:
    """Between what values does each output lie over a box? Exit code 0: answered, 3: wider than --precision."""
    with command_deadline(context, timeout, NO_RANGES if json else None, memory) as deadline:
        with without_collection(context):
            from verifier.cli import bounds_command  # noqa: PLC0415, see the module's docstring

        asked = bounds_command.AskedRanges(model, box, entry, precision, output, semantics, seed)
        code = bounds_command.bounds(asked, deadline, as_json=json)
    raise typer.Exit(code)


WITHOUT_PROOF = ("method", "solver", "threads", "jobs", "backend", "scheduler", "semantics", "certificate")
"""What an attack does not ask."""


@app.command()
@with_options(order=question_options.IN_HELP, without=WITHOUT_PROOF)
def attack(
    context: typer.Context,
    asked: question_options.QuestionOptions,
    how: question_options.SearchOptions,
    results: question_options.ResultOptions,
    attack: Annotated[str, typer.Option(metavar="NAME", help="Which; a wrong name lists them.")] = "cw",
) -> None:
    """Look for an adversarial example by attack alone: the upper end, without a proof. Exit code 0: found, 3: not."""
    with command_deadline(context, how.timeout, NO_BRACKET if results.json else None, how.memory) as deadline:
        with without_collection(context):
            from verifier.cli import commands, job  # noqa: PLC0415, see the module's docstring

        code = commands.attack(job.Request(asked, how, results, deadline), name=attack)
    raise typer.Exit(code)


app.command()(proof_commands.certify)


@app.command()
@with_options()
def campaign(
    context: typer.Context,
    keys: campaign_options.PlanOptions,
    where: campaign_options.BackendOptions,
    plan: Annotated[Path | None, typer.Argument(metavar="PLAN.toml", help="The plan; flags replace its keys.")] = None,
    certificates: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write a checked certificate there for each closed bracket."),
    ] = None,
    status: Annotated[Path | None, typer.Option(metavar="STORE", help="Print how far a store has come.")] = None,
) -> None:
    """Ask many questions, and go on where the last run stopped. Exit code 0: all closed, 3: some are open."""
    with run_deadline(context, keys.total_budget if status is None else None) as deadline:
        from verifier.campaign.backends import Backend  # noqa: PLC0415
        from verifier.cli import campaign_command  # noqa: PLC0415, see the module's docstring

        if status is not None:
            raise typer.Exit(campaign_command.status(status))
        chosen = Backend(where.backend, where.scheduler, where.jobs, tell_waiting)
        code = campaign_command.campaign(plan, keys.flags(), chosen, deadline, certificates)
    raise typer.Exit(code)


@app.command()
@with_options()
def gate(
    context: typer.Context,
    outputs: campaign_options.GateOptions,
    keys: campaign_options.PlanOptions,
    plan: Annotated[
        Path, typer.Argument(metavar="FILE.toml", help="A plan and its requirements; flags replace the plan's keys.")
    ] = campaign_options.GATE_FILE,
    jobs: campaign_options.JobsOption = None,
) -> None:
    """Do the models keep what a file requires? Exit code 0: all of it is proved, 1: not, 3: undecided."""
    with run_deadline(context, keys.total_budget, no_verdicts(plan) if outputs.json else None) as deadline:
        from verifier.campaign.backends import Backend  # noqa: PLC0415
        from verifier.cli import gate_command  # noqa: PLC0415, see the module's docstring

        code = gate_command.gate(plan, keys.flags(), Backend(jobs=jobs), outputs, deadline)
    raise typer.Exit(code)


@app.command()
def report(
    store: campaign_options.StoreArgument,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where to write the report.")],
    title: campaign_options.TitleOption = None,
    baseline: campaign_options.BaselineOption = None,
    model_card: Annotated[
        bool, typer.Option("--model-card", help="Write model-card.md and its pictures too, for Hugging Face.")
    ] = False,
) -> None:
    """A campaign's store as a page, report.html, and the same numbers as JSON, CSV and LaTeX."""
    from verifier.cli import report_commands  # noqa: PLC0415, see the module's docstring

    raise typer.Exit(report_commands.report(store, out, title, baseline, model_card=model_card))


@app.command()
def evidence(
    context: typer.Context,
    store: campaign_options.StoreArgument,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where to write the pack.")],
    title: campaign_options.TitleOption = None,
    timeout: options.TimeoutOption = None,
    jobs: campaign_options.JobsOption = None,
) -> None:
    """A store's answers as a folder that a stranger can re-prove. Exit code 0: all lower ends certified, 3: not."""
    with command_deadline(context, timeout) as deadline:
        from verifier.campaign.backends import Backend  # noqa: PLC0415
        from verifier.cli import evidence_command  # noqa: PLC0415, see the module's docstring

        code = evidence_command.evidence(store, out, title, Backend(jobs=jobs).slots, deadline)
    raise typer.Exit(code)


@app.command()
def watch(
    store: campaign_options.StoreArgument,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Where to listen; 0.0.0.0 lets others see it.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="N", help="On which port; 0: any that is free.")] = 8765,
    title: campaign_options.TitleOption = None,
) -> None:
    """A campaign's report in a browser while it runs; Ctrl-C ends it. Nothing can be changed from there."""
    from verifier.cli import report_commands  # noqa: PLC0415, see the module's docstring

    raise typer.Exit(report_commands.watch(store, host, port, title))


@app.command()
def inspect(
    model: options.ModelArgument, output: options.OutputOption = None, json: options.JsonOption = False
) -> None:
    """What a model is, and what of it cannot be read. Exit code 0: it can be verified, 2: not."""
    from verifier.cli import inspect_command  # noqa: PLC0415, see the module's docstring

    raise typer.Exit(inspect_command.run(model, output=output, as_json=json))


@app.command()
def doctor(
    json: options.JsonOption = False,
    bug_report: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write it as Markdown for a report of a defect: no folders, no names."),
    ] = None,
) -> None:
    """Versions, processors, ONNX Runtime providers and solvers of this machine."""
    from verifier.cli import doctor as diagnosis  # noqa: PLC0415, see the module's docstring

    diagnosis.run(as_json=json, bug_report=bug_report)


@app.command()
def demo(
    context: typer.Context,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where to write the picture.")] = Path("verifier-demo"),
) -> None:
    """A minimal adversarial example on a model that comes with the package."""
    with command_deadline(context, None) as deadline:
        from verifier.cli import demo as showcase  # noqa: PLC0415, see the module's docstring

        code = showcase.run(out, deadline)
    raise typer.Exit(code)


@app.command()
def completion(shell: Annotated[str, typer.Argument(metavar="bash|zsh|fish", help="For which shell.")]) -> None:
    """Print what lets a shell complete this command: eval "$(verifier completion bash)"."""
    from verifier.attacks.registry import ATTACKS  # noqa: PLC0415, see the module's docstring
    from verifier.cli import completion as scripts  # noqa: PLC0415

    if shell not in scripts.SHELLS:
        raise InputError(f"no completion for {shell!r}; there are {', '.join(scripts.SHELLS)}")
    words = {"--attack": tuple(ATTACKS), "--solver": ("highs", "cbc")}
    typer.echo(scripts.SHELLS[shell](scripts.commands(_command(), words)), nl=False)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. `arguments` default to the command line's.

    Whatever the user can cause ends in one line on stderr and code 2, a defect in one line and code 70.
    """
    debug = streams.debugging()
    if not (debug or sys.warnoptions):
        warnings.simplefilter("ignore")
        if arguments is None:
            os.environ["PYTHONWARNINGS"] = "ignore"  # what libraries start is as quiet
    own = arguments is None
    if own:
        streams.keep_stdout_for_answers()
    try:
        given = options.join_box(sys.argv[1:] if arguments is None else arguments)
        return _run(given, own=own)
    except (InputError, USAGE_ERROR) as error:
        message = error.format_message() if hasattr(error, "format_message") else str(error)
        complain(f"error: {message}")
        return Exit.BAD_INPUT
    except (KeyboardInterrupt, typer.Abort):
        complain("interrupted")
        return Exit.INTERRUPTED
    except (BrokenPipeError, SystemExit):
        # typer turns a broken pipe into SystemExit(1), and 1 means "violated". Python flushes stdout again at exit.
        streams.forget_stdout()
        return Exit.BROKEN_PIPE
    except streams.UnwrittenError as error:
        complain(f"error: {error}")
        return Exit.UNWRITTEN
    except Exception as error:  # noqa: BLE001, the last line of defence: one line for the user, a traceback on request
        if debug:
            traceback.print_exc()
        how = f"verifier doctor --bug-report FILE; set {streams.DEBUG}=1 for a traceback"
        complain(f"internal error: {type(error).__name__}: {error}; please report it ({how})")
        return Exit.DEFECT


@cache
def _command() -> Any:
    """Built once: that takes 30 ms."""
    return typer.main.get_command(app)


def _run(given: Sequence[str], *, own: bool) -> int:
    code = int(_command()(given, prog_name="verifier", obj=own, standalone_mode=False) or 0)
    if sys.stdout is not None:
        sys.stdout.flush()  # that the reader has gone away is noticed here, or not before the interpreter's end
    if own:
        if sys.stderr is not None:
            sys.stderr.flush()
        workers.end()
        os._exit(code)  # all is said: the interpreter's own end may take long, and loses a Ctrl-C
    return code
