"""The Python API: load a model; ask for the minimum, for robustness within a radius, an attack or a certificate.

Each function builds one `Specification`, what is asked, and one `Settings`, how it is answered, and hands them down.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import overload

import numpy.typing as npt

from encoders.errors import InputError
from encoders.passes.from_transforms import Transforms
from verifier.certificates.asked import certificate
from verifier.problem.budget import Budget
from verifier.problem.inputs.columns import Columns
from verifier.problem.query import Halfspaces
from verifier.problem.verdict import Bracket
from verifier.problem.workers import Workers
from verifier.runtime.model import Model, load
from verifier.runtime.transformed import load_transforms
from verifier.search import all_targets, minimum, robustness
from verifier.search import output_ranges as ranges
from verifier.search.all_targets import AllTargets
from verifier.search.initial_attack import DEFAULT_ATTACK
from verifier.search.methods import DEFAULT_METHOD
from verifier.search.output_ranges import OutputRanges
from verifier.search.property_check import PropertyCheck
from verifier.search.property_minimum import PropertyMinimum, nearest
from verifier.search.property_question import AskedProperty
from verifier.search.property_region import check_region
from verifier.search.question import DEFAULT_BOX, DEFAULT_PRECISION, Box, InputRegion, Misclassification, specify
from verifier.search.robustness import Check
from verifier.search.settings import Settings, budget_of
from verifier.solvers.milp import available_solvers

__all__ = ["AllTargets", "Check", "Halfspaces", "Model", "OutputRanges", "PropertyCheck", "PropertyMinimum"]
__all__ += ["attack", "available_solvers", "brackets", "certificate", "check", "load"]
__all__ += ["load_transforms", "minimal", "minimal_all_targets", "output_ranges"]


@overload
def minimal(
    model: Model,
    x: npt.ArrayLike,
    *,
    target: int | None = None,
    label: int | None = None,
    norm: str = "linf",
    box: Box = DEFAULT_BOX,
    precision: float = DEFAULT_PRECISION,
    margin: float = 0.0,
    method: str = DEFAULT_METHOD,
    solver: str | None = None,
    threads: int = 1,
    workers: Workers | None = None,
    semantics: str = "both",
    timeout: float | Budget = math.inf,
    memory: str | float | None = None,
    device: str = "auto",
    seed: int = 0,
    transforms: Transforms | None = None,
    columns: Columns | None = None,
    once: bool = False,
) -> Bracket: ...


@overload
def minimal(
    model: Model,
    x: npt.ArrayLike,
    *,
    property: AskedProperty,
    box: Box = DEFAULT_BOX,
    norm: str = "linf",
    precision: float = DEFAULT_PRECISION,
    method: str = DEFAULT_METHOD,
    solver: str | None = None,
    threads: int = 1,
    workers: Workers | None = None,
    semantics: str = "both",
    timeout: float | Budget = math.inf,
    memory: str | float | None = None,
    device: str = "auto",
    seed: int = 0,
    once: bool = False,
) -> PropertyMinimum: ...


def minimal(
    model: Model,
    x: npt.ArrayLike,
    *,
    target: int | None = None,
    label: int | None = None,
    norm: str = "linf",
    box: Box = DEFAULT_BOX,
    precision: float = DEFAULT_PRECISION,
    margin: float = 0.0,
    method: str = DEFAULT_METHOD,
    solver: str | None = None,
    threads: int = 1,
    workers: Workers | None = None,
    semantics: str = "both",
    timeout: float | Budget = math.inf,
    memory: str | float | None = None,
    device: str = "auto",
    seed: int = 0,
    transforms: Transforms | None = None,
    columns: Columns | None = None,
    once: bool = False,
    property: AskedProperty | None = None,  # noqa: A002, what it is called
) -> Bracket | PropertyMinimum:
    """The distance to the nearest adversarial point, bracketed to within `precision`: lower ≤ d* ≤ upper.

    d* = min ‖x' − x‖ over the x' of the box whose logits z(x') prefer the target t, z_t ≥ z_i + margin for every other
    i; ties count (Carlini, Katz, Barrett, Dill 2018). target: None for any class but the label. label: None for the
    class that the model predicts. x: of the model's shape, or flat. norm: linf, l1, or l2 by the method tree. box: two
    numbers, or two arrays of x's size. method: tree, auto, milp, milp-direct or z3; solver: of MILPs. threads: trees,
    or a solver's threads, at a time; with one and no timeout, the same arguments give the same bracket and number of
    nodes. workers: where parts of trees that last are explored, such as Workers(jobs=8); the minimum is the same.
    semantics: is `lower` about the network over the reals (`real`), every `float32` evaluation of it, or `both`?
    timeout: seconds, or a Budget; what is known then is returned. memory: bytes, or such as "4GB", that may be taken
    beyond what the process holds, by default half of what is free: search trees go depth-first in time, and where that
    does not help what is known is returned. device, seed: where attacks run (auto, cpu, cuda), of their random starts.
    transforms (of `load_transforms`): x' is to be adversarial under all of them, a target reached by all, else the
    label lost in each. once: this process asks nothing else, so that what takes longer to load than small questions do
    without it is loaded only for large ones. columns: which x' can occur, as Columns(grid=255) of an 8-bit image or
    Columns(integer=(3, 7)) of a table; d* is the distance to the nearest of these.

    property: what must not happen, in place of target, label and margin, as in `check`, about x' of the box; a VNN-LIB
    file names its box itself. d* is the distance to the nearest point that satisfies it. Raises InputError, one line.

    >>> import numpy as np
    >>> from verifier import models
    >>> images = np.load(models.input_file("digits"))["x"]
    >>> found = minimal(load("digits"), images[6], target=8, precision=1e-2)
    >>> found.status.value, found.upper - found.lower <= 1e-2
    ('minimal', True)
    """
    settings = Settings(budget_of(timeout, memory), method, solver, threads, device, seed, once, workers=workers)
    if property is not None:
        goal = Misclassification(target, label, margin)
        return nearest(
            model, InputRegion(x, norm, box, columns), property, goal, transforms, (precision, semantics), settings
        )
    region, goal = InputRegion(x, norm, box, columns), Misclassification(target, label, margin)
    asked = specify(model, region, goal, settings.budget, transforms, semantics, precision)
    return minimum.minimal(asked, settings)


def brackets(
    model: Model,
    x: npt.ArrayLike,
    *,
    target: int | None = None,
    label: int | None = None,
    norm: str = "linf",
    box: Box = DEFAULT_BOX,
    precision: float = DEFAULT_PRECISION,
    margin: float = 0.0,
    method: str = DEFAULT_METHOD,
    solver: str | None = None,
    threads: int = 1,
    workers: Workers | None = None,
    semantics: str = "both",
    timeout: float | Budget = math.inf,
    memory: str | float | None = None,
    device: str = "auto",
    seed: int = 0,
    transforms: Transforms | None = None,
    columns: Columns | None = None,
    once: bool = False,
) -> Iterator[Bracket]:
    """Shrinking brackets lower ≤ d* ≤ upper, as they close; the last one has `final` set, and is that of `minimal`.

    d* = min ‖x' − x‖ over the x' of the box whose logits prefer the target, or any class but the label, by `margin`.
    The arguments are those of `minimal`. Raises InputError, one line, before the first bracket.
    """
    settings = Settings(budget_of(timeout, memory), method, solver, threads, device, seed, once, workers=workers)
    region, goal = InputRegion(x, norm, box, columns), Misclassification(target, label, margin)
    asked = specify(model, region, goal, settings.budget, transforms, semantics, precision)
    return minimum.brackets(asked, settings)


def minimal_all_targets(
    model: Model,
    x: npt.ArrayLike,
    *,
    targets: Sequence[int] | None = None,
    known: Mapping[int, npt.ArrayLike] | None = None,
    label: int | None = None,
    norm: str = "linf",
    box: Box = DEFAULT_BOX,
    precision: float = DEFAULT_PRECISION,
    margin: float = 0.0,
    method: str = DEFAULT_METHOD,
    solver: str | None = None,
    threads: int = 1,
    workers: Workers | None = None,
    semantics: str = "both",
    timeout: float | Budget = math.inf,
    memory: str | float | None = None,
    device: str = "auto",
    seed: int = 0,
    progress: Callable[[Bracket], None] | None = None,
    transforms: Transforms | None = None,
    columns: Columns | None = None,
    once: bool = False,
) -> AllTargets:
    """For each of `targets`, by default every class but the label, the bracket lower ≤ d* ≤ upper of `minimal`.

    d* = min ‖x' − x‖ over the x' of the box whose logits prefer that target by `margin`. The method tree works on all
    targets side by side; with any other they come one after the other, and each gets an equal share of the time that
    is left. known: by target a witness of an earlier search, which goes on from it instead of attacking. progress:
    called with every bracket. The other arguments are those of `minimal`. Raises InputError, one line.
    """
    settings = Settings(budget_of(timeout, memory), method, solver, threads, device, seed, once, workers=workers)
    region, goal = (
        InputRegion(x, norm, box, columns),
        Misclassification(None, label, margin, each=True, targets=targets),
    )
    asked = specify(model, region, goal, settings.budget, transforms, semantics, precision)
    return all_targets.minimal_all_targets(asked, settings, known, progress)


@overload
def check(
    model: Model,
    x: npt.ArrayLike,
    radius: float,
    *,
    target: int | None = None,
    label: int | None = None,
    norm: str = "linf",
    box: Box = DEFAULT_BOX,
    margin: float = 0.0,
    method: str = DEFAULT_METHOD,
    solver: str | None = None,
    threads: int = 1,
    workers: Workers | None = None,
    semantics: str = "both",
    timeout: float | Budget = math.inf,
    memory: str | float | None = None,
    device: str = "auto",
    seed: int = 0,
    progress: Callable[[Bracket], None] | None = None,
    transforms: Transforms | None = None,
    columns: Columns | None = None,
    once: bool = False,
) -> Check: ...


@overload
def check(
    model: Model,
    *,
    region: Box | None = None,
    property: AskedProperty,
    method: str = DEFAULT_METHOD,
    threads: int = 1,
    workers: Workers | None = None,
    semantics: str = "both",
    timeout: float | Budget = math.inf,
    memory: str | float | None = None,
    seed: int = 0,
    once: bool = False,
) -> PropertyCheck: ...


def check(
    model: Model,
    x: npt.ArrayLike | None = None,
    radius: float | None = None,
    *,
    target: int | None = None,
    label: int | None = None,
    norm: str = "linf",
    box: Box = DEFAULT_BOX,
    margin: float = 0.0,
    method: str = DEFAULT_METHOD,
    solver: str | None = None,
    threads: int = 1,
    workers: Workers | None = None,
    semantics: str = "both",
    timeout: float | Budget = math.inf,
    memory: str | float | None = None,
    device: str = "auto",
    seed: int = 0,
    progress: Callable[[Bracket], None] | None = None,
    transforms: Transforms | None = None,
    columns: Columns | None = None,
    once: bool = False,
    region: Box | None = None,
    property: AskedProperty | None = None,  # noqa: A002, what it is called
) -> Check | PropertyCheck:
    """Is there an adversarial point within `radius` of x, or one that satisfies a `property`?

    Violated with a witness, Holds with its evidence, or Unknown. About x, it asks for an x' of the box with
    ‖x' − x‖ ≤ radius, in the units of x, whose logits prefer the target, or any class but the label, by `margin`; ties
    count. progress: called with brackets on the way, by the method tree. The other arguments are those of `minimal`.

    property: what must not happen, in place of x, radius and what belongs to them. Halfspaces(C, d), or a list of which
    one is enough: an x' of `region`, two numbers or two arrays of the input's size, with outputs y, C·y + d ≥ 0 in
    every row; C (rows, model.outputs). Or the path of a VNN-LIB file, 1.0 or 2, which names its region.

    Raises InputError, one line, for an argument that cannot be.

    >>> import numpy as np
    >>> from verifier import models
    >>> preferred = Halfspaces(np.eye(10)[[8]] - np.eye(10)[[3]], [-80.0])
    >>> check(load("digits"), region=(0.0, 1.0), property=preferred).verdict
    Holds(evidence=<Evidence.PROVED: 3>)
    """
    settings = Settings(budget_of(timeout, memory), method, solver, threads, device, seed, once, workers=workers)
    if property is not None:
        about_x: dict[str, object] = {"x": x, "radius": radius, "target": target, "label": label}
        about_x |= {"transforms": transforms, "progress": progress, "columns": columns, "margin": margin or None}
        about_x |= {"norm": None if norm == "linf" else norm, "box": None if box is DEFAULT_BOX else box}
        return check_region(model, region, property, semantics, settings, about_x)
    if x is None or radius is None:
        raise InputError("check takes an input x and a radius, or a property")
    if region is not None:
        raise InputError("region goes with property; the box of an input is `box`")
    goal = Misclassification(target, label, margin)
    asked = specify(model, InputRegion(x, norm, box, columns), goal, settings.budget, transforms, semantics)
    return robustness.check(asked, settings, radius, progress)


def output_ranges(
    model: Model,
    region: Box,
    *,
    outputs: Sequence[int] | None = None,
    precision: float | None = None,
    semantics: str = "both",
    timeout: float | Budget = math.inf,
    memory: str | float | None = None,
    seed: int = 0,
) -> OutputRanges:
    """Between what values each output lies over a box: lower ≤ min y, max y ≤ upper, proved, and values attained.

    region: two numbers, or two arrays of the input's size. outputs: which of the model.outputs entries; None: all.
    precision: how near proved ends are to come to attained values, by search trees; None: linear bounds are enough.
    semantics: `both` and `float32`: the ends hold for every float32 evaluation too, where that is known. timeout:
    seconds, or a Budget; memory: as in `minimal`; what is known then is returned. Raises InputError, one line.

    >>> (found,) = output_ranges(load("digits"), (0.0, 0.1), outputs=[3], precision=0.5).ranges
    >>> found.lower <= found.least <= found.largest <= found.upper, found.gap <= 0.5
    (True, True)
    """
    settings = Settings(budget_of(timeout, memory), seed=seed)
    return ranges.output_ranges(model, region, settings, outputs, precision, semantics)


def attack(
    model: Model,
    x: npt.ArrayLike,
    *,
    target: int | None = None,
    label: int | None = None,
    norm: str = "linf",
    box: Box = DEFAULT_BOX,
    margin: float = 0.0,
    timeout: float | Budget = math.inf,
    memory: str | float | None = None,
    device: str = "auto",
    seed: int = 0,
    attack: str = DEFAULT_ATTACK,
    transforms: Transforms | None = None,
    columns: Columns | None = None,
) -> Bracket:
    """The upper end alone: the nearest adversarial point that one attack finds, judged and polished; lower end 0.

    attack: a name such as fgsm, pgd, cw, deepfool or autoattack; a wrong one lists them. The other arguments are those
    of `minimal`. `upper` is infinite where nothing is found. Raises InputError, one line.
    """
    settings = Settings(budget_of(timeout, memory), device=device, seed=seed)
    region, goal = InputRegion(x, norm, box, columns), Misclassification(target, label, margin)
    return minimum.attack(specify(model, region, goal, settings.budget, transforms), settings, attack)
