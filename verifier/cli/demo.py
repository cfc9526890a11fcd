"""`verifier demo`: a provably minimal adversarial example on a model that comes with the package."""

from __future__ import annotations

from pathlib import Path

from verifier import models
from verifier.cli import commands
from verifier.cli.exit_codes import Exit
from verifier.cli.job import Request
from verifier.cli.question_options import QuestionOptions, ResultOptions, SearchOptions
from verifier.cli.time_limit import Deadline
from verifier.report import terminal

INDEX = 6
"""Which of the shipped digits: a handwritten 3."""
PRECISION = 1e-3
INPUTS = "digits_inputs.npz"


def run(out: Path, deadline: Deadline) -> Exit:
    """Solve one digit in L-inf, untargeted; show the table, write the picture, say what it means."""
    model = models.path("digits")
    asked = QuestionOptions(model=model, input=model.with_name(INPUTS), index=INDEX)
    request = Request(asked, SearchOptions(), ResultOptions(out), deadline)
    code = commands.minimal(request, precision=PRECISION)
    stdout = terminal.stdout()
    if code is Exit.GOOD:
        picture = out / "picture.png"
        stdout.print(f"It is proved that changing pixels by less than `lower` never fools this net; {picture} does.")
    stdout.print("On your own model: verifier inspect MODEL.onnx, then verifier minimal MODEL.onnx INPUT --out DIR")
    return code
