"""Packing: what the claims of an evidence pack are about is copied into its folder, and told as a pack."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np

from encoders.errors import InputError, without_folders
from encoders.files.packed import without_gz
from encoders.onnx_io.file import external_locations, model_bytes
from verifier.campaign.plan.task_models import task_model
from verifier.campaign.plan.tasks import Task
from verifier.campaign.store.merge import CLOSED, CONTRADICTION, PENDING
from verifier.campaign.store.records import Result
from verifier.campaign.store.snapshot import names_of
from verifier.certificates import checker
from verifier.certificates.builder import UNDER_TRANSFORMS
from verifier.gate.evidence_folder import PackFolder
from verifier.gate.evidence_pack import (
    EvidencePack,
    PackedClaim,
    PackedInput,
    PackedModel,
    PackedWitness,
    PackSource,
    stem,
)
from verifier.gate.reprove import sha256
from verifier.gate.reprove_claims import rounded_up
from verifier.gate.settle import reach
from verifier.gate.verdict import Judgement
from verifier.problem.budget import Budget
from verifier.problem.verdict import Witness

SAFE = re.compile(r"[^\w.-]+")
"""What is left out of a model's name where it becomes a file's."""
LONGEST_NAME = 80


def packed(source: PackSource, folder: PackFolder, budget: Budget) -> EvidencePack:
    """Copy what the claims are about into the folder. Raises InputError: a model has changed or is not there."""
    models: dict[tuple[str, str | None], PackedModel] = {}
    paths = names_of({one.model_sha256: one.model for one in source.results})
    by_task: dict[str, list[Result]] = {}
    for result in source.results:
        by_task.setdefault(result.task, []).append(result)
    entries = []
    digits = max(4, len(str(len(by_task))))
    for place, (key, results) in enumerate(by_task.items(), 1):
        task = source.tasks[key]
        asked = task.model_sha256, task.output
        if asked not in models:
            models[asked] = _model(task, str(len(models) + 1), paths[task.model_sha256], folder, budget)
        one = _Input(f"{place:0{digits}}", models[asked], task, results, folder)
        entries.append(one.packed(source.judgements, task_model(task, budget).predict(task.point)))
    return EvidencePack(source, tuple(models.values()), tuple(entries))


def _model(task: Task, number: str, name: str, folder: PackFolder, budget: Budget) -> PackedModel:
    network, folder_name = task_model(task, budget).network, f"models/{number}"
    file = f"{folder_name}/{SAFE.sub('_', without_gz(task.model).stem)[:LONGEST_NAME]}.onnx"
    try:
        content = model_bytes(task.model)
        external = {_plain(task, place): path for place, path in external_locations(task.model).items()}
        data = {path: path.read_bytes() for path in sorted(external.values())}
    except OSError as error:
        raise InputError(f"{task.model}: {error.strerror or error}") from None
    folder.write(file, content)
    for place, path in external.items():
        folder.write(f"{folder_name}/{place}", data[path])
    net, unread = _read(content, folder.path / folder_name, network.logits_name)
    if task.model_sha256 != sha256(b"".join([content, *data.values()])) or (net and net.digest != task.model_sha256):
        raise InputError(f"{task.model} has changed since the campaign began: begin it again")
    return PackedModel(
        number, name, file, network.sha256, tuple(f"{folder_name}/{place}" for place in external),
        network.logits_name, network.scores_name, network.threshold, net, unread,
    )  # fmt: skip


def _plain(task: Task, place: str) -> str:
    """The place of external data in the model's folder. Raises InputError for one that a pack cannot have."""
    plain = PurePosixPath(place)
    if plain.is_absolute() or ".." in plain.parts or not place.isprintable() or "\\" in place:
        raise InputError(f"{task.model}: its external data at '{place}' cannot be put into an evidence pack")
    return str(plain)


