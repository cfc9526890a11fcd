"""One rule an operator: how an ONNX node becomes nodes of the graph, or a refusal that names it."""
