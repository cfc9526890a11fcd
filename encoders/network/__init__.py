"""The network as a graph of piecewise-linear nodes and Sigmoids: its maps, exact values, interval bounds, text."""
