"""A request as the command line puts it, and the job that comes of it: its files read, its time divided."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from encoders.errors import InputError
from verifier.cli.answer_files import AnswerFiles
from verifier.cli.complaint import complain
from verifier.cli.exit_codes import Exit
from verifier.cli.question_options import GoalOptions, QuestionOptions, ResultOptions, SearchOptions
from verifier.cli.time_limit import CommandTime, Deadline, draw_within
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.inputs.box import inside, read_box
from verifier.problem.inputs.columns import Columns, columns_asked, columns_of_text
from verifier.problem.inputs.files import read_input
from verifier.problem.inputs.image_layout import image_layout
from verifier.problem.inputs.lattice import Lattice
from verifier.problem.verdict import Bracket, Witness
from verifier.report import pictures, terminal
from verifier.report.changed_entries import Given
from verifier.report.json_result import CertificateRecord, Json, RunRecord, TransformsRecord
from verifier.report.out_folder import OutFolder
from verifier.runtime import transformed
from verifier.runtime.model import SMOOTH, Model, load
from verifier.runtime.transformed import load_transforms
from verifier.search.methods import METHODS
from verifier.search.question import DEFAULT_PRECISION, InputRegion, Misclassification, Specification, specify
from verifier.search.settings import Settings

if TYPE_CHECKING:
    from verifier.certificates.file import CertificateFile

METHOD_ALIASES = {"smt": "z3"}


@dataclass(frozen=True)
class Request:
    """What the command line asks, how, and where the results go, until the deadline."""

    asked: QuestionOptions
    how: SearchOptions
    results: ResultOptions
    deadline: Deadline


@dataclass(frozen=True)
class CertifiedEnds:
    """Lower ends to be certified: over the reals, and for float32 evaluations.

    everywhere: what is proved of all inputs, where these are about some. closed: of what is at these distances too.
    """

    lower: float
    float32: float
    everywhere: float = math.inf
    closed: bool = False

    @staticmethod
    def of(bracket: Bracket) -> CertifiedEnds:
        """Those of a bracket."""
        everywhere = math.inf if bracket.lattice is None else bracket.lattice.everywhere
        return CertifiedEnds(bracket.lower, bracket.float32 or 0.0, everywhere)

    def on(self, lattice: Lattice | None) -> tuple[float, float]:
        """Both ends as nothing nearer is adversarial: what is at a closed one is nearer than the next level."""
        if lattice is None or not self.closed or not self.lower:
            return self.lower, self.float32
        within = lattice.ball_around(self.lower)
        return within, within if self.float32 else 0.0


@dataclass
class Job:
    """A request whose model and input have been read: ready for the engine, and for writing what it says."""

    request: Request
    model: Model
    x: npt.NDArray[Any]
    index: int
    label: int
    predicted: int
    box: tuple[npt.NDArray[Any], npt.NDArray[Any]]
    time: CommandTime
    files: AnswerFiles
    certificate: CertificateFile | None = None
    transforms: TransformsRecord | None = None
    notes: tuple[str, ...] = ()
    columns: Columns | None = None
    names: Sequence[str] = ()
    """Of the input's entries, where its file has a header."""
    late: bool = False
    """Is the time up? Then what is known is written, and nothing is made any more."""

    def if_late(self, answer: Callable[[], Exit]) -> None:
        """What to write when the time is up before `begin_answer`."""

        def told() -> Exit:
            self.late = True
            return answer()

        self.request.deadline.answer = told

    def begin_answer(self) -> None:
        """To be called before anything is written."""
        if not self.late:
            self.request.deadline.begin_answer()

    def specification(self, precision: float = DEFAULT_PRECISION, *, each: bool = False) -> Specification:
        """What is asked, checked. each: about every target on its own."""
        return self._specified(self.request.asked.target, self.time.engine, precision, each)

    def _specified(
        self, target: int | None, budget: Budget, precision: float = DEFAULT_PRECISION, each: bool = False
    ) -> Specification:
        asked = self.request.asked
        region = InputRegion(self.x, asked.norm, self.box, self.columns)
        goal = Misclassification(target, self.label, asked.margin, each)
        transforms = None if self.transforms is None else self.transforms.given
        return specify(self.model, region, goal, budget, transforms, asked.semantics, precision)

    def settings(self) -> Settings:
        """How the answer is sought, checked."""
        return settings_of(self.request.how, self.time.engine)

    def run(self, command: str, **more: Any) -> RunRecord:
        """What was asked, for the result."""
        asked, how = self.request.asked, self.request.how
        method = None if command == "attack" else method_named(how)
        return RunRecord(
            command=command,
            model=asked.model,
            model_sha256=self.model.network.sha256,
            input=asked.input,
            index=self.index,
            norm=asked.norm,
            label=self.label,
            target=asked.target,
            margin=asked.margin,
            threshold=self.model.network.threshold if self.model.network.binary else None,
            method=method,
            solver=None if method is None else how.solver or _own_solver(method),
            transforms=self.transforms,
            columns=self.columns,
            notes=self.notes,
            given=Given(self.x, self.names),
            **more,
        )

    def scene(self, *points: npt.NDArray[Any]) -> pictures.Scene:
        """What the pictures show."""
        flat = np.asarray(self.x).reshape(-1)
        span = pictures.span_of(*self.box, flat, *points)
        return pictures.Scene(flat, image_layout(self.model.network.input_shape), span)

    def write_witness(self, witness: Witness | None, name: str = "witness.npy") -> Path | None:
        """Write a witness in the model's shape and dtype; its path, None without --out or without a witness."""
        return None if witness is None else self.files.write_point(name, witness.point, self.model.network)

    def certify(self, ends: CertifiedEnds, witness: Witness | None) -> CertificateRecord | None:
        """Build, check and write the certificate that was asked for; None when none was."""
        if self.certificate is None:
            return None
        return self._certified(self.certificate, ends, witness, self.request.asked.target, self.time.proof)

    def certify_each(self, results: Sequence[Bracket]) -> dict[int | None, CertificateRecord]:
        """A certificate for each target's bracket, in a file of its own, where they were asked for."""
        records: dict[int | None, CertificateRecord] = {}
        if self.certificate is not None:
            for place, bracket in enumerate(results):
                share = self.time.proof.share(len(results) - place)
                file = self.certificate.of_target(bracket.target)
                found = self._certified(file, CertifiedEnds.of(bracket), bracket.witness, bracket.target, share)
                records[bracket.target] = found
        return records

    def _certified(
        self,
        file: CertificateFile,
        ends: CertifiedEnds,
        witness: Witness | None,
        target: int | None,
        budget: Budget,
    ) -> CertificateRecord:
        if self.late:
            return self._no_certificate(file, target, self.time.whole.reason)
        from verifier.certificates.builder import OF_SOME_INPUTS, certified, covers  # noqa: PLC0415, as there
        from verifier.certificates.split_tree import NotCertifiedError  # noqa: PLC0415

        point = witness.point if witness is not None else None
        try:
            with budget.within_memory():
                asked = self._specified(target, budget)
                wanted = ends.on(asked.lattice)
                lower, float32 = (min(end, ends.everywhere) for end in wanted)
                made = certified(asked, lower, point, budget, float32)
        except (NotCertifiedError, OutOfTimeError) as error:
            some = "" if self.columns is None else f"{OF_SOME_INPUTS}, and of this one: "
            return self._no_certificate(file, target, f"{some}{error}")
        if self.files.saved(lambda: file.write(made.content)) is None:
            return CertificateRecord(None, self.files.failures[-1])
        if made.note:
            complain(f"the certificate{_about(target, self.request.asked.target)} is over the reals only: {made.note}")
        proved = made.result
        note, short = made.note, not covers(asked, proved, proved.lower, wanted[0])
        if short:
            note = f"it proves less than is known: {OF_SOME_INPUTS}, and from none that holds no more follows"
            complain(f"the certificate{_about(target, self.request.asked.target)}: {note}")
        shown = ends.float32 if covers(asked, proved, proved.float32, wanted[1]) else proved.float32
        return CertificateRecord(file.path, note, len(made.content), made.leaves, proved.digest, shown, short)

    def _no_certificate(self, file: CertificateFile, target: int | None, why: str) -> CertificateRecord:
        file.remove()
        complain(f"no certificate was written{_about(target, self.request.asked.target)}: {why}")
        return CertificateRecord(None, why)

    def write_picture(self, draw: Callable[[], bytes]) -> Path | None:
        """Draw and write the picture; None without --out, or when the time limit does not leave the time."""
        if self.files.folder is None:
            return None
        image = None if self.late else draw_within(draw, self.time.picture)
        if image is None:
            terminal.message("no time was left for the picture")
            return None
        return self.files.write("picture.png", lambda stream: stream.write(image))

    def finish(self, result: Json, tables: Callable[[Sequence[Path]], Sequence[Any]]) -> None:
        """As `AnswerFiles.finish`."""
        self.files.finish(result, tables)


