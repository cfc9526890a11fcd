"""A wrong type is one InputError that names the argument, wherever the API takes one."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import verifier
from encoders.errors import InputError
from verifier import models, testing
from verifier.problem.arguments import plain, real, whole, word
from verifier.problem.inputs.columns import units_of


@pytest.mark.parametrize("value", [2, 2.0, np.float32(2), np.int64(2), Fraction(2), Decimal(2), np.array(2)])
def test_numbers_are_taken(value: Any) -> None:
    assert real(value, "it") == 2.0


@pytest.mark.parametrize("value", ["2", None, True, np.True_, [2], np.ones(2), 2j, 10**400])
def test_other_things_are_no_numbers(value: Any) -> None:
    with pytest.raises(InputError, match=r"^it must be a number, not "):
        real(value, "it")


@pytest.mark.parametrize("value", [2, np.int8(2), np.array(2)])
def test_whole_numbers_are_taken(value: Any) -> None:
    assert whole(value, "it") == 2


@pytest.mark.parametrize("value", [2.0, "2", None, True, np.float64(2)])
def test_other_things_are_no_whole_numbers(value: Any) -> None:
    with pytest.raises(InputError, match=r"^it must be a whole number, not "):
        whole(value, "it")


def test_words() -> None:
    assert word("linf", "it") == "linf"
    with pytest.raises(InputError, match=r"^it must be a string, not 1 \(int\)"):
        word(1, "it")


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("minimal", {"target": "3"}, "the target must be a whole number, not '3' .str."),
    ("minimal", {"label": 3.0}, "the label must be a whole number"),
    ("minimal", {"norm": 1}, "the norm must be a string, not 1 .int."),
    ("minimal", {"box": 5}, "the box must be two numbers or two arrays of [0-9]+ numbers, not int$"),
    ("minimal", {"box": (0, 1, 2)}, "the box must be two numbers or two arrays of [0-9]+ numbers, not 3 of them$"),
    ("minimal", {"box": ([0, 0], 1)}, "the box must be two numbers or two arrays of [0-9]+ numbers, not of 2 and 1$"),
    ("minimal", {"box": (None, 1)}, "the box holds NaN"),
    ("minimal", {"precision": "1e-3"}, "the precision must be a number"),
    ("minimal", {"margin": None}, "the margin must be a number"),
    ("minimal", {"timeout": "5"}, "the timeout must be a number"),
    ("minimal", {"threads": 1.5}, "the number of threads must be a whole number"),
    ("minimal", {"seed": "x"}, "the seed must be a whole number"),
    ("minimal", {"method": None}, "the method must be a string"),
    ("minimal", {"semantics": 0}, "the semantics must be a string"),
    ("minimal", {"device": 0}, "unknown device 0; known devices"),
    ("minimal_all_targets", {"targets": 3}, "the targets must be a list of classes"),
    ("minimal_all_targets", {"targets": ["3"]}, "the target must be a whole number"),
    ("attack", {"attack": 7}, "the attack must be a string"),
    ("check", {"radius": "0.1"}, "the radius must be a number"),
    ("check", {"radius": None}, "check takes an input x and a radius, or a property"),
    ("certificate", {"radius": "0.1"}, "the radius must be a number"),
]


@pytest.mark.parametrize(("function", "options", "said"), WRONG)
def test_the_api_names_the_argument(function: str, options: dict[str, Any], said: str) -> None:
    model = verifier.load(models.path("digits"))
    x = np.load(models.path("digits").with_name("digits_inputs.npz"))["x"][0]
    with pytest.raises(InputError, match=said):
        getattr(verifier, function)(model, x, **options)


@pytest.mark.parametrize("x", [None, "text", [[1, 2], [3]], {"a": 1}, [None] * 64, b"\0" * 64])
def test_an_input_of_another_type(x: Any) -> None:
    model = verifier.load(models.path("digits"))
    with pytest.raises(InputError, match="the input"):
        verifier.minimal(model, x)


class StandInForTensor:
    """A tensor of PyTorch, as far as it is asked: one that records gradients, of a type that numpy has or lacks."""

    def __init__(self, values: Any, known: bool = True) -> None:
        self.values, self.known = np.asarray(values), known

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError("Can't call numpy() on Tensor that requires grad.")

    def detach(self) -> StandInForTensor:
        return self

    def to_dense(self) -> StandInForTensor:
        return self

    def double(self) -> StandInForTensor:
        if self.values.dtype == object:
            raise NotImplementedError("Cannot copy out of meta tensor; no data!")
        return StandInForTensor(self.values.astype(np.float64))

    def numpy(self, *, force: bool) -> Any:
        assert force
        if not self.known:
            raise TypeError("Got unsupported ScalarType BFloat16")
        return self.values


@pytest.mark.parametrize("known", [True, False])
def test_tensors_are_taken_wherever_arrays_are(known: bool) -> None:
    def tensor(values: Any) -> Any:
        return StandInForTensor(values, known)

    model, images = verifier.load("digits"), np.load(models.input_file("digits"))["x"]
    x = images[6]
    ends = tensor(np.zeros(x.size)), tensor(np.ones(x.size))
    assert model.predict(tensor(x)) == model.predict(list(map(tensor, x.reshape(-1)))) == model.predict(x)
    assert np.array_equal(model.values(tensor(x.reshape(1, -1))), model.values(x.reshape(1, -1)))
    assert isinstance(verifier.check(model, tensor(x), 1e-4, box=ends).verdict, verifier.Holds)
    rows = np.zeros((1, 10)), np.array([-1.0])
    asked = verifier.Halfspaces(*map(tensor, rows))
    assert np.array_equal(asked.offset, rows[1])
    assert isinstance(verifier.check(model, region=ends, property=asked).verdict, verifier.Holds)
    testing.assert_robust(model, tensor(images[6:8]), linf=1e-4)
    offset, _ = units_of((tensor(0.0), tensor(np.full(3, 0.5))), 3)
    assert offset.tolist() == [0.0] * 3


def test_a_tensor_without_numbers_is_one_line() -> None:
    with pytest.raises(
        InputError, match=r"^a StandInForTensor that cannot be read as numbers: Cannot copy out of meta"
    ):
        plain([StandInForTensor(object(), known=False)])
