"""A gate's file: what it may say, and one line for what it may not."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from encoders.errors import InputError
from verifier.gate.requirements import (
    CertifiedAccuracy,
    MeanDistortion,
    MinDistortion,
    Quantile,
    read_gate,
)
from verifier.problem.quantities import at_least

PLAN = 'models = ["digits"]\ndata = "digits"\nselect = { count = 3 }\n'


def written(folder: Path, text: str) -> Path:
    path = folder / "robustness.toml"
    path.write_text(PLAN + text, encoding="utf-8")
    return path


def test_every_kind_is_read(tmp_path: Path) -> None:
    gate = read_gate(
        written(
            tmp_path,
            """
[[require]]
name = "every digit"
min_distortion = "8/255"
[[require]]
mean = 0.04
[[require]]
quantile = 0.1
at_least = 0.03
[[require]]
certified_accuracy = 0.9
radius = 0.02
""",
        )
    )
    assert gate.requirements == (
        MinDistortion("every digit", at_least("8/255", "").value),
        MeanDistortion("mean = 0.04", 0.04),
        Quantile("quantile = 0.1", Fraction(1, 10), 0.03),
        CertifiedAccuracy("certified_accuracy = 0.9", Fraction(9, 10), 0.02),
    )
    assert gate.plan.targets == "untargeted"
    assert gate.plan.store.parent == tmp_path / ".verifier"


def test_a_radius_is_rounded_up_since_more_is_then_required(tmp_path: Path) -> None:
    (one,) = read_gate(written(tmp_path, '[[require]]\nmin_distortion = "1/3"\n')).requirements
    assert isinstance(one, MinDistortion)
    assert Fraction(one.radius) >= Fraction(1, 3)


def test_models_of_one_name_are_refused_since_a_baseline_would_take_one_for_the_other(tmp_path: Path) -> None:
    path = written(tmp_path, "[[require]]\nmin_distortion = 0.1\n")
    with pytest.raises(InputError, match=r"two models are named 'net\.onnx'"):
        read_gate(path, {"models": ["a/net.onnx", "b/net.onnx"]})


WRONG = {
    "": "it requires nothing",
    "require = 3": "tables are expected",
    "[[require]]\nname = 'x'": "one of min_distortion, mean",
    "[[require]]\nmin_distortion = 0.1\nmean = 0.1": "not min_distortion and mean",
    "[[require]]\nmin_distortion = 0": "a distance > 0",
    "[[require]]\nmin_distortion = true": "a distance > 0",
    "[[require]]\nmin_distortion = '1/0'": "divides by 0",
    "[[require]]\nquantile = 0.1": "at_least is missing",
    "[[require]]\ncertified_accuracy = 90\nradius = 0.1": "at most 1, is expected: 0.9 for 90 %",
    "[[require]]\ncertified_accuracy = 0.9\nradius = 0.1\nby = 1": "by: no such key",
    "[[require]]\nmin_distortion = 0.1\nnorm = 'l1'": "the file's norms are linf",
    "norms = ['linf', 'l1']\n[[require]]\nmin_distortion = 0.1": "norm is missing",
    "[[require]]\nno_worse_than = 'absent.json'": "verifier gate --update-baseline .*absent.json writes it",
    "[[require]]\nmin_distortion = 0.1\n[[require]]\nmin_distortion = 0.1": "two requirements are named",
    "[[require]]\nname = ' '\nmin_distortion = 0.1": "a text is expected",
    "method = 'milp'\n[[require]]\nmin_distortion = 0.1": "a gate needs proofs: choose tree or z3",
    "oops = 1\n[[require]]\nmin_distortion = 0.1": "no such key; there are models, .*, select, require, certificates",
    "[[requires]]\nmin_distortion = 0.1": "requires: no such key; did you mean 'require'",
    "[[require]]\nmin_distorsion = 0.1": "min_distorsion: no such key; did you mean 'min_distortion'",
    "[[require]]\nmin_distortion = 0.1\ntotal_budget = 3": "total_budget: no such key; it belongs above every",
    "[[require]]\nmean = 0.1\nradius = 0.1": "radius: no such key beside mean",
}


@pytest.mark.parametrize("text", WRONG, ids=range(len(WRONG)))
def test_what_is_wrong_is_one_line_that_names_the_file(tmp_path: Path, text: str) -> None:
    path = written(tmp_path, text + "\n")
    with pytest.raises(InputError, match=WRONG[text].replace("(", r"\(")) as caught:
        read_gate(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value) or "absent.json" in text
