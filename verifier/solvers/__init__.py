"""One query, answered Violated, Holds or Unknown: search trees, MILP, SMT, Farkas certificates of LPs."""
