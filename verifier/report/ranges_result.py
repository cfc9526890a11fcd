"""The ranges of outputs as JSON, as a table, in a line: proved ends rounded outwards, attained values inwards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
from rich.table import Table

from verifier.problem.answer import PropertySubject
from verifier.problem.verdict import Search
from verifier.report.directed_rounding import directed
from verifier.report.json_result import SCHEMA, Json, holds_json, number, search_json


class RangeOfOne(Protocol):
    """The range of one output."""

    @property
    def output(self) -> int: ...
    @property
    def lower(self) -> float: ...
    @property
    def upper(self) -> float: ...
    @property
    def least(self) -> float | None: ...
    @property
    def largest(self) -> float | None: ...
    @property
    def least_at(self) -> npt.NDArray[np.floating] | None: ...
    @property
    def largest_at(self) -> npt.NDArray[np.floating] | None: ...


class RangesAnswer(Protocol):
    """What `verifier.output_ranges` returns."""

    @property
    def ranges(self) -> Sequence[RangeOfOne]: ...
    @property
    def precision(self) -> float | None: ...
    @property
    def float32(self) -> bool: ...
    @property
    def reason(self) -> str: ...
    @property
    def seconds(self) -> float: ...
    @property
    def search(self) -> Search: ...
    @property
    def about(self) -> PropertySubject: ...


def ranges_json(answer: RangesAnswer) -> Json:
    """The object of `verifier bounds --json`."""
    about = answer.about
    return {
        "schema": SCHEMA,
        "command": about.command,
        "ranges": [_range_json(one, about.shape) for one in answer.ranges],
        "precision": answer.precision,
        "float32": holds_json(answer.float32),
        "reason": answer.reason,
        "search": search_json(answer.search),
        "seconds": number(answer.seconds),
        "model": about.model,
        "model_sha256": about.model_sha256,
    }


def _range_json(one: RangeOfOne, shape: tuple[int, ...]) -> Json:
    at = {
        name: None if point is None else point.reshape(shape).tolist()
        for name, point in (("least_at", one.least_at), ("largest_at", one.largest_at))
    }
    return {
        "output": one.output,
        "lower": number(one.lower),
        "least": one.least,
        "largest": one.largest,
        "upper": number(one.upper),
        **at,
    }


def ranges_words(answer: RangesAnswer) -> str:
    """The answer in one line."""
    shown = "; ".join(
        f"y_{one.output} in [{directed(one.lower, up=False)}, {directed(one.upper, up=True)}]"
        for one in answer.ranges[:SHOWN]
    )
    more = "; …" if len(answer.ranges) > SHOWN else ""
    return f"<OutputRanges {shown}{more}, {answer.seconds:.2f} s>"


SHOWN = 3
"""Outputs in one line."""


def ranges_table(answer: RangesAnswer) -> Table:
    """One line an output."""
    float32 = ", for every float32 evaluation as well" if answer.float32 else ""
    title = f"Ranges of outputs of {answer.about.model}, {answer.about.property}, proved{float32}"
    table = Table(title=title, title_justify="left", title_style="bold", caption=answer.reason or None)
    for name in ("output", "lower", "least attained", "largest attained", "upper"):
        table.add_column(name, justify="right")
    for one in answer.ranges:
        table.add_row(
            str(one.output),
            directed(one.lower, up=False),
            "none" if one.least is None else directed(one.least, up=True),
            "none" if one.largest is None else directed(one.largest, up=False),
            directed(one.upper, up=True),
        )
    return table
