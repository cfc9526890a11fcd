"""Every norm has a sign wherever one is written."""

from __future__ import annotations

from encoders.network.norm import Norm
from verifier.report import norm_signs


def test_every_norm_has_every_sign() -> None:
    signs = norm_signs.NORM_SIGNS, norm_signs.NORM_NAMES, norm_signs.NORM_LATEX
    assert all(table.keys() == {norm.value for norm in Norm} for table in signs)
    assert all(len(set(table.values())) == len(Norm) for table in signs)
    assert all(name.isascii() for name in (*norm_signs.NORM_NAMES.values(), *norm_signs.NORM_LATEX.values()))
