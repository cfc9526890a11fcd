"""The stages of a network without the ReLUs that a root fixes at 0: at points of its ball they have the same values."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from encoders.formulations.to_stages import Block, Stage, Stages
from encoders.network.graph import Array


def kept_stages(stages: Stages, upper: Array) -> Stages:
    """Those where the ReLUs whose arguments are at most `upper` (relu_count,) are kept if that is above 0."""
    parts = [np.flatnonzero(upper[begin:end] > 0) for begin, end in zip(stages.starts, stages.starts[1:], strict=False)]
    found = tuple(_thinned(stage, rows, parts) for stage, rows in zip(stages.stages, [*parts, None], strict=True))
    return replace(stages, stages=found)


def _thinned(stage: Stage, rows: npt.NDArray[np.integer] | None, parts: list[npt.NDArray[Any]]) -> Stage:
    """The stage's own `rows` (None: all) of what is kept of the stages before it."""
    own: Any = slice(None) if rows is None else rows
    blocks = {}
    for source, block in stage.blocks.items():
        matrix = block.matrix[own]
        blocks[source] = Block(matrix[:, parts[source - 1]] if source else matrix)
    return Stage(blocks, stage.constant[own], stage.magnitude[own], stage.operations)
