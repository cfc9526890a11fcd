"""A campaign's plan: models × inputs × norms × targets, from a TOML file, from flags, or from both."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from encoders.errors import InputError, there_are
from encoders.files.toml_file import read_toml
from verifier import models as shipped
from verifier.attacks.registry import ATTACKS
from verifier.problem.inputs.columns import Columns, columns_asked, columns_of_text
from verifier.problem.norms.table import FLAT_NORMS
from verifier.problem.quantities import at_most, memory_size
from verifier.problem.quantities import seconds as duration
from verifier.problem.query import Norm
from verifier.search.methods import METHODS

TARGETS = ("all", "next", "least-likely", "random", "untargeted")
"""What `targets` may be, besides a list of classes."""
SPLITS = ("test", "train")
FLAGS = "the command line"
"""What errors name instead of a file where there is none."""


@dataclass(frozen=True)
class Selection:
    """Which inputs: `indices`, or `per_class` of each class, or `count` in all, drawn by `seed`; by default every one.

    correct: only inputs that every model of the plan classifies as their label says.
    """

    indices: tuple[int, ...] = ()
    per_class: int | None = None
    count: int | None = None
    seed: int = 0
    correct: bool = False


@dataclass(frozen=True)
class Plan:
    """What is asked: every model × selected input × norm × target; `timeout` is in seconds for each of these.

    attacks: measured against every minimum; points: files of other tools' points, which are measured too. transforms:
    a file of transformations (`encoders.passes.from_transforms`) under all of which examples are to be adversarial.
    output: which output holds the scores, of the models that have several of which it is one. memory: bytes for all
    tasks of this machine together, or for one of a cluster; None: half of what is free. grid, integer,
    one_hot, units: as options of the same names, which inputs can occur (`columns`).
    """

    models: tuple[Path, ...]
    data: str
    split: str = "test"
    select: Selection = field(default_factory=Selection)
    norms: tuple[str, ...] = ("linf",)
    targets: str | tuple[int, ...] = "all"
    method: str = "tree"
    solver: str | None = None
    precision: float = 1e-3
    margin: float = 0.0
    box: str = "0,1"
    timeout: float = math.inf
    total_budget: float = math.inf
    threads: int = 1
    memory: float | None = None
    device: str = "auto"
    attacks: tuple[str, ...] = ()
    points: tuple[Path, ...] = ()
    transforms: Path | None = None
    output: str | None = None
    grid: int | None = None
    integer: tuple[int, ...] = ()
    one_hot: tuple[tuple[int, ...], ...] = ()
    units: Path | None = None
    store: Path = Path("campaign.sqlite")

    @property
    def columns(self) -> Columns | None:
        """Which inputs are asked about; None: all of the box. Raises InputError, as where the file of units is none."""
        return columns_asked(self.grid, self.integer, self.one_hot, self.units)

    @property
    def text(self) -> str:
        """The plan as JSON, the way the store keeps it."""
        return json.dumps(asdict(self), default=str, sort_keys=True)

    @property
    def sha256(self) -> str:
        """Tells plans apart; the time that one may take is no part of it, nor what is asked about finished brackets."""
        other = ("timeout", "total_budget", "threads", "memory", "device", "store", "attacks", "points")
        asked = {name: value for name, value in asdict(self).items() if name not in other}
        for later in LATER:  # plans from before there were any keep their identity
            if asked[later] in (None, ()):
                del asked[later]
        return hashlib.sha256(json.dumps(asked, default=str, sort_keys=True).encode()).hexdigest()


LATER = ("transforms", "output", "grid", "integer", "one_hot", "units")
"""What plans have been able to say since their identities were first stored."""


class _WrongError(Exception):
    """What would be right instead."""


def read_plan(path: Path | None, flags: Mapping[str, Any] | None = None) -> Plan:
    """The plan of a TOML file, in which `flags` replace keys (those of [select] included); either may be absent.

    Paths in the file are relative to its folder. Raises InputError: file, key, and what would be right.
    """
    given = dict(flags or {})
    if path is None:
        return _plan(given, given, FLAGS, Path())
    return plan_of({"store": path.with_suffix(".sqlite").name, **read_toml(path)[0]}, path, given)


def plan_of(told: Mapping[str, Any], path: Path, flags: Mapping[str, Any], beside: Sequence[str] = ()) -> Plan:
    """The plan of a file's tables, as `read_plan` does; beside: keys of the file that are not a plan's. InputError."""
    given, told = dict(flags), dict(told)
    select = told.pop("select", {})
    if not isinstance(select, dict):
        raise InputError(f"{path}: select: a table is expected, [select] with keys {', '.join(SELECT)}")
    _known(told, (*KEYS, "select", *beside), str(path))
    _known(select, tuple(SELECT), f"{path}: [select]")
    return _plan({**told, **select, **given}, given, str(path), path.parent)


def _known(keys: Iterable[str], known: Sequence[str], where: str) -> None:
    for key in keys:
        if key not in known:
            raise InputError(f"{where}: {key}: no such key; {belongs(key) or there_are(known, key)}")


def belongs(key: str) -> str:
    """Where a plan's key stands that was found in another table, "" for what is none: a TOML table has no end."""
    if key in SELECT:
        return "it belongs to the table [select]"
    return "it belongs above every [heading]: what follows one is part of its table" if key in KEYS else ""


