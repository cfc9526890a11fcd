"""One row for each record that has no table of its own in PERFORMANCE.md."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping

from benchmarks.engine import gate_cache, growth, large_certificates, reach, retraining, soundness, time_limits
from benchmarks.engine import throughput as tree_throughput
from benchmarks.engine.ablations import BASELINE, VARIANTS
from benchmarks.harness.instances import Result
from benchmarks.harness.ratios import ratio
from benchmarks.performance.pictures import SHOWN
from benchmarks.performance.provenance import Measured, measured, rows_of, share
from benchmarks.vnncomp import roots
from benchmarks.vnncomp.certificates import CertificateRow
from benchmarks.vnncomp.peers import PeerRow
from benchmarks.vnncomp.run import SAT, TORN, UNSAT, VnnRow
from verifier.report.norm_signs import NORM_SIGNS


def by_method(rows: list[Result], *methods: str) -> list[list[Result]]:
    """The rows of each method."""
    return [[row for row in rows if row.method == method] for method in methods]


def settings(record: Measured) -> str:
    """The tree with one setting changed: the changes that cost most, beside the default."""
    rows, limit = record.results, record.setting["timeout"]
    (default,) = by_method(rows, BASELINE)
    changed = [name for name, variant in VARIANTS.items() if variant.against == BASELINE != name]
    times = {name: ratio(default, by_method(rows, name)[0], limit, "cpu_seconds") for name in changed}
    dearest = sorted(times.items(), key=lambda each: -each[1].mean)[:6]
    return "; ".join(f"{name} × {multiple}" for name, multiple in dearest)


def sizes(record: Measured) -> str:
    """The engine that users get, and the bound tree, beside the LP tree."""
    rows, cells = record.results, []
    for model in dict.fromkeys(row.model for row in rows):
        lp, bound, auto = by_method([row for row in rows if row.model == model], "lp", "bound", "auto")
        times = [str(ratio(lp, other, record.setting["timeout"])) for other in (bound, auto)]
        cells.append(f"{model} {share((row.closed for row in auto), auto)}, × {times[0]}, × {times[1]}")
    return "; ".join(cells)


def reached(record: Measured) -> str:
    """Upper end / lower end in the median, what is aimed at, and the CPU seconds that a bracket had in the mean."""
    cells = []
    for net, norm, rows in reach.of_each(rows_of(reach.Row, record)):
        aim = reach.AIMS.get((net, norm))
        wanted = "" if aim is None else f" (aim {aim:g})"
        seconds = statistics.fmean(row.cpu_seconds or 0.0 for row in rows)
        cells.append(
            f"{net} {NORM_SIGNS[norm]} {reach.median_width(rows):.2f}{wanted}, {len(rows)} images, {seconds:.0f} s"
        )
    return "; ".join(cells)


def grown(record: Measured) -> str:
    """What each step of the largest networks costs."""
    rows, cells = rows_of(growth.Row, record), []
    for net, relus in dict.fromkeys((row.net, row.relus) for row in rows if row.relus >= LARGE):
        own = (row for row in rows if row.net == net)
        steps = (f"{row.step} {row.cpu_seconds:.1f} s, {row.peak_mib / 1024:.1f} GiB" for row in own)
        cells.append(f"{net} ({relus:,} ReLUs): {', '.join(steps)}")
    missed = len(growth.missed(rows, record.setting["timeout"]))
    return f"{'; '.join(cells)}; {missed} above 8 GiB or later than allowed"


LARGE = 90_000
"""ReLUs of the networks whose costs are told in words."""


def safety(record: Measured) -> str:
    """Safe arithmetic against none, and both ends against the real one."""
    rows, limit = record.results, record.setting["timeout"]
    unsafe, safe, again, both = by_method(rows, "unsafe", "safe", "safe, again", "safe, float32 too")
    one, two, control = (ratio(*sides, limit, "cpu_seconds") for sides in ((unsafe, safe), (safe, both), (safe, again)))
    closed = share((row.closed for row in safe), safe)
    return f"{closed} closed; safe / unsafe {one}; both ends / safe {two}; safe again / safe (control) {control}"


def references(record: Measured) -> str:
    """Our attacks beside reference implementations."""
    found = sum(row["found"] for row in record.rows), sum(row["reference_found"] for row in record.rows)
    ratios = [row["median"] / row["reference_median"] for row in record.rows]
    times = [row["reference_seconds"] / row["seconds"] for row in record.rows]
    return (
        f"{len(record.rows)} attacks: points found {found[0]} / {found[1]}; ours / theirs of the medians of distances: "
        f"median {statistics.median(ratios):.3f}, largest {max(ratios):.3f}; CPU theirs / ours: median "
        f"{statistics.median(times):.1f}, least {min(times):.1f}"
    )


def throughput(record: Measured) -> str:
    """Gradient evaluations a second, ONNX Runtime beside PyTorch."""
    return "; ".join(f"{row['step']} {row['ours']:,.0f} a second, × {row['ratio']:.2f}" for row in record.rows)


def defences(record: Measured) -> str:
    """For each net: medians of attacks' distances and of the minimum's bracket."""
    cells = []
    for model in dict.fromkeys(row["model"] for row in record.rows):
        part = [row for row in record.rows if row["model"] == model]
        median = {
            name: statistics.median(math.inf if row[name] is None else row[name] for row in part)
            for name in ("fgsm", "pgd", "carlini_wagner", "transfer", "lower", "upper")
        }
        shown = {name: "none" if math.isinf(value) else f"{value:.3f}" for name, value in median.items()}
        attacks = " / ".join(shown[name] for name in ("fgsm", "pgd", "carlini_wagner", "transfer"))
        cells.append(f"`{model}` {attacks}, minimum {shown['lower']} to {shown['upper']}")
    return "; ".join(cells)


def fgsm(record: Measured) -> str:
    """Accuracy after one FGSM step, and certified accuracy, at the radii that tell most."""
    cells = []
    for model in dict.fromkeys(row["model"] for row in record.rows):
        part = [row for row in record.rows if row["model"] == model and row["radius"] in (0.01, 0.03, 0.1)]
        each = [
            f"{row['radius']:g}: {100 * row['fgsm_correct'] / row['fgsm_images']:.1f} / "
            f"{100 * row['robust'] / row['images']:.0f} %"
            for row in part
        ]
        cells.append(f"`{model}` {', '.join(each)}")
    undecided = sum(row["undecided"] for row in record.rows)
    return f"{'; '.join(cells)}; {undecided} undecided"


def start(record: Measured) -> str:
    """CPU seconds of whole commands."""
    return "; ".join(f"`{row['command']}` {row['median']:.2f}" for row in record.rows)


def retrained(record: Measured) -> str:
    """How many brackets and checks are proved again, and in what share of a fresh search's time."""
    cells = []
    for norm in ("linf", "l1"):
        part = [row for row in rows_of(retraining.Row, record) if row.norm == norm]
        if part:
            whole = retraining.share([row.again_cpu for row in part], [row.fresh_cpu for row in part])
            checks = retraining.share([row.check_again_cpu for row in part], [row.check_fresh_cpu for row in part])
            closed = share((row.again_closed for row in part), part)
            held = share((row.check_again == row.check_fresh for row in part), part)
            cells.append(
                f"{NORM_SIGNS[norm]}: brackets {closed}, × {whole[1]} (median {whole[2]}, within a tenth {whole[0]}); "
                f"checks at {retraining.KEPT:g} of the old lower end {held}, × {checks[1]} (median {checks[2]}, "
                f"within a tenth {checks[0]})"
            )
    return "; ".join(cells)


