"""What `minimal`, `check` and `attack` do between the command line and the engine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from verifier.cli import late
from verifier.cli.complaint import complain
from verifier.cli.exit_codes import Exit
from verifier.cli.job import CertifiedEnds, Job, Request, made, missing, prepared
from verifier.problem.quantities import Quantity
from verifier.problem.verdict import (
    Bracket,
    Evidence,
    Holds,
    Status,
    Unknown,
    Violated,
    Witness,
)
from verifier.report import captions, json_result, pictures, terminal
from verifier.report.json_result import CertificateRecord, RunRecord
from verifier.search import all_targets, minimum, robustness
from verifier.search.all_targets import AllTargets
from verifier.search.robustness import Check


def minimal(request: Request, *, precision: float, all_targets: bool = False) -> Exit:
    """Answer `verifier minimal`."""
    with prepared(request) as job:
        if all_targets:
            return _every_target(job, precision)
        last: Bracket | None = None

        def known() -> Bracket:
            return late.bracket(last, request.asked.target, precision, "cw", job.time.whole)

        job.if_late(lambda: _answer_minimal(job, known(), precision))
        with terminal.progress(job.time.engine) as show:
            for bracket in minimum.brackets(job.specification(precision), job.settings()):
                last = bracket
                show(bracket)
        return _answer_minimal(job, known(), precision)


def _answer_minimal(job: Job, last: Bracket, precision: float) -> Exit:
    record = job.certify(CertifiedEnds.of(last), last.witness)
    if made(record):
        last = replace(last, evidence=Evidence.CERTIFIED)
    _report_bracket(job, job.run("minimal", precision=precision, certificate=record), last)
    return Exit.UNDECIDED if last.status is Status.BRACKETED or missing(record) else Exit.GOOD


def attack(request: Request, *, name: str) -> Exit:
    """Answer `verifier attack`."""
    with prepared(request) as job:
        job.if_late(
            lambda: _answer_attack(
                job, late.bracket(None, request.asked.target, precision=1e-3, attack=name, budget=job.time.whole)
            )
        )
        with terminal.progress(job.time.engine):
            found = minimum.attack(job.specification(), job.settings(), name)
        return _answer_attack(job, found)


def _answer_attack(job: Job, found: Bracket) -> Exit:
    _report_bracket(job, job.run("attack"), found)
    return Exit.UNDECIDED if found.witness is None else Exit.GOOD


def _report_bracket(job: Job, run: RunRecord, bracket: Bracket) -> None:
    job.begin_answer()
    path = job.write_witness(bracket.witness)
    picture = _one_picture(job, run, bracket.witness, *captions.bracket_words(run, bracket))
    result = json_result.minimal_json(run, bracket, path, picture)
    job.finish(result, lambda files: [terminal.bracket_table(run, bracket, files)])


def _one_picture(job: Job, run: RunRecord, witness: Witness | None, title: str, note: str) -> Path | None:
    if witness is None:
        return None
    words = captions.panel_words(run, job.predicted, witness)
    scene = job.scene(witness.point)
    return job.write_picture(lambda: pictures.triptych(scene, witness.point, title, note, words))


def _every_target(job: Job, precision: float) -> Exit:
    last: dict[int | None, Bracket] = {}
    targets = [target for target in range(job.model.classes) if target != job.label]
    job.if_late(lambda: _answer_every(job, late.every_target(last, targets, precision, job.time.whole), precision))
    with terminal.progress(job.time.engine) as show:

        def seen(bracket: Bracket) -> None:
            last[bracket.target] = bracket
            show(bracket)

        asked, settings = job.specification(precision, each=True), job.settings()
        answer = all_targets.minimal_all_targets(asked, settings, progress=seen)
    job.if_late(lambda: _answer_every(job, answer, precision))
    return _answer_every(job, answer, precision)


def _answer_every(job: Job, answer: AllTargets, precision: float) -> Exit:
    records = job.certify_each(answer.results)
    answer = answer.certified([target for target, record in records.items() if made(record)])
    run = job.run("minimal", precision=precision, every_target=True)
    job.begin_answer()
    paths: dict[int | None, Path] = {}
    for bracket in answer.results:
        path = job.write_witness(bracket.witness, f"witness-{bracket.target}.npy")
        if path is not None:
            paths[bracket.target] = path
    cells = captions.grid_cells(answer.results)
    points = [cell.point for cell in cells if cell.point is not None]
    picture = None
    if points:
        scene = job.scene(*points)
        words = captions.grid_words(run, answer.overall)
        picture = job.write_picture(lambda: pictures.grid(scene, cells, *words))
    result = json_result.all_targets_json(run, answer.overall, answer.results, paths, picture, records)
    job.finish(
        result,
        lambda files: [
            terminal.all_targets_table(answer.results),
            terminal.bracket_table(run, answer.overall, files, json_result.float32_of_all(answer.results, records)),
        ],
    )
    undecided = answer.overall.status is Status.BRACKETED or any(missing(record) for record in records.values())
    return Exit.UNDECIDED if undecided or any(b.status is Status.BRACKETED for b in answer.results) else Exit.GOOD


def check(request: Request, *, radius: Quantity) -> Exit:
    """Answer `verifier check`."""
    with prepared(request, decides=True) as job:
        answer: Check | None = None

        def known() -> Check:
            return late.check(answer, request.asked.target, job.time.whole)

        job.if_late(lambda: _answer_check(job, known(), radius))
        with terminal.progress(job.time.engine) as show:
            answer = robustness.check(job.specification(), job.settings(), radius.value, show)
        return _answer_check(job, answer, radius)


def _answer_check(job: Job, answer: Check, radius: Quantity) -> Exit:
    record = _certified_check(job, answer, radius.value)
    if made(record) and isinstance(answer.verdict, Holds):
        answer = replace(answer, verdict=Holds(Evidence.CERTIFIED), evidence=Evidence.CERTIFIED)
    run = job.run("check", radius=radius.value, radius_text=radius.text, certificate=record)
    job.begin_answer()
    path = job.write_witness(answer.witness)
    picture = None
    if answer.witness is not None:
        picture = _one_picture(job, run, answer.witness, *captions.check_words(run, answer.witness))
    result = json_result.check_json(run, answer, path, picture)
    job.finish(result, lambda files: [terminal.check_table(run, answer, files)])
    match answer.verdict:
        case Holds():
            return Exit.UNDECIDED if missing(record) else Exit.GOOD
        case Violated():
            return Exit.VIOLATED
        case _:
            return Exit.UNDECIDED


def _certified_check(job: Job, answer: Check, radius: float) -> CertificateRecord | None:
    """A certificate of the answer to `check`: the radius where it holds, the witness alone where it is violated."""
    if isinstance(answer.verdict, Unknown) and job.certificate is not None:
        job.certificate.remove()
        complain("no certificate was written: the question is undecided")
        return CertificateRecord(None, "the question is undecided")
    proved = radius if isinstance(answer.verdict, Holds) else 0.0
    return job.certify(CertifiedEnds(proved, proved if answer.float32 else 0.0, closed=True), answer.witness)
