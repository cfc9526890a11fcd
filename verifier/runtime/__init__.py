"""The file itself: the model in ONNX Runtime, its agreement with the graph as read, what counts as a witness."""