def cached(record: Measured) -> str:
    """The CPU seconds of a gate's two runs, and the second one's share."""
    rows = rows_of(gate_cache.Row, record)
    first, second, part = (
        statistics.median(getattr(row, name) for row in rows) for name in ("first_cpu", "second_cpu", "share")
    )
    return f"{first:.2f}, then {second:.2f}: {part:.1%}"


def fuzz(record: Measured) -> str:
    """Random networks against exact enumeration."""
    cells = []
    for norm in dict.fromkeys(row["norm"] for row in record.rows):
        part = [row for row in record.rows if row["norm"] == norm]
        nets, open_ = (sum(row[name] for row in part) for name in ("nets", "open"))
        wrong = sum(len(row["contradictions"]) for row in part)
        cells.append(f"{NORM_SIGNS[norm]}: {nets:,} nets, {open_:,} left open, {wrong} contradictions")
    return "; ".join(cells)


def sound(record: Measured) -> str:
    """Random networks of some size: what is certified, replayed, and the same in batches."""
    rows = rows_of(soundness.Row, record)
    held = [row for row in rows if row.verdict == "holds"]
    certified = share((row.certified is True for row in held), held)
    count = {name: sum(row.verdict == name for row in rows) for name in ("violated", "unknown")}
    points, apart = sum(row.points for row in rows), max(row.apart for row in rows)
    wrong = sum(len(row.contradictions) for row in rows)
    return (
        f"{len(rows)} nets: {certified} that hold certified, {count['violated']} violated, {count['unknown']} open; "
        f"{points:,} float32 points within proved radii; batches {apart:.1g} of their charge apart; "
        f"{wrong} contradictions"
    )


