"""What `minimal --property` does between the command line and the engine."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from encoders.errors import InputError
from verifier.cli import late
from verifier.cli.answer_files import AnswerFiles
from verifier.cli.complaint import complain
from verifier.cli.exit_codes import Exit
from verifier.cli.job import Request, settings_of
from verifier.cli.time_limit import CommandTime
from verifier.problem.budget import OutOfTimeError
from verifier.problem.inputs.files import read_input
from verifier.problem.properties.from_vnnlib import read_text
from verifier.problem.verdict import Bracket, Status
from verifier.report import terminal
from verifier.report.out_folder import OutFolder
from verifier.report.property_minimum_result import minimum_json, minimum_table
from verifier.runtime.model import EVERY, Model, load
from verifier.runtime.query_model import property_about
from verifier.search.property_minimum import (
    NearestQuestion,
    PropertyMinimum,
    nearest_question,
    not_begun,
    told,
)
from verifier.search.smooth_minimum import SmoothNearest


def nearest(property_: Path, request: Request, *, precision: float, all_targets: bool) -> Exit:
    """Answer `verifier minimal MODEL INPUT --property FILE`."""
    asked, how, results = request.asked, request.how, request.results
    others = [*asked.given("input", "index", "header", "norm"), *(["--all-targets"] if all_targets else [])]
    if others:
        raise InputError(f"{others[0]} does not go with --property, which says itself what is looked for, and where")
    if results.certificate is not None:
        raise InputError(
            "--certificate does not go with --property here: certificates say that one holds (check), not how far"
        )
    deadline, time = request.deadline, CommandTime(request.deadline.whole, draws=False)
    with ExitStack() as stack:
        folder = stack.enter_context(OutFolder(results.out)) if results.out is not None else None
        model = load(asked.model, time.engine, output=asked.output or EVERY)
        files, known = AnswerFiles(folder, results.json), _Known(how.method, asked.norm, precision)
        deadline.answer = lambda: _tell(known.answer(time), model, files)
        network = model.network
        given = read_input(asked.input, network.input_shape, network.input_dtype, asked.index, asked.header)
        for note in given.notes:
            complain(f"{asked.input}: {note}")
        settings = settings_of(how, time.engine)
        try:
            prop = property_about(read_text(property_), model.file_ports, time.engine.check)
            known.question = nearest_question(model, given.x, prop, time.engine, asked.norm, precision, asked.semantics)
            with terminal.progress(time.engine) as show:
                for bracket in known.question.brackets(settings):
                    known.last = bracket
                    show(bracket)
        except OutOfTimeError:
            pass
        answer = known.answer(time)
        deadline.begin_answer()
        return _tell(answer, model, files)


class _Known:
    """What is known so far: the question, once it is read, and its last bracket."""

    def __init__(self, method: str, norm: str, precision: float) -> None:
        self._method, self._norm, self._precision = method, norm, precision
        self.question: NearestQuestion | SmoothNearest | None = None
        self.last: Bracket | None = None

    def answer(self, time: CommandTime) -> PropertyMinimum:
        if self.question is None:
            return not_begun(time.whole.reason, self._norm, self._precision, time.whole)
        last = late.bracket(self.last, None, self._precision, "none", time.whole)
        return told(self.question, last, self._method)


def _tell(answer: PropertyMinimum, model: Model, files: AnswerFiles) -> Exit:
    witness = answer.witness
    place = None if witness is None else files.write_point("witness.npy", witness.point, model.network)
    files.finish(minimum_json(answer, place), lambda written: [minimum_table(answer, written)])
    return Exit.UNDECIDED if answer.status is Status.BRACKETED else Exit.GOOD