def _about(target: int | None, asked: int | None) -> str:
    """Which target is spoken of, where there are several."""
    return "" if target == asked else f" for target {target}"


def method_named(how: SearchOptions) -> str:
    """The method that the command line names, by one of its names."""
    return METHOD_ALIASES.get(how.method, how.method)


def settings_of(how: SearchOptions, budget: Budget) -> Settings:
    """How an answer is sought, checked."""
    method, workers = method_named(how), how.workers
    return Settings(budget, method, how.solver, how.threads, how.device, how.seed, once=True, workers=workers)


def _own_solver(method: str) -> str | None:
    """What the method uses when --solver is absent, for the record; the tree has none."""
    row = METHODS.get(method)
    return row.solver or None if row is not None else None


def columns_of(asked: GoalOptions) -> Columns | None:
    """Which inputs can occur; None: all of the box. Raises InputError."""
    numbers = () if asked.integer is None else columns_of_text(asked.integer, "--integer")
    groups = tuple(columns_of_text(group, "--one-hot") for group in asked.one_hot or ())
    return columns_asked(asked.grid, numbers, groups, asked.units)


@contextmanager
def prepared(request: Request, *, decides: bool = False) -> Iterator[Job]:
    """Read the model and the input, and make sure that the results can be written, before any work.

    decides: nothing is certified of an open question, so that its search has all the time; else the certificate's half
    is kept.
    """
    asked, results = request.asked, request.results
    proves, columns = results.certificate is not None, columns_of(asked)
    if proves:
        from verifier.certificates.builder import not_covered  # noqa: PLC0415
        from verifier.certificates.file import CertificateFile  # noqa: PLC0415, most questions want none

        if why := not_covered(asked.norm, asked.transforms is not None, columns):
            option = "--transforms" if asked.transforms is not None else f"--norm {asked.norm}"
            if columns is not None:
                option = "--units" if columns.grid is not None else "--integer and --one-hot"
            raise InputError(f"--certificate does not go with {option}: {why}")
    whole = request.deadline.whole
    time = CommandTime(whole, draws=results.out is not None, proves=proves and not decides)
    model = load(asked.model, time.engine, output=asked.output)
    if proves and model.lowered.smooth:
        raise InputError(SMOOTH.format(asked.model))
    network = model.network
    given = read_input(asked.input, network.input_shape, network.input_dtype, asked.index, asked.header)
    box = read_box(asked.box, given.x.size)
    try:
        x, moved = inside(given.x, *box)
    except InputError as error:
        raise InputError(f"{asked.input}: {error}") from None
    notes = (*given.notes, *([moved] if moved else ()))
    for note in notes:
        complain(f"{asked.input}: {note}")
    predicted = model.predict(x)
    transforms = None
    if asked.transforms is not None:
        read = load_transforms(model, asked.transforms)
        transforms = TransformsRecord(read, transformed.predictions(model, read, x))
    label = next(label for label in (asked.label, given.label, predicted) if label is not None)
    with ExitStack() as stack:
        folder = stack.enter_context(OutFolder(results.out)) if results.out is not None else None
        files = AnswerFiles(folder, results.json)
        file = CertificateFile(results.certificate) if results.certificate is not None else None
        yield Job(
            *(request, model, x, given.index, label, predicted, box, time, files, file, transforms, notes, columns),
            names=given.names,
        )


def made(record: CertificateRecord | None) -> bool:
    """Is there a certificate of all that is known?"""
    return record is not None and record.path is not None and not record.short


def missing(record: CertificateRecord | None) -> bool:
    """Is there none although one was asked for?"""
    return record is not None and record.path is None
