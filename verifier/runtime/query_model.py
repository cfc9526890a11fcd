"""The files of a VNN-LIB 2 query as one model: networks side by side, run and compared as the files that they are.

Declared tensors stand for the file's by their order, or by names where the declarations give them; types and shapes
must be those of the file. A query of one network with one input and one output is that file as it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path

import numpy as np
import onnx
from onnx import helper

from encoders.errors import InputError
from encoders.onnx_io.file import Port, Ports, load_model, ports_of
from encoders.onnx_io.joined import JoinedPart, Slot, joined, tensor_types, varying
from encoders.onnx_io.ops.call import FLOATS
from verifier.problem.budget import Budget
from verifier.problem.properties.formula import Property, renumbered
from verifier.problem.properties.from_vnnlib import property_of
from verifier.problem.properties.from_vnnlib2 import is_version_2, network_query
from verifier.problem.properties.network_query import WHOLE, DeclaredNetwork, DeclaredTensor, NetworkQuery, TensorKind
from verifier.problem.properties.s_expressions import Text
from verifier.problem.properties.to_vnnlib import to_vnnlib
from verifier.runtime.files_replay import FilesReplay, OneFile, without_our_folder
from verifier.runtime.model import Model, from_memory, of_loaded

PLACE = attrgetter("first")
"""By which tensors are those of the joined model, one after the other."""


@dataclass(frozen=True, eq=False)
class QueryModel:
    """A query's networks as one model, and the property of its inputs and outputs."""

    query: NetworkQuery
    model: Model
    prop: Property


def query_model(
    query: NetworkQuery, files: Mapping[str, Path], budget: Budget, *, file_order: bool = False
) -> QueryModel:
    """Read the file of each network and join them. Raises InputError, one line, for files that do not fit the query.

    file_order: is a query about one file put `in_file_order`?
    """
    _check_names(query, files)
    query.check_types()
    loaded = {name: load_model(path) for name, path in files.items()}
    if file_order and query.one_file:
        query = in_file_order(query, ports_of(loaded[query.networks[0].name][0].proto))
    network, *others = query.networks
    if not others:
        ports = ports_of(loaded[network.name][0].proto)
        _names_in_file(network, ports, query.real)
        if _plain(network, ports):
            return QueryModel(query, of_loaded(files[network.name], loaded[network.name], budget), query.prop)
    models = {name: model.whole for name, (model, _) in loaded.items()}
    parts = [_part(network, models[network.equal_to or network.name], query.real) for network in query.networks]
    for network in query.networks:
        if network.isomorphic_to:
            _check_structure(network, models)
    part = parts[0]
    dtype = _only_dtype(query, parts)
    name = "+".join(network.name for network in query.networks)
    content = joined(parts, dtype).SerializeToString()
    file = None
    if not others and _all_of_it(part):
        file = OneFile(files[network.name], loaded[network.name][1], ports, part.given, part.asked)
    try:
        model = from_memory(content, name, None, budget, lambda _, __, network: FilesReplay(parts, network, file))
    except InputError as error:
        raise InputError(f"{query.prop.source}: {without_our_folder(str(error))}") from None
    # Behind outputs that depend on nothing stands an input.
    return QueryModel(query, model, replace(query.prop, outputs=model.outputs))


def in_file_order(query: NetworkQuery, ports: Ports) -> NetworkQuery:
    """The query about one file, with entries numbered in the order of that file's tensors. Raises InputError, one
    line, where these are not those that it declares."""
    network = query.networks[0]
    names = _names_in_file(network, ports, query.real)
    first, places = dict[str, int](), list[list[int]]()
    for kind, of_kind in ((TensorKind.INPUT, ports.inputs), (TensorKind.OUTPUT, ports.outputs)):
        tensors, order = network.of(kind), [port.name for port in of_kind]
        of_file = sorted(tensors, key=lambda tensor: order.index(names[tensor.name]))
        begins = np.cumsum([0, *(tensor.size for tensor in of_file)]).tolist()
        first |= {tensor.name: begin for tensor, begin in zip(of_file, begins, strict=False)}
        places.append([first[tensor.name] + entry for tensor in tensors for entry in range(tensor.size)])
    moved = replace(network, tensors=tuple(replace(tensor, first=first[tensor.name]) for tensor in network.tensors))
    return NetworkQuery((moved,), replace(query.prop, formula=renumbered(query.prop.formula, *places)))


