"""Each norm's class."""

from __future__ import annotations

from collections.abc import Mapping

from encoders.network.norm import Norm
from verifier.problem.norms.geometry import Geometry
from verifier.problem.norms.l1 import L1
from verifier.problem.norms.l2 import L2
from verifier.problem.norms.linf import LInf

GEOMETRIES: Mapping[Norm, type[Geometry]] = {Norm.LINF: LInf, Norm.L1: L1, Norm.L2: L2}

FLAT_NORMS = tuple(norm for norm, kind in GEOMETRIES.items() if kind.has_flat_sides)
"""Those whose balls LPs, MILP and Z3 describe."""
