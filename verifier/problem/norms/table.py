"""Each norm's class."""

from __future__ import annotations

from collections.abc import Mapping

from encoders.network.norm import Norm
from verifier.problem.norms.geometry import Geometry
from verifier.problem.norms.l1 import L1
from verifier.problem.norms.linf import LInf

GEOMETRIES: Mapping[Norm, type[Geometry]] = {Norm.LINF: LInf, Norm.L1: L1}
