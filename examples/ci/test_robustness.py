"""The same requirement in a test suite: pytest finds the plugin by itself, `verifier` is its fixture."""

import numpy as np
import pytest

from verifier import models


@pytest.mark.robustness
def test_digits_keep_their_robustness(verifier):
    data = np.load(models.path("digits").with_name("digits_inputs.npz"))
    verifier.assert_robust("digits", data["x"][:10], data["y"][:10], linf=0.01)


@pytest.mark.robustness
def test_the_first_digit_is_far_from_any_other(verifier):
    x = np.load(models.path("digits").with_name("digits_inputs.npz"))["x"][0]
    verifier.assert_min_distortion("digits", x, norm="l1", at_least=0.5)
