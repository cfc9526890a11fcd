"""Random formulas as VNN-LIB text, and what they mean by the plainest evaluation of the text itself."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

import numpy as np

COMPARE = {"<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt, "=": operator.eq}
NUMBERS = ("0", "-1", "0.5", "2", "-0.25", "1e-1", "+3.", ".75")


def declarations(inputs: int, outputs: int) -> str:
    names = [f"X_{i}" for i in range(inputs)] + [f"Y_{j}" for j in range(outputs)]
    return "".join(f"(declare-const {name} Real)\n" for name in names)


def random_term(rng: np.random.Generator, names: Sequence[str], depth: int) -> str:
    kind = rng.integers(6) if depth else rng.integers(2)
    if kind == 0:
        return str(rng.choice(NUMBERS))
    if kind == 1:
        return str(rng.choice(names))
    below = [random_term(rng, names, depth - 1) for _ in range(int(rng.integers(1, 4)))]
    if kind == 2:
        return f"(+ {' '.join(below)})"
    if kind == 3:
        return f"(- {' '.join(below)})"
    if kind == 4:
        return f"(* {rng.choice(NUMBERS)} {below[0]})"
    return f"(/ {below[0]} {rng.choice(['2', '-4', '3'])})"


def random_formula(rng: np.random.Generator, names: Sequence[str], depth: int) -> str:
    kind = rng.integers(6) if depth else 0
    if kind <= 1:
        terms = [random_term(rng, names, 2) for _ in range(int(rng.integers(2, 4)))]
        return f"({rng.choice(list(COMPARE))} {' '.join(terms)})"
    if kind == 2:
        return f"(not {random_formula(rng, names, depth - 1)})"
    below = [random_formula(rng, names, depth - 1) for _ in range(int(rng.integers(1, 4)))]
    if kind == 3:
        return f"(=> {' '.join([*below, random_formula(rng, names, depth - 1)])})"
    return f"({'and' if kind == 4 else 'or'} {' '.join(below)})"


def nested(text: str) -> list:
    """The text's lists as Python's."""
    stack: list[list] = [[]]
    for token in text.replace("(", " ( ").replace(")", " ) ").split():
        if token == "(":
            stack.append([])
        elif token == ")":
            stack[-2].append(stack.pop())
        else:
            stack[-1].append(token)
    return stack[0]


def value(term, point):
    if isinstance(term, str):
        return point[term] if term in point else Fraction(term)
    name, *parts = term[0], *(value(part, point) for part in term[1:])
    if name == "+":
        return sum(parts)
    if name == "-":
        return -parts[0] if len(parts) == 1 else parts[0] - sum(parts[1:])
    return parts[0] * parts[1] if name == "*" else parts[0] / parts[1]


def meant(formula, point) -> bool:
    """Is the formula true at the point, a value for each name?"""
    name, *parts = formula
    if name in COMPARE:
        terms = [value(part, point) for part in parts]
        return all(COMPARE[name](left, right) for left, right in pairwise(terms))
    truths = [meant(part, point) for part in parts]
    if name == "not":
        return not truths[0]
    if name == "=>":
        return truths[-1] or not all(truths[:-1])
    return all(truths) if name == "and" else any(truths)
