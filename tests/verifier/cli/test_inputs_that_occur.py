"""--grid, --integer, --one-hot and --units at the terminal: answers, files, and one line for what cannot be."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from verifier import models
from verifier.cli.exit_codes import Exit
from verifier.cli.main import main

PIXELS = ("digits", "digits", "--index", "3")


def asked(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Any]:
    code = main([*arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_the_nearest_image_of_sixteen_levels(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, found = asked(capsys, "minimal", *PIXELS, "--grid", "16", "--norm", "l1", "--out", str(tmp_path))
    assert code == Exit.GOOD
    assert found["status"] == "minimal"
    assert found["columns"] == {"told": "inputs k/16", "grid": 16, "integer": [], "one_hot": []}
    steps = found["occurring"]["lower_steps"]
    assert found["occurring"]["upper_steps"] == steps == found["upper"] * 16 == found["lower"] * 16
    assert found["float32"]["lower"] == found["lower"]
    witness = np.load(tmp_path / "witness.npy")
    assert np.array_equal(witness * 16, np.rint(witness * 16))
    assert main(["minimal", *PIXELS, "--grid", "16", "--norm", "l1"]) == Exit.GOOD
    shown = capsys.readouterr().out
    assert "no such input is nearer" in shown
    assert "no such adversarial example is closer" in shown
    assert "by cw, among all points of the box" in shown
    assert f"inputs k/16: {steps}/16 away" in shown
    assert main(["attack", *PIXELS, "--grid", "16", "--norm", "l1"]) == Exit.GOOD
    assert "inputs k/16" in capsys.readouterr().out
    within = ("check", *PIXELS, "--grid", "16", "--norm", "l1", "--radius")
    assert asked(capsys, *within, f"{steps}/16")[0] == Exit.VIOLATED
    code, checked = asked(capsys, *within, f"{steps - 0.5}/16")
    assert code == Exit.GOOD
    assert checked["columns"]["grid"] == 16
    assert checked["float32"]["holds"]


def test_squares_of_steps_in_l2(capsys: pytest.CaptureFixture[str], truth: Any, save_net: Callable[..., Any]) -> None:
    model = save_net(truth.net(0, (2, 4, 2)))
    image = model.path.with_suffix(".npy")
    np.save(image, np.float32([0.25, 0.75]))
    code, found = asked(capsys, "minimal", str(model.path), str(image), "--grid", "4", "--norm", "l2")
    assert code == Exit.GOOD
    if found["witness"] is not None:
        assert found["occurring"]["upper_steps"] == pytest.approx((4 * found["upper"]) ** 2)


def test_the_nearest_record_of_a_table(
    capsys: pytest.CaptureFixture[str], truth: Any, save_net: Callable[..., Any], tmp_path: Path
) -> None:
    """Of (age, owner, renter, hours): rich where 2·age + 9·owner − 3·renter ≥ 60.5. At 25 a renter has 47: a house
    gives 12, a year 2; the hours do not matter."""
    first = ([[2.0, 9.0, -3.0, 0.0], [0.0, 0.0, 0.0, 1.0]], [0.0, 0.0])
    model = str(save_net(truth.of_layers(first, ([[0.0, 0.0], [1.0, 0.0]], [60.5, 0.0]))).path)
    offset, scale = np.array([40.0, 0.0, 0.0, 0.0]), np.array([12.0, 1.0, 1.0, 1.0])
    person, ends, units = tmp_path / "person.npy", tmp_path / "ends.npz", tmp_path / "units.npz"
    np.save(person, np.float32([25, 0, 1, 37.25]))
    np.savez(ends, lo=[18, 0, 0, 0], hi=[99, 1, 1, 80])
    options = ("--box", str(ends), "--integer", "0", "--one-hot", "1,2", "--norm", "l1")
    code, found = asked(capsys, "minimal", model, str(person), *options, "--out", str(tmp_path / "out"))
    assert code == Exit.GOOD
    assert np.load(tmp_path / "out" / "witness.npy")[0].tolist() == [26.0, 1.0, 0.0, 37.25]
    assert found["upper"] == 3.0
    assert found["lower"] >= 3.0 - found["precision"]
    assert "1 column and one category in 1 group" in found["columns"]["told"]
    # The same behind a scaler of the user's, in whose units seven years are nearer than a house.
    scaled = ([[24.0, 9.0, -3.0, 0.0], [0.0, 0.0, 0.0, 1.0]], [80.0, 0.0])
    model = str(save_net(truth.of_layers(scaled, ([[0.0, 0.0], [1.0, 0.0]], [60.5, 0.0]))).path)
    np.save(person, ((np.load(person) - offset) / scale).astype(np.float32))
    np.savez(ends, lo=([18, 0, 0, 0] - offset) / scale, hi=([99, 1, 1, 80] - offset) / scale)
    np.savez(units, offset=offset, scale=scale)
    code, found = asked(capsys, "minimal", model, str(person), *options, "--units", str(units), "--out", str(tmp_path))
    assert code == Exit.GOOD
    assert np.load(tmp_path / "witness.npy")[0] * scale + offset == pytest.approx([32.0, 0.0, 1.0, 37.25], abs=1e-5)
    assert found["upper"] == pytest.approx(7.0 / 12.0)


def test_certificates_of_a_grid(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    kept, model = str(tmp_path / "c.cert"), str(models.path("digits"))
    question = (*PIXELS, "--grid", "16", "--norm", "l1", "--certificate", kept)
    code, found = asked(capsys, "minimal", *question)
    assert (code, found["evidence"], found["float32"]["evidence"]) == (Exit.GOOD, "certified", "certified")
    assert found["certificate"]["float32"] == found["lower"]
    steps = found["occurring"]["lower_steps"]
    for radius, good in ((repr(found["lower"]), Exit.GOOD), (f"{steps + 1}/16", Exit.VIOLATED)):
        code, said = asked(capsys, "certify", kept, model, "--grid", "16", "--radius", radius, "--float32", radius)
        assert code == good
        if said["valid"]:
            assert said["claim"]["grid"] == {"per": 16, "lower": steps, "float32": steps, "distance": steps}
    assert "grid" not in asked(capsys, "certify", kept, model)[1]["claim"]
    # A radius that is checked belongs to what is proved: all of six steps, so that nothing is closer than seven.
    code, found = asked(capsys, "check", *question, "--radius", f"{steps - 1}/16")
    assert (code, found["evidence"], found["float32"]["evidence"]) == (Exit.GOOD, "certified", "certified")
    assert asked(capsys, "certify", kept, model, "--grid", "16")[1]["claim"]["grid"]["lower"] == steps
    assert main(["certify", kept, model, "--grid", "15"]) == Exit.VIOLATED
    assert "the input is not on the grid of multiples of 1/15" in capsys.readouterr().out


def test_a_ball_grows_beyond_what_is_proved_by_rounding_alone(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Of steps that float32 hardly tells apart none of the last ones follows from a ball that holds."""
    kept, model = str(tmp_path / "c.cert"), str(models.path("digits"))
    code, found = asked(capsys, "minimal", *PIXELS, "--grid", str(1 << 20), "--certificate", kept)
    assert (code, found["evidence"]) == (Exit.GOOD, "proved")
    claim = asked(capsys, "certify", kept, model, "--grid", str(1 << 20))[1]["claim"]["grid"]
    assert 0.6 * found["occurring"]["lower_steps"] < claim["lower"] < found["occurring"]["lower_steps"]