def query_about(text: Text, ports: Ports, look: Callable[[], None] = lambda: None) -> NetworkQuery:
    """What a text of either version asks of the file with these inputs and outputs, `in_file_order`; of VNN-LIB 1.0,
    which declares none, without networks. Raises InputError, one line.

    look: called between two comparisons; what it raises ends the reading.
    """
    if not is_version_2(text):
        return NetworkQuery((), property_of(text, look))
    query = network_query(text, look)
    if not query.one_file:
        raise InputError(
            f"{text.name} speaks of {query.told}: only `verifier verify` answers about hidden tensors and several "
            "networks, and there are no certificates about those"
        )
    query.check_types()
    return in_file_order(query, ports)


def property_about(text: Text, ports: Ports, look: Callable[[], None] = lambda: None) -> Property:
    """Its property, of all inputs and outputs of the file, one after the other."""
    return query_about(text, ports, look).prop


def text_about(text: Text, ports: Ports, look: Callable[[], None] = lambda: None) -> bytes:
    """The same as a text of VNN-LIB 1.0, as certificates about this file hold it."""
    return to_vnnlib(property_about(text, ports, look)).encode() if is_version_2(text) else text.content.encode()


def _all_of_it(part: JoinedPart) -> bool:
    """Are its tensors the file's inputs and outputs, in its order and type?"""
    ports = ports_of(part.model)
    same = [[slot.name for slot in slots] for slots in (part.given, part.asked)] == [
        [port.name for port in own] for own in (ports.inputs, ports.outputs)
    ]
    return same and not any(slot.cast for slot in part.asked)


def _check_names(query: NetworkQuery, files: Mapping[str, Path]) -> None:
    source = query.prop.source
    for name in files:
        if name not in query.files:
            same = next((one.equal_to for one in query.networks if one.name == name), None)
            why = f"runs the file of '{same}'" if same else f"is no network of it; those are {', '.join(query.files)}"
            raise InputError(f"{source}: --network {name}={files[name]} is not needed: '{name}' {why}")
    for name in query.files:
        if name not in files:
            raise InputError(f"{source}: network '{name}' has no file: give --network {name}=FILE.onnx")


def _part(network: DeclaredNetwork, model: onnx.ModelProto, real: bool) -> JoinedPart:
    """The network's file with its tensors in the order of their declarations."""
    names = _names_in_file(network, ports_of(model), real)
    known = {name for node in model.graph.node for name in node.output if name}
    hidden = network.of(TensorKind.HIDDEN)
    types = tensor_types(model) if hidden else {}
    for tensor in hidden:
        if tensor.node not in known:
            raise InputError(
                f"network '{network.name}': no node of its file gives '{tensor.node}', declared as '{tensor.name}'"
            )
        if tensor.node in types:
            _check_port(network, tensor, _port(tensor.node, types[tensor.node]), real)
        names[tensor.name] = tensor.node
    slots = [
        Slot(names[tensor.name], tensor.shape, cast=tensor.dtype in WHOLE)
        for tensor in sorted(network.of(TensorKind.HIDDEN, TensorKind.OUTPUT), key=PLACE)
    ]
    cut = tuple(Slot(names[tensor.name], tensor.shape) for tensor in sorted(network.of(TensorKind.INPUT), key=PLACE))
    depend = varying(model.graph.node, [slot.name for slot in cut])
    for slot in slots:
        if slot.cast and slot.name in depend:
            raise InputError(
                f"network '{network.name}': '{slot.name}' of its file holds integers that depend on inputs; nothing "
                "can be proved about those"
            )
    return JoinedPart(network.name, model, cut, tuple(slots))


def _names_in_file(network: DeclaredNetwork, ports: Ports, real: bool) -> dict[str, str]:
    """What the file calls each declared input and output. Raises InputError unless these are the file's."""
    names: dict[str, str] = {}
    for kind, of_file in ((TensorKind.INPUT, ports.inputs), (TensorKind.OUTPUT, ports.outputs)):
        declared = sorted(network.of(kind), key=PLACE)
        for tensor, port in zip(declared, _matched(network, declared, of_file, kind), strict=True):
            _check_port(network, tensor, port, real)
            names[tensor.name] = port.name
    return names


