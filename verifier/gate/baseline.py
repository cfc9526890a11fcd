"""A baseline: the brackets that later models are compared with, as a small file that is reviewed as a diff.

Inputs are sorted and told apart by their content and label; ends are rounded outwards to DIGITS significant digits, so
that a rerun of the same model changes nothing that a reader would look at.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from pathlib import Path
from typing import Any

from encoders.errors import InputError
from encoders.files.regular_file import regular_size
from verifier.campaign.plan.identity import columns_sha256
from verifier.gate.verdict import Group, Known, mean_ends
from verifier.problem.inputs.columns import Columns

FORMAT = "relu-verifier baseline 1"
LARGEST = 2**28
"""Bytes: a million inputs take a tenth of it."""
DIGITS = 4
"""Significant digits of a distance: a tenth of a percent, finer than brackets are closed by default."""


@dataclass(frozen=True, eq=False)
class Baseline:
    """What a file says: by group and identity of the input its lower end and name; the radii of certified accuracy."""

    path: Path
    lowers: Mapping[tuple[str, str], Mapping[str, float]]
    accuracy_radii: Mapping[tuple[str, str], tuple[float, ...]]
    names: Mapping[tuple[str, str], Mapping[str, str]]
    columns: Mapping[str, str] = field(default_factory=dict)
    """Which inputs it is about, by their identity in words; empty: all of the box."""

    def must_be_about(self, columns: Columns | None) -> None:
        """Raises InputError where it is about other inputs that can occur: distances among these do not compare."""
        asked = {} if columns is None else {columns_sha256(columns): columns.told}
        if self.lowers and dict(self.columns) != asked:
            then, now = (" and ".join(named.values()) or "all inputs of the box" for named in (self.columns, asked))
            other = " (other columns, or in other units)" if then == now else ""
            raise InputError(
                f"{self.path}: it is about {then}, and now {now} are asked about{other}: "
                "write a new one with --update-baseline"
            )

    def of(self, group: Group) -> Mapping[str, float]:
        """The proved lower ends of a group's inputs, by identity."""
        return self.lowers.get(self._key(group), {})

    def called(self, group: Group) -> Mapping[str, str]:
        """What a group's inputs are called, by identity."""
        return self.names.get(self._key(group), {})

    def radii(self, group: Group) -> tuple[float, ...]:
        """The radii at which certified accuracy is compared."""
        return self.accuracy_radii.get(self._key(group), ())

    def _key(self, group: Group) -> tuple[str, str]:
        """By the model's file name; a baseline of a single model is everyone's."""
        names = {model for model, _ in self.lowers}
        return (names.pop() if len(names) == 1 else group.model.name), group.norm


def identity(input_sha256: str, label: int) -> str:
    """What tells inputs apart across models: their content, and what they are labelled."""
    return f"{input_sha256[:16]}/{label}"


def read_baseline(path: Path) -> Baseline:
    """Read a baseline. Raises InputError, one line, for a file that is none."""
    if not path.exists():
        raise InputError(f"{path}: no such file: verifier gate --update-baseline {path} writes it")
    try:
        regular_size(path, LARGEST)
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise InputError(f"{path}: its format is {content['format']!r}, not {FORMAT!r}")
        lowers, radii, names, columns = {}, {}, {}, dict[str, str]()
        for group in content["groups"]:
            key = str(group["model"]), str(group["norm"])
            if (some := group.get("columns")) is not None:
                columns[str(some["sha256"])] = str(some["told"])
            lowers[key] = {str(one["identity"]): _end(one["lower"]) for one in group["inputs"]}
            names[key] = {str(one["identity"]): str(one["input"]) for one in group["inputs"]}
            radii[key] = tuple(_end(radius) for radius in group["certified_accuracy"])
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{path} is no baseline: {type(error).__name__}: {error}") from None
    return Baseline(path, lowers, radii, names, columns)


def _end(value: Any) -> float:
    """A distance ≥ 0; "inf" where there is none."""
    if isinstance(value, bool):
        raise TypeError(f"{value!r} is no distance")
    number = float(value)
    if not number >= 0:
        raise ValueError(f"{value!r} is no distance")
    return number


def baseline_text(
    known: Mapping[Group, Sequence[Known]], digests: Mapping[Path, str], radii: Sequence[float], engine: str
) -> str:
    """The file's text: groups, and their inputs, in a fixed order."""
    groups = [_group(group, known[group], digests[group.model], radii) for group in sorted(known, key=_order)]
    return json.dumps({"format": FORMAT, "engine": engine, "groups": groups}, indent=1, allow_nan=False) + "\n"


def _order(group: Group) -> tuple[str, str]:
    return group.model.name, group.norm


def _group(group: Group, inputs: Sequence[Known], digest: str, radii: Sequence[float]) -> dict[str, Any]:
    count = len(inputs)
    lower, upper = mean_ends(inputs)
    rows = [
        {
            "input": one.name,
            "identity": one.identity,
            "lower": _proved(one, radii),
            "upper": rounded(one.upper, up=True),
            "evidence": one.evidence,
        }
        for one in sorted(inputs, key=lambda one: (one.name, one.identity))
    ]
    return {
        "model": group.model.name,
        "model_sha256": digest,
        "norm": group.norm,
        "mean": [rounded(lower, up=False), rounded(upper, up=True)],
        "certified_accuracy": {
            f"{radius!r}": round(sum(one.holds(one.in_steps(radius)) for one in inputs) / count, 6)
            for radius in sorted(set(radii))
        },
        **_columns(inputs[0]),
        "inputs": rows,
    }


def _proved(one: Known, radii: Sequence[float]) -> float | str:
    """Its lower end, rounded: no radius that it reaches is lost, nor is a step gained that it does not."""
    found = rounded(one.lower, up=False)
    if isinstance(found, str):
        return found
    while one.in_steps(found) > one.lower:
        found = float(Context(prec=DIGITS).next_minus(Decimal(repr(found))))
    return max([found, *(radius for radius in radii if one.lower >= one.in_steps(radius))])


def _columns(one: Known) -> dict[str, Any]:
    """Which inputs were asked about, where these are not all of the box."""
    if one.lattice is None:
        return {}
    columns = one.lattice.asked
    return {"columns": {"sha256": columns_sha256(columns), "told": columns.told}}


def rounded(value: float, *, up: bool) -> float | str:
    """`value` to DIGITS significant digits, never inwards; "inf" where it has no end."""
    if math.isinf(value):
        return "inf"
    context = Context(prec=DIGITS, rounding=ROUND_CEILING if up else ROUND_FLOOR)
    return _outwards(float(context.create_decimal(repr(value))), value, up=up)


def _outwards(near: float, value: float, *, up: bool) -> float:
    """The decimal's nearest float64 may lie on the wrong side of `value` where that has no more digits itself."""
    return max(near, value) if up else min(near, value)