def _plan(told: Mapping[str, Any], flags: Mapping[str, Any], origin: str, folder: Path) -> Plan:
    values: dict[str, Any] = {}
    for key, value in told.items():
        place = FLAGS if key in flags else origin
        base = Path() if key in flags else folder
        try:
            values[key] = {**KEYS, **SELECT}[key](value, base)
        except _WrongError as error:
            raise InputError(f"{place}: {key}: {value!r} is not right: {error}") from None
    for key, form in (("models", 'models = ["net.onnx"]'), ("data", 'data = "inputs.npz"')):
        if not values.get(key):
            raise InputError(f"{origin}: {key} is missing: {form}")
    select = Selection(**{key: values.pop(key) for key in SELECT if key in values})
    ways = [key for key in ("indices", "per_class", "count") if getattr(select, key)]
    if len(ways) > 1:
        raise InputError(f"{origin}: {' and '.join(ways)} exclude each other: choose one way to select inputs")
    plan = Plan(select=select, **values)
    round_ = [norm for norm in plan.norms if norm not in FLAT_NORMS]
    if round_ and plan.method not in {"tree", "auto"}:
        raise InputError(f"{origin}: norms: {round_[0]} goes with the method tree; {plan.method} takes linf or l1")
    try:
        some = plan.columns is not None
    except InputError as error:
        raise InputError(f"{origin}: {error}") from None
    if some and plan.method not in {"tree", "auto"}:
        raise InputError(f"{origin}: grid, integer and one_hot go with the method tree; {plan.method} takes any input")
    if plan.solver is not None and not METHODS[plan.method].choice:
        raise InputError(f"{origin}: solver: goes with the methods auto, milp and milp-direct, not with {plan.method}")
    return plan


Reader = Callable[[Any, Path], Any]


def _list_of(one: Reader) -> Reader:
    def read(value: Any, folder: Path) -> tuple[Any, ...]:
        values = value if isinstance(value, list | tuple) else [value]
        if not values:
            raise _WrongError("at least one is expected")
        found = tuple(one(each, folder) for each in values)
        if len(set(found)) < len(found):
            raise _WrongError("each may come once")
        return found

    return read


def _one_of(*names: str) -> Reader:
    def read(value: Any, _: Path) -> str:
        if not isinstance(value, str) or value not in names:
            raise _WrongError(f"one of {', '.join(names)} is expected")
        return value

    return read


def _whole(least: int) -> Reader:
    def read(value: Any, _: Path) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise _WrongError(f"a whole number ≥ {least} is expected")
        return value

    return read


def _number(*, zero: bool) -> Reader:
    def read(value: Any, _: Path) -> float:
        real = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not real or value < 0 or (value == 0 and not zero):
            raise _WrongError(f"a finite number {'≥' if zero else '>'} 0 is expected")
        return float(value)

    return read


def _text(value: Any, _: Path) -> str:
    if not isinstance(value, str) or not value:
        raise _WrongError("a text is expected")
    return value


def _flag(value: Any, _: Path) -> bool:
    if not isinstance(value, bool):
        raise _WrongError("true or false is expected")
    return value


