"""Programs that print a table and write a JSON: the paper's tables, peers, VNN-COMP; and the shipped nets' training."""

import sys

if sys.argv[:1] == ["-m"]:  # so it is while `python -m benchmarks.…` looks for its module
    from benchmarks.harness.one_line import tell

    sys.excepthook = tell
