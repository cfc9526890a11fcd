"""Translation rules, by family of ONNX ops: each takes a `Draft` and a `Call` and returns the node's outputs.

The table that names them all is `encoders.from_onnx.RULES`.
"""
