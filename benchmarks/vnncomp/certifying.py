"""A certificate built in a process of its own, whose death is a reason as any other."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage

from encoders.errors import InputError, SolverError
from verifier.certificates.property_builder import certifiable, property_certified
from verifier.certificates.split_tree import NotCertifiedError
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.child import ChildError
from verifier.problem.properties.from_vnnlib import read_text
from verifier.runtime.model import EVERY, load
from verifier.solvers.process import Worker


@dataclass(frozen=True)
class BuiltCertificate:
    """A certificate, or why there is none; text: the property as it holds it, in VNN-LIB 1.0; CPU seconds: of a process
    that was killed all that it had, its start included."""

    content: bytes
    text: bytes
    leaves: int
    reason: str
    cpu_seconds: float


@dataclass(frozen=True)
class CertificateBuilder:
    """Builds the certificate that nothing satisfies a property of a model, both packed or not."""

    model: Path
    query: Path

    def built(self, budget: Budget) -> BuiltCertificate:
        """What comes within the budget, in this process."""
        start = time.process_time()
        content, text, leaves, reason = b"", b"", 0, ""
        try:
            model = load(self.model, budget, output=EVERY)
            text = certifiable(read_text(self.query), model, budget)
            made = property_certified(model, text, budget)
            content, leaves = made.content, made.leaves
        except (NotCertifiedError, OutOfTimeError, InputError) as error:
            reason = str(error)
        return BuiltCertificate(content, text, leaves, reason, time.process_time() - start)


def built_apart(model: Path, query: Path, seconds: float) -> BuiltCertificate:
    """The same in a process of its own, which is killed where it does not keep its seconds."""
    before = children_seconds()
    try:
        with Worker() as worker:
            found: BuiltCertificate = worker.call(CertificateBuilder(model, query), "built", budget=Budget(seconds))
            return found
    except ChildError as error:
        reason = f"none was built: {error}"
    except (OutOfTimeError, SolverError) as error:
        reason = str(error)
    return BuiltCertificate(b"", b"", 0, reason, children_seconds() - before)


def children_seconds() -> float:
    """CPU seconds of all child processes that have ended."""
    used = getrusage(RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
