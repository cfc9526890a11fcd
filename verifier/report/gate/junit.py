"""A gate as JUnit XML: a test case for each requirement and input, as Jenkins, GitLab and GitHub's readers take it."""

from __future__ import annotations

import re
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from verifier.gate.verdict import Judgement, Known, Ruling
from verifier.report.gate.words import GateRun, bracket_text, figure_text, heading

FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold: a file's name may."""


COUNTED = ("tests", "failures", "errors", "skipped")


def junit_xml(run: GateRun) -> str:
    """A suite for each requirement and group; a mean has a single case, since no input fails it alone."""
    suites = Element("testsuites", name=_text(str(run.path)), time=f"{run.seconds:.3f}")
    totals = dict.fromkeys(COUNTED, 0)
    for judgement in run.judgements:
        name = f"{judgement.requirement} ({heading(judgement)})"
        suite = SubElement(suites, "testsuite", name=_text(name))
        counts = dict.fromkeys(COUNTED, 0)
        _case(suite, counts, name, "the requirement", judgement.ruling, figure_text(judgement.figure))
        settled = judgement.ruling is Ruling.PASS
        for place, one in enumerate(judgement.inputs):
            if judgement.thresholds[place] is not None:
                # 90 % are enough where 90 % are required: the others are no failures of the build.
                shown = Ruling.PASS if settled else judgement.ruling_of(place)
                _case(
                    suite,
                    counts,
                    name,
                    f"{one.name} (class {one.label})",
                    shown,
                    _message(judgement, place, run),
                    needed=judgement.ruling is Ruling.UNDECIDED,
                )
        for key, count in counts.items():
            suite.set(key, str(count))
            totals[key] += count
    for key, count in totals.items():
        suites.set(key, str(count))
    indent(suites)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(suites, encoding="unicode") + "\n"


def _case(
    suite: Element,
    counts: dict[str, int],
    classname: str,
    name: str,
    ruling: Ruling,
    message: str,
    *,
    needed: bool = True,
) -> None:
    """One test case. needed: what is undecided keeps the requirement open; else nobody had to ask."""
    case = SubElement(suite, "testcase", classname=_text(classname), name=_text(name))
    counts["tests"] += 1
    if ruling is Ruling.FAIL:
        counts["failures"] += 1
        SubElement(case, "failure", message=_text(message), type="violated").text = _text(message)
    elif ruling is Ruling.UNDECIDED and not needed:
        counts["skipped"] += 1
        SubElement(case, "skipped", message=_text(f"not needed for the verdict: {message}"))
    elif ruling is Ruling.UNDECIDED:
        counts["errors"] += 1
        SubElement(case, "error", message=_text(message), type="undecided").text = _text(message)
    else:
        SubElement(case, "system-out").text = _text(message)


def _message(judgement: Judgement, place: int, run: GateRun) -> str:
    one: Known = judgement.inputs[place]
    picture = f", witness: {run.witnesses[one.key]}" if one.key in run.witnesses else ""
    reason = f", {one.reason}" if one.reason and judgement.ruling_of(place) is Ruling.UNDECIDED else ""
    return f"{bracket_text(one)}, required within {judgement.thresholds[place]:g}{reason}{picture}"


def _text(value: str) -> str:
    return FORBIDDEN.sub("�", value)
