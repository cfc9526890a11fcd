"""The tables of PERFORMANCE.md: what the records say, the accurate pair of nets before the decayed one."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping
from itertools import product

from benchmarks.engine import certificates, promises
from benchmarks.harness.instances import Result
from benchmarks.harness.ratios import contradictions, ratio
from benchmarks.harness.record import table
from benchmarks.harness.table_set import DECAYED, NORMS, PAIRS, record_path
from benchmarks.paper import published, table1, table2
from benchmarks.peers import peers
from benchmarks.performance.provenance import Measured, measured, rows_of
from verifier import models
from verifier.report.norm_signs import NORM_SIGNS

AIMS: Mapping[tuple[str, str], float] = {
    ("N", "linf"): 0.4, ("N", "l1"): 0.4, ("N-bar", "linf"): 2.0, ("N-bar", "l1"): 1.1,
}  # fmt: skip
"""Mean CPU seconds an instance that were asked for, after prototypes on other nets of this shape."""


class NotMeasuredError(Exception):
    """A record that a table needs is not there."""


def of_pair(name: str, pair: str) -> Measured:
    """A benchmark's record on a pair of nets. Raises NotMeasuredError."""
    return of(record_path(name, pair).stem)


def of(name: str) -> Measured:
    """The record of that name. Raises NotMeasuredError."""
    record = measured(name)
    if record is None:
        raise NotMeasuredError(f"benchmarks/results/{name}.json is missing")
    return record


def accuracy(model: str) -> str:
    """How many of the test images a shipped net classifies correctly, by its record."""
    record = json.loads(models.path(model).with_name("record.json").read_text(encoding="utf-8"))[model]
    return f"{100 * record['test_correct'] / record['test_total']:.1f} %"


def round_table() -> str:
    """The decayed pair in L2, which is no norm of the paper."""
    record = of("table1_engine_l2_decayed")
    cells = []
    for model in PAIRS[DECAYED]:
        closed, mean, median, largest, nodes, *_ = table1.figures([row for row in record.results if row.model == model])
        cells.append(f"`{model}` {closed}, CPU s mean {mean}, median {median}, max {largest}, {nodes} nodes")
    return f"In L2: {'; '.join(cells)}. {record.provenance()}"


def first_table() -> str:
    """Table 1 of the paper: for each net and norm what is closed, and at what cost."""
    lines = []
    for pair, nets in PAIRS.items():
        rows = of_pair("table1_engine", pair).results
        for (net, model), norm in product(zip(published.NETS, nets, strict=True), NORMS):
            closed, mean, *rest = table1.figures([row for row in rows if (row.model, row.norm) == (model, norm)])
            paper = f"{published.TABLE1[net, norm].closed}/{published.INSTANCES}"
            lines.append((f"`{model}`", NORM_SIGNS[norm], paper, closed, f"{mean} ({AIMS[net, norm]:g})", *rest))
    return table(
        ("net", "norm", "closed: paper", "ours", "CPU s: mean (aim)", "median", "max", "nodes (mean)", "minimum (mean)",
         "attack / minimum"),
        lines,
    )  # fmt: skip


def second_table() -> str:
    """Table 2 of the paper, and what both pairs of nets make of it."""
    lines = []
    for norm in NORMS:
        printed = published.TABLE2.get(norm)
        if printed is not None:
            values = f"{printed.undefended:g}", f"{printed.defended:g}", f"{printed.factor:g}", str(printed.worse)
            lines.append((NORM_SIGNS[norm], "the paper's", str(printed.instances), *values))
        for pair, nets in PAIRS.items():
            found = table2.pairs(of_pair("table1_engine", pair).results, norm, nets)
            before, after = (statistics.fmean(each[place].upper for each in found) for place in (0, 1))
            worse = sum(defended.upper < undefended.lower for undefended, defended in found)
            numbers = f"{before:.4f}", f"{after:.4f}", f"{after / before:.2f}", str(worse)
            lines.append((NORM_SIGNS[norm], pair, str(len(found)), *numbers))
    return table(("norm", "pair", "instances", "minimum on N (mean)", "on N̄", "factor", "nearer on N̄"), lines)


