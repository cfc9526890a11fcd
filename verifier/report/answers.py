"""The API's answers: one line, a dictionary, JSON, a table of many (pandas), HTML with the picture for a notebook."""

from __future__ import annotations

import base64
import html as markup
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import singledispatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from encoders.errors import InputError
from verifier.problem.answer import Answer, Subject
from verifier.problem.inputs.image_layout import image_layout
from verifier.problem.verdict import Bracket, Status, Witness
from verifier.report import captions, pictures
from verifier.report.directed_rounding import ends
from verifier.report.json_result import (
    SCHEMA,
    VERDICTS,
    Json,
    RunRecord,
    bracket_json,
    check_fields,
    dumps,
)
from verifier.report.norm_signs import NORM_SIGNS
from verifier.report.property_minimum_result import minimum_fields, minimum_words
from verifier.report.property_result import property_fields
from verifier.report.ranges_result import ranges_json, ranges_words
from verifier.search.all_targets import AllTargets
from verifier.search.output_ranges import OutputRanges
from verifier.search.property_check import PropertyCheck
from verifier.search.property_minimum import PropertyMinimum
from verifier.search.robustness import Check

if TYPE_CHECKING:
    import pandas


@singledispatch
def words(answer: Any) -> str:
    """The answer in one line."""
    raise TypeError(f"no answer: {type(answer).__name__}")


@words.register
def _(bracket: Bracket) -> str:
    about = bracket.about
    norm = f"{NORM_SIGNS[about.norm]} " if about is not None else ""
    if bracket.status is Status.ALREADY_ADVERSARIAL:
        said = "distance 0"
    elif bracket.status is Status.UNREACHABLE:
        said = "no point of the box"
    else:
        lower, upper = _ends(bracket)
        said = f"{norm}distance in [{lower}, {upper}]"
    to = f", target {bracket.target}" if bracket.target is not None else ""
    return f"<Bracket {bracket.status.value}: {said}{to}, {bracket.evidence.label}, {bracket.seconds:.2f} s>"


@words.register
def _(check: Check) -> str:
    verdict = VERDICTS[type(check.verdict)]
    about = check.about
    within = f" within {NORM_SIGNS[about.norm]} {about.radius:g}" if about is not None else ""
    return f"<Check {verdict}{within}{_found(check)}, {check.seconds:.2f} s>"


@words.register
def _(answer: AllTargets) -> str:
    closed = sum(bracket.status is not Status.BRACKETED for bracket in answer.results)
    return f"<AllTargets {closed} of {len(answer.results)} closed, nearest {words(answer.overall)}>"


@words.register
def _(check: PropertyCheck) -> str:
    return f"<PropertyCheck {VERDICTS[type(check.verdict)]}{_found(check)}, {check.seconds:.2f} s>"


def _found(check: Check | PropertyCheck) -> str:
    """What a verdict rests on, or why there is none, behind a comma."""
    if check.witness is not None:
        return f", {check.witness!r}"
    if check.evidence is not None:
        return f", {check.evidence.label}"
    return f", {check.reason}" if check.reason else ""


@words.register
def _(answer: PropertyMinimum) -> str:
    return minimum_words(answer)


@words.register
def _(answer: OutputRanges) -> str:
    return ranges_words(answer)


@singledispatch
def to_dict(answer: Any) -> Json:
    """The answer with the keys of the command's JSON, and its witness's point."""
    raise TypeError(f"no answer: {type(answer).__name__}")


@to_dict.register
def _(bracket: Bracket) -> Json:
    found = bracket_json(_run(bracket.about), bracket, None)
    return {"schema": SCHEMA, **_with_point(found, bracket.witness, bracket.about), **_asked(bracket.about)}


@to_dict.register
def _(check: Check) -> Json:
    found = check_fields(_run(check.about), check, None)
    return {"schema": SCHEMA, **_with_point(found, check.witness, check.about), **_asked(check.about)}


@to_dict.register
def _(check: PropertyCheck) -> Json:
    return property_fields(check)


@to_dict.register
def _(answer: PropertyMinimum) -> Json:
    return minimum_fields(answer)


@to_dict.register
def _(answer: OutputRanges) -> Json:
    return ranges_json(answer)


@to_dict.register
def _(answer: AllTargets) -> Json:
    return {**to_dict(answer.overall), "results": [to_dict(bracket) for bracket in answer.results]}


def to_json(answer: Answer) -> str:
    """`to_dict` as JSON with a final newline."""
    return dumps(to_dict(answer))


