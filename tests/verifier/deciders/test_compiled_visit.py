"""Walks of the compiled kernel do what visits one by one do, however they are cut into calls."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import verifier
from verifier import models
from verifier.deciders import compiled_visit, kernels
from verifier.deciders.compiled_visit import CompiledVisitor
from verifier.query import Norm

LEAST_NODES = 150
"""Fewer over all instances would say little about walks."""

pytestmark = pytest.mark.skipif(not kernels.available(), reason="numba is not installed")


def brackets(norm: Norm) -> list[tuple[float, float, int]]:
    """Both ends and the nodes of hard targets of `digits`."""
    model = verifier.load(models.path("digits"))
    with np.load(models.path("digits").with_name("digits_inputs.npz")) as shipped:
        images = shipped["x"][::2]
    found = []
    for image in images:
        target = (model.predict(image) + 3) % model.classes
        bracket = verifier.minimal(model, image, target=target, norm=norm.value, device="cpu")
        assert bracket.search is not None
        found.append((bracket.lower, bracket.upper, bracket.search.nodes))
    return found


def one_by_one(*_: Any) -> None:
    """In place of a walk."""


@pytest.mark.parametrize("norm", list(Norm), ids=str)
def test_walks_are_single_visits(norm: Norm, monkeypatch: pytest.MonkeyPatch) -> None:
    kernels.compile_now()
    walked = brackets(norm)
    assert sum(nodes for _, _, nodes in walked) > LEAST_NODES
    with monkeypatch.context() as patch:
        patch.setattr(compiled_visit, "AT_ONCE", 0.0)
        assert brackets(norm) == walked
    monkeypatch.setattr(CompiledVisitor, "dive", one_by_one)
    assert brackets(norm) == walked
