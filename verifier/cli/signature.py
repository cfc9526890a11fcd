"""Options that are declared once: a command takes dataclasses, and the terminal sees their fields."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import MISSING, fields, is_dataclass
from functools import cache, update_wrapper
from inspect import Parameter, Signature, signature
from typing import Any, get_type_hints

Command = Callable[..., None]


def with_options(*, without: Collection[str] = (), order: Collection[str] = ()) -> Callable[[Command], Command]:
    """Give a command one parameter for each field of its dataclass parameters, which typer reads as options.

    without: fields that the command does not offer; they keep their defaults. order: of the parameters in --help; what
    it does not name follows, dataclasses first.

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Results:
    ...     out: str
    ...     json: bool = False
    >>> @with_options(order=("json",))
    ... def show(results: Results, loud: bool = False) -> None:
    ...     print(results, loud)
    >>> signature(show)
    <Signature (*, json: bool = False, out: str, loud: bool = False) -> None>
    >>> show(out="here", json=True, loud=False)
    Results(out='here', json=True) False
    """
    places = {name: place for place, name in enumerate(order)}

    def decorated(command: Command) -> Command:
        hints = get_type_hints(command, include_extras=True)
        groups: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
        offered = {
            name: [option for option in _options(group) if option.name not in without] for name, group in groups.items()
        }
        own = [
            parameter.replace(kind=Parameter.KEYWORD_ONLY, annotation=hints[name])
            for name, parameter in signature(command).parameters.items()
            if name not in groups
        ]
        shown = [*(option for options in offered.values() for option in options), *own]
        shown.sort(key=lambda option: places.get(option.name, len(places)))

        def flat(**given: Any) -> None:
            built = {
                name: group(**{option.name: given.pop(option.name) for option in offered[name]})
                for name, group in groups.items()
            }
            command(**built, **given)

        update_wrapper(flat, command)
        flat.__annotations__ = {option.name: option.annotation for option in shown}
        flat.__dict__["__signature__"] = Signature(shown, return_annotation=None)
        return flat

    return decorated


@cache
def _options(group: Any) -> tuple[Parameter, ...]:
    hints = get_type_hints(group, include_extras=True)
    return tuple(
        Parameter(
            option.name,
            Parameter.KEYWORD_ONLY,
            default=Parameter.empty if option.default is MISSING else option.default,
            annotation=hints[option.name],
        )
        for option in fields(group)
    )
