"""What `check --property` and `verify` do between the command line and the engine."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from encoders.errors import InputError
from verifier.cli.answer_files import AnswerFiles
from verifier.cli.exit_codes import Exit
from verifier.cli.job import method_named
from verifier.cli.question_options import CheckOptions, ResultOptions, SearchOptions
from verifier.cli.time_limit import CommandTime, Deadline
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.properties.from_vnnlib import read_vnnlib
from verifier.problem.streams import UnwrittenError
from verifier.problem.verdict import Holds, Unknown, Violated
from verifier.problem.whole_file import written
from verifier.report import terminal
from verifier.report.out_folder import OutFolder
from verifier.report.property_result import competition_text, property_json, property_table
from verifier.runtime.model import Model, load
from verifier.search.property_check import PropertyCheck, check_property, undecided
from verifier.search.property_question import property_question
from verifier.search.settings import Settings

CODES = {Holds: Exit.GOOD, Violated: Exit.VIOLATED, Unknown: Exit.UNDECIDED}


def check(
    property_: Path,
    asked: CheckOptions,
    how: SearchOptions,
    results: ResultOptions,
    deadline: Deadline,
    given: Sequence[str],
) -> Exit:
    """Answer `verifier check MODEL --property FILE`; `given`: other parts of a question, which do not go with it."""
    if given:
        raise InputError(f"{given[0]} does not go with --property, which names its inputs and what is asked of them")
    if results.certificate is not None:
        raise InputError("--certificate does not go with --property: certificates do not cover properties yet")
    time = CommandTime(deadline.whole, draws=False)
    with ExitStack() as stack:
        folder = stack.enter_context(OutFolder(results.out)) if results.out is not None else None
        model = load(asked.model, time.engine, output=asked.output)
        files = AnswerFiles(folder, results.json)
        deadline.answer = lambda: _tell(_late(time.whole), model, files)
        answer = _answered(property_, model, how, time.engine, asked.semantics)
        deadline.begin_answer()
        return _tell(answer, model, files)


def _tell(answer: PropertyCheck, model: Model, files: AnswerFiles) -> Exit:
    witness = answer.witness
    place = None if witness is None else files.write_point("witness.npy", witness.point, model.network)
    files.finish(property_json(answer, place), lambda written: [property_table(answer, written)])
    return CODES[type(answer.verdict)]


def verify(query: Path, network: str, results: Path | None, how: SearchOptions, deadline: Deadline) -> Exit:
    """Answer `verifier verify`; a name before the network's file says nothing in VNN-LIB 1.0."""
    time = CommandTime(deadline.whole, draws=False)
    deadline.answer = lambda: _told(_late(time.whole), results, time.engine)
    named, _, file = network.rpartition("=")
    path = Path(network) if not named or Path(network).exists() else Path(file)
    answer = _answered(query, load(path, time.engine), how, time.engine, "both")
    deadline.begin_answer()
    return _told(answer, results, time.engine)


def _told(answer: PropertyCheck, results: Path | None, budget: Budget) -> Exit:
    text = competition_text(answer, timed_out=budget.ended and not budget.cancelled)
    sys.stdout.write(text)
    if answer.remark:
        terminal.message(answer.remark)
    if results is not None:
        try:
            written(results, lambda stream: stream.write(text.encode()))
        except InputError as error:
            sys.stdout.flush()
            raise UnwrittenError(str(error)) from None
    return CODES[type(answer.verdict)]


def _answered(property_: Path, model: Model, how: SearchOptions, budget: Budget, semantics: str) -> PropertyCheck:
    settings = Settings(budget, method_named(how), how.solver, how.threads, how.device, how.seed, once=True)
    try:
        prop = read_vnnlib(property_, budget.check)
    except OutOfTimeError:
        return _late(budget)
    asked = property_question(model, prop, budget, semantics)
    with terminal.progress(budget, "looking for a counterexample, or a proof that there is none"):
        return check_property(asked, settings)


def _late(budget: Budget) -> PropertyCheck:
    """What is known when the time is up while the engine is at work: nothing."""
    return undecided(budget.reason, budget.spent)
