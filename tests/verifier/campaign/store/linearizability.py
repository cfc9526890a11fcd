"""Is a history of concurrent operations linearizable? Wing and Gong's search (1993) with a memory of states seen.

An object is one task: who has claimed it, and the ends of its brackets. Every operation has a moment between its call
and its return at which it happens; the search looks for an order of these moments that explains every result.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

State = tuple[str, tuple[tuple[str, float, float], ...]]
"""The owner of the claim ("" for none), and (instance, lower, upper) of the brackets in order."""

EMPTY: State = ("", ())


@dataclass(frozen=True)
class Operation:
    """kind: claim, save (ends of one instance), finish (ends of several, claim freed), read (ends of one)."""

    task: str
    kind: str
    owner: str
    call: int
    end: int
    ends: tuple[tuple[str, float, float], ...] = ()


def after(state: State, operation: Operation) -> State | None:
    """The state after an operation; None when its result contradicts the state before it."""
    owner, brackets = state
    known = {instance: (lower, upper) for instance, lower, upper in brackets}
    match operation.kind:
        case "claim":
            return (operation.owner, brackets) if not owner else None
        case "read":
            right = all(known.get(instance, (0.0, float("inf"))) == ends for instance, *ends_ in operation.ends
                        for ends in [tuple(ends_)])  # fmt: skip
            return state if right else None
        case "save" | "finish":
            for instance, lower, upper in operation.ends:
                before = known.get(instance, (0.0, float("inf")))
                known[instance] = (max(before[0], lower), min(before[1], upper))
            merged = tuple(sorted((instance, *ends) for instance, ends in known.items()))
            if operation.kind == "save":
                return owner, merged
            return ("", merged) if owner == operation.owner else None
    raise ValueError(operation.kind)


def explained(history: Sequence[Operation]) -> bool:
    """Is the history of one task linearizable from the empty state?"""
    operations = sorted(history, key=lambda operation: operation.call)
    everything = (1 << len(operations)) - 1
    stack: list[tuple[int, State]] = [(0, EMPTY)]
    seen = set(stack)
    while stack:
        done, state = stack.pop()
        if done == everything:
            return True
        rest = [place for place in range(len(operations)) if not done >> place & 1]
        horizon = min(operations[place].end for place in rest)
        for place in rest:
            if operations[place].call > horizon:
                break
            following = after(state, operations[place])
            if following is not None and (step := (done | 1 << place, following)) not in seen:
                seen.add(step)
                stack.append(step)
    return False


def by_task(history: Sequence[Operation]) -> dict[str, list[Operation]]:
    """Linearizability is a property of each object alone (Herlihy and Wing 1990)."""
    found: dict[str, list[Operation]] = {}
    for operation in history:
        found.setdefault(operation.task, []).append(operation)
    return found


def write(path: Path, operation: Operation) -> None:
    """Append an operation to a file, one line each."""
    with path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(asdict(operation)) + "\n")


def read(path: Path) -> list[Operation]:
    """The operations of a file; a line that kill -9 cut short is left out."""
    lines: list[dict[str, Any]] = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [Operation(**{**line, "ends": tuple(tuple(each) for each in line["ends"])}) for line in lines]
