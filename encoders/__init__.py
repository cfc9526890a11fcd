"""Translation of networks: from and to ONNX, through passes, into solvers' formulations. Knows no search."""
