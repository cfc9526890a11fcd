"""A report's tables for LaTeX: upper ends rounded up, lower ends down."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from verifier.report.campaign.study import Study
from verifier.report.campaign.tables import TableRow, attacks, table1, table2
from verifier.report.directed_rounding import directed
from verifier.report.norm_signs import NORM_LATEX

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


def latex_file(study: Study) -> str:
    """Tables 1 and 2 and the attacks, for \\usepackage{booktabs}: upper ends rounded up, lower ends down."""
    parts = ["% Needs \\usepackage{booktabs}. Upper ends are rounded up, lower ends down."]
    for columns, head, rows in (_latex_table1(study), _latex_table2(study), _latex_attacks(study)):
        if rows:
            parts.append(_tabular(columns, head, rows))
    return "\n\n".join(parts) + "\n"


Tabular = tuple[str, Sequence[str], list[list[str]]]


def _latex_table1(study: Study) -> Tabular:
    head = ("Model", "Norm", "Closed", "Initial", "Minimal", "Impr.", "Initial (all)", "Minimal (all)", "Impr.")
    rows = [
        [_model(row), NORM_LATEX[row["norm"]], f"{row['closed']}/{row['instances']}",
         *_mean_cells(row, "closed"), *_mean_cells(row, "all")]
        for row in table1(study)
    ]  # fmt: skip
    return "llr rrr rrr", head, rows


def _latex_table2(study: Study) -> Tabular:
    head = ("Undefended", "Defended", "Norm", "Both closed", "Undef.", "Def.", "Factor", "Worse", "By")
    rows = [
        [_model(row, "undefended"), latex(row["defended"]), NORM_LATEX[row["norm"]], str(row["closed_on_both"]),
         _up(row["undefended_mean"]), _up(row["defended_mean"]), f"{row['factor']:.2f}",
         str(row["worse"]), _percent(row["worse_by_mean"])]
        for row in table2(study)
    ]  # fmt: skip
    return "lllr rrr rr", head, rows


def _latex_attacks(study: Study) -> Tabular:
    head = ("Model", "Norm", "Attack", "Found", "At minimum", "Median ratio", "90 \\%", "Largest")
    rows = [
        [_model(row), NORM_LATEX[row["norm"]], latex(row["attack"]), f"{row['found']}/{row['measured']}",
         str(row["at_minimum"]), _down(row["ratio_median"]), _down(row["ratio_p90"]), _down(row["ratio_max"])]
        for row in attacks(study)
    ]  # fmt: skip
    return "lllrr rrr", head, rows


def _model(row: TableRow, key: str = "model") -> str:
    """A model's name, with its output where one was chosen, and the transformations of the questions to it."""
    named = ", output ".join(filter(None, (row[key], row.get("output"))))
    return latex(" under ".join(filter(None, (named, row.get("transforms")))))


def _mean_cells(row: TableRow, prefix: str) -> list[str]:
    return [_up(row[f"{prefix}_initial"]), _up(row[f"{prefix}_upper"]), _percent(row[f"{prefix}_improvement"])]


def _up(value: float | None) -> str:
    return "--" if value is None else directed(value, up=True, places=4)


def _down(value: float | None) -> str:
    return "--" if value is None else directed(value, up=False, places=3)


def _percent(value: float | None) -> str:
    return "--" if value is None else f"{100 * value:.1f}\\,\\%"


def _tabular(columns: str, head: Iterable[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"\\begin{{tabular}}{{{columns}}}", "\\toprule", " & ".join(head) + r" \\", "\\midrule"]
    lines += [" & ".join(row) + r" \\" for row in rows]
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}"])
