"""The network as a graph of piecewise-linear nodes: its maps, exact values, interval bounds, text."""
