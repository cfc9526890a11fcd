"""A block for a model's card on Hugging Face: certified accuracy in its metadata and in words, with pictures.

The metadata follow the Hub's specification of `model-index` (github.com/huggingface/hub-docs, modelcard.md): for each
result a task, a dataset, and metrics with type, value, name and args.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from encoders.errors import InputError
from verifier import __version__
from verifier.campaign.analysis.certified_accuracy import Curve
from verifier.campaign.store.merge import CONTRADICTION
from verifier.campaign.store.records import Result
from verifier.gate.evidence_figures import sampling
from verifier.problem.inputs.image_layout import image_layout
from verifier.report.campaign.charts import distribution_chart
from verifier.report.campaign.sections.curves import robust, shown_radii
from verifier.report.campaign.sections.distribution import band_text, share_text
from verifier.report.campaign.study import Study
from verifier.report.campaign.svg import alone
from verifier.report.directed_rounding import directed
from verifier.report.json_result import Json
from verifier.report.markdown_words import cell
from verifier.report.norm_signs import NORM_SIGNS

CARD = "model-card"
METRIC, MEDIAN = "certified_accuracy", "median_minimal_distance"
"""Metric ids of our own: the Hub's have neither."""
MEANING = (
    "An input is robust within a radius if it, and everything of the box that near, is classified as it is labelled. "
    "At least the first share of the inputs is robust, by lower ends (below: on what evidence) about the network in "
    "real arithmetic over its exact weights; at most the second is: the others have witnesses that ONNX Runtime "
    "misclassifies. Between the two, brackets are open."
)
SOME = (
    'Where "only" is said, the box is that of the inputs that can occur: of others, which lie between them, nothing is '
    "claimed."
)
WHOLE = ("all", "untargeted")
"""Targets with which an input that stands is robust."""
OWN_KEYS = ("models", "data", "store", "points", "transforms", "units", "select")
"""Of a plan: told apart, or files of whoever ran it."""


def model_cards(study: Study, made: datetime, style: str) -> dict[str, str]:
    """The block of each model and its pictures, by file name; style: the report's, for the pictures.

    Raises InputError where what was asked is not whether inputs keep their class.
    """
    found: dict[str, str] = {}
    for model, name in study.names.items():
        _check(study, model)
        stem = CARD if len(study.names) == 1 else f"{CARD}-{re.sub('[^A-Za-z0-9.]+', '-', name)}-{model[:6]}"
        own = [curve for curve in study.curves if curve.group.model == model]
        pictures = {f"{stem}-{place}.svg": _picture(study, curve) for place, curve in enumerate(own, start=1)}
        found |= {file: alone(chart, style) for file, chart in pictures.items() if chart is not None}
        shown = [file if chart is not None else None for file, chart in pictures.items()]
        found[f"{stem}.md"] = _card(study, model, list(zip(own, shown, strict=True)), made)
    return found


REQUIRED: Sequence[tuple[str, Callable[[Any], bool], str]] = (
    ("targets", lambda value: value in WHOLE, f"one of {', '.join(WHOLE)}"),
    ("margin", lambda value: value == 0, "0"),
    ("transforms", lambda value: value is None, "none"),
)
"""What a plan says where an input that stands is robust, and that in words."""


def _check(study: Study, model: str) -> None:
    """Raise InputError where what was asked of a model, or found, is no certified accuracy."""
    plans, name = _plans(study, model), study.names[model]
    if any(one.status == CONTRADICTION for one in study.contents.results if one.model_sha256 == model):
        raise InputError(f"--model-card: runs about {name} contradict each other")
    if not plans:
        raise InputError(f"--model-card: no plan of the store says what {name} was asked")
    for plan in plans:
        for key, fits, right in REQUIRED:
            if not fits(plan.get(key)):
                told = json.dumps(plan.get(key))
                raise InputError(f"--model-card: {name} was asked with {key} {told}; certified accuracy needs {right}")


def _picture(study: Study, curve: Curve) -> Any:
    return distribution_chart([(0, curve.distances)], [study.name(curve.group)], NORM_SIGNS[curve.group.norm])


def _card(study: Study, model: str, curves: Sequence[tuple[Curve, str | None]], made: datetime) -> str:
    own = [one for one in study.contents.results if one.model_sha256 == model]
    lines = ["---", *_metadata(study, model, [curve for curve, _ in curves], own), "---", ""]
    lines += ["## Robustness: provably minimal adversarial distances", "", MEANING]
    if any(one.only for one in own):
        lines += ["", SOME]
    for curve, picture in curves:
        lines += ["", f"### {cell(study.group_name(curve.group))}", "", *_accuracy(curve), "", *_quantiles(curve)]
        if picture is not None:
            lines += ["", f"![Distribution of the minimal distances]({picture})"]
    lines += ["", *_table(("", ""), _facts(study, model, own, made)), "", *_reproduction(_plans(study, model))]
    return "\n".join(lines) + "\n"


def metrics(curve: Curve, only: str = "") -> list[Json]:
    """Certified accuracy at round radii, and the median distance: values are proved, args say what is not refuted.

    only: which inputs can occur, in words; "": all of the box.
    """
    known = {"norm": curve.group.norm, "inputs": curve.inputs, **({"only": only} if only else {})}
    sign, found = NORM_SIGNS[curve.group.norm], []
    for radius in shown_radii([curve]):
        share = robust(curve, *curve.fallen(radius))
        args = {**known, "radius": radius, "at_most": share["robust_at_most"]}
        name = f"certified accuracy, {sign} ≤ {radius:g}"
        found.append({"type": METRIC, "name": name, "value": share["robust_at_least"], "args": args})
    median = next(one for one in curve.distances.quantiles if one.share == 0.5)
    if math.isfinite(median.lower):
        most = {"at_most": median.upper} if math.isfinite(median.upper) else {}
        args = {**known, **most}
        found.append({"type": MEDIAN, "name": f"median minimal distance, {sign}", "value": median.lower, "args": args})
    return found


