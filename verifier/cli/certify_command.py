"""What `verifier certify` does: check a certificate against a model file and what is demanded of it; before that, with
--proof, make it from another verifier's proof trees; after it, with --aptp, write its trees as such."""

from __future__ import annotations

import json as json_format
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from encoders.errors import InputError
from verifier.certificates import checker
from verifier.cli.complaint import complain
from verifier.cli.exit_codes import Exit
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.inputs.box import inside
from verifier.problem.properties.from_aptp import pattern_proof
from verifier.problem.properties.from_vnnlib import read_text
from verifier.problem.properties.from_vnnlib2 import is_version_2, network_query
from verifier.problem.properties.s_expressions import Text
from verifier.problem.properties.to_vnnlib import to_vnnlib
from verifier.problem.whole_file import writable, written


@dataclass(frozen=True)
class Trees:
    """Proof trees in APTP: `proofs` to make the certificate from, and `export`, where its own are written."""

    proofs: Sequence[Path] = ()
    export: Path | None = None


NO_CERTIFICATE: dict[str, Any] = {"valid": False, "claim": None, "not_demanded": []}
"""What the JSON says where none was made."""


def check(
    certificate: Path,
    model: Path,
    given: Mapping[str, Any],
    json: bool,
    trees: Trees,
    budget: Budget,
) -> Exit:
    """Answer `verifier certify`; `given`: what is demanded, in the words of the command line (`checker.OPTIONS`).

    Raises InputError where a file or an option cannot be read.
    """
    if trees.export is not None:
        writable(trees.export, "--aptp")
    if trees.proofs:
        reason = _made(certificate, model, given, trees.proofs, budget)
        if reason:
            complain(f"no certificate was written: {reason}")
            if json:
                print(json_format.dumps({**NO_CERTIFICATE, "reason": reason}))
            return Exit.UNDECIDED
    code = _checked(certificate, model, given, json)
    if trees.export is not None and code is Exit.GOOD:
        from verifier.certificates.aptp_proofs import aptp_proofs  # noqa: PLC0415, most checks export nothing

        texts = aptp_proofs(certificate.read_bytes(), model.read_bytes(), model.parent, budget)
        for number, text in enumerate(texts):
            out = trees.export
            path = out if len(texts) == 1 else out.with_name(f"{out.stem}-{number}{out.suffix}")
            content = text.encode()
            written(path, lambda stream: stream.write(content))  # noqa: B023
    return code


def _made(certificate: Path, model: Path, given: Mapping[str, Any], proofs: Sequence[Path], budget: Budget) -> str:
    """Make the certificate from proof trees; why there is none, "" where there is. Raises InputError.

    It is about the property that is demanded, else about the one proof's own.
    """
    from verifier.certificates.file import CertificateFile  # noqa: PLC0415, heavy, as what follows
    from verifier.certificates.guided_tree import guide_of  # noqa: PLC0415
    from verifier.certificates.property_builder import certifiable, property_certified  # noqa: PLC0415
    from verifier.certificates.split_tree import NotCertifiedError  # noqa: PLC0415
    from verifier.runtime.model import EVERY, load  # noqa: PLC0415

    asked = given["property"]
    if any(_same(certificate, other) for other in (model, *proofs, *([] if asked is None else [Path(asked)]))):
        raise InputError(
            f"{certificate}: the certificate is written there, and the command reads it: name another file"
        )
    file = CertificateFile(certificate)
    if asked is None and len(proofs) > 1:
        raise InputError(f"--proof is given {len(proofs)} times: --property FILE says what all of them are about")
    texts = [read_text(path) for path in proofs]
    file.remove()  # before the work: whatever ends that, what an earlier run left is not taken for its certificate
    try:
        read = [(str(path), pattern_proof(text, budget.check)) for path, text in zip(proofs, texts, strict=True)]
        boxes = [name for name, proof in read if proof.leaves is None]
        if asked is not None and boxes:
            raise InputError(f"{boxes[0]} splits inputs: its boxes are its own property, and --property goes with none")
        loaded = load(model, budget, output=EVERY)
        guides = [guide_of(proof, name, budget.check) for name, proof in read if proof.leaves is not None]
        given_text = None if asked is None else read_text(Path(asked))
        text = to_vnnlib(read[0][1].prop).encode() if given_text is None else certifiable(given_text, loaded, budget)
        float32 = given_text is not None and _about_float32(given_text, budget.check)
        found = property_certified(loaded, text, budget, guides, (float32,))
    except (NotCertifiedError, OutOfTimeError) as error:
        return str(error)
    file.write(found.content)
    return ""


def _same(one: Path, other: Path) -> bool:
    return one.exists() and other.exists() and one.samefile(other)


def _checked(certificate: Path, model: Path, given: Mapping[str, Any], json: bool) -> Exit:
    try:
        demands, query = _demands(given)
        found = checker.files_judged(certificate, model, checker.Demands(grid=demands.grid))
    except OSError as error:
        named = "" if error.filename is None else f"{error.filename}: "
        raise InputError(f"{named}{error.strerror or error}") from None
    except ValueError as error:
        raise InputError(str(error)) from None
    if found.result is not None:
        if query is not None:
            from encoders.onnx_io.file import load_model, ports_of  # noqa: PLC0415, heavy, as what follows
            from verifier.runtime.query_model import text_about  # noqa: PLC0415

            demands = replace(demands, property=text_about(query, ports_of(load_model(model)[0].proto)))
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


def _demands(given: Mapping[str, Any]) -> tuple[checker.Demands, Text | None]:
    """What is demanded, also by the types of a property in VNN-LIB 2; and that property, which speaks of the model.

    Raises OSError or ValueError.
    """
    demands = checker.read_demands(given)
    if demands.property is None:
        return demands, None
    try:
        text = Text(given["property"], demands.property.decode())
    except UnicodeDecodeError:
        return demands, None
    if not is_version_2(text):
        return demands, None
    float32 = 1.0 if demands.float32 is None and _about_float32(text) else demands.float32
    return replace(demands, float32=float32), text


def _about_float32(text: Text, look: Callable[[], None] = lambda: None) -> bool:
    """Is it a query of VNN-LIB 2 about what the file computes, not about the reals? look: as of `network_query`."""
    return is_version_2(text) and not network_query(text, look).real


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
