"""Where a network is flat there is no gradient; what steps uphill follow then."""

from __future__ import annotations

from collections.abc import Callable

from encoders.network.graph import Array

LEAK = 0.1
"""What an inactive ReLU passes of a gradient that vanishes otherwise: uphill of a plateau, where all ReLUs of a layer
are inactive. From one of a regression net's (VNN-COMP's collins_rul_cnn) any from 0.001 to 0.5 leads away."""


def uphill(sent_back: Callable[[Array, float], Array], messages: Array) -> Array:
    """The gradients (k, n) that sent_back(messages (k, K), leak) gives of forms over the outputs: without a leak, and
    with `LEAK` where that vanishes."""
    gradients = sent_back(messages, 0.0)
    flat = ~gradients.any(axis=1)
    if flat.any():
        gradients[flat] = sent_back(messages[flat], LEAK)
    return gradients