def _metadata(study: Study, model: str, curves: Sequence[Curve], own: Sequence[Result]) -> list[str]:
    """The front matter, line by line."""
    image = image_layout(study.contents.tasks[own[0].task].shape) is not None
    task = "image-classification" if image else "tabular-classification"
    source, selected = Path(own[0].source).stem, sampling(_plans(study, model)).words
    lines = ["model-index:", f"- name: {_scalar(study.names[model])}", "  results:"]
    lines += ["  - task:", f"      type: {task}", "    dataset:"]
    lines += [f"      type: {_scalar(source)}  # its id on the Hub", f"      name: {_scalar(selected)}"]
    lines += ["    metrics:"]
    told = [(curve, study.occurring.get(curve.group.lattice, "")) for curve in curves]
    for one in (metric for curve, only in told for metric in metrics(curve, only)):
        lines += [
            f"    - type: {one['type']}",
            f"      name: {_scalar(one['name'])}",
            f"      value: {_scalar(one['value'])}",
        ]
        lines += ["      args:", *(f"        {key}: {_scalar(value)}" for key, value in one["args"].items())]
    return lines


def _scalar(value: str | float) -> str:
    """A text or number as YAML 1.1 and 1.2 read it.

    >>> _scalar("a: b"), _scalar(1e-5), _scalar(0.5), _scalar(20)
    ('"a: b"', '1.0e-05', '0.5', '20')
    """
    if isinstance(value, str):
        return json.dumps("".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in value),
                          ensure_ascii=False)  # fmt: skip
    return re.sub(r"^(-?\d+)e", r"\1.0e", repr(value))  # 1e-05 would be a text in YAML 1.1


def _accuracy(curve: Curve) -> list[str]:
    rows = []
    for radius in shown_radii([curve]):
        share = robust(curve, *curve.fallen(radius))
        ends = ((share["robust_at_least"], False), (share["robust_at_most"], True))
        rows.append([f"{radius:g}", *(f"{directed(100 * end, up=up, places=1)} %" for end, up in ends)])
    return _table(("radius", "certified accuracy, at least", "at most"), rows)


def _quantiles(curve: Curve) -> list[str]:
    known = curve.distances.quantiles
    bands = [band_text(one.lower, one.upper) for one in known]
    return _table(
        ("share of the inputs", *(share_text(one.share) for one in known)), [["minimal distance at most", *bands]]
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]


def _facts(study: Study, model: str, own: Sequence[Result], made: datetime) -> list[list[str]]:
    inputs = {(one.source, one.index) for one in own}
    evidence = Counter(study.evidence(one) for one in own if one.lower > 0)
    told = ", ".join(f"{number} {level}" for level, number in evidence.most_common()) or "none"
    return [
        ["model", f"{cell(study.names[model])}, sha256 `{model}`"],
        ["inputs", cell(f"{len(inputs)}: {sampling(_plans(study, model)).words}")],
        ["questions", f"{sum(one.closed for one in own)} of {len(own)} closed to the precision"],
        ["lower ends", told],
        ["tool", f"relu-verifier {__version__}, {made.strftime('%Y-%m-%d')}"],
    ]


def _plans(study: Study, model: str) -> list[Mapping[str, Any]]:
    """The plans that ask about a model, or about a file whose name the store no longer knows: it may be this one."""
    known = {one.model.name for one in study.contents.results}
    own = {one.model.name for one in study.contents.results if one.model_sha256 == model}
    asked = [(plan, {Path(file).name for file in plan["models"]}) for plan in study.contents.plans]
    return [plan for plan, files in asked if files & own or files - known]


def _reproduction(plans: Sequence[Mapping[str, Any]]) -> list[str]:
    """What a stranger writes and runs to get the same; paths are names."""
    lines = ["To reproduce, with the model and the data beside the plan:", ""]
    for place, plan in enumerate(plans, start=1):
        name = "plan" if len(plans) == 1 else f"plan-{place}"
        lines += ["```toml", f"# {name}.toml", *_toml(plan), "```", ""]
    names = ["plan"] if len(plans) == 1 else [f"plan-{place}" for place in range(1, len(plans) + 1)]
    commands = [f"verifier campaign {name}.toml --store plan.sqlite" for name in names]
    return [*lines, "```sh", f"pip install relu-verifier=={__version__}", *commands,
            "verifier report plan.sqlite --out report --model-card", "```"]  # fmt: skip


def _toml(plan: Mapping[str, Any]) -> list[str]:
    """A plan as its file; left out is what has no value, and what its runner's own files are."""
    told = {"models": [Path(file).name for file in plan["models"]], "data": Path(str(plan.get("data"))).name}
    told |= {key: value for key, value in plan.items() if key not in OWN_KEYS}
    select = plan.get("select")
    lines = [f"{key} = {_toml_value(value)}" for key, value in told.items() if _given(value)]
    chosen = {key: value for key, value in (select if isinstance(select, dict) else {}).items() if _given(value)}
    return [
        *lines,
        *(["[select]"] if chosen else []),
        *(f"{key} = {_toml_value(value)}" for key, value in chosen.items()),
    ]


def _given(value: Any) -> bool:
    return value not in (None, [], "") and not (isinstance(value, float) and not math.isfinite(value))


def _toml_value(value: Any) -> str:
    """Numbers, texts, flags and lists of these are written in TOML as in JSON."""
    return json.dumps(value, ensure_ascii=True)