def stepped(record: Measured) -> str:
    """Steps a second of bound trees, by engine, with the largest batch."""
    rows, cells = rows_of(tree_throughput.Row, record), []
    for net in dict.fromkeys(row.net for row in rows):
        largest = max(row.batch for row in rows if row.net == net)
        own = [row for row in rows if (row.net, row.batch) == (net, largest)]
        rates = ", ".join(f"{row.engine} {row.step_rate:,.0f} (× {row.gain:.2f})" for row in own)
        cells.append(f"{net}, batches of {largest}: {rates}")
    return "; ".join(cells)


def rooted(record: Measured) -> str:
    """What root bounds of larger networks cost, and nodes a second below them."""
    return "; ".join(
        f"{row.question}, {row.relus:,} ReLUs: {row.root_seconds:.2f} s, {row.node_rate:,.0f} nodes a second"
        for row in rows_of(roots.Row, record)
    )


def limits(record: Measured) -> str:
    """How many time limits were kept, and by how much the worst was overrun."""
    rows = rows_of(time_limits.Row, record)
    worst = max(row.overrun for row in rows)
    nets = len({row.model for row in rows})
    kept = share((row.kept for row in rows), rows)
    return f"{kept} kept on {nets} nets; largest overrun {worst:+.2f} s"


def pairs(record: Measured) -> str:
    """The first methods: closed of all, and means over the closed."""
    cells = []
    for norm in ("linf", "l1"):
        part = [row for row in record.results if row.norm == norm]
        closed = [row for row in part if row.closed]
        mean = f", mean {statistics.fmean(row.seconds for row in closed):.1f} s" if closed else ""
        cells.append(f"{NORM_SIGNS[norm]}: {len(closed)}/{len(part)}{mean}")
    return "; ".join(cells)


def conformance(record: Measured) -> str:
    """How many of each suite's known answers were given, and what became of the others."""
    cells = []
    for suite in dict.fromkeys(row["suite"] for row in record.rows):
        part = [row for row in record.rows if row["suite"] == suite]
        passed, wrong, open_, refused = (
            sum(row["outcome"] == outcome for row in part) for outcome in ("passed", "wrong", "open", "refused")
        )
        cells.append(f"{suite} {passed}/{len(part)}, {open_} open, {refused} refused by name, {wrong} wrong")
    return "; ".join(cells)


def competition(record: Measured) -> str:
    """How many of each benchmark's instances were decided; what the others are."""
    rows, cells = rows_of(VnnRow, record), []
    for name in dict.fromkeys(row.benchmark for row in rows):
        own = [row for row in rows if row.benchmark == name]
        decided = [row for row in own if row.verdict in (SAT, UNSAT)]
        cell = f"{name} {len(decided)}/{len(own)}"
        if torn := sum(row.verdict == TORN for row in own):
            cell += f" and {torn} by tolerance only"
        if decided:
            cell += f", {statistics.median(row.seconds for row in decided):.2g} s"
        cells.append(cell)
    return "; ".join([*cells, f"{sum(row.wrong for row in rows)} wrong"])


def property_certificates(record: Measured) -> str:
    """Of how many of each benchmark's unsat instances the lone checker accepts a certificate, and what that cost."""
    rows, cells = rows_of(CertificateRow, record), []
    for name in dict.fromkeys(row.benchmark for row in rows):
        own = [row for row in rows if row.benchmark == name]
        good = [row for row in own if row.accepted]
        cell = f"{name} {share((row.accepted for row in own), own)}"
        if good:
            times = (
                statistics.median(row.build_seconds for row in good),
                statistics.median(row.check_seconds for row in good),
            )
            cell += f", {times[0]:.2g} and {times[1]:.2g} s"
        cells.append(cell)
    return "; ".join(cells)


def large_trees(record: Measured) -> str:
    """What certificates of larger and larger trees take; a row without leaves is quadratic evidence alone."""
    cells = []
    for row in rows_of(large_certificates.Row, record):
        size = f"{row.leaves:,} leaves, {row.leaf_bytes:,.0f} bytes each"
        made = size if row.leaves else f"no leaves, quadratic bounds of {row.bytes / 1000:,.0f} kB"
        build = f"{row.build_seconds:.0f} s, {row.build_mib:,.0f} MiB"
        told = f"{made}: {build}; {row.check_seconds:.0f} s, {row.check_mib:,.0f} MiB"
        refused = f"{told}, {row.reason}" if row.bytes else f"at {row.radius:g} none, {row.reason}: {build}"
        cells.append(f"{row.net} {told if row.accepted else refused}")
    return " · ".join(cells)