def test_a_certificate_that_proves_less_than_the_search_says_so(
    capsys: pytest.CaptureFixture[str], truth: Any, save_net: Callable[..., Any], tmp_path: Path
) -> None:
    """x = 1/2 alone is adversarial, between two thirds: these are excluded one by one."""
    dip = ([[8.0], [8.0], [8.0]], [-3.0, -4.0, -5.0]), ([[0.0, 0.0, 0.0], [1.0, -2.0, 1.0]], [0.5, 0.0])
    model, kept = save_net(truth.of_layers(*dip)), tmp_path / "c.cert"
    np.save(tmp_path / "x.npy", np.float32([1 / 3]))
    question = (str(model.path), str(tmp_path / "x.npy"), "--grid", "3", "--certificate", str(kept), "--json")
    assert main(["minimal", *question]) == Exit.GOOD
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert (found["status"], found["lower"], found["evidence"]) == ("unreachable", None, "proved")
    assert "the certificate: it proves less than is known" in err
    claim = asked(capsys, "certify", str(kept), str(model.path), "--grid", "3")[1]["claim"]
    assert claim["grid"] == {"per": 3, "lower": 1, "float32": 1, "distance": None}
    assert main(["check", *question, "--radius", "2/3"]) == Exit.UNDECIDED
    out, err = capsys.readouterr()
    assert json.loads(out)["evidence"] == "proved"
    assert "no certificate was written: certificates are about all inputs of a ball, and of this one: " in err
    assert not kept.exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--grid", "15"), "is no multiple of 1/15"),
        (("--grid", "0"), "from 1 to"),
        (("--grid", "16", "--integer", "3"), "do not go with"),
        (("--grid", "16", "--method", "milp"), "method tree"),
        (("--integer", "0", "--certificate", "a.cert"), "--certificate does not go with --integer and --one-hot"),
        (("--one-hot", "0-1", "--certificate", "a.cert"), "--certificate does not go with --integer and --one-hot"),
        (("--grid", "16", "--property", "a.vnnlib"), "--grid does not go with --property"),
        (("--one-hot", "3,4", "--property", "a.vnnlib"), "--one-hot does not go with --property"),
        (("--grid", "16", "--box", "0", "1.01"), "an end of the box"),
        (("--integer", "3,x"), "--integer: 'x' is no column"),
        (("--integer", "64"), "column 64 is none of the input's"),
        (("--one-hot", "0-1"), "no one-hot group"),
        (("--units", "u.npz"), "units goes with"),
        (("--grid", "16", "--units", "u.npz"), "u.npz: no .npz file"),
    ],
)
def test_what_cannot_be_asked(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], told: str) -> None:
    assert main(["minimal", *PIXELS, *arguments]) == Exit.BAD_INPUT
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert told in err
