"""What `verifier evidence` and `verifier gate --evidence` do: a folder that a stranger can re-prove."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from encoders.errors import InputError
from verifier import __version__
from verifier.campaign.store.records import Counts
from verifier.campaign.store.store import Store
from verifier.cli.complaint import complain
from verifier.cli.exit_codes import Exit
from verifier.cli.time_limit import CommandTime, Deadline
from verifier.gate.evidence_certificates import with_certificates
from verifier.gate.evidence_folder import PackFolder, earlier_certificates
from verifier.gate.evidence_pack import EvidencePack, PackSource
from verifier.gate.evidence_packing import packed
from verifier.gate.reprove import EVIDENCE
from verifier.gate.settle import MOST
from verifier.report import terminal
from verifier.report.campaign.terminal import campaign_progress
from verifier.report.evidence.page import page
from verifier.report.evidence.pictures import with_pictures
from verifier.report.evidence.result import evidence_text
from verifier.report.evidence.statement import Statement, environment

WRITING, WRITING_SHARE = 2.0, 0.1
"""Seconds, and at most this share of the limit, that are kept for writing a pack: its page, its digests."""


def writing_time(limits: CommandTime) -> float:
    """Seconds of a command's limit that are kept for writing its pack."""
    limit = limits.whole.limit
    return min(WRITING, WRITING_SHARE * limit) if math.isfinite(limit) else 0.0


@dataclass(frozen=True, eq=False)
class WrittenPack:
    """A pack in its place; sha256: of its MANIFEST."""

    place: Path
    pack: EvidencePack
    sha256: str

    def __str__(self) -> str:
        ends, pack = self.pack.lower_ends, self.pack
        certified = sum(bool(claim.certificate) for claim in ends)
        told = (
            f"inputs: {len(pack.entries)}",
            f"lower ends certified: {certified} of {len(ends)}",
            f"witnesses: {len(pack.witnesses)}",
            f"sha256 of MANIFEST: {self.sha256}",
        )
        return f"{self.place}: {', '.join(told)}"


def written_pack(
    source: PackSource,
    folder: PackFolder,
    jobs: int,
    deadline: Deadline,
    limits: CommandTime,
    seconds: float,
    earlier: Mapping[str, Path],
) -> WrittenPack:
    """Build the pack in the folder and put it in its place: with that the command begins its answer.

    seconds: for one certificate; earlier: ones that may do. Raises InputError: a model has changed, or the folder
    cannot be written to.
    """
    kept = writing_time(limits)
    pack = packed(source, folder, limits.whole)
    with campaign_progress(limits.proof) as show:
        pack = with_certificates(
            pack, folder, earlier, jobs, limits.proof.reserve(kept), seconds,
            lambda done, asked: show(Counts(asked, done, 0, 0, 0)),
        )  # fmt: skip
    pack = with_pictures(pack, folder, limits.picture.reserve(kept))
    deadline.begin_answer()
    statement = Statement(pack, datetime.now(UTC), __version__, environment(), folder.add_checkers())
    folder.write(EVIDENCE, evidence_text(statement).encode())
    return WrittenPack(folder.given, pack, folder.seal(page(statement)))


def evidence(store: Path, out: Path, title: str | None, jobs: int, deadline: Deadline) -> Exit:
    """Write the pack of a store's answers; Exit 3 where a lower end has no certificate. Raises InputError."""
    limits = CommandTime(deadline.whole, draws=True, proves=False)
    with Store(store, readonly=True) as opened:
        contents = opened.contents()
    if not contents.results:
        raise InputError(f"{store} holds no campaign: begin one with verifier campaign --store {store}")
    source = PackSource(title or store.stem, contents.results, contents.tasks, contents.plans)
    with PackFolder(out, "--out") as folder:
        deadline.answer = lambda: nothing(folder, deadline)
        earlier = {one.id: Path(one.certificate) for one in contents.results if one.certificate}
        made = written_pack(
            source, folder, jobs, deadline, limits, MOST, {**earlier, **earlier_certificates(folder.place)}
        )
    terminal.stdout().print(str(made), soft_wrap=True)
    return Exit.GOOD if all(claim.certificate for claim in made.pack.lower_ends) else Exit.UNDECIDED


def nothing(folder: PackFolder, deadline: Deadline) -> Exit:
    """The time is up before the pack was whole: there is none."""
    folder.remove()
    complain(f"{deadline.whole.reason} before the evidence pack was whole: {folder.given} is as it was")
    return Exit.INTERRUPTED if deadline.whole.cancelled else Exit.UNDECIDED
