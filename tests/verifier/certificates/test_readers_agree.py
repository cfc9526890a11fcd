"""The checker, the engine and ONNX Runtime read one function in a file, or one of the first two refuses it.

Thousands of files that differ from a good one by their protobuf, and of variants of each operator; the seeds are fixed.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from onnx import helper

from tests.verifier.certificates.nets import NETS, whole
from tests.verifier.certificates.readers import Said, compared
from tests.verifier.certificates.variants import ENDS, MAKERS, every_other_operator, one_operator, variants
from tests.verifier.certificates.wire import CHANGES, changed, parsed
from verifier.certificates import checker

EACH = 250
"""Changed files of each net."""
VARIANTS = 160
"""Of each operator."""
RARE = 0.01
"""ONNX Runtime refuses files for what stands in nodes on which the output does not depend."""


@pytest.mark.parametrize("name", NETS)
def test_changed_files_are_read_alike_or_refused(name: str) -> None:
    content = whole(name).SerializeToString()
    assert parsed(content).content() == content
    assert compared(content) is Said.ALIKE
    said = Counter(compared(changed(np.random.default_rng([seed, *name.encode()]), content)) for seed in range(EACH))
    assert said[Said.REFUSED] > EACH / 2
    assert said[Said.ALIKE] > EACH / 20
    assert said[Said.RUNTIME_REFUSES] <= RARE * EACH


@pytest.mark.parametrize("op", MAKERS)
def test_variants_of_operators_are_read_alike_or_refused(op: str) -> None:
    said = Counter(compared(content) for content in variants(op, VARIANTS))
    assert said[Said.REFUSED] > VARIANTS / 20
    assert said[Said.ALIKE] > VARIANTS / 40
    assert said[Said.RUNTIME_REFUSES] <= RARE * VARIANTS


def test_variants_of_every_operator_are_tried() -> None:
    assert {*MAKERS} == {*checker.OPERATORS, *ENDS}


@pytest.mark.parametrize("op", every_other_operator())
def test_every_other_operator_is_refused_by_name(op: str) -> None:
    node = helper.make_node(op, ["x"], ["out"])
    with pytest.raises(checker.InvalidError, match=op):
        checker.read_network(one_operator(node, [1, 4], {}, 13, last=False))


def test_the_changes_can_be_seen() -> None:
    """Each change of the table changes files: else it would test nothing."""
    content = whole("residual").SerializeToString()
    for change in CHANGES:
        different = 0
        for seed in range(20):
            root = parsed(content)
            change(np.random.default_rng(seed), root)
            different += root.content() != content
        assert different > 5, change