def seconds(value: Any, _: Path = Path()) -> float:
    """A duration in seconds: a number, or a text such as "45s", "90m", "1h30m".

    >>> seconds("1h30m")
    5400.0
    """
    try:
        if isinstance(value, str):
            return duration(value)
        return float(_number(zero=False)(value, Path()))
    except (InputError, _WrongError):
        raise _WrongError('a duration > 0 is expected: seconds, or "45s", "90m", "1h30m"') from None


def _memory(value: Any, _: Path) -> float:
    try:
        return memory_size(value)
    except InputError:
        raise _WrongError('a size is expected, such as "512MB", "4GB" or "4GiB"') from None


def _precision(value: Any, _: Path) -> float:
    if isinstance(value, str):
        try:
            value = at_most(value, "precision").value
        except InputError:
            raise _WrongError('a number > 0 is expected, such as 1e-3 or "1/1000"') from None
    return float(_number(zero=False)(value, Path()))


def _model(value: Any, folder: Path) -> Path:
    path = folder / _text(value, folder)
    if not path.is_file() and value in shipped.NAMES:
        return shipped.path(str(value))
    if shipped.is_mere_name(str(value)) and not path.exists():
        raise _WrongError(f"no such file, and no shipped net; {there_are(shipped.NAMES, value)}")
    return path


def _file(value: Any, folder: Path) -> Path:
    return folder / _text(value, folder)


def _data(value: Any, folder: Path) -> str:
    return value if value == "digits" else str(folder / _text(value, folder))


def _targets(value: Any, folder: Path) -> str | tuple[int, ...]:
    try:
        found: tuple[int, ...] = _list_of(_whole(0))(value, folder) if not isinstance(value, str) else ()
    except _WrongError:
        found = ()
    if not found and value not in TARGETS:
        raise _WrongError(f"one of {', '.join(TARGETS)} or a list of classes is expected")
    return found or str(value)


def _box(value: Any, folder: Path) -> str:
    numbers = isinstance(value, list) and len(value) == 2 and all(isinstance(end, int | float) for end in value)
    if numbers:
        return ",".join(str(float(end)) for end in value)
    if isinstance(value, str) and value.endswith(".npz"):
        return str(folder / value)
    if isinstance(value, str) and value.count(",") == 1:
        return value
    raise _WrongError("two numbers [lo, hi] or an .npz file with arrays lo and hi are expected")


def _columns(value: Any, folder: Path) -> tuple[int, ...]:
    if not isinstance(value, str):
        return tuple(_list_of(_whole(0))(value, folder))
    try:
        return columns_of_text(value, "columns")
    except InputError:
        raise _WrongError('columns are expected, from 0: [3, 7, 8, 9] or "3,7-9"') from None


def _groups(value: Any, folder: Path) -> tuple[tuple[int, ...], ...]:
    lists = (
        isinstance(value, list | tuple) and bool(value) and all(isinstance(one, str | list | tuple) for one in value)
    )
    if not lists:
        raise _WrongError('groups of columns are expected: [[6, 7, 8], [10, 11]] or ["6-8", "10,11"]')
    return tuple(_columns(one, folder) for one in value)


KEYS: Mapping[str, Reader] = {
    "models": _list_of(_model),
    "data": _data,
    "split": _one_of(*SPLITS),
    "norms": _list_of(_one_of(*Norm)),
    "targets": _targets,
    "method": _one_of(*METHODS),
    "solver": _text,
    "precision": _precision,
    "margin": _number(zero=True),
    "box": _box,
    "timeout": seconds,
    "total_budget": seconds,
    "threads": _whole(1),
    "memory": _memory,
    "device": _one_of("auto", "cpu", "cuda"),
    "attacks": _list_of(_one_of(*ATTACKS)),
    "points": _list_of(_file),
    "transforms": _file,
    "output": _text,
    "grid": _whole(1),
    "integer": _columns,
    "one_hot": _groups,
    "units": _file,
    "store": _file,
}
SELECT: Mapping[str, Reader] = {
    "indices": _list_of(_whole(0)),
    "per_class": _whole(1),
    "count": _whole(1),
    "seed": _whole(0),
    "correct": _flag,
}
