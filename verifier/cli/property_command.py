"""What `check --property` and `verify` do between the command line and the engine."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

import numpy as np

from encoders.errors import InputError
from verifier.cli.exit_codes import Exit
from verifier.cli.job import method_named
from verifier.cli.options import CheckOptions, ResultOptions, SearchOptions
from verifier.cli.time_limit import CommandTime, Deadline
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.properties.from_vnnlib import read_vnnlib
from verifier.problem.streams import UnwrittenError
from verifier.problem.verdict import Counterexample, Holds, Unknown, Violated
from verifier.problem.whole_file import written
from verifier.report import json_result, terminal
from verifier.report.out_folder import OutFolder
from verifier.report.property_result import competition_text, property_json, property_table
from verifier.runtime.model import Model, load
from verifier.search.property_check import PropertyCheck, check_property
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
        told = _Told(model, folder, results.json)
        deadline.answer = lambda: told.tell(_late(time.whole))
        answer = _answered(property_, model, how, time.engine, asked.semantics)
        deadline.begin_answer()
        return told.tell(answer)


class _Told:
    """Writes what --out asks for, and says the answer."""

    def __init__(self, model: Model, folder: OutFolder | None, as_json: bool) -> None:
        self._model, self._folder, self._json = model, folder, as_json
        self._files: list[Path] = []
        self._unwritten = ""

    def tell(self, answer: PropertyCheck) -> Exit:
        found = property_json(answer, self._witness(answer.witness))
        text = json_result.dumps(found)
        self._write("result.json", lambda stream: stream.write(text.encode()))
        if self._folder is not None:
            self._folder.remove_stale()
        if self._json:
            sys.stdout.write(text)
        else:
            terminal.stdout().print(property_table(answer, self._files))
        if self._unwritten:
            sys.stdout.flush()
            raise UnwrittenError(self._unwritten)
        return CODES[type(answer.verdict)]

    def _witness(self, witness: Counterexample | None) -> Path | None:
        if witness is None:
            return None
        shaped = witness.point.reshape(self._model.network.input_shape)
        return self._write("witness.npy", lambda stream: np.save(stream, shaped, allow_pickle=False))

    def _write(self, name: str, save: Callable[[BinaryIO], object]) -> Path | None:
        """The file that is written, None where none is asked for or that fails: the answer is said all the same."""
        if self._folder is None:
            return None
        try:
            self._files.append(self._folder.write(name, save))
        except InputError as error:
            self._unwritten = self._unwritten or str(error)
            return None
        return self._files[-1]


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
    return PropertyCheck(Unknown(budget.reason), None, budget.reason, None, budget.spent)
