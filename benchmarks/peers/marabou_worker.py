"""Answers reachability queries by Marabou; a lone script, run by the interpreter of an environment that has maraboupy.

One JSON object a line. First comes the network {"inputs": n, "stages": [{"blocks": {"j": matrix}, "constant": [..]}],
"matrix": rows, "offset": [..]}: z_k = Σ_j B_kj h_j + c_k, h_0 = v, h_j = relu(z_j), goal: matrix · z_last + offset ≥ 0;
the worker says {"ready": true, "cpu_seconds": s}. Each further line is a query {"lower": [..], "upper": [..], "sum":
number or null, "seconds": s}: is there a v with lower ≤ v ≤ upper, Σ v ≤ sum, in the goal? Its answer is {"answer":
"sat", "unsat" or Marabou's word for what else happened, "point": v}.
"""

import json
import math
import os
import sys
import time
from typing import Any

from maraboupy import MarabouCore

Json = dict[str, Any]


def equation(kind: Any, addends: list[tuple[float, int]], scalar: float) -> Any:
    """Σ coefficient · variable (=, ≤ or ≥) scalar."""
    made = MarabouCore.Equation(kind)
    for coefficient, variable in addends:
        if coefficient != 0.0:
            made.addAddend(coefficient, variable)
    made.setScalar(scalar)
    return made


def build(network: Json, query: Json) -> Any:
    """The query as Marabou takes it: the inputs are the variables 0 … n − 1, then z and h of each stage."""
    made, kinds = MarabouCore.InputQuery(), MarabouCore.Equation
    inputs, stages = network["inputs"], network["stages"]
    hidden = sum(2 * len(stage["constant"]) for stage in stages[:-1])
    made.setNumberOfVariables(inputs + hidden + len(stages[-1]["constant"]))
    for variable, (low, high) in enumerate(zip(query["lower"], query["upper"], strict=True)):
        made.setLowerBound(variable, low)
        made.setUpperBound(variable, high)
        made.markInputVariable(variable, variable)
    starts, arguments = {0: 0}, inputs
    for number, stage in enumerate(stages, start=1):
        for row, constant in enumerate(stage["constant"]):
            addends = [(-1.0, arguments + row)]
            for source, matrix in stage["blocks"].items():
                first = starts[int(source)]
                addends += [(coefficient, first + column) for column, coefficient in enumerate(matrix[row])]
            made.addEquation(equation(kinds.EQ, addends, -constant))
        size = len(stage["constant"])
        if number < len(stages):
            starts[number] = arguments + size
            for row in range(size):
                MarabouCore.addReluConstraint(made, arguments + row, arguments + size + row)
            arguments += 2 * size
    for row in range(len(stages[-1]["constant"])):
        made.markOutputVariable(arguments + row, row)
    for coefficients, offset in zip(network["matrix"], network["offset"], strict=True):
        made.addEquation(equation(kinds.GE, [(c, arguments + row) for row, c in enumerate(coefficients)], -offset))
    if query["sum"] is not None:
        made.addEquation(equation(kinds.LE, [(1.0, variable) for variable in range(inputs)], query["sum"]))
    return made


def answer(network: Json, query: Json) -> Json:
    """Marabou's answer on one thread."""
    options = MarabouCore.Options()
    options._verbosity = 0
    options._numWorkers = options._numBlasThreads = 1
    options._timeoutInSeconds = math.ceil(query["seconds"])
    word, values, _ = MarabouCore.solve(build(network, query), options, "")
    return {"answer": word, "point": [values[v] for v in range(network["inputs"])] if word == "sat" else None}


def main() -> None:
    """Serve on the real standard streams; what Marabou prints goes nowhere."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    network = json.loads(sys.stdin.readline())
    print(json.dumps({"ready": True, "cpu_seconds": time.process_time()}), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(network, json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