def _matched(
    network: DeclaredNetwork, declared: Sequence[DeclaredTensor], ports: Sequence[Port], what: str
) -> list[Port]:
    """For each declared tensor the file's: by name where names are given, else by order."""
    if len(declared) != len(ports):
        listed = ", ".join(f"'{port.name}'" for port in ports) or "none"
        raise InputError(
            f"network '{network.name}' declares {len(declared)} {what}s, and its file has {len(ports)} ({listed})"
        )
    named = [tensor.node for tensor in declared if tensor.node]
    if not named:
        return list(ports)
    by_name = {port.name: port for port in ports}
    if len(named) < len(declared) or set(named) != set(by_name):
        raise InputError(
            f"network '{network.name}': its {what}s are called {', '.join(named)}, those of its file "
            f"{', '.join(by_name)}; either all are named, as in the file, or none is"
        )
    return [by_name[name] for name in named]


def _check_port(network: DeclaredNetwork, tensor: DeclaredTensor, port: Port, real: bool) -> None:
    """Raise InputError unless the file's tensor has the declared type and shape; real goes with every float."""
    told = f"network '{network.name}' declares {tensor.kind} '{tensor.name}' as {tensor.dtype} {list(tensor.shape)}"
    fits = port.dtype in FLOATS if real else port.dtype is not None and port.dtype.name == tensor.dtype
    if not fits:
        raise InputError(f"{told}, and '{port.name}' of its file is {port.dtype or 'no tensor'}")
    if port.shape is None:
        return
    same = len(port.shape) == len(tensor.shape) and all(
        size in (None, declared) for size, declared in zip(port.shape, tensor.shape, strict=True)
    )
    if not same:
        shape = "x".join("?" if size is None else str(size) for size in port.shape) or "a scalar"
        raise InputError(f"{told}, and '{port.name}' of its file has shape {shape}")


def _port(name: str, kind: onnx.TypeProto.Tensor) -> Port:
    """A hidden tensor as a port; sizes that are not known are free."""
    shape: tuple[int | None, ...] | None = None
    if kind.HasField("shape"):
        shape = tuple(int(dim.dim_value) if dim.dim_value > 0 else None for dim in kind.shape.dim)
    return Port(name, shape, np.dtype(helper.tensor_dtype_to_np_dtype(kind.elem_type)) if kind.elem_type else None)


def _check_structure(network: DeclaredNetwork, models: Mapping[str, onnx.ModelProto]) -> None:
    """Raise InputError where two files that are declared isomorphic do not have the same operators, so often each."""
    one, other = models[network.name], models.get(network.isomorphic_to)
    if other is None:
        return  # that one runs another's file
    here, there = (Counter(str(node.op_type) for node in model.graph.node) for model in (one, other))
    if here != there:
        apart = sorted((here - there) + (there - here))
        raise InputError(
            f"network '{network.name}' is declared isomorphic to '{network.isomorphic_to}', and their files differ in "
            f"operators: {', '.join(apart)}"
        )


def _plain(network: DeclaredNetwork, ports: Ports) -> bool:
    """Is it a file with one input, of one row, and one output, all of which is declared?"""
    (given, *others), hidden = network.of(TensorKind.INPUT), network.of(TensorKind.HIDDEN)
    (port, *more) = ports.outputs
    one = not others and not hidden and not more and port.dtype in FLOATS
    return one and (len(given.shape) == 1 or given.shape[:1] == (1,))


def _only_dtype(query: NetworkQuery, parts: Sequence[JoinedPart]) -> np.dtype[np.floating]:
    ports = [ports_of(part.model) for part in parts]
    found = {port.dtype for own in ports for port in (*own.inputs, *own.outputs) if port.dtype in FLOATS}
    if len(found) > 1:
        told = ", ".join(sorted(dtype.name for dtype in found))
        raise InputError(f"{query.prop.source}: its networks compute in {told}; one type is expected in all of them")
    return np.dtype(found.pop())  # an input is of one
