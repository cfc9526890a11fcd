"""Where a network is flat there is no gradient; what steps uphill follow then."""

LEAK = 0.1
"""What an inactive ReLU passes of a gradient that vanishes otherwise: uphill of a plateau, where all ReLUs of a layer
are inactive. From one of a regression net's (VNN-COMP's collins_rul_cnn) any from 0.001 to 0.5 leads away."""
