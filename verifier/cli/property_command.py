"""What `check --property` and `verify` do between the command line and the engine."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from onnx.numpy_helper import from_array

from encoders.errors import InputError
from verifier.cli.answer_files import AnswerFiles
from verifier.cli.exit_codes import Exit
from verifier.cli.job import method_named
from verifier.cli.question_options import CheckOptions, ResultOptions, SearchOptions
from verifier.cli.time_limit import CommandTime, Deadline
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.properties.from_vnnlib import property_of, read_text
from verifier.problem.properties.from_vnnlib2 import is_version_2, network_query, read_property
from verifier.problem.properties.network_query import NetworkQuery
from verifier.problem.properties.s_expressions import Text
from verifier.problem.streams import UnwrittenError
from verifier.problem.verdict import Holds, Semantics, Unknown, Violated
from verifier.problem.whole_file import written
from verifier.report import terminal
from verifier.report.assignment import query_arrays, query_text, query_word
from verifier.report.out_folder import OutFolder
from verifier.report.property_result import competition_text, property_json, property_table
from verifier.runtime.model import EVERY, Model, load
from verifier.runtime.query_model import query_model
from verifier.search.property_check import PropertyCheck, check_property, undecided
from verifier.search.property_question import PropertyQuestion, property_question
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
        model = load(asked.model, time.engine, output=asked.output or EVERY)
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


@dataclass(frozen=True)
class AskedQuery:
    """What `verify` is given: the query's file, [NAME=]FILE for each network, and where the answer goes as well."""

    query: Path
    networks: Sequence[str]
    results: Path | None = None
    assignments: Path | None = None


def verify(asked: AskedQuery, how: SearchOptions, deadline: Deadline) -> Exit:
    """Answer `verifier verify`: as VNN-COMP asks for VNN-LIB 1.0, as the standard's solver interface does for 2."""
    text = read_text(asked.query)
    if is_version_2(text):
        return _verify_2(asked, text, how, deadline)
    if asked.assignments is not None:
        raise InputError("--serialise-assignments is about VNN-LIB 2, whose tensors have names and shapes")
    if len(asked.networks) != 1:
        raise InputError(f"--network is given {len(asked.networks)} times; VNN-LIB 1.0 knows one network")
    time = CommandTime(deadline.whole, draws=False)
    deadline.answer = lambda: _told(_late(time.whole), asked.results, time.engine)
    named, _, file = asked.networks[0].rpartition("=")
    path = Path(asked.networks[0]) if not named or Path(asked.networks[0]).exists() else Path(file)
    model = load(path, time.engine, output=EVERY)
    try:
        question = property_question(model, property_of(text, time.engine.check), time.engine)
        answer = _sought(question, how, time.engine)
    except OutOfTimeError:
        answer = _late(time.engine)
    deadline.begin_answer()
    return _told(answer, asked.results, time.engine)


def _told(answer: PropertyCheck, results: Path | None, budget: Budget) -> Exit:
    _say(competition_text(answer, timed_out=budget.ended and not budget.cancelled), answer, results)
    return CODES[type(answer.verdict)]


def _say(text: str, answer: PropertyCheck, results: Path | None) -> None:
    sys.stdout.write(text)
    if answer.remark:
        terminal.message(answer.remark)
    if results is not None:
        _or_unwritten(lambda: written(results, lambda stream: stream.write(text.encode())))


def _or_unwritten(write: Callable[[], object]) -> None:
    """What cannot be written when the answer has been said is told by an exit code of its own."""
    try:
        write()
    except InputError as error:
        sys.stdout.flush()
        raise UnwrittenError(str(error)) from None


def _verify_2(asked: AskedQuery, text: Text, how: SearchOptions, deadline: Deadline) -> Exit:
    time = CommandTime(deadline.whole, draws=False)
    with ExitStack() as stack:
        option = "--serialise-assignments"
        folder = None if asked.assignments is None else stack.enter_context(OutFolder(asked.assignments, option))
        deadline.answer = lambda: _told_2(_late(time.whole), None, asked, folder, time.engine)
        query: NetworkQuery | None = None
        try:
            query = network_query(text, time.engine.check)
            joint = query_model(query, _files(query, asked.networks), time.engine)
            world = Semantics.REAL if query.real else Semantics.FLOAT32
            question = property_question(joint.model, joint.prop, time.engine, world, world)
            answer = _sought(question, how, time.engine)
        except OutOfTimeError:
            answer = _late(time.engine)
        deadline.begin_answer()
        return _told_2(answer, query, asked, folder, time.engine)


def _files(query: NetworkQuery, networks: Sequence[str]) -> dict[str, Path]:
    """NAME=FILE for each network; a file alone where there is but one. Raises InputError."""
    found: dict[str, Path] = {}
    for given in networks:
        name, equals, file = given.partition("=")
        if not equals and len(query.files) == 1:
            name, file = query.files[0], given
        if not name or not file:
            raise InputError(f"--network takes NAME=FILE.onnx, not '{given}'; networks: {', '.join(query.files)}")
        if name in found:
            raise InputError(f"--network gives '{name}' twice")
        found[name] = Path(file)
    return found


def _told_2(
    answer: PropertyCheck, query: NetworkQuery | None, asked: AskedQuery, folder: OutFolder | None, budget: Budget
) -> Exit:
    """The word, then the assignment: printed, or one TensorProto a tensor in the folder that was asked for."""
    said = query_word(answer, timed_out=budget.ended and not budget.cancelled) + "\n"
    if query is not None and folder is None:
        said += query_text(answer, query)
    _say(said, answer, asked.results)
    if query is not None and folder is not None:
        for name, array in query_arrays(answer, query):
            content = from_array(array, name).SerializeToString()
            _or_unwritten(lambda: folder.write(f"{name}.pb", lambda stream: stream.write(content)))  # noqa: B023
    return CODES[type(answer.verdict)]


def _sought(question: PropertyQuestion, how: SearchOptions, budget: Budget) -> PropertyCheck:
    settings = Settings(budget, method_named(how), how.solver, how.threads, how.device, how.seed, once=True)
    with terminal.progress(budget, "looking for a counterexample, or a proof that there is none"):
        return check_property(question, settings)


def _answered(property_: Path, model: Model, how: SearchOptions, budget: Budget, semantics: str) -> PropertyCheck:
    try:
        question = property_question(model, read_property(property_, budget.check), budget, semantics)
    except OutOfTimeError:
        return _late(budget)
    return _sought(question, how, budget)


def _late(budget: Budget) -> PropertyCheck:
    """What is known when the time is up while the engine is at work: nothing."""
    return undecided(budget.reason, budget.spent)
