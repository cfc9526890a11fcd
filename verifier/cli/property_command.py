"""What `check --property` and `verify` do between the command line and the engine."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from onnx.numpy_helper import from_array

from encoders.errors import InputError
from verifier.cli.answer_files import AnswerFiles
from verifier.cli.complaint import complain
from verifier.cli.exit_codes import Exit
from verifier.cli.job import made, missing, settings_of
from verifier.cli.question_options import CheckOptions, ResultOptions, SearchOptions
from verifier.cli.time_limit import CommandTime, Deadline
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.properties.formula import Property
from verifier.problem.properties.from_vnnlib import read_text
from verifier.problem.properties.from_vnnlib2 import is_version_2, network_query
from verifier.problem.properties.network_query import NetworkQuery
from verifier.problem.properties.s_expressions import Text
from verifier.problem.properties.to_vnnlib import to_vnnlib
from verifier.problem.streams import UnwrittenError
from verifier.problem.verdict import Evidence, Holds, Semantics, Unknown, Violated
from verifier.problem.whole_file import writable, written
from verifier.report import terminal
from verifier.report.assignment import query_arrays, query_text, query_word
from verifier.report.json_result import CertificateRecord
from verifier.report.out_folder import OutFolder
from verifier.report.property_result import competition_text, property_json, property_table
from verifier.runtime.model import EVERY, Model, load
from verifier.runtime.query_model import property_about, query_model
from verifier.search.property_check import PropertyCheck, check_property, undecided
from verifier.search.property_question import PropertyQuestion, property_question

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
    if how.workers is not None:
        given = [*given, "--jobs"]
    if given:
        raise InputError(f"{given[0]} does not go with --property, which names its inputs and what is asked of them")
    time = CommandTime(deadline.whole, draws=False)
    with ExitStack() as stack:
        folder = stack.enter_context(OutFolder(results.out)) if results.out is not None else None
        model = load(asked.model, time.engine, output=asked.output or EVERY)
        files = AnswerFiles(folder, results.json)
        proof = PropertyProofFile(results.certificate, files)
        known = _late(time.whole)

        def late() -> Exit:
            record = proof.without(known, time.whole.reason)
            return _tell(replace(known, seconds=time.whole.spent), model, files, record)

        deadline.answer = late
        text = read_text(property_)
        answer = known = _answered(text, model, how, time.engine, asked.semantics)
        record = proof.made(answer, model, text, asked.semantics, time.engine)
        if made(record):
            answer = replace(answer, verdict=Holds(Evidence.CERTIFIED), evidence=Evidence.CERTIFIED)
        deadline.begin_answer()
        return _tell(answer, model, files, record)


def _tell(answer: PropertyCheck, model: Model, files: AnswerFiles, record: CertificateRecord | None) -> Exit:
    witness = answer.witness
    place = None if witness is None else files.write_point("witness.npy", witness.point, model.network)
    files.finish(property_json(answer, place, record), lambda written: [property_table(answer, written, record)])
    return _code(answer, files, record)


class PropertyProofFile:
    """Where the certificate will be, if one is wanted; found unwritable before the work. Raises InputError."""

    def __init__(self, path: Path | None, files: AnswerFiles) -> None:
        self._file, self.files, self.wanted = None, files, path is not None
        if path is not None:
            from verifier.certificates.file import CertificateFile  # noqa: PLC0415, most questions want none

            self._file = CertificateFile(path)

    def made(
        self, answer: PropertyCheck, model: Model, text: Text | Property, semantics: str, budget: Budget
    ) -> CertificateRecord | None:
        """Build, check and write it, where the property holds; None where none is wanted. text: of a query of several
        tensors the property itself, in the order of its file.

        What holds in float32 only is not certified over the reals alone; what holds in both may be.
        """
        if self._file is None:
            return None
        if not isinstance(answer.verdict, Holds):
            violated = isinstance(answer.verdict, Violated)
            return self.without(answer, COUNTEREXAMPLE if violated else "the question is undecided")
        from verifier.certificates.property_builder import certifiable, property_certified  # noqa: PLC0415
        from verifier.certificates.split_tree import NotCertifiedError  # noqa: PLC0415

        worlds = (True,) if semantics == Semantics.FLOAT32 else (True, False) if answer.float32 else (False,)
        try:
            with budget.within_memory():
                content = to_vnnlib(text).encode() if isinstance(text, Property) else certifiable(text, model, budget)
                found = property_certified(model, content, budget, worlds=worlds)
        except (NotCertifiedError, OutOfTimeError) as error:
            return self.without(answer, str(error))
        file = self._file
        if self.files.saved(lambda: file.write(found.content)) is None:
            return CertificateRecord(None, self.files.failures[-1])
        if found.note:
            complain(f"the certificate is over the reals only: {found.note}")
        float32 = math.inf if found.result.float32 else 0.0
        return CertificateRecord(file.path, found.note, len(found.content), found.leaves, found.result.digest, float32)

    def without(self, answer: PropertyCheck, why: str) -> CertificateRecord | None:
        """There is none, for this reason: an old one beside a new answer would mislead; None where none is wanted."""
        if self._file is None:
            return None
        self._file.remove()
        if not isinstance(answer.verdict, Violated):
            complain(f"no certificate was written: {why}")
        return CertificateRecord(None, why)


COUNTEREXAMPLE = "a counterexample is its own proof"
"""Why there is no certificate beside one."""


@dataclass(frozen=True)
class AskedQuery:
    """What `verify` is given: the query's file, [NAME=]FILE for each network, where the answer goes as well, where an
    assignment and a certificate go."""

    query: Path
    networks: Sequence[str]
    results: Path | None = None
    serialise_assignments: Path | None = None
    certificate: Path | None = None


def verify(asked: AskedQuery, how: SearchOptions, deadline: Deadline) -> Exit:
    """Answer `verifier verify`: as VNN-COMP asks for VNN-LIB 1.0, as the standard's solver interface does for 2."""
    text = read_text(asked.query)
    if asked.results is not None:
        writable(asked.results, "--results")
    proof = PropertyProofFile(asked.certificate, AnswerFiles(None, as_json=False))
    if is_version_2(text):
        return _verify_2(asked, text, how, deadline, proof)
    if asked.serialise_assignments is not None:
        raise InputError("--serialise-assignments is about VNN-LIB 2, whose tensors have names and shapes")
    if len(asked.networks) != 1:
        raise InputError(f"--network is given {len(asked.networks)} times; VNN-LIB 1.0 knows one network")
    time = CommandTime(deadline.whole, draws=False)
    answer = _late(time.whole)

    def told(record: CertificateRecord | None) -> Exit:
        _say(competition_text(answer, timed_out=time.engine.timed_out), answer, asked.results)
        return _code(answer, proof.files, record)

    deadline.answer = lambda: told(proof.without(answer, time.whole.reason))
    _, file = _named(asked.networks[0])
    model = load(Path(file), time.engine, output=EVERY)
    answer = _answered(text, model, how, time.engine)
    record = proof.made(answer, model, text, Semantics.BOTH, time.engine)
    deadline.begin_answer()
    return told(record)


