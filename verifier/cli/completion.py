"""`verifier completion SHELL`: what completes commands, options and their values, made from the program itself.

The script knows everything already: pressing tab starts no Python. An option's metavar says what it takes: `a|b|c` is a
choice of its lower-case words, `DIR` a folder, `FILE` and what `FILES` lists a file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from verifier import models

FILES = (
    "PROOF.aptp",
    *("FILE", "FILE.toml", "PLAN.toml", "QUERY.vnnlib", "NAME=FILE.onnx", "X.npy"),
    *("MODEL", "INPUT", "DATA", "STORE", "LO HI"),
)
"""Metavars in place of which a file may stand."""

SHIPPED = {"MODEL": models.NAMES, "INPUT": tuple(models.INPUTS), "DATA": ("digits",)}
"""What else may stand there."""

PLAIN = str.maketrans("'`\"[]:\\$", "’’”(),/ ")
"""What shells give a meaning to, and what stands for it in a help text."""


@dataclass(frozen=True)
class ShellValue:
    """What an option or an argument takes."""

    words: tuple[str, ...] = ()
    files: bool = False
    folders: bool = False


@dataclass(frozen=True)
class ShellOption:
    """An option, as a shell shows it; `value` is None for a flag."""

    name: str
    help: str
    value: ShellValue | None


@dataclass(frozen=True)
class ShellCommand:
    """A command, its options, and all that its arguments take."""

    name: str
    help: str
    options: tuple[ShellOption, ...]
    argument: ShellValue | None


def value(metavar: str | None, words: Iterable[str] = ()) -> ShellValue:
    """What a metavar stands for.

    >>> value("test|train").words, value("T|any").words, value("DIR").folders, value("MODEL").files, value("N")
    (('test', 'train'), ('any',), True, True, ShellValue(words=(), files=False, folders=False))
    """
    metavar = metavar or ""
    parts = metavar.split("|") if "|" in metavar else ()
    choices = (*(part for part in parts if part == part.lower()), *SHIPPED.get(metavar, ()), *words)
    return ShellValue(choices, metavar in FILES, metavar == "DIR")


def commands(group: Any, words: dict[str, tuple[str, ...]]) -> list[ShellCommand]:
    """The commands of a group of click's, in its order; words: values of options that no metavar lists."""
    return [_command(name, command, words) for name, command in group.commands.items()]


def _command(name: str, command: Any, words: dict[str, tuple[str, ...]]) -> ShellCommand:
    options, taken = [], []
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            taken.append(value(parameter.metavar))
            continue
        for long in (option for option in parameter.opts if option.startswith("--")):
            takes = None if parameter.is_flag else value(parameter.metavar, words.get(long, ()))
            options.append(ShellOption(long, _plain(parameter.help), takes))
    options.append(ShellOption("--help", "Show this message and exit.", None))
    argument = None
    if taken:
        choices = dict.fromkeys(word for each in taken for word in each.words)
        argument = ShellValue(tuple(choices), any(each.files for each in taken), any(each.folders for each in taken))
    return ShellCommand(name, _plain(command.help), tuple(options), argument)


def _plain(text: str | None) -> str:
    """The first sentence, without what shells give a meaning to."""
    first = (text or "").split("\n\n")[0].replace("\n", " ").split(". ")[0].rstrip(".")
    return first.translate(PLAIN)


