"""Findings about a list of instances as tables and as a page of Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from benchmarks.harness.record import table
from benchmarks.vnncomp.referee_page import (
    OPEN,
    PROVED_SAT,
    PROVED_UNSAT,
    contradiction_table,
    tool_table,
    witness_table,
)
from benchmarks.vnncomp.run import TORN
from benchmarks.vnncomp.submitted import Kind

TEXT = """# How the instances of {name} end

`{command}` ({date})

**Proved sat**: a counterexample without any tolerance, in exact arithmetic and in ONNX Runtime. **Proved unsat**: over
the reals; *certificate*: the lone checker accepted a proof; *float32*: for every float32 evaluation as well.
**Tolerance only**: no number of the network's dtype lies in the box, but a real point of it satisfies the property.

{tables}
"""

CELL = 100
"""Characters of a reason in a table; the JSON has all of it."""


def page(found: dict[str, Any]) -> str:
    """The page, in Markdown."""
    session, name = found["session"], found["instances"][0]["instance"][0]
    return TEXT.format(name=name, command=session["command"], date=session["started"][:10], tables=tables(found))


def tables(found: dict[str, Any]) -> str:
    """Each instance and how it ends, how many end how, and what was said that is not so, where anything was."""
    instances = found["instances"]
    parts: list[tuple[str, Callable[[list[dict[str, Any]]], str]]] = [
        ("tools", tool_table),
        ("witnesses", witness_table),
        ("witnesses", inexact_table),
        ("contradictions", contradiction_table),
        ("unmatched", unmatched_table),
    ]
    shown = [make(found[name]) for name, make in parts if found.get(name)]
    return "\n\n".join([ending_table(instances), count_line(instances), *filter(None, shown)])


def ending_table(instances: list[dict[str, Any]]) -> str:
    """How each instance ends, by whom, and where the truth lies or why it is open."""
    header = ["network", "property", "ends", "by", "certificate", "float32", "s", "why"]
    lines = []
    for one in instances:
        cells = [*one["instance"][1:], one["ends"], one["by"], _cell(one["certificate"])]
        lines.append([*cells, "yes" if one["float32"] else "", f"{one['seconds']:.2f}", _cell(one["why"])])
    return table(header, lines)


def count_line(instances: list[dict[str, Any]]) -> str:
    """How many end how."""
    ends = Counter(one["ends"] for one in instances)
    told = ", ".join(f"{ends[kind]} {kind}" for kind in (PROVED_SAT, PROVED_UNSAT, TORN, OPEN))
    accepted = sum(one["certificate"] == "accepted" for one in instances)
    return f"{len(instances)} instances: {told}; {accepted} certificates accepted"


def inexact_table(witnesses: list[dict[str, Any]]) -> str:
    """The submitted points that are not exact: what they are, and which row they miss; "" where all are."""
    poor = [one for one in witnesses if one["is"] != Kind.EXACT]
    lines = [[one["tool"], *one["instance"][1:], one["is"], _cell(one["why"])] for one in poor]
    return table(["witness of", "network", "property", "is", "because"], lines) if lines else ""


def unmatched_table(unmatched: list[dict[str, Any]]) -> str:
    """What was submitted about no instance of the list, and was not judged."""
    lines = [[one["place"], str(one["count"]), _cell(one["first"]), one["why"]] for one in unmatched]
    return table(["not judged", "how many", "such as", "because"], lines)


def _cell(text: str) -> str:
    plain = " ".join(text.split()).replace("|", r"\|")
    return plain if len(plain) <= CELL else plain[: CELL - 1] + "…"
