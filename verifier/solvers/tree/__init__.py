"""Branch and bound over ReLU phases: frontier, nodes, LP tree, bound tree, and their primal heuristics."""
