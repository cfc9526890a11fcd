"""What a command's dataclasses declare is what the terminal offers, each option once."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, fields
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from verifier.cli import main, options, question_options
from verifier.cli.signature import with_options
from verifier.problem.budget import Budget
from verifier.search.methods import DEFAULT_METHOD, METHODS
from verifier.search.question import DEFAULT_BOX, DEFAULT_PRECISION, Misclassification
from verifier.search.settings import Settings

QUESTIONS = (main.minimal, main.check, main.attack)


@dataclass(frozen=True)
class Where:
    place: Annotated[str, typer.Argument(metavar="PLACE")]
    far: Annotated[bool, typer.Option("--far")] = False


@dataclass(frozen=True)
class When:
    year: Annotated[int, typer.Option(metavar="Y")] = 1


def called(words: list[str], **how: Any) -> tuple[int, list[Any]]:
    """A command of both groups and an option of its own, by the terminal: its exit code and what it was given."""
    app, seen = typer.Typer(add_completion=False), []

    @app.command()
    @with_options(**how)
    def travel(when: When, where: Where, slowly: Annotated[bool, typer.Option("--slowly")] = False) -> None:
        seen.append((when, where, slowly))

    return CliRunner().invoke(app, words).exit_code, seen


def test_a_command_is_given_its_groups_whole() -> None:
    assert called(["there", "--year", "3", "--slowly"]) == (0, [(When(3), Where("there"), True)])
    assert called(["there", "--far"]) == (0, [(When(), Where("there", far=True), False)])


def test_what_is_left_out_is_not_offered_and_keeps_its_default() -> None:
    assert called(["there"], without=("year",)) == (0, [(When(), Where("there"), False)])
    code, seen = called(["there", "--year", "3"], without=("year",))
    assert (code, seen) == (2, [])


def test_an_order_comes_first() -> None:
    @with_options(order=("slowly", "far"))
    def travel(when: When, where: Where, slowly: bool = False) -> None: ...

    assert list(inspect.signature(travel).parameters) == ["slowly", "far", "year", "place"]


@pytest.mark.parametrize("command", QUESTIONS)
def test_options_come_in_the_order_of_the_list(command: Any) -> None:
    names = [name for name in inspect.signature(command).parameters if name != "context"]
    assert names == [name for name in question_options.IN_HELP if name in names]


def test_the_list_names_what_there_is() -> None:
    offered = {name for command in QUESTIONS for name in inspect.signature(command).parameters}
    assert offered - {"context"} == set(question_options.IN_HELP)


def test_no_option_is_declared_twice() -> None:
    groups = (question_options.QuestionOptions, question_options.SearchOptions, question_options.ResultOptions)
    names = [field.name for group in groups for field in fields(group)]
    assert len(names) == len(set(names))


def test_the_terminals_defaults_are_the_apis() -> None:
    how = question_options.SearchOptions()
    assert Settings(Budget(), how.method, how.solver, how.threads, how.device, how.seed).method == DEFAULT_METHOD
    for name in ("method", "solver", "threads", "device", "seed"):
        assert getattr(how, name) == getattr(Settings(Budget()), name)
    asked = {field.name: field.default for field in fields(question_options.QuestionOptions)}
    assert (asked["target"], asked["label"], asked["margin"]) == (None, None, Misclassification().margin)
    assert asked["box"] == ",".join(f"{end:g}" for end in DEFAULT_BOX)
    assert options.PRECISION.value == DEFAULT_PRECISION


def test_help_lists_the_methods() -> None:
    assert tuple(METHODS) == tuple(options.METHODS.split("|"))
