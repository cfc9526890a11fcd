"""Graph to graph: lowering to ReLUs, stacked copies, distances, goals, transformations of the input."""