def bash(found: list[ShellCommand]) -> str:
    """For bash 3.2 and newer."""
    cases, options, arguments = [], [], []
    for command in found:
        for option in command.options:
            if option.value is not None:
                cases.append(f'    "{command.name} {option.name}") {_bash_value(option.value)}; return ;;')
        names = " ".join(option.name for option in command.options)
        options.append(f'    {command.name}) _verifier_words "{names}" ;;')
        if command.argument is not None:
            arguments.append(f"    {command.name}) {_bash_value(command.argument)} ;;")
    newline = "\n"
    return f"""\
_verifier_words() {{ COMPREPLY+=($(compgen -W "$1" -- "$cur")); }}
_verifier_files() {{ COMPREPLY+=($(compgen "$1" -- "$cur")); }}
_verifier() {{
  local IFS=$' \\n' cur=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}}
  COMPREPLY=()
  if [[ $cur == = ]]; then
    cur=
  elif [[ $before == = ]]; then
    before=${{COMP_WORDS[COMP_CWORD-2]}}
  fi
  if (( COMP_CWORD == 1 )); then
    _verifier_words "{" ".join(command.name for command in found)} --help --version"
    return
  fi
  case "${{COMP_WORDS[1]}} $before" in
{newline.join(cases)}
  esac
  if [[ $cur == -* ]]; then
    case ${{COMP_WORDS[1]}} in
{newline.join(options)}
    esac
    return
  fi
  case ${{COMP_WORDS[1]}} in
{newline.join(arguments)}
  esac
}}
complete -o filenames -F _verifier verifier
"""


def _bash_value(taken: ShellValue) -> str:
    parts = [f'_verifier_words "{" ".join(taken.words)}"'] if taken.words else []
    if taken.files or taken.folders:
        parts.append(f"IFS=$'\\n'; _verifier_files -{'f' if taken.files else 'd'}")
    return "; ".join(parts) or ":"


def zsh(found: list[ShellCommand]) -> str:
    """For zsh; it may lie as `_verifier` in a folder of $fpath, or be evaluated after compinit."""
    lines = ["#compdef verifier", "_verifier() {", "  local -a commands=("]
    lines += [f"    '{command.name}:{command.help}'" for command in found]
    lines += ["  )", "  if (( CURRENT == 2 )); then"]
    lines += ["    _describe command commands", "    return", "  fi"]
    lines += ['  words=("${(@)words[2,-1]}")', "  (( CURRENT-- ))", "  case $words[1] in"]
    for command in found:
        lines.append(f"    {command.name}) _arguments \\")
        lines += [f"      '{_zsh_option(option)}' \\" for option in command.options]
        lines.append(f"      {_zsh_argument(command.argument)} ;;")
    lines += [
        "  esac",
        "}",
        'if [[ $funcstack[1] == _verifier ]]; then _verifier "$@"; else compdef _verifier verifier; fi',
    ]
    return "\n".join(lines) + "\n"


def _zsh_option(option: ShellOption) -> str:
    if option.value is None:
        return f"*{option.name}[{option.help}]"
    return f"*{option.name}=[{option.help}]:value:{_zsh_action(option.value)}"


def _zsh_argument(argument: ShellValue | None) -> str:
    return "" if argument is None else f"'*:argument:{_zsh_action(argument)}'"


def _zsh_action(taken: ShellValue) -> str:
    files = "_files" if taken.files else "_files -/" if taken.folders else ""
    words = f"({' '.join(taken.words)})" if taken.words else ""
    if files and words:
        return f'_alternative "words\\:word\\:{words}" "files\\:file\\:{files}"'
    return files or words or " "


def fish(found: list[ShellCommand]) -> str:
    """For fish."""
    lines = ["complete -c verifier -f"]
    for command in found:
        lines.append(f"complete -c verifier -n __fish_use_subcommand -a {command.name} -d '{command.help}'")
        within = f"complete -c verifier -n '__fish_seen_subcommand_from {command.name}'"
        for option in command.options:
            taken = "" if option.value is None else f" {_fish_value(option.value, required=True)}"
            lines.append(f"{within} -l {option.name[2:]}{taken} -d '{option.help}'")
        if command.argument is not None:
            lines.append(f"{within} {_fish_value(command.argument, required=False)}")
    return "\n".join(lines) + "\n"


def _fish_value(taken: ShellValue, *, required: bool) -> str:
    words = [*taken.words, *(["(__fish_complete_directories)"] if taken.folders and not taken.files else [])]
    parts = ["-r" if required else "", "-F" if taken.files else "-f" if required else ""]
    parts += [f"-a '{' '.join(words)}'"] if words else []
    return " ".join(filter(None, parts))


SHELLS: dict[str, Callable[[list[ShellCommand]], str]] = {"bash": bash, "zsh": zsh, "fish": fish}
