"""The reference of the command line, from the program itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from verifier.cli.main import app

HEAD = """# Command line

Made from the program: `verifier COMMAND --help` says the same. Exit codes: [questions](questions.md#exit-codes).
"""


def command_line_page() -> str:
    """Markdown: a section for each command, with its arguments and options."""
    group: Any = typer.main.get_command(app)
    return "\n".join([HEAD, *(line for name, command in group.commands.items() for line in section(name, command))])


def section(name: str, command: Any) -> Iterator[str]:
    """A command's usage, what it does, and a table of what it takes."""
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    options = [one for one in command.params if one.param_type_name == "option"]
    usage = " ".join(shown(one) if one.required else f"[{shown(one)}]" for one in arguments)
    yield f"## {name}\n\n```text\nverifier {name} [OPTIONS] {usage}".rstrip() + "\n```\n"
    yield f"{plain(command.help)}\n"
    yield "| takes | |\n|---|---|"
    for one in (*arguments, *options):
        yield f"| {label(one)} | {plain(getattr(one, 'help', '') or '')}{default(one)} |"
    yield ""


def label(param: Any) -> str:
    if param.param_type_name == "argument":
        return code(shown(param))
    value = "" if param.is_flag else f" {param.metavar or param.type.name.upper()}"
    return code(", ".join((*param.opts, *param.secondary_opts)) + value)


def shown(param: Any) -> str:
    return str(param.metavar or param.name.upper()).strip("{}[]")


def default(param: Any) -> str:
    """What is taken where an option is not given, as the help shows it."""
    if param.required:
        return " **Required.**"
    said = getattr(param, "show_default", None)
    if isinstance(said, str):
        return f" Default: {code(said)}."
    value = param.default
    if said is False or value in (None, [], ()) or isinstance(value, bool):
        return ""
    return f" Default: {code(str(value))}."


def code(text: str) -> str:
    return f"`{text}`".replace("|", "\\|")


def plain(text: str) -> str:
    """One paragraph, safe in a table."""
    return " ".join((text or "").split()).replace("|", "\\|").replace("<", "&lt;")
