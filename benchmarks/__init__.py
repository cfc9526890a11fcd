"""Programs that print a table and write a JSON: the paper's tables, peers, VNN-COMP; and the shipped nets' training."""
