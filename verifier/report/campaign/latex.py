"""The words of tables for LaTeX: upper ends rounded up, lower ends down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from verifier.report.directed_rounding import directed

LATEX_SIGNS = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
}  # fmt: skip


def latex(text: object) -> str:
    """Text with the signs that LaTeX would take for commands.

    >>> latex("mnist_n & 5 %")
    'mnist\\\\_n \\\\& 5 \\\\%'
    """
    return "".join(LATEX_SIGNS.get(sign, sign) for sign in str(text))


Tabular = tuple[str, Sequence[str], list[list[str]]]
"""A table: how its columns are aligned, their heads, the rows."""


def model_cell(row: Mapping[str, Any], key: str = "model") -> str:
    """A model's name, with its output where one was chosen, the questions' transformations, and which inputs occur."""
    named = ", output ".join(filter(None, (row[key], row.get("output"))))
    under = " under ".join(filter(None, (named, row.get("transforms"))))
    return latex(", only ".join(filter(None, (under, row.get("only")))))


def up(value: float | None) -> str:
    return "--" if value is None else directed(value, up=True, places=4)


def down(value: float | None) -> str:
    return "--" if value is None else directed(value, up=False, places=3)


def percent(value: float | None) -> str:
    return "--" if value is None else f"{100 * value:.1f}\\,\\%"


def tabular(table: Tabular) -> str:
    """A table for \\usepackage{booktabs}."""
    columns, head, rows = table
    lines = [f"\\begin{{tabular}}{{{columns}}}", "\\toprule", " & ".join(head) + r" \\", "\\midrule"]
    lines += [" & ".join(row) + r" \\" for row in rows]
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}"])