def _say(text: str, answer: PropertyCheck, results: Path | None) -> None:
    """Standard output has the answer alone; why there is none, and what remains to be said, goes to the terminal."""
    sys.stdout.write(text)
    if isinstance(answer.verdict, Unknown) and answer.verdict.reason:
        terminal.message(answer.verdict.reason)
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


def _verify_2(asked: AskedQuery, text: Text, how: SearchOptions, deadline: Deadline, proof: PropertyProofFile) -> Exit:
    time = CommandTime(deadline.whole, draws=False)
    with ExitStack() as stack:
        option = "--serialise-assignments"
        folder = (
            None
            if asked.serialise_assignments is None
            else stack.enter_context(OutFolder(asked.serialise_assignments, option))
        )
        answer, query = _late(time.whole), None

        def told(record: CertificateRecord | None) -> Exit:
            _tell_2(answer, query, asked, folder, time.engine)
            return _code(answer, proof.files, record)

        deadline.answer = lambda: told(proof.without(answer, time.whole.reason))
        record: CertificateRecord | None = None
        try:
            query = network_query(text, time.engine.check)
            files = _files(query, asked.networks)
            joint = query_model(query, files, time.engine, file_order=proof.wanted)
            query = joint.query
            world = Semantics.REAL if query.real else Semantics.FLOAT32
            question = property_question(joint.model, joint.prop, time.engine, world, world)
            answer = _sought(question, how, time.engine)
            about = joint.prop if query.one_file else text
            record = proof.made(answer, joint.model, about, world, time.engine)
        except OutOfTimeError:
            answer = _late(time.engine)
            record = proof.without(answer, time.engine.reason)
        deadline.begin_answer()
        return told(record)


def _named(given: str) -> tuple[str | None, str]:
    """NAME=FILE in two, at the first sign, since paths have some too; None and what was given where that is a file."""
    name, equals, file = given.partition("=")
    return (None, given) if not equals or Path(given).exists() else (name, file)


def _files(query: NetworkQuery, networks: Sequence[str]) -> dict[str, Path]:
    """NAME=FILE for each network; a file alone where there is but one. Raises InputError."""
    found: dict[str, Path] = {}
    for given in networks:
        name, file = _named(given)
        if name is None and len(query.files) == 1:
            name = query.files[0]
        if not name or not file:
            raise InputError(f"--network takes NAME=FILE.onnx, not '{given}'; networks: {', '.join(query.files)}")
        if name in found:
            raise InputError(f"--network gives '{name}' twice")
        found[name] = Path(file)
    return found


def _tell_2(
    answer: PropertyCheck, query: NetworkQuery | None, asked: AskedQuery, folder: OutFolder | None, budget: Budget
) -> None:
    """The word, then the assignment: printed, or one TensorProto a tensor in the folder that was asked for."""
    said = query_word(answer, timed_out=budget.timed_out) + "\n"
    if query is not None and folder is None:
        said += query_text(answer, query)
    _say(said, answer, asked.results)
    if query is not None and folder is not None:
        for name, array in query_arrays(answer, query):
            content = from_array(array, name).SerializeToString()
            _or_unwritten(lambda: folder.write(f"{name}.pb", lambda stream: stream.write(content)))  # noqa: B023


def _code(answer: PropertyCheck, files: AnswerFiles, record: CertificateRecord | None) -> Exit:
    """Raises UnwrittenError where the certificate could not be written."""
    if files.failures:
        sys.stdout.flush()
        raise UnwrittenError(files.failures[0])
    code = CODES[type(answer.verdict)]
    return Exit.UNDECIDED if code is Exit.GOOD and missing(record) else code


def _sought(question: PropertyQuestion, how: SearchOptions, budget: Budget) -> PropertyCheck:
    with terminal.progress(budget, "looking for a counterexample, or a proof that there is none"):
        return check_property(question, settings_of(how, budget))


def _answered(
    text: Text, model: Model, how: SearchOptions, budget: Budget, semantics: str = Semantics.BOTH
) -> PropertyCheck:
    try:
        question = property_question(model, property_about(text, model.file_ports, budget.check), budget, semantics)
    except OutOfTimeError:
        return _late(budget)
    return _sought(question, how, budget)


def _late(budget: Budget) -> PropertyCheck:
    """What is known when the time is up while the engine is at work: nothing."""
    return undecided(budget.reason, budget.spent)
