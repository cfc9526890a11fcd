"""Ours and other solvers on the same instances: Gurobi, Marabou, HiGHS, CBC."""
