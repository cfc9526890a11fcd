"""The certificates of an evidence pack: one for every lower end above 0, as far as the time allows.

A gate's lower ends come from checks at a radius, and their brackets stay open: each is certified as it is. What was
certified before is checked again instead of built.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from verifier.campaign.certificates import CertificateJob, Done, certificates
from verifier.certificates import checker
from verifier.certificates.builder import not_covered
from verifier.gate.evidence_folder import PackFolder
from verifier.gate.evidence_pack import EvidencePack, PackedClaim, PackedInput
from verifier.problem.budget import Budget

CertificateWatch = Callable[[int, int], None]
"""Told how many of how many are done."""


def with_certificates(
    pack: EvidencePack,
    folder: PackFolder,
    earlier: Mapping[str, Path],
    jobs: int,
    budget: Budget,
    limit: float,
    watch: CertificateWatch = lambda _, __: None,
) -> EvidencePack:
    """The pack with certificates in its folder, each built within `limit` seconds, the cheapest searches' first.

    earlier: certificates that may do, by instance. What has none says why.
    """
    todo = [(entry, claim) for entry in pack.entries for claim in entry.claims if claim.lower > 0]
    todo.sort(key=lambda pair: pair[1].seconds)
    found = {claim.instance: replace(claim, uncertified=_hopeless(entry)) for entry, claim in todo}
    wanted = {claim.instance: (entry, claim) for entry, claim in todo if not found[claim.instance].uncertified}
    (folder.path / "certificates").mkdir(parents=True, exist_ok=True)
    asked = [_job(entry, claim, folder, earlier.get(claim.instance), limit) for entry, claim in wanted.values()]
    for number, done in enumerate(certificates(asked, jobs, budget), 1):
        entry, claim = wanted.pop(done.job.instance)
        found[claim.instance] = _told(entry, claim, done, folder)
        watch(number, len(asked))
    late = {key: replace(claim, uncertified=budget.reason) for key, (_, claim) in wanted.items()}
    return pack.with_claims({**found, **late})


def _hopeless(entry: PackedInput) -> str:
    """Why nothing about an input can be certified; "" where it may be."""
    return not_covered(entry.task.norm, entry.task.transforms is not None) or entry.model.unread


def _job(
    entry: PackedInput, claim: PackedClaim, folder: PackFolder, earlier: Path | None, limit: float
) -> CertificateJob:
    """The job, with an earlier certificate in the place of its file: it is checked before one is built."""
    path = folder.path / _file(entry, claim)
    if earlier is not None:
        try:
            path.write_bytes(checker.file_bytes(earlier, checker.MOST_BYTES))
        except OSError:
            path.unlink(missing_ok=True)
    float32 = min(claim.float32 or 0.0, claim.lower)
    return CertificateJob(claim.instance, entry.task, claim.target, claim.lower, None, path, limit, float32)


def _file(entry: PackedInput, claim: PackedClaim) -> str:
    return f"certificates/{entry.stems[claim.instance]}.cert"


def _told(entry: PackedInput, claim: PackedClaim, done: Done, folder: PackFolder) -> PackedClaim:
    if done.error:
        return replace(claim, uncertified=done.error)
    return replace(claim, certificate=folder.added(_file(entry, claim)), float32_certified=done.float32)
