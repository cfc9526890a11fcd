"""What VNN-LIB 2 asks: networks with the tensors that they declare, and one property of all their entries."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from encoders.errors import InputError
from verifier.problem.properties.formula import Property


class TensorKind(StrEnum):
    """What a declared tensor is of its network."""

    INPUT = "input"
    HIDDEN = "hidden"
    OUTPUT = "output"


REAL_TYPE = "real"
"""The element type with which a query asks about the real numbers."""

ANALYSED = ("float32", REAL_TYPE)
"""Element types about whose numbers something is proved."""

WHOLE = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
"""Element types of whole numbers: of outputs that do not depend on inputs, such as shapes."""


@dataclass(frozen=True)
class DeclaredTensor:
    """(declare-input NAME type [shape]), and its like; `node`: what the file calls it, "" where that is not said.

    first: where its entries, in row-major order, begin among the property's inputs, or outputs.
    """

    name: str
    kind: TensorKind
    dtype: str
    shape: tuple[int, ...]
    node: str
    first: int

    @property
    def size(self) -> int:
        """Entries; 1 of a scalar, whose shape is []."""
        return math.prod(self.shape)

    @property
    def places(self) -> slice:
        return slice(self.first, self.first + self.size)


@dataclass(frozen=True)
class DeclaredNetwork:
    """(declare-network NAME …). equal_to: the network whose file this one runs, isomorphic_to: one of its structure;
    both "" where nothing is said."""

    name: str
    tensors: tuple[DeclaredTensor, ...]
    equal_to: str = ""
    isomorphic_to: str = ""

    def of(self, *kinds: TensorKind) -> tuple[DeclaredTensor, ...]:
        """Its tensors of these kinds, in the order of their declarations."""
        return tuple(tensor for tensor in self.tensors if tensor.kind in kinds)


@dataclass(frozen=True, eq=False)
class NetworkQuery:
    """A query: is there an assignment that satisfies `prop`, whose inputs are those of all networks, one after the
    other, and whose outputs all hidden and output tensors in the order of their declarations?"""

    networks: tuple[DeclaredNetwork, ...]
    prop: Property

    @property
    def tensors(self) -> Iterator[DeclaredTensor]:
        """All of them, in the order of their declarations."""
        return (tensor for network in self.networks for tensor in network.tensors)

    def check_types(self) -> None:
        """Raise InputError where nothing can be proved about numbers of a declared type."""
        source, types = self.prop.source, {tensor.dtype for tensor in self.tensors} - {*WHOLE}
        for tensor in self.tensors:
            if tensor.dtype not in ANALYSED and (tensor.kind is TensorKind.INPUT or tensor.dtype not in WHOLE):
                raise InputError(
                    f"{source}: nothing can be proved about '{tensor.name}' in {tensor.dtype}; float32 can be, and "
                    "what is declared real throughout"
                )
        if len(types) > 1:
            raise InputError(f"{source}: it mixes real with float32; a query about real numbers is real throughout")

    @property
    def real(self) -> bool:
        """Is it about the real numbers? Then every tensor is declared so."""
        return all(tensor.dtype == REAL_TYPE for tensor in self.tensors)

    @property
    def single(self) -> bool:
        """Is it about one network with one input and one output?"""
        kinds = [tensor.kind for tensor in self.tensors]
        return len(self.networks) == 1 and kinds == [TensorKind.INPUT, TensorKind.OUTPUT]

    @property
    def one_file(self) -> bool:
        """Is it about one network's inputs and outputs, and no hidden tensors?"""
        return len(self.networks) == 1 and not self.networks[0].of(TensorKind.HIDDEN)

    @property
    def told(self) -> str:
        """Its tensors, in complaints."""
        return ", ".join(f"'{tensor.name}'" for tensor in self.tensors)

    @property
    def files(self) -> tuple[str, ...]:
        """The networks that have files of their own."""
        return tuple(network.name for network in self.networks if not network.equal_to)