def other_verifiers(record: Measured) -> str:
    """What each tool decides of the instances that all were asked, and how long all of them took it."""
    rows = rows_of(PeerRow, record)
    tools = dict.fromkeys(row.tool for row in rows)
    asked = set.intersection(*({row.key[:3] for row in rows if row.tool == tool} for tool in tools))
    cells = []
    for tool in tools:
        own = [row for row in rows if row.tool == tool and row.key[:3] in asked]
        wrong = sum(row.wrong for row in own)
        told = f", {wrong} wrong" if wrong else ""
        decided = share((row.verdict in (SAT, UNSAT) for row in own), own)
        cells.append(f"{tool} {decided}{told}, {sum(row.seconds for row in own):.0f} s")
    return "; ".join(cells)


PAIRS = "pairs of image and target by `{method}` on `{model}`, 120 s"

ROWS: Mapping[str, tuple[str, Callable[[Measured], str]]] = {
    "safety_cost": (
        "what safe arithmetic costs, and the float32 end beside the real one, CPU time, 20 instances",
        safety,
    ),
    "ablations_settings": ("one setting of the tree changed, CPU time / default, 12 instances: the dearest", settings),
    "ablations_sizes": ("nets by size: decided by the default; bound tree, default / LP tree (wall)", sizes),
    "reach": ("nets of 768 and 4,804 ReLUs, 60 s a bracket: median of upper / lower end; mean CPU s", reached),
    "growth": ("CPU seconds and peak memory as networks grow, the limit 20 s, random weights", grown),
    "retraining": (
        "`mnist_n` after one more epoch, beginning with what is known of it before: CPU time / a fresh search",
        retrained,
    ),
    "gate_cache": ("median CPU s of the gate of `examples/ci`, asked twice; the second one's share", cached),
    "satisfactory": (
        "queries of VNN-LIB 2 with known answers: the standard's suite, and ours about precision",
        conformance,
    ),
    "vnncomp": (
        "VNN-COMP: decided of those asked, median wall s of these, start included; 20 to 120 s an instance",
        competition,
    ),
    "vnncomp_peers": ("other verifiers in turn on a fixed sample of those: decided, wall s of all", other_verifiers),
    "vnncomp_certificates": (
        "certificates of the unsat ones: accepted by the lone checker; median CPU s to build, to check",
        property_certificates,
    ),
    "large_certificates": (
        "certificates of growing balls (aim: 10⁵ leaves checked in minutes, 2 GiB): CPU s, MiB to build; to check",
        large_trees,
    ),
    "fuzz": ("random nets against exact enumeration of their linear regions", fuzz),
    "soundness": ("random nets of 100 to 2,000 ReLUs at radii within an attack's distance, and beyond it", sound),
    "throughput": ("node-steps a second of bound trees (their gain / numpy's)", stepped),
    "roots": ("root bounds and trees on VNN-COMP's oval21, CPU time (aims: deep 0.5, wide 0.8; 200 nodes)", rooted),
    "time_limits": ("`--timeout`, every command and method: at most 1 s and 5 % over", limits),
    "start": ("median CPU s of trivial questions, start included (aims: check 0.6, minimal 0.8)", start),
    "attack_references_mnist_n": (
        "attacks beside foolbox, ART, torchattacks, AdverTorch; at most 50 images",
        references,
    ),
    "attack_references_digits": ("the same, at most 20 images", references),
    "attack_throughput": ("gradient evaluations, ONNX Runtime and × PyTorch, batch 512", throughput),
    "defences": ("FGSM / PGD / Carlini–Wagner / transfer: median L∞ distance, 10 images, 60 s", defences),
    "fgsm_accuracy": ("accuracy after one FGSM step / certified, L∞ radius, 100 images certified", fgsm),
    "pairs_digits_z3": (PAIRS.format(method="z3", model="digits"), pairs),
    "pairs_mnist_n_z3": (PAIRS.format(method="z3", model="mnist_n") + ", runner-up", pairs),
    "pairs_mnist_n_milp": (PAIRS.format(method="milp", model="mnist_n") + ", runner-up", pairs),
}

COMMANDS = {"attack_throughput": "python -m benchmarks.attacks.attack_throughput"}
"""Of records that do not say how they were made."""


def others() -> str:
    """An item for each record that is there."""
    items = []
    for name, (asked, outcome) in ROWS.items():
        record = measured(name)
        if record is not None:
            shown = f" {SHOWN}" if name == "growth" else ""
            items.append(f"- {asked}: **{outcome(record)}**. {record.provenance(COMMANDS.get(name, ''))}{shown}")
    return "\n".join(items)
