"""A gate's proofs as certificates: the lower ends that its passed requirements rest on, each in a file that the lone
checker has found valid. They lie beside the gate's store, which says where: a second run has them.

A verdict does not wait for them: what could not be certified in time is told, and stays proved.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from encoders.errors import without_folders
from verifier.campaign.certificates import certify, made
from verifier.campaign.store.merge import CONTRADICTION
from verifier.campaign.store.records import Counts, Result
from verifier.campaign.store.store import Store
from verifier.certificates import checker
from verifier.certificates.builder import not_covered
from verifier.certificates.file import certified_for_float32
from verifier.gate.verdict import Judgement, Ruling
from verifier.problem.budget import Budget


@dataclass(frozen=True)
class Proofs:
    """How many lower ends carry the passed requirements, how many of them are certified (by the same certificate for
    float32 too), and how many are not: why."""

    count: int
    certified: int
    float32: int
    reasons: tuple[tuple[str, int], ...] = ()

    def __str__(self) -> str:
        """In words.

        >>> str(Proofs(4, 3, 2, (("time limit reached", 1),)))
        'proofs certified: 3 of 4, 2 for float32 too (1: time limit reached)'
        """
        why = "; ".join(f"{number}: {reason}" for reason, number in self.reasons)
        told = f"proofs certified: {self.certified} of {self.count}, {self.float32} for float32 too"
        return told + (f" ({why})" if why else "")


def certify_proofs(
    judgements: Sequence[Judgement],
    results: Sequence[Result],
    store: Store,
    folder: Path,
    jobs: int,
    budget: Budget,
    limit: float,
    watch: Callable[[Counts], None] = lambda _: None,
) -> Proofs:
    """Certify what passed requirements rest on, the cheapest searches' first, each within `limit` seconds.

    Raises InputError: the folder cannot be written to.
    """
    proofs = resting(judgements, results)
    todo, reasons = [], Counter[str]()
    unread: dict[Path, str] = {}
    for one in proofs:
        if made(one):
            continue
        why = not_covered(one.norm, one.transforms is not None)
        if not why:
            if one.model not in unread:
                unread[one.model] = _unread(one)
            why = unread[one.model]
        if why:
            reasons[why] += 1
        else:
            todo.append(one)
    todo.sort(key=lambda one: one.seconds)
    done = certify(store, todo, folder, jobs, budget, limit, watch) if todo and not budget.ended else []
    reasons.update(each.error for each in done if each.error)
    if len(todo) > len(done):
        reasons[budget.reason] += len(todo) - len(done)
    float32 = _in_float32(proofs) + sum(not each.error and each.float32 >= each.job.lower for each in done)
    return Proofs(len(proofs), len(proofs) - reasons.total(), float32, tuple(sorted(reasons.items())))


def certified_so_far(judgements: Sequence[Judgement], results: Sequence[Result], reason: str) -> Proofs:
    """What is certified by now, and the reason why the rest is not."""
    proofs = resting(judgements, results)
    missing = sum(not made(one) for one in proofs)
    return Proofs(len(proofs), len(proofs) - missing, _in_float32(proofs), ((reason, missing),) if missing else ())


def _in_float32(results: Sequence[Result]) -> int:
    """How many have certificates that prove their lower ends for float32 too."""
    return sum(certified_for_float32(Path(one.certificate), one.lower) for one in results if made(one))


def resting(judgements: Sequence[Judgement], results: Sequence[Result]) -> list[Result]:
    """The lower ends that carry the requirements that passed."""
    keys = {
        one.key
        for judgement in judgements
        if judgement.ruling is Ruling.PASS
        for one, radius in zip(judgement.inputs, judgement.thresholds, strict=True)
        if radius is None or one.holds(radius)
    }
    return [one for one in results if one.task in keys and one.lower > 0 and one.status != CONTRADICTION]


def _unread(result: Result) -> str:
    """Why nothing about a result's model can be certified; "" where it may be."""
    try:
        checker.read_network(checker.plain_bytes(result.model, 2 * checker.MOST_BYTES), result.model.parent)
    except Exception as error:  # noqa: BLE001, as in the checker itself
        return f"the checker does not read this model: {without_folders(str(error), result.model)}"
    return ""