def _read(content: bytes, folder: Path, logits: str) -> tuple[checker.CheckedNetwork | None, str]:
    """The checker's reading of a model, or why there is none."""
    try:
        net = checker.read_network(content, folder)
    except Exception as error:  # noqa: BLE001, as in the checker itself
        return None, f"the checker does not read this model: {without_folders(str(error), folder)}"
    if net.scores != logits:
        return None, "the checker reads other scores than the engine"
    return net, ""


@dataclass(frozen=True, eq=False)
class _Input:
    """One input with what a store says of its targets, on its way into the folder."""

    key: str
    model: PackedModel
    task: Task
    results: Sequence[Result]
    folder: PackFolder

    def packed(self, judgements: Sequence[Judgement], predicted: int) -> PackedInput:
        """The input, its box and witnesses are written."""
        task = self.task
        file = self.folder.array(f"inputs/{self.key}.npy", task.point.reshape(task.shape))
        claims = tuple(self._claim(one) for one in self.results)
        views = self.results[0].views
        found = PackedInput(self.key, self.model, task, views, predicted, file, self._box(), reach(task), claims)
        return replace(found, undecided=_undecided(found, self.results, judgements))

    def _box(self) -> tuple[float, float] | str:
        task = self.task
        if all(np.all(end == end[0]) for end in (task.lo, task.hi)):
            return float(task.lo[0]), float(task.hi[0])
        stream = io.BytesIO()
        np.savez(stream, lo=task.lo, hi=task.hi)
        return self.folder.write(f"boxes/{self.key}.npz", stream.getvalue())

    def _claim(self, one: Result) -> PackedClaim:
        """What a store says of one target. Where its runs contradict each other, nothing is claimed."""
        claimed = one.status != CONTRADICTION
        shown = self._shown(one, one.witness) if claimed and one.witness is not None else None
        return PackedClaim(
            instance=one.id,
            target=one.target,
            lower=one.lower if claimed else 0.0,
            upper=math.inf if shown is None else shown.witness.distance,
            evidence=one.evidence,
            float32=one.float32 if claimed else None,
            status=one.status,
            reason=one.reason,
            seconds=one.seconds,
            shown=shown,
        )

    def _shown(self, one: Result, witness: Witness) -> PackedWitness:
        name = f"witnesses/{stem(self.key, one.target)}.npy"
        file = self.folder.array(name, witness.point.reshape(self.task.shape))
        return PackedWitness(witness, file, unchecked=self._unchecked(one, witness))

    def _unchecked(self, one: Result, witness: Witness) -> str:
        """Why the checker's reader does not find a witness adversarial at its distance; "" where it does."""
        task, net = self.task, self.model.net
        if task.transforms is not None:
            return UNDER_TRANSFORMS
        if net is None:
            return self.model.unread
        centre, point = task.point.astype(float), witness.point.astype(float)
        query = checker.CheckedQuery(task.norm, task.label, one.target, task.margin, centre, task.lo, task.hi)
        try:
            distance = rounded_up(checker.witnessed(net, query, point, query.targets(net.size(net.output))))
        except checker.InvalidError as error:
            return str(error)
        return "" if distance == witness.distance else f"its distance is {distance!r}, not {witness.distance!r}"


def _undecided(entry: PackedInput, results: Sequence[Result], judgements: Sequence[Judgement]) -> str:
    """What is open of an input, and why: at its requirements' radii, or without any, its whole bracket."""
    if any(one.status == CONTRADICTION for one in results):
        return "; ".join(one.reason for one in results if one.status == CONTRADICTION)
    wished = {wish for one in judgements for wish in (*one.unknown, *one.wishes) if wish.key == entry.task.id}
    radii = sorted({wish.radius for wish in wished if wish.radius is not None})
    if judgements and not wished:
        return ""
    if not judgements and all(one.status in CLOSED for one in results):
        return ""
    what = f"open within {' and '.join(f'{radius:g}' for radius in radii)}" if radii else "the bracket is open"
    untouched = all(one.status == PENDING for one in results)
    why = next((one.reason for one in results if one.reason), "not begun" if untouched else "not asked further")
    return f"{what}: {why}"
