"""Files whose bytes parse but whose parts do not fit: the reader gives a network or one line that says why not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import verifier
from encoders.errors import InputError
from encoders.network.graph import outputs
from encoders.onnx_io.from_onnx import survey
from tests.traps.mutants import MODELS, Mutation

MUTANTS = 75
"""Of each model and seed; a mutant takes some two milliseconds."""


def reading(read: Callable[[Path], Any], path: Path) -> tuple[Any, str]:
    """What a way of reading a file gives, or the line that refuses it."""
    try:
        return read(path), ""
    except InputError as error:
        return None, str(error)


def fate(path: Path) -> verifier.Model | str:
    """The model, or the one line that refuses it; listing what the file holds has to be clean too."""
    listed, refusal = reading(survey, path)
    reasons = listed.unsupported.values() if listed is not None else [refusal]
    assert not any("\n" in reason for reason in reasons)
    model, refusal = reading(verifier.load, path)
    assert "\n" not in refusal
    assert refusal.startswith("" if model is not None else str(path))
    return model if model is not None else refusal


@pytest.mark.parametrize("name", MODELS)
def test_the_models_are_read(name: str, tmp_path: Path) -> None:
    path = tmp_path / "whole.onnx"
    onnx.save(MODELS[name](), path)
    assert isinstance(fate(path), verifier.Model)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", MODELS)
def test_mutants_are_refused_or_mean_what_onnx_runtime_computes(name: str, seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    path, read, refused = tmp_path / "mutant.onnx", 0, 0
    for _ in range(MUTANTS):
        model = MODELS[name]()
        Mutation(rng).mutate(model)
        path.write_bytes(model.SerializeToString())
        found = fate(path)
        if isinstance(found, str):
            refused += 1
            continue
        read += 1
        x = rng.normal(size=found.graph.input_size).astype(found.dtype)
        with np.errstate(all="ignore"):
            expected = outputs(found.network.graph, x.astype(np.float64))[0]
        try:
            logits = found.logits(x)
        except InputError:
            continue  # ONNX Runtime refuses what the standard's checker lets pass
        size = 1.0 + np.max(np.abs(expected))
        if np.all(np.isfinite(logits)) and size < 1e30:
            assert np.max(np.abs(logits - expected)) <= 1e-4 * size
    assert read > 0
    assert refused > 0
