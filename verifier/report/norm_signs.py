"""How each norm is written: in text, in ASCII, in LaTeX."""

from __future__ import annotations

from collections.abc import Mapping

from encoders.network.norm import Norm

NORM_SIGNS: Mapping[str, str] = {Norm.LINF: "L∞", Norm.L1: "L1", Norm.L2: "L2"}
NORM_NAMES: Mapping[str, str] = {Norm.LINF: "L-inf", Norm.L1: "L1", Norm.L2: "L2"}
NORM_LATEX: Mapping[str, str] = {Norm.LINF: r"$L_\infty$", Norm.L1: "$L_1$", Norm.L2: "$L_2$"}
