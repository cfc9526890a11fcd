"""A graph as text, one node a line, for tests, messages and people."""

from __future__ import annotations

import numpy as np

from encoders.network.graph import Abs, Affine, Clip, Graph, Input, LeakyRelu, Max, Node, Relu, Sigmoid
from encoders.network.linear_maps import Conv, Dense, LinearMap, Scale, Select, Sparse


def graph_to_text(graph: Graph) -> str:
    """One line per node, `v3 = relu(v2) : 24`; the size stands after the colon, the output is marked by an arrow.

    >>> from encoders.network.graph import GraphBuilder
    >>> builder = GraphBuilder(2)
    >>> print(graph_to_text(builder.graph(builder.relu(0))))
    v0 = input : 2
    v1 = relu(v0) : 2  <- output
    """
    lines = []
    for index, node in enumerate(graph.nodes):
        mark = "  <- output" if index == graph.output else ""
        lines.append(f"v{index} = {_node_text(node)} : {node.size}{mark}")
    return "\n".join(lines)


def _node_text(node: Node) -> str:
    match node:
        case Input():
            return "input"
        case Affine():
            parts = [f"{_map_text(term.map)} v{term.source}" for term in node.terms]
            return " + ".join([*parts, "b"] if np.any(node.bias) else parts)
        case Relu():
            return f"relu(v{node.source})"
        case Abs():
            return f"abs(v{node.source})"
        case Max():
            return f"max({', '.join(f'v{source}' for source in node.sources)})"
        case LeakyRelu():
            return f"leaky(v{node.source}, {_range_text(node.slope)})"
        case Clip():
            return f"clip(v{node.source}, {node.low:g}, {node.high:g})"
        case Sigmoid():
            return f"sigmoid(v{node.source})"


def _map_text(linear: LinearMap) -> str:
    match linear:
        case Dense():
            return f"dense[{linear.out_size}x{linear.in_size}]"
        case Conv():
            return f"conv[{'x'.join(str(k) for k in linear.weight.shape)}]"
        case Select():
            return "select"
        case Scale():
            return _range_text(linear.quotient)
        case Sparse():
            return f"sparse[{linear.out_size}x{linear.in_size}, {linear.data.size} entries]"
    return type(linear).__name__.lower()


def _range_text(values: np.ndarray) -> str:
    low, high = values.min(), values.max()
    return f"{low:g}" if low == high else f"[{low:g}..{high:g}]"
