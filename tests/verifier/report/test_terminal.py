"""Tables say what is known, rounded to the safe side; progress is silent unless stderr is a terminal."""

import io
import math
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from rich.table import Table

from verifier.problem.budget import Budget
from verifier.problem.inputs.columns import Columns
from verifier.problem.verdict import Bracket, Evidence, Initial, OnLattice, Search, Status, Witness
from verifier.report import captions, terminal
from verifier.report.json_result import RunRecord

RUN = RunRecord("minimal", Path("m.onnx"), "ab", Path("x.npy"), 0, "linf", 3, 5, 0.0, 1e-3, None, "milp", "highs")
WITNESS = Witness(np.zeros(4, dtype=np.float32), 0.1234567, 5, 1e-9, 2e-9, 5)
BRACKET = Bracket(
    0.1224567, 0.1234567, WITNESS, Evidence.SOLVER, 1e-3, Status.MINIMAL, Initial("cw", 0.5), 5, 1.5, final=True
)
OPEN = replace(BRACKET, lower=0.0, upper=math.inf, witness=None, status=Status.BRACKETED, reason="time")


def shown(table: Table) -> str:
    console = Console(file=io.StringIO(), width=120)
    console.print(table)
    return console.file.getvalue()


def test_lower_is_shown_rounded_down_and_upper_rounded_up() -> None:
    text = shown(terminal.bracket_table(RUN, BRACKET, [Path("out/witness.npy")]))
    assert "0.122456 " in text
    assert "0.123457 " in text
    assert all(word in text for word in ("class 3 to class 5", "milp with highs", "witness.npy", "minimal:"))


@pytest.mark.parametrize("status", list(Status))
@pytest.mark.parametrize("command", ["minimal", "attack"])
@pytest.mark.parametrize("witness", [WITNESS, None])
def test_every_status_has_words(status: Status, command: str, witness: Witness | None) -> None:
    run, bracket = replace(RUN, command=command), replace(BRACKET, status=status, witness=witness, reason="why")
    assert shown(terminal.bracket_table(run, bracket, []))
    assert all(captions.bracket_words(run, bracket))
    assert all(captions.grid_words(run, bracket))


def test_every_evidence_has_words() -> None:
    assert set(terminal.EVIDENCE_TEXT) == set(Evidence)


def test_targets_are_drawn_nearest_first() -> None:
    unreachable = replace(OPEN, target=1, status=Status.UNREACHABLE, lower=math.inf)
    cells = captions.grid_cells([unreachable, OPEN, replace(BRACKET, target=7), replace(BRACKET, upper=0.01)])
    assert [cell.caption.split("\n")[0] for cell in cells] == ["target 5", "target 7", "target 1", "target 5"]
    assert [cell.caption.split("\n")[1] for cell in cells][2:] == ["unreachable", "none found"]
    text = shown(terminal.all_targets_table([unreachable, BRACKET]))
    assert "unreachable" in text
    assert "none found" in text


def test_messages_and_progress_are_silent_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.message("hello")
    with terminal.progress(Budget(10.0)) as show:
        show(BRACKET)
    assert capsys.readouterr() == ("", "")


def test_a_search_is_one_line() -> None:
    run, search = replace(RUN, method="tree", solver=None), Search("LP tree", 7600, 0, 3.8)
    text = shown(terminal.bracket_table(run, replace(BRACKET, search=search), []))
    assert "LP tree, 7 600 nodes" in text
    assert terminal.search_text(replace(search, nodes=1, open_nodes=1)) == "LP tree, 1 node, 1 of them open"
    assert "open" not in text
    assert "5 of them open" in shown(
        terminal.bracket_table(run, replace(OPEN, search=replace(search, open_nodes=5)), [])
    )
    assert "search" not in shown(terminal.bracket_table(RUN, BRACKET, []))


class FakeTerminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_on_a_terminal_shows_the_bracket(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = FakeTerminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    with terminal.progress(Budget(10.0)) as show:
        show(replace(BRACKET, search=Search("LP tree", 7600, 12, 3.8)))
    assert all(word in stream.getvalue() for word in ("0.122456", "12 nodes open", "2 000 a second"))
    terminal.message("hello")
    assert "hello" in stream.getvalue()


def test_where_nothing_is_proved_no_table_says_0() -> None:
    begun = replace(OPEN, initial=Initial("cw", math.inf))
    text = shown(terminal.bracket_table(RUN, begun, []))
    assert "nothing proved yet" in text
    assert "nothing by cw" in text
    assert "inf by" not in text
    assert "closer" not in text
    assert "nothing proved yet" in shown(terminal.all_targets_table([begun]))
    line = terminal._Progress(Budget())
    line.show(begun)
    assert line.text == "target 5  nothing proved yet  none found yet"
    line.show(replace(begun, upper=0.5, witness=WITNESS))
    assert line.text == "target 5  nothing proved yet  upper 0.500000"


def test_of_a_grid_only_ends_that_are_known_are_told() -> None:
    run = replace(RUN, norm="l2", columns=Columns(grid=4))
    for lower, upper, told in (
        (0, None, "inputs k/4 "),
        (0, 3, "k/4: at most √3/4 away"),
        (2, None, "k/4: at least √2/4 away"),
        (2, 3, "k/4: at least √2/4, at most √3/4 away"),
        (3, 3, "k/4: √3/4 away"),
    ):
        ends = OnLattice(0.0, Fraction(lower, 16), None if upper is None else Fraction(upper, 16))
        assert told in shown(terminal.bracket_table(run, replace(OPEN, lattice=ends), []))


def test_an_input_on_a_tie_is_at_distance_0_for_good() -> None:
    tie = replace(BRACKET, lower=0.0, upper=0.0, status=Status.ALREADY_ADVERSARIAL)
    told = shown(terminal.bracket_table(RUN, tie, []))
    assert "nothing proved yet" not in told
    assert "first found" not in told


def test_the_gap_is_that_of_the_ends_as_shown() -> None:
    line = terminal._Progress(Budget())
    line.show(replace(BRACKET, lower=0.1, upper=0.3))
    assert line.text == "target 5  lower 0.100000  upper 0.300000  gap 0.200000"
