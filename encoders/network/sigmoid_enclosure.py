"""Rational bounds of σ(v) = 1 / (1 + e^−v) for rational v, to as many bits as are asked for.

With w = |v| / 2^m the series of e^−w is summed in integers, each one rounded down and every rounding counted; squaring
m times, outwards, gives e^−|v|. σ is 1 / (1 + e^−|v|), or 1 less that.
"""

from __future__ import annotations

REDUCED = 4
"""Further halvings of the argument: below 2⁻⁴ a summand of the series is a sixteenth of the one before, or less."""

GUARD = 24
"""Bits beyond those asked for, and those that squaring loses: what the roundings of the series may cost."""

TERM_ERROR = 4
"""Units that a summand of the series may be off by: a product with a rounded argument, below 2⁻⁴, and a quotient, both
rounded down, keep an error e below e/16 + 3."""


def sigmoid_bounds(numerator: int, denominator: int, bits: int) -> tuple[int, int]:
    """(p, q) with p ≤ σ(numerator / denominator) · 2^bits ≤ q ≤ p + 2; denominator > 0, bits ≥ 8. At 0 both are exact.

    >>> sigmoid_bounds(0, 1, 8), sigmoid_bounds(1, 3, 8)
    ((128, 128), (149, 150))
    """
    if numerator == 0:
        return 1 << (bits - 1), 1 << (bits - 1)
    least, most, work = _decay_bounds(abs(numerator), denominator, bits)
    one = 1 << work
    if numerator >= 0:
        return (one << bits) // (one + most), -(-(one << bits) // (one + least))
    return (least << bits) // (one + least), -(-(most << bits) // (one + most))


def _decay_bounds(numerator: int, denominator: int, bits: int) -> tuple[int, int, int]:
    """(p, q, work) with p ≤ e^−w · 2^work ≤ q, w = numerator / denominator ≥ 0."""
    halvings = bits.bit_length() + REDUCED
    work = bits + halvings + GUARD
    if numerator > bits * denominator:
        return 0, 1 << (work - bits), work  # e^−w < 2^−bits
    argument = (numerator << work) // (denominator << halvings)
    total = term = 1 << work
    count = 0
    while term:
        count += 1
        term = (term * argument >> work) // count
        total += -term if count % 2 else term
    # What is left out alternates and falls, from a summand that was rounded to 0.
    spare = TERM_ERROR * (count + 1)
    least, most = max(0, total - spare), min(1 << work, total + spare)
    for _ in range(halvings):
        least, most = least * least >> work, -(-(most * most) >> work)
    return least, most, work