WORDS = {
    "precision": ("1e-6 instead of 1e-3", "CPU s"),
    "targets": ("nine targets together instead of one by one", "CPU s"),
    "threads": ("two threads instead of one", "wall s"),
}


def kept_promises() -> str:
    """Two ways to the same brackets, for each pair that was measured; a tree's memory at the end."""
    known = {pair: rows_of(promises.Row, of_pair("promises", pair)) for pair in PAIRS}
    lines = []
    for (name, part), norm in product(promises.PARTS.items(), NORMS):
        cells = []
        for rows in known.values():
            sides = [[row for row in rows if (row.part, row.way, row.norm) == (name, way, norm)] for way in part.ways]
            one, other = (math.fsum(getattr(row, part.measure) for row in side) for side in sides)
            open_ = sum(not row.closed for side in sides for row in side)
            cells += [f"{one:.1f} → {other:.1f}", f"{other / one:.2f}", str(open_)] if one else ["", "", ""]
        words, unit = WORDS[name]
        lines.append((words, NORM_SIGNS[norm], f"{part.most:.2g} ({unit})", *cells))
    header = (
        "way",
        "norm",
        "ratio at most",
        *(f"{pair}{column}" for pair in PAIRS for column in (": s", ", ratio", ", open")),
    )
    return table(header, lines)


def memory() -> str:
    """What the open nodes of one tree weigh."""
    rows = [row for pair in PAIRS for row in rows_of(promises.Row, of_pair("promises", pair)) if row.megabytes]
    (row,) = rows
    assert row.megabytes is not None
    each = row.megabytes * 2**20 / row.nodes
    return f"{row.nodes:,} open nodes of a tree on `{row.model}` weigh {row.megabytes:,.0f} MiB, {each:,.0f} bytes each"


def beside_peers() -> str:
    """Other solvers on the same instances: closed, the ratio of CPU seconds, and the median of wall seconds."""
    lines = []
    for norm, method in product(NORMS, peers.METHODS):
        cells = []
        for pair in PAIRS:
            record = of_pair("peers", pair)
            part = [row for row in record.results if row.norm == norm]
            ours, theirs = ([row for row in part if row.method == each] for each in (peers.OURS, method))
            times = str(ratio(ours, theirs, record.setting["timeout"], "cpu_seconds"))
            median = statistics.median(row.seconds for row in theirs)
            cells += [f"{sum(row.closed for row in theirs)}/{len(theirs)}", times, f"{median:.3g}"]
        name = "ours" if method == peers.OURS else method
        lines.append((NORM_SIGNS[norm], name, *cells))
    columns = (": closed", ", CPU / ours", ", median s")
    return table(("norm", "method", *(f"{pair}{column}" for pair in PAIRS for column in columns)), lines)


def peer_contradictions() -> int:
    """Optima of other solvers that lie outside our brackets."""
    found = 0
    for pair in PAIRS:
        rows = of_pair("peers", pair).results
        ours: list[Result] = [row for row in rows if row.method == peers.OURS]
        found += len(contradictions(ours, [row for row in rows if row.method != peers.OURS]))
    return found


def certified() -> str:
    """Certificates of table 1: how large, and how long they take beside the solve."""
    lines = []
    for pair, nets in PAIRS.items():
        rows = rows_of(certificates.Row, of_pair("certificates", pair))
        for model, norm in product(nets, NORMS):
            part = [row for row in rows if (row.model, row.norm) == (model, norm)]
            made = [row for row in part if row.certified]
            leaves, solved = sum(row.leaves for row in made), sum(row.solve_seconds for row in made)
            lines.append(
                (
                    f"`{model}`",
                    NORM_SIGNS[norm],
                    f"{len(made)}/{len(part)}",
                    f"{leaves / len(made):,.0f} / {max(row.leaves for row in made):,}",
                    f"{sum(row.size for row in made) / leaves:.0f}",
                    f"{sum(row.build_seconds for row in made) / solved:.2f}",
                    f"{sum(row.check_seconds for row in made) / solved:.2f}",
                    f"{max(row.check_seconds / row.solve_seconds for row in made):.2f}",
                )
            )
    header = (
        "net",
        "norm",
        "certified",
        "leaves: mean / max",
        "bytes a leaf",
        "build / solve",
        "check / solve",
        "worst",
    )
    return table(header, lines)
