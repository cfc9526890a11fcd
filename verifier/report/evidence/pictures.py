"""Pictures of a pack's witnesses beside their inputs, the nearest witnesses first, while there is time."""

from __future__ import annotations

from dataclasses import replace

from verifier.gate.evidence_folder import PackFolder
from verifier.gate.evidence_pack import EvidencePack, PackedClaim, PackedInput
from verifier.problem.budget import Budget
from verifier.report.witness_picture import Shown, witness_png


def with_pictures(pack: EvidencePack, folder: PackFolder, budget: Budget) -> EvidencePack:
    """The pack with the pictures that the time sufficed for in its folder."""
    pairs = [(entry, claim) for entry in pack.entries for claim in entry.claims if claim.shown is not None]
    drawn: dict[str, PackedClaim] = {}
    for entry, claim in sorted(pairs, key=lambda pair: pair[1].upper):
        if budget.ended:
            break
        drawn[claim.instance] = _drawn(entry, claim, folder)
    return pack.with_claims(drawn)


def _drawn(entry: PackedInput, claim: PackedClaim, folder: PackFolder) -> PackedClaim:
    assert claim.shown is not None
    task = entry.task
    shown = Shown(entry.name, entry.model.name, task.norm, task.label, task.point, task.shape, (task.lo, task.hi))
    file = folder.write(f"witnesses/{entry.stems[claim.instance]}.png", witness_png(shown, claim.shown.witness))
    return replace(claim, shown=replace(claim.shown, picture=file))
