"""What `verifier gate` does: settle the requirements of a file, tell the verdicts in every form that is asked for."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encoders.errors import InputError
from encoders.files.temporary import temporary_folder
from encoders.lazy import Lazy
from verifier import __version__
from verifier.campaign.backends import Backend
from verifier.campaign.plan.selection import Remarks, tasks_of
from verifier.campaign.plan.tasks import Wanted
from verifier.campaign.store.store import Store
from verifier.cli.campaign_command import tell_failed, tell_remarks
from verifier.cli.campaign_options import GateOptions
from verifier.cli.complaint import complain
from verifier.cli.exit_codes import Exit
from verifier.cli.time_limit import CommandTime, Deadline
from verifier.gate.baseline import baseline_text
from verifier.gate.evidence_folder import PackFolder, earlier_certificates
from verifier.gate.evidence_pack import PackSource
from verifier.gate.proofs import Proofs, certified_so_far, certify_proofs
from verifier.gate.requirements import Gate, read_gate
from verifier.gate.settle import MOST, Settled, Until, settle, stored
from verifier.gate.verdict import Ruling, overall
from verifier.problem.budget import Budget
from verifier.problem.whole_file import writable, written
from verifier.report import terminal
from verifier.report.campaign.terminal import campaign_progress, points_lines
from verifier.report.gate.junit import junit_xml
from verifier.report.gate.markdown import append_step_summary, error_command, markdown, workflow_commands
from verifier.report.gate.result import gate_json
from verifier.report.gate.sarif import sarif
from verifier.report.gate.terminal import gate_progress, gate_table
from verifier.report.gate.words import GateRun, deciding
from verifier.report.witness_picture import Shown, write_witness

if TYPE_CHECKING:
    from verifier.cli import evidence_command
else:
    evidence_command = Lazy("verifier.cli.evidence_command")

PICTURED = 5
"""Witnesses that are drawn for each requirement that fails."""

CODES = {Ruling.PASS: Exit.GOOD, Ruling.FAIL: Exit.VIOLATED, Ruling.UNDECIDED: Exit.UNDECIDED}


def gate(path: Path, flags: Mapping[str, Any], backend: Backend, outputs: GateOptions, deadline: Deadline) -> Exit:
    """Settle the file's requirements within its budget, or write a baseline. Raises InputError; --github tells it too.

    flags: keys of the file's plan that are replaced. deadline: the command's, which the plan may limit.
    """
    try:
        return _gate(path, flags, backend, outputs, deadline)
    except InputError as error:
        if outputs.github:
            print(error_command(path, str(error)), file=sys.stderr if outputs.json else sys.stdout)
        raise


def _gate(path: Path, flags: Mapping[str, Any], backend: Backend, outputs: GateOptions, deadline: Deadline) -> Exit:
    if outputs.undecided not in ("fail", "warn"):
        raise InputError(f"--undecided {outputs.undecided}: fail or warn is expected")
    baseline, cache = outputs.update_baseline, not outputs.no_cache
    _go_together(outputs, flags)
    asked = read_gate(path, flags, baselines=baseline is None)
    _writable(outputs)
    deadline.limit(asked.plan.total_budget)
    with ExitStack() as stack:
        folder = None if outputs.evidence is None else stack.enter_context(PackFolder(outputs.evidence, "--evidence"))
        teller = _Teller(asked, outputs, deadline, folder)
        deadline.answer = teller.nothing
        limits = CommandTime(deadline.whole, draws=outputs.witnesses is not None, proves=outputs.evidence is not None)
        remarks: Remarks = {}
        wanted = tasks_of(asked.plan, remarks)
        tell_remarks(remarks)
        if not wanted:
            raise InputError(f"{path}: the file asks for nothing: no input fits the selection")
        place = asked.plan.store if cache else Path(stack.enter_context(temporary_folder())) / "gate.sqlite"
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            elsewhere = "--store FILE puts it elsewhere, --no-cache leaves it out"
            raise InputError(f"{place.parent}: cannot be made: {error.strerror or error}: {elsewhere}") from None
        store = stack.enter_context(Store(place))
        deadline.answer = lambda: teller.late(store, wanted)
        certifies = asked.certificates if outputs.certificates is None else outputs.certificates
        until = Until.WHOLE if baseline is not None else Until.EVERY_RADIUS if folder is not None else Until.SETTLED
        with gate_progress(limits.engine) as watch:
            found = settle(asked, wanted, store, backend, limits.engine, watch, until)
        if certifies and baseline is None:
            deadline.answer = lambda: teller.so_far(found, store, wanted)
            kept = 0.0 if folder is None else evidence_command.writing_time(limits)
            proofs = _certify(asked, found, store, backend, limits.proof.reserve(kept))
            found = replace(stored(asked, wanted, store), asked=found.asked, proofs=proofs, lost=found.lost)
        drawn = _draw(found, wanted, outputs.witnesses, limits) if outputs.witnesses is not None else {}
        deadline.answer = lambda: teller.tell(found, drawn)
        tell_failed(found.results, found.findings)
        if folder is not None:
            made = _evidence(asked, found, wanted, folder, backend, deadline, limits)
            return teller.tell(found, drawn, made)
        deadline.begin_answer()
        if baseline is not None:
            return _write_baseline(asked, found, wanted, baseline, teller.points(found))
        return teller.tell(found, drawn)


@dataclass(frozen=True, eq=False)
class _Teller:
    asked: Gate
    outputs: GateOptions
    deadline: Deadline
    folder: PackFolder | None

    def nothing(self) -> Exit:
        """The time is up before anything was asked: nothing is decided."""
        return self.tell(Settled(), {})

    def late(self, store: Store, wanted: Sequence[Wanted]) -> Exit:
        """The verdicts by what the store has, where the time is up while something else is waited for."""
        return self.tell(stored(self.asked, wanted, store), {})

    def so_far(self, found: Settled, store: Store, wanted: Sequence[Wanted]) -> Exit:
        """The verdicts that were found, and what of them is certified, where the time is up while that goes on."""
        now = stored(self.asked, wanted, store)
        proofs = certified_so_far(now.judgements, now.results, self.deadline.whole.reason)
        return self.tell(replace(now, asked=found.asked, proofs=proofs, lost=found.lost), {})

    def tell(self, found: Settled, drawn: Mapping[str, Path], made: evidence_command.WrittenPack | None = None) -> Exit:
        """Say the verdicts in every form; the exit code. made: the evidence pack, where it was asked for in time."""
        budget = self.deadline.whole
        ruling = overall(found.judgements) if found.judgements else Ruling.UNDECIDED
        warned = ruling is Ruling.UNDECIDED and self.outputs.undecided == "warn"
        code = Exit.GOOD if warned else CODES[ruling]
        ended = budget.reason if budget.remaining <= 0 else found.lost
        reason = ended if ruling is Ruling.UNDECIDED else ""
        run = GateRun(
            path=self.asked.path,
            judgements=found.judgements,
            ruling=ruling,
            code=int(code),
            asked=found.asked,
            seconds=budget.spent,
            version=__version__,
            reason=reason,
            witnesses=drawn,
            warned=warned,
            proofs=found.proofs,
        )
        if self.outputs.json:
            sys.stdout.write(json.dumps(gate_json(run), indent=1, allow_nan=False) + "\n")
        else:
            terminal.stdout().print(gate_table(run))
        for line in self.points(found):
            self._beside(line)
        for name, file in self.outputs.files.items():
            _write(file, WRITERS[name](run))
        if self.outputs.github:
            append_step_summary(markdown(run))
            for line in workflow_commands(run):
                print(line, file=sys.stderr if self.outputs.json else sys.stdout)
        if warned:
            complain("UNDECIDED, which --undecided warn lets through: not everything that is required is proved")
        if made is not None:
            self._beside(str(made))
        if budget.cancelled:
            complain("interrupted" if self.outputs.no_cache else "interrupted: the same command goes on from here")
        if made is None and self.folder is not None:
            evidence_command.nothing(self.folder, self.deadline)
            return Exit.UNDECIDED if code == Exit.GOOD else code
        return code

    def points(self, found: Settled) -> Sequence[str]:
        """What became of the points of other tools."""
        return points_lines(found.results, found.findings) if self.asked.plan.points else ()

    def _beside(self, text: str) -> None:
        """Say what JSON has no place for."""
        if self.outputs.json:
            complain(text)
        else:
            terminal.stdout().print(text, soft_wrap=True)


def _certify(asked: Gate, found: Settled, store: Store, backend: Backend, budget: Budget) -> Proofs:
    """Certify what the verdicts rest on, beside the store, in the time that is left. Raises InputError."""
    folder, most = store.path.with_name(f"{store.path.stem}-certificates"), min(asked.plan.timeout, MOST)
    with campaign_progress(budget) as show:
        return certify_proofs(found.judgements, found.results, store, folder, backend.slots, budget, most, show)


def _evidence(
    asked: Gate,
    found: Settled,
    wanted: Sequence[Wanted],
    folder: PackFolder,
    backend: Backend,
    deadline: Deadline,
    limits: CommandTime,
) -> evidence_command.WrittenPack:
    """Write the evidence pack of what was found. Raises InputError."""
    tasks = {one.task.id: one.task for one in wanted}
    source = PackSource(asked.path.name, found.results, tasks, (json.loads(asked.plan.text),), found.judgements)
    kept = {one.id: Path(one.certificate) for one in found.results if one.certificate}
    earlier = {**kept, **earlier_certificates(folder.place)}
    return evidence_command.written_pack(
        source, folder, backend.slots, deadline, limits, min(asked.plan.timeout, MOST), earlier
    )


def _sarif_text(run: GateRun) -> str:
    return json.dumps(sarif(run), indent=1) + "\n"


WRITERS: Mapping[str, Callable[[GateRun], str]] = {
    "--junit": junit_xml,
    "--markdown": markdown,
    "--sarif": _sarif_text,
}


def _write(path: Path, text: str) -> None:
    written(path, lambda stream: stream.write(text.encode()))


BESIDE_BASELINE = ("update_baseline", "no_cache")
"""Options that go with --update-baseline: the others are about verdicts, and there are none."""


def _go_together(outputs: GateOptions, flags: Mapping[str, Any]) -> None:
    """Raise InputError where one of the options makes another one idle."""
    if outputs.no_cache and "store" in flags:
        raise InputError("--no-cache and --store exclude each other: without the cache nothing is kept")
    for option in fields(outputs) if outputs.update_baseline is not None else ():
        if option.name not in BESIDE_BASELINE and getattr(outputs, option.name) not in (option.default, False):
            name = f"--{option.name.replace('_', '-')}"
            raise InputError(
                f"{name} and --update-baseline exclude each other: a baseline is written instead of verdicts"
            )


def _writable(outputs: GateOptions) -> None:
    """What cannot be written is told before the work. Raises InputError."""
    named = {**outputs.files, **({"--update-baseline": outputs.update_baseline} if outputs.update_baseline else {})}
    for name, path in named.items():
        writable(path, name)
    if outputs.witnesses is not None and outputs.witnesses.exists() and not outputs.witnesses.is_dir():
        raise InputError(f"--witnesses {outputs.witnesses}: this is no folder")


def _draw(found: Settled, wanted: Sequence[Wanted], folder: Path, limits: CommandTime) -> dict[str, Path]:
    """The nearest witnesses of inputs that fail, as arrays and, while there is time, pictures: these, by input."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--witnesses {folder}: cannot write there: {error.strerror or error}") from None
    failing = {
        one.key: one
        for judgement in found.judgements
        for one, ruling in deciding(judgement, PICTURED)
        if ruling is Ruling.FAIL
    }
    tasks = {one.task.id: one.task for one in wanted}
    drawn = {}
    for one in sorted(found.results, key=lambda result: -result.upper):  # the nearest target of an input comes last
        if one.task in failing and one.witness is not None:
            task = tasks[one.task]
            box = task.lo, task.hi
            shown = Shown(one.input_name, one.model.name, one.norm, one.label, task.point, task.shape, box)
            picture = write_witness(shown, one.witness, folder, limits.picture)
            if picture is not None:
                drawn[one.task] = picture
    return drawn


def _write_baseline(asked: Gate, found: Settled, wanted: Sequence[Wanted], path: Path, points: Sequence[str]) -> Exit:
    """Write what is known; Exit 3 where brackets are open, which a baseline may hold but should not."""
    radii = [radius for one in asked.requirements for radius in one.radii]
    digests = {one.task.model: one.task.model_sha256 for one in wanted}
    text = baseline_text(found.known, digests, radii, __version__)
    _write(path, text)
    inputs = [one for group in found.known.values() for one in group]
    still_open = sum(one.width > asked.plan.precision for one in inputs)
    rest = f", {still_open} with open brackets" if still_open else ""
    for line in points:
        terminal.stdout().print(line, soft_wrap=True)
    terminal.stdout().print(f"{path}: {len(inputs)} inputs{rest}")
    return Exit.UNDECIDED if still_open else Exit.GOOD
