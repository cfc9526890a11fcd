"""ONNX files in and out: reading, writing, and ONNX Runtime itself."""