def to_pandas(answers: Answer | Iterable[Answer]) -> pandas.DataFrame:
    """Answers as a table, one row a bracket or check, AllTargets as a row a target; points are left out.

    Raises InputError where pandas is not installed, or something is no answer.
    """
    try:
        import pandas as pd  # noqa: PLC0415 (optional)
    except ImportError:
        raise InputError("pandas is not installed: pip install pandas") from None
    rows = []
    for answer in [answers] if isinstance(answers, Answer) else answers:
        if not isinstance(answer, Answer):
            raise InputError(f"to_pandas takes answers of the API, not a {type(answer).__name__}")
        parts: Sequence[Answer] = answer.results if isinstance(answer, AllTargets) else [answer]
        rows += [_row(to_dict(part)) for part in parts]
    return pd.DataFrame(rows)


def _row(found: Mapping[str, Any]) -> Json:
    """One level of keys: `witness.distance` becomes witness_distance."""
    row: Json = {}
    for key, value in found.items():
        if isinstance(value, Mapping):
            row |= {f"{key}_{inner}": of for inner, of in value.items() if not isinstance(of, list | Mapping)}
        elif not isinstance(value, list):
            row[key] = value
    return row


@singledispatch
def html(answer: Any) -> str:
    """The answer as HTML that stands alone: its numbers, and its picture inline."""
    raise TypeError(f"no answer: {type(answer).__name__}")


@html.register
def _(bracket: Bracket) -> str:
    return _example(bracket, bracket.about, bracket.witness, lambda run, _: captions.bracket_words(run, bracket))


@html.register
def _(check: Check) -> str:
    return _example(check, check.about, check.witness, captions.check_words)


@html.register(PropertyCheck)
@html.register(PropertyMinimum)
@html.register(OutputRanges)
def _(answer: Answer) -> str:
    return _page(words(answer), None)


def _example(
    answer: Answer,
    about: Subject | None,
    witness: Witness | None,
    told: Callable[[RunRecord, Witness], tuple[str, str]],
) -> str:
    """The page of an answer about one example; `told` gives the picture's title and note."""
    if about is None or witness is None:
        return _page(words(answer), None)
    run, point = _run(about), witness.point
    panels = captions.panel_words(run, about.predicted, witness)
    return _page(words(answer), pictures.triptych(_scene(about, point), point, *told(run, witness), panels))


@html.register
def _(answer: AllTargets) -> str:
    about, cells = answer.overall.about, captions.grid_cells(answer.results)
    points = [cell.point for cell in cells if cell.point is not None]
    if about is None or not points:
        return _page(words(answer), None)
    title, note = captions.grid_words(_run(about), answer.overall)
    return _page(words(answer), pictures.grid(_scene(about, *points), cells, title, note))


def _page(line: str, picture: bytes | None) -> str:
    said = f"<code>{markup.escape(line)}</code>"
    if picture is None:
        return said
    content = base64.b64encode(picture).decode()
    return f'<figure><img src="data:image/png;base64,{content}" style="max-width: 100%" alt=""><br>{said}</figure>'


def _scene(about: Subject, *points: Any) -> pictures.Scene:
    span = pictures.span_of(*about.box, about.input, *points)
    return pictures.Scene(about.input, image_layout(about.shape), span)


def _ends(bracket: Bracket) -> tuple[str, str]:
    return ends(bracket.lower, bracket.upper, bracket.precision)


def _run(about: Subject | None) -> RunRecord:
    """What was asked in the words of reports."""
    if about is None:
        return RunRecord("minimal", Path(), "", Path(), 0, "", 0, None, 0.0)
    return RunRecord(
        command=about.command,
        model=Path(about.model),
        model_sha256=about.model_sha256,
        input=Path(),
        index=0,
        norm=about.norm,
        label=about.label,
        target=about.target,
        margin=about.margin,
        radius=about.radius,
        columns=about.columns,
    )


def _asked(about: Subject | None) -> Json:
    if about is None:
        return {}
    return {
        "command": about.command,
        "margin": about.margin,
        "model": about.model,
        "model_sha256": about.model_sha256,
    }


def _with_point(found: Json, witness: Witness | None, about: Subject | None) -> Json:
    """The object without what a run alone knows, the witness with its point in the shape of the input."""
    kept = {key: value for key, value in found.items() if key not in ("method", "solver")}
    if about is None:
        kept = {key: value for key, value in kept.items() if key not in ("norm", "label")}
    if witness is not None:
        shape = about.shape if about is not None else witness.point.shape
        point = np.asarray(witness.point).reshape(shape).tolist()
        inside = {key: value for key, value in found["witness"].items() if key != "path"}
        kept["witness"] = {**inside, "point": point}
        if isinstance(kept.get("float32"), dict):
            kept["float32"] = {key: value for key, value in kept["float32"].items() if key != "witness"}
    return kept
