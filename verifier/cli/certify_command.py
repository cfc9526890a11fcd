"""What `verifier certify` does: check a certificate against a model file and what is demanded of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from encoders.errors import InputError
from verifier.certificates import checker
from verifier.cli.complaint import complain
from verifier.cli.exit_codes import Exit
from verifier.problem.inputs.box import inside


def check(certificate: Path, model: Path, given: Mapping[str, Any], json: bool) -> Exit:
    """Answer `verifier certify`; `given`: what is demanded, in the words of the command line (`checker.OPTIONS`).

    Raises InputError where a file or an option cannot be read.
    """
    try:
        demands = checker.read_demands(given)
        found = checker.files_judged(certificate, model, checker.Demands())
    except OSError as error:
        named = "" if error.filename is None else f"{error.filename}: "
        raise InputError(f"{named}{error.strerror or error}") from None
    except ValueError as error:
        raise InputError(str(error)) from None
    if found.result is not None:
        moved, told = _moved(demands, found.result)
        if told:
            complain(f"{given['input']}: {told}")
        reason = checker.printable(moved.unmet(found.result))
        missing = demands.missing(found.result)
        found = checker.CheckedJudgement(None if reason else found.result, reason, missing)
    else:
        found = replace(found, missing=demands.missing())
    print(found.to_json() if json else found)
    return Exit.GOOD if found.valid else Exit.VIOLATED


def _moved(
    demands: checker.Demands, result: checker.CheckedResult | checker.PropertyResult
) -> tuple[checker.Demands, str]:
    """The demands with an input that rounding puts beside the certificate's box in it, as questions move it; a remark.

    What more than rounding has put outside, or has another size, stays as it is: it is another input.
    """
    if isinstance(result, checker.PropertyResult) or demands.input is None:
        return demands, ""
    query = result.query
    if demands.input.size != query.centre.size:
        return demands, ""
    with np.errstate(over="ignore"):
        rounded = np.ravel(demands.input).astype(result.dtype)
    try:
        x, told = inside(rounded, query.lo, query.hi)
    except InputError:
        return demands, ""
    return replace(demands, input=x), told
