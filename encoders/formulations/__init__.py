"""A network as MILP, linear rows, SMT, stages of affine maps and ReLUs; and what its solvers may lose."""
