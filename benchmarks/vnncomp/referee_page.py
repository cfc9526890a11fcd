"""The referee's findings as tables and as the page `docs/referee.md`, from its JSON."""

from __future__ import annotations

from collections import Counter
from itertools import groupby
from pathlib import Path
from typing import Any

from benchmarks.harness.record import table
from benchmarks.vnncomp.run import SAT, TORN, UNSAT
from benchmarks.vnncomp.submitted import Kind

PROVED_SAT, PROVED_UNSAT, OPEN = "proved sat", "proved unsat", "open"

TEXT = """# How VNN-COMP's instances end

`{command}` writes this page from our records ({date}, commit {commit}); each instance and each answer that is not so:
[referee.json](referee.json).

- **Proved sat**: a counterexample without any tolerance, numbers of the model's dtype inside the decimal box, judged
  in exact arithmetic and by ONNX Runtime.
- **Proved unsat**: over the reals, by our search. *Certificate*: the [lone checker](certificate-format.md) accepted a
  proof of it (of the others none was tried, or none came in time), *float32*: it is so for every float32 evaluation
  as well.
- **Tolerance only**: the box holds no numbers of the model's dtype (an input is fixed at a decimal that no float32
  number equals, say), but a real point of it satisfies the property. By the competition's rules both answers have a
  reason.
- *New*: settled here, where the tools of all years agree on nothing or a single one answered.

## Instances

{instances}

## Answers that are not so

Of {answers:,} published answers (sat or unsat, all years, these instances) {confirmed:,} are confirmed, {wrong} are
wrong, {torn} rest on a tolerance, {left} are not settled.

{contradictions}

## Answers by tool

None of these is wrong or rests on a tolerance: {faultless}.

{tools}
"""


def page(found: dict[str, Any]) -> str:
    """The page, in Markdown."""
    counts = found["tools"]
    faulty = [one for one in counts if one["answers"] > one["confirmed"] + one["not settled"]]
    faultless = [_in_brackets(one["tool"]) for one in counts if one not in faulty and one["answers"]]
    session = found["session"]
    return TEXT.format(
        command=session["command"],
        date=session["started"][:10],
        commit=session["commit"],
        instances=instance_table(found["instances"]),
        contradictions=contradiction_table(found["contradictions"]),
        tools=tool_table(faulty),
        faultless=", ".join(faultless) or "none",
        answers=sum(one["answers"] for one in counts),
        confirmed=sum(one["confirmed"] for one in counts),
        wrong=sum(one["wrong sat"] + one["wrong unsat"] for one in counts),
        torn=sum(one[TORN] for one in counts),
        left=sum(one["not settled"] for one in counts),
    )


def tables(found: dict[str, Any]) -> str:
    """What the command prints: instances, tools, and submitted witnesses where there are some."""
    parts = [instance_table(found["instances"]), tool_table(found["tools"])]
    return "\n\n".join([*parts, *([witness_table(found["witnesses"])] if found["witnesses"] else [])])


def instance_table(instances: list[dict[str, Any]]) -> str:
    """How the instances of each benchmark end."""
    header = ["benchmark", "instances", PROVED_SAT, PROVED_UNSAT, "certificate", "float32", TORN, OPEN, "new"]
    lines = []
    for name in dict.fromkeys(one["instance"][0] for one in instances):
        own = [one for one in instances if one["instance"][0] == name]
        ends = Counter(one["ends"] for one in own)
        numbers = (
            *(len(own), ends[PROVED_SAT], ends[PROVED_UNSAT]),
            *(sum(one[kind] for one in own) for kind in ("certificate", "float32")),
            *(ends[TORN], ends[OPEN]),
            sum(one["official"] not in (SAT, UNSAT) and one["ends"] in (PROVED_SAT, PROVED_UNSAT) for one in own),
        )
        lines.append([name, *map(str, numbers)])
    return table(header, lines)


def contradiction_table(contradictions: list[dict[str, Any]]) -> str:
    """Which tools said what of a benchmark that is not so, how often, and why."""

    def kind(one: dict[str, Any]) -> tuple[str, str, str]:
        return one["instance"][0], one["answer"], one["why"]

    lines = []
    for (benchmark, answer, why), group in groupby(sorted(contradictions, key=kind), kind):
        own = list(group)
        tools = Counter(_in_brackets(one["tool"]) for one in own)
        distinct = sorted({_short(one["instance"]) for one in own})
        first = distinct[0] if len(distinct) == 1 else f"{len(distinct)} instances, such as {distinct[0]}"
        lines.append([benchmark, answer, ", ".join(f"{tool} {count}" for tool, count in tools.items()), first, why])
    return table(["benchmark", "said", "by, how often", "of", "but"], lines)


def tool_table(counts: list[dict[str, Any]]) -> str:
    """The answers of each tool and year: confirmed, wrong, resting on a tolerance, not settled."""
    header = ["tool", "answers", "confirmed", "wrong sat", "wrong unsat", TORN, "not settled"]
    return table(header, [[str(one[name]) for name in header] for one in counts])


def witness_table(witnesses: list[dict[str, Any]]) -> str:
    """What the submitted points of each tool are."""
    count = Counter((one["tool"], one["is"]) for one in witnesses)
    tools = sorted({one["tool"] for one in witnesses})
    return table(["witnesses", *Kind], [[tool, *(str(count[tool, kind]) for kind in Kind)] for tool in tools])


def _in_brackets(tool: str) -> str:
    name, _, year = tool.rpartition(" ")
    return f"{name} ({year})" if name and year.isdigit() else tool


def _short(instance: list[str] | tuple[str, ...]) -> str:
    """Network and property, without folders and endings."""
    return " ".join(Path(name).stem for name in instance[1:])
