"""Checks a certificate, alone: `python checker.py FILE MODEL` needs Python, numpy and nothing of this project.

VALID means: no x of the box with ‖x − centre‖ < radius is adversarial for the network in MODEL, over the real numbers,
and the witness (if there is one) is; or no x satisfies the property, whose text the certificate holds. The whole claim
is printed, and which parts of it nobody demanded. It shares no code with the engine, reads the ONNX file itself, calls
no solver, knows no tolerance, and computes with integers only: where it uses float64, every number in it is an integer
that float64 holds exactly. What it does not know, or what two readers of the file could take for different things, it
refuses. docs/certificate-format.md says what the file holds and why this proves it.

Exit codes: 0 valid, 1 invalid or not what is demanded, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import io
import json
import math
import os
import re
import stat
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property, partial
from itertools import chain, pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

MAGIC = b"RELUCERT"
SCHEMA, PROPERTY_SCHEMA = 11, 12  # of certificates about a ball around an input, and about a property
NORMS = ("linf", "l1", "l2")

# What is read: memory is linear in the files, and time in what they ask for.
MOST_BYTES = 1 << 27  # of the unpacked certificate; a model, and its external data together, may have twice as many
FREE_BYTES = 1 << 22  # to which a certificate may always unpack, and beyond that to MOST_RATIO times its size
MOST_RATIO = 100  # certificates of the shipped nets unpack to 2 to 5 times their size; zeros, to 1000 times
MOST_HEADER = 1 << 20  # bytes of a certificate's header: JSON takes up to 100 times its size in memory
MOST_FIELDS = 1 << 20  # of a model's protobuf messages together: each takes about 200 bytes and a microsecond
MOST_ENTRIES = 1 << 22  # of all tensors of the network together
MOST_AXES = 32  # of a tensor; numpy has no more
MOST_SIDE_BY_SIDE = 64  # tensors of a Concat
MOST_PLAYERS = 9  # in a tournament, which Max and MaxPool become
MOST_DECIMALS = 18  # of an offset or a length of external data: int64 holds it
MOST_LETTERS = 100  # of a quotient on the command line, which is computed exactly
MOST_TEXT = 1 << 23  # bytes of a property's text: the largest of VNN-COMP's has 4 MB
MOST_CASES = 1 << 12  # of a property's disjunctive form
MOST_ROWS = 1 << 22  # of all its cases together
DEEPEST = 100  # lists within lists of a property's text
LONGEST_WORD = 1200  # letters of a number in it: float64's least has 1,076 decimals
OLDEST_OPSET, NEWEST_OPSET = 7, 28  # between these each operator of the table means what is read here
OLDEST_IR, NEWEST_IR = 3, 14

# What is evaluated.
MOST_TOGETHER = 1 << 20  # entries that are evaluated at a time
MOST_SIDE = 1 << 17  # the same of forms in boxes: a megabyte, which caches hold
MOST_DIGITS = 1 << 25  # of all weights of the network together, and of one factor of a product: 8 bytes each
MOST_LIMBS = 16  # of a sum: longer ones are of Python integers
MOST_PAIRS = 1 << 12  # of digits in one product; a network of 20 layers comes to some 1,000
LONGEST = 1000  # bits of the common denominator of a matrix: more of them are refused, as time without end
LONGEST_NUMBER = 1 << 15  # bits of any integer: a network of 20 layers comes to some 5,000
MOST_BITS = 1 << 33  # of the integers of an array together: 1 GiB
MOST_WORK = 1 << 35  # entries that are evaluated, all rows together: some 10⁷ a second, so about an hour
CURVE_WORK = 1 << 6  # what the lines of one Sigmoid in a box count: some 7 microseconds
CLAUSE_BITS = 8  # of what a step of a clause, or a literal, counts besides: some 25 microseconds
LONG_BITS = 3  # of what a Python integer counts that is multiplied, or a literal of a clause that is looked at
STEP_WORK = 1 << 13  # what a step along a tree counts besides: a millisecond, however small the network is
MOST_SIGNS = 1 << 25  # signs of neurons, and ends of boxes, that wait in a tree together, some 100 bytes each
BARE_NODE = 1 << 6  # as many signs as a node takes that has none, or entries as a sum of rows that is 0
ROWS = 128  # leaves, or ends of neurons, that are evaluated at a time
CHUNK = 1 << 17  # bytes of numbers that are decoded at a time
GROUP = 64  # nodes of a tree of boxes that are read, and evaluated, at a time
MOST_WIDE = 1 << 14  # numbers in a tensor of networks whose boxes are halved: 18 bits are left to a form's entries
MOST_LAYERS = 64  # of such networks: so many parts of a bound, none over SUM_BITS, are added up in int64
SPARSE = 16  # such a map that has at most one entry in so many is multiplied entry by entry
CROWDED = 4  # unless one of its columns has more than one in so many: it takes a round for each of them
MOST_DENSE = 1 << 22  # entries of the maps between their ReLU layers, and from these to a case's rows, about
MOST_FORMS = 1 << 22  # entries of forms of quadratic bounds: open ReLUs, or rows, × (inputs and open ReLUs)
QUADRATIC_WORK = 6  # bits of what a sum of so many products of matrices counts less: some 10⁹ a second

FINEST_GRID = 1 << 24  # steps of a grid between 0 and 1
ON_GRID = {"<f2": 9, "<f4": 22, "<f8": 51}  # an entry misses its multiple by 2^-so many of itself at most: 4 roundings

TOLD_BITS = 40  # a radius on a grid counts as a whole number of steps where it is 2^-40 of itself more

# How it is rounded; each way gives valid bounds.
EXACT_BITS = 53  # sums of integers below 2⁵³ are exact in float64, in any order
WORD_BITS = 62  # sums of integers below 2⁶² are exact in int64
FINEST = 60  # the largest exponent q of a step 2⁻q of multipliers and bounds
HELD_BITS = 36  # of a form over the input, and of the room in its region: both fit into float64's digits and int64
HALF_BITS = 18  # of held entries: their halves' products, summed over MOST_ENTRIES, fit into int64
LINE_BITS = 28  # to which μ is rounded down where ν follows from it by the lines of CROWN, in proofs of properties
BETA_BITS = 38  # of β in units of what μ is rounded to: sums of MOST_ENTRIES fit into int64
SHARE_BITS = 8  # of the slopes that leaves share
GROWTH_BITS = 20  # of growths of arguments, rounded up, in proofs by anchored lines
SLOPE_BITS = 24  # of the slopes u/(u − l) in the bounds of neurons
SUM_BITS = 54  # of a part of a bound in a box
SPARE_BITS = 6  # below the step: to these such parts are rounded down before they are added up, and quadratic forms
HESSIAN_BITS = 50  # of the matrix of quadratic bounds, rounded down: float64 holds it
FACTOR_BITS = 40  # of its factor
MOST_FORM = 25  # bits of the entries of forms in boxes, or what is left of float64's digits where sums of many are made
STILL_BITS = 40  # an input whose width is 2⁻⁴⁰ of the largest, or less, is a constant with a charge in boxes
MOST_GRID = 30  # ends of boxes are multiples of 2⁻³⁰ of the case's widths, or of what is left of float64's digits
CURVE_BITS = 24  # arguments of Sigmoids, and slopes of their lines, are multiples of 2⁻²⁴
SIGMA_BITS = 31  # and values of 2⁻³¹: products of two fit into int64
FAR = 64 << CURVE_BITS  # where an argument may be beyond ±64 its Sigmoid's lines are constants
SERIES = 14  # summands of e^−f, 0 ≤ f < 1
SERIES_ERROR = 3  # units that the sum may be off by
TANGENTS = 12  # halvings in the search for a tangent, which need not be exact
ROOT_BITS = 128  # a witness's distance in L2, where it is irrational, is 2^-ROOT_BITS of its unit too large at most
ROUNDS = 8  # times that entries which a scale moves too far are held at their room, in L2
UNKNOWN = 1 << 60  # stands for an end that is not known, in multiples of the step

# What float32 may be off by.
ROUNDING_BITS = 24  # one operation is off by 2⁻²⁴ of its result at most
OVERFLOW_BITS = 126  # partial sums up to 2¹²⁶ do not overflow, roundings included; what is flushed to zero is < 2⁻¹²⁶
FUSED = 8  # operations added for each step: forming a BatchNormalization's factor, folding it and a bias into weights
SPARE = 16  # operations added for each run of steps, for what else a runtime may fuse
TIE_BITS = 18  # a final Softmax and the like is off by 64 units at most: scores 2⁻¹⁸ apart may look equal
ERROR_BITS = 80  # errors are rounded up to multiples of 2⁻⁸⁰

Entries = npt.NDArray[Any]


class InvalidError(Exception):
    """The certificate proves nothing, or not for this model; the text is the first reason."""


def need(condition: object, reason: str) -> None:
    """Refuse, for this reason, unless the condition holds."""
    if not condition:
        raise InvalidError(reason)


# ---------------------------------------------------------------------------------------------------------- integers


def longest(integers: Entries) -> int:
    """Bits of the longest of the integers."""
    return max(int(integers.max(initial=0)).bit_length(), int(integers.min(initial=0)).bit_length())


def split(integers: Entries, bits: int) -> tuple[list[Entries], Entries]:
    """(digits of the absolute values in float64, the lowest first, each in [0, 2^bits); where they are < 0)."""
    rest: Any = abs(integers)
    most = longest(rest)
    count = max(1, -(-most // bits))
    need(most <= LONGEST_NUMBER and count * integers.size <= MOST_DIGITS, "the numbers of a product are too long")
    if most <= WORD_BITS:
        rest = rest.astype(np.int64)
    mask = (1 << bits) - 1
    digits = [((rest >> bits * place) & mask).astype(np.float64) for place in range(count)]
    return digits, np.asarray(integers < 0, dtype=bool)


def exact(values: Iterable[float]) -> tuple[Entries, int]:
    """Finite floats as integers over one common power of two."""
    ratios = [float(value).as_integer_ratio() for value in values]
    common = max((below for _, below in ratios), default=1)
    bits = max((abs(above).bit_length() for above, _ in ratios), default=0) + common.bit_length()
    need(bits * len(ratios) <= MOST_BITS, "the numbers differ too much in size")
    integers = np.empty(len(ratios), dtype=object)
    integers[:] = [above * (common // below) for above, below in ratios]
    return integers, common


class Weights:
    """A stack (groups, k, n) of finite matrices as float64 digits over the denominator `den`, a power of two."""

    def __init__(self, stack: Entries) -> None:
        need(np.all(np.isfinite(stack)) and stack.size, "a weight of the model is not finite, or a matrix is empty")
        self.shape = stack.shape
        self.bits = (EXACT_BITS - max(stack.shape[1:]).bit_length()) // 2
        mantissa, exponent = np.frexp(stack)
        size = np.ldexp(np.abs(mantissa), EXACT_BITS).astype(np.int64)
        # size · 2^(exponent − 53), made odd: so the denominator is the least one.
        spare = np.where(size == 0, 0, np.frexp((size & -size).astype(np.float64))[1] - 1)
        size >>= spare
        place = exponent.astype(np.int64) + spare - EXACT_BITS
        power = max(0, -int(np.min(place, where=size > 0, initial=0)))
        need(power < LONGEST, "the weights of one layer differ too much in size")
        self.den = 1 << power
        place += power
        most = int(np.max(place + np.frexp(size.astype(np.float64))[1], where=size > 0, initial=1))
        count = max(1, -(-most // self.bits))
        need(count * size.size <= MOST_DIGITS, "the weights of one layer are too many, or differ too much in size")
        digits = (self._digit(size, place - at * self.bits) for at in range(count))
        self.digits = [np.where(stack < 0, -digit, digit) for digit in digits]

    def _digit(self, size: Entries, place: Entries) -> Entries:
        """The bits 0 to `bits` of size · 2^place, in float64."""
        mask = (1 << self.bits) - 1
        up = np.clip(place, 0, self.bits)
        raised = (size & (mask >> up)) << up
        lowered = (size >> np.clip(-place, 0, WORD_BITS)) & mask
        digit: Entries = np.where(place >= 0, raised, lowered).astype(np.float64)
        return digit

    def absolute(self) -> Weights:
        """The matrices of the absolute values."""
        found = copy.copy(self)
        found.digits = [np.abs(digit) for digit in self.digits]
        return found

    def product(self, rows: Entries, *, back: bool) -> Limbs:
        """rows (B, groups, left, k) · stack, or rows (B, groups, left, n) · its transpose, (B, groups · left · the
        other); over den times theirs."""
        batch, groups, left, inner = rows.shape
        digits = max(1, -(-longest(rows) // self.bits))
        most = max(1, MOST_DIGITS // (digits * rows[0].size))
        if batch > most:
            pieces = [self.product(rows[at : at + most], back=back).parts for at in range(0, batch, most)]
            count = max(map(len, pieces))
            padded = [[*piece, *[np.zeros_like(piece[0])] * (count - len(piece))] for piece in pieces]
            return Limbs([np.concatenate(parts) for parts in zip(*padded, strict=True)], self.bits)
        # One product for each group, whatever the batch.
        given, negative = split(rows.swapaxes(0, 1).reshape(groups, batch * left, inner), self.bits)
        parts: list[Any] = [0] * (len(given) + len(self.digits) - 1)
        shorter, pairs = min(len(given), len(self.digits)), len(given) * len(self.digits)
        need(shorter < 1 << WORD_BITS - EXACT_BITS and pairs <= MOST_PAIRS, "the numbers of a product are too long")
        for i, digit in enumerate(given):
            signed = np.where(negative, -digit, digit)
            for j, own in enumerate(self.digits):
                parts[i + j] = parts[i + j] + (signed @ (own.swapaxes(1, 2) if back else own)).astype(np.int64)
        turned = (part.reshape(groups, batch, left, -1).swapaxes(0, 1).reshape(batch, -1) for part in parts)
        return Limbs([*turned], self.bits)


@dataclass(frozen=True)
class Limbs:
    """Integers Σ_i parts[i] · 2^(bits · i), the parts in int64: what a product gives."""

    parts: Sequence[Entries]
    bits: int

    def whole(self) -> Entries:
        """The same as Python integers."""
        found = self.parts[-1].astype(object)
        for part in self.parts[-2::-1]:
            found = (found << self.bits) + part
        return found

    def chosen(self, columns: Entries) -> Limbs:
        """Some columns of them."""
        return Limbs([part[:, columns] for part in self.parts], self.bits)

    def carried(self) -> list[Entries]:
        """Parts of the same integers, all but the last from 0 to 2^bits − 1."""
        digits, carry = [], np.zeros_like(self.parts[0])
        for part in self.parts[:-1]:
            digits.append((part + carry) & ((1 << self.bits) - 1))
            carry = (part + carry) >> self.bits
        return [*digits, self.parts[-1] + carry]

    def held(self) -> tuple[Entries, Entries]:
        """As `held`, of the same integers."""
        *digits, value = self.carried()
        shift = np.full(len(value), self.bits * len(digits))
        for place in range(len(digits) - 1, -1, -1):
            fits = (shift == self.bits * (place + 1)) & (lengths(value) + self.bits <= WORD_BITS)
            if not fits.any():
                break
            value = np.where(fits[:, np.newaxis], (value << self.bits) + digits[place], value)
            shift = shift - self.bits * fits
        value, spare = held(value)
        return value, shift.astype(object) + spare


def lengths(rows: Entries) -> Entries:
    """Bits of the longest entry of each row, the sign apart: −1 has none, as 0."""
    most = np.maximum(rows.max(axis=1, initial=0), ~rows.min(axis=1, initial=0)).tolist()
    return np.array([entry.bit_length() for entry in most])


def held(rows: Entries | Limbs) -> tuple[Entries, Entries]:
    """(v, s): the entries are v · 2^s, rounded down to HELD_BITS row by row; s is 0 where nothing was rounded off."""
    if isinstance(rows, Limbs):
        return rows.held()
    spare = np.maximum(lengths(rows) - HELD_BITS, 0).astype(object)
    return (rows >> spare[:, np.newaxis]).astype(np.int64), spare


def varint_parts(data: memoryview | bytes, most: int, what: str) -> Iterator[Entries]:
    """The numbers (uint64) of at most `most` bytes each: seven bits a byte, the lowest first, the last byte < 128; some
    after the other."""
    raw, at = np.frombuffer(data, dtype=np.uint8), 0
    while at < raw.size:
        part = raw[at : at + CHUNK]
        ends = np.flatnonzero(part < 128)
        need(ends.size, f"{what} holds a number that is too long")
        starts = np.append(0, ends[:-1] + 1)
        lengths = ends - starts + 1
        need(lengths.max() <= most, f"{what} holds a number that is too long")
        need(np.all((part[ends] > 0) | (lengths == 1)), f"{what} holds a number that is written too long")
        need(most < 10 or np.all(part[ends[lengths == 10]] <= 1), f"{what} holds a number that is too large")
        found = np.zeros(ends.size, dtype=np.uint64)
        for place in range(int(lengths.max())):
            has = lengths > place
            found[has] |= (part[starts[has] + place] & 127).astype(np.uint64) << np.uint64(7 * place)
        yield found
        at += int(ends[-1]) + 1


def varint_count(data: memoryview | bytes, what: str) -> int:
    """How many numbers these are."""
    raw = np.frombuffer(data, dtype=np.uint8)
    need(not raw.size or raw[-1] < 128, f"{what} is cut off")
    return int(np.count_nonzero(raw < 128))


def varints(data: memoryview | bytes, most: int, what: str) -> Entries:
    """All of them."""
    values, made = np.zeros(varint_count(data, what), dtype=np.uint64), 0
    for part in varint_parts(data, most, what):
        values[made : made + part.size] = part
        made += part.size
    return values


# -------------------------------------------------------------------------------------------------------------- files


def file_bytes(path: Path, most: int) -> bytes:
    """The bytes of a regular file; OSError where it is none (a pipe may not end), or has more than `most` bytes."""
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(f"{path}: this is no regular file")
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(f"{path}: larger than {most} bytes, which is not read")
    return content


class Files:
    """What may be read of a model: so many fields more, and external data, which are files inside its `folder`, each
    read once, so that what is hashed is what is used."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = None if folder is None else folder.resolve()
        self._contents: dict[Path, bytes] = {}
        self.fields_left = MOST_FIELDS

    def part(self, name: str, place: Mapping[str, str], size: int) -> memoryview:
        """The `size` bytes of tensor `name` at the `place` (ONNX's keys location, offset and length)."""
        known = "location" in place and place.keys() <= {"location", "offset", "length"}
        need(known, f"tensor '{name}' lies at a place that is not read here")
        for key in ("offset", "length"):
            text = place.get(key, "0")
            need(text.isascii() and text.isdecimal() and len(text) <= MOST_DECIMALS, f"tensor '{name}': {key}")
        need(int(place.get("length", size)) == size, f"tensor '{name}' has another length than its shape")
        content = self._content(name, place["location"])
        start = int(place.get("offset", 0))
        need(start + size <= len(content), f"tensor '{name}' is cut off in '{place['location']}'")
        return memoryview(content)[start : start + size]

    def _content(self, name: str, location: str) -> bytes:
        if self._folder is None:
            raise InvalidError(f"tensor '{name}' lies in another file, and no folder is known")
        # ONNX Runtime takes a location that begins with a star for an address in memory.
        plain = location and location.isprintable() and location[0] not in "*/\\" and "\\" not in location
        path = (self._folder / location).resolve() if plain else Path()
        inside = plain and ".." not in location.split("/") and path.is_relative_to(self._folder)
        need(inside, f"tensor '{name}' lies outside the model's folder")
        if path not in self._contents:
            left = 2 * MOST_BYTES - sum(map(len, self._contents.values()))
            try:
                self._contents[path] = file_bytes(path, left)
            except OSError as error:
                raise InvalidError(f"tensor '{name}': {error.strerror or error}: '{location}'") from None
        return self._contents[path]

    def digest(self, content: bytes) -> str:
        """sha256 of the model's bytes, followed by those of its external files in order of path."""
        found = hashlib.sha256(content)
        for path in sorted(self._contents):
            found.update(self._contents[path])
        return found.hexdigest()


# ---------------------------------------------------------------------------------------------------------- ONNX file

Schema = Mapping[int, tuple[str, str]]
"""Field number → (name, kind) of one protobuf message."""
WIRE: dict[str, tuple[int, ...]] = dict.fromkeys(("text", "part", "texts", "parts"), (2,))
WIRE |= {"int": (0,), "float": (5,), "ints": (0, 2), "floats": (5, 2), "doubles": (1, 2)}
"""Kind → the wire types that protobuf writes it in; those of two are repeated numbers, one by one or packed."""


def schema(text: str) -> Schema:
    """The fields of a message: "number name kind, …"."""
    found = (entry.split() for entry in text.split(","))
    return {int(number): (name, kind) for number, name, kind in found}


MODEL = schema(
    "1 ir_version int, 2 producer_name text, 3 producer_version text, 4 domain text, 5 model_version int, "
    "6 doc_string text, 7 graph part, 8 opset_import parts, 14 metadata_props parts, 20 training_info parts, "
    "25 functions parts, 26 configuration parts"
)
OPSET = schema("1 domain text, 2 version int")
GRAPH = schema(
    "1 node parts, 2 name text, 5 initializer parts, 10 doc_string text, 11 input parts, 12 output parts, "
    "13 value_info parts, 14 quantization_annotation parts, 15 sparse_initializer parts, 16 metadata_props parts"
)
NODE = schema(
    "1 input texts, 2 output texts, 3 name text, 4 op_type text, 5 attribute parts, 6 doc_string text, 7 domain text, "
    "8 overload text, 9 metadata_props parts, 10 device_configurations parts"
)
ATTRIBUTE = schema(
    "1 name text, 2 f float, 3 i int, 4 s text, 5 t part, 6 g part, 7 floats floats, 8 ints ints, 9 strings texts, "
    "10 tensors parts, 11 graphs parts, 13 doc_string text, 14 tp part, 15 type_protos parts, 20 type int, "
    "21 ref_attr_name text, 22 sparse_tensor part, 23 sparse_tensors parts"
)
TENSOR = schema(
    "1 dims ints, 2 data_type int, 3 segment part, 4 float_data floats, 5 int32_data ints, 6 string_data texts, "
    "7 int64_data ints, 8 name text, 9 raw_data text, 10 double_data doubles, 11 uint64_data ints, 12 doc_string text, "
    "13 external_data parts, 14 data_location int, 16 metadata_props parts"
)
ENTRY = schema("1 key text, 2 value text")
VALUE = schema("1 name text, 2 type part, 3 doc_string text, 4 metadata_props parts")
TYPE = schema(
    "1 tensor_type part, 4 sequence_type part, 5 map_type part, 6 denotation text, 7 opaque_type part, "
    "8 sparse_tensor_type part, 9 optional_type part"
)
TENSOR_TYPE = schema("1 elem_type int, 2 shape part")
SHAPE = schema("1 dim parts")
DIMENSION = schema("1 dim_value int, 2 dim_param text, 3 denotation text")


def varint(data: memoryview, at: int) -> tuple[int, int]:
    """(the number that begins at `at`, where it ends), as `varints` reads it."""
    value = 0
    for place in range(10):
        need(at < len(data), "the model file is cut off")
        byte = data[at]
        at += 1
        value |= (byte & 127) << (7 * place)
        if byte < 128:
            need(byte or not place, "the model file holds a number that is written too long")
            need(value < 1 << 64, "the model file holds a number that is too large")
            return value, at
    raise InvalidError("the model file holds a number that is too long")


class ProtoMessage:
    """One protobuf message: its fields by name, each a list of integers or of byte views.

    Every field is one that the schema knows, of a wire type that belongs to it, and stands once unless it is repeated:
    other readers skip, join or overwrite what is not so.
    """

    def __init__(self, data: memoryview, known: Schema, files: Files) -> None:
        self.files = files
        self.fields: dict[str, list[Any]] = {}
        at = 0
        while at < len(data):
            files.fields_left -= 1
            need(files.fields_left >= 0, "the model file has too many fields")
            tag, at = varint(data, at)
            need(tag >> 3 in known, f"the model file has a field {tag >> 3} that is not known here")
            name, kind = known[tag >> 3]
            wire = tag & 7
            need(wire in WIRE[kind], f"the model file gives '{name}' in a form that does not belong to it")
            value: Any
            if wire == 0:
                value, at = varint(data, at)
            else:
                size, at = ({1: 8, 5: 4}[wire], at) if wire != 2 else varint(data, at)
                need(size <= len(data) - at, "the model file is cut off")
                value, at = data[at : at + size], at + size
            need(name not in self.fields or kind[-1] == "s", f"the model file gives a single '{name}' twice")
            self.fields.setdefault(name, []).append(value)

    def has(self, name: str) -> bool:
        return name in self.fields

    def integer(self, name: str, default: int) -> int:
        (value,) = self.fields.get(name, [default])
        return int(value) - (2**64 if value >= 2**63 else 0)

    def raw(self, name: str) -> memoryview:
        found: memoryview
        (found,) = self.fields.get(name, [memoryview(b"")])
        return found

    def text(self, name: str) -> str:
        return bytes(self.raw(name)).decode()

    def texts(self, name: str) -> list[str]:
        return [bytes(value).decode() for value in self.fields.get(name, [])]

    def parts(self, name: str, known: Schema) -> list[ProtoMessage]:
        return [ProtoMessage(value, known, self.files) for value in self.fields.get(name, [])]

    def part(self, name: str, known: Schema) -> ProtoMessage:
        return ProtoMessage(self.raw(name), known, self.files)

    def integers(self, name: str) -> Entries:
        """A repeated int64, packed or not."""
        found = [np.zeros(0, dtype=np.uint64)]
        for value in self.fields.get(name, []):
            packed = not isinstance(value, int)
            found.append(varints(value, 10, "the model file") if packed else np.array([value], dtype=np.uint64))
        return np.concatenate(found).view(np.int64)

    def floats(self, name: str, dtype: str) -> Entries:
        """Repeated floats or doubles, packed or not."""
        return np.concatenate([np.zeros(0, dtype=dtype), *(np.frombuffer(v, dtype) for v in self.fields.get(name, []))])


TENSOR_TYPES = {
    1: ("<f4", "float_data"),
    7: ("<i8", "int64_data"),
    10: ("<f2", "raw_data"),
    11: ("<f8", "double_data"),
}
"""ONNX's element types: numpy's name, and the field that holds the entries when `raw_data` does not."""
DATA = ("float_data", "int32_data", "string_data", "int64_data", "raw_data", "double_data", "uint64_data")


def tensor(message: ProtoMessage) -> Entries:
    """A TensorProto; its entries stand in one place, of the kind that belongs to its type."""
    name, kind = message.text("name"), message.integer("data_type", 0)
    need(kind in TENSOR_TYPES, f"tensor '{name}' is of a type that is not read here")
    dtype, own = TENSOR_TYPES[kind]
    need(not message.has("segment"), f"tensor '{name}' is a segment of another")
    dims = message.integers("dims").tolist()
    need(len(dims) <= MOST_AXES and min(dims, default=0) >= 0, f"tensor '{name}' has a malformed shape")
    count = math.prod(dims)
    given = [place for place in DATA if message.has(place)]
    location = message.integer("data_location", 0)
    need(location in (0, 1) and message.has("external_data") == bool(location), f"tensor '{name}': where it lies")
    if location:
        need(not given, f"tensor '{name}' lies in two places")
        entries = [(entry.text("key"), entry.text("value")) for entry in message.parts("external_data", ENTRY)]
        need(len({key for key, _ in entries}) == len(entries), f"tensor '{name}' gives its place twice")
        values = np.frombuffer(message.files.part(name, dict(entries), count * int(dtype[-1])), dtype)
    elif given == ["raw_data"]:
        values = np.frombuffer(message.raw("raw_data"), dtype)
    else:
        need(given == [own] or not (given or count), f"tensor '{name}' has entries of another type")
        values = message.integers(own) if kind == 7 else message.floats(own, dtype)
    need(count == values.size, f"tensor '{name}' has another number of entries than its shape")
    return values.reshape(dims)


ATTRIBUTES: dict[type, tuple[int, str, Callable[[ProtoMessage], Any]]] = {
    float: (1, "f", lambda message: struct.unpack("<f", message.raw("f"))[0]),
    int: (2, "i", lambda message: message.integer("i", 0)),
    str: (3, "s", lambda message: message.text("s")),
    np.ndarray: (4, "t", lambda message: tensor(message.part("t", TENSOR))),
    tuple: (6, "floats", lambda message: tuple(message.floats("floats", "<f4").tolist())),
    list: (7, "ints", lambda message: message.integers("ints").tolist()),
}
"""What an attribute's value is read as: ONNX's number of its type, the one field that may hold it, and how."""


class Operator:
    """One operator of the file; every attribute has to be asked for, so that none is overlooked."""

    def __init__(self, message: ProtoMessage, opset: int) -> None:
        self.opset, self.op = opset, message.text("op_type")
        self.inputs, self.outputs = message.texts("input"), message.texts("output")
        need(message.text("domain") in ("", "ai.onnx"), f"operator {self.op} is not ONNX's own")
        need(not message.text("overload"), f"operator {self.op} is overloaded")
        self.attributes: dict[str, Any] = {}
        known = {kind: (place, read) for kind, place, read in ATTRIBUTES.values()}
        for entry in message.parts("attribute", ATTRIBUTE):
            name, kind = entry.text("name"), entry.integer("type", 0)
            need(kind in known, f"operator {self.op} has an attribute of a type that is not read here: '{name}'")
            place, read = known[kind]
            given = entry.fields.keys() - {"name", "doc_string", "type"}
            # A list without entries is written as nothing at all.
            fits = given == {place} or (not given and place in ("floats", "ints"))
            need(fits, f"operator {self.op}: the value of '{name}' is not of the type that it names")
            need(name not in self.attributes, f"operator {self.op} gives '{name}' twice")
            self.attributes[name] = read(entry)

    def take(self, name: str, default: Any, kind: type | None = None) -> Any:
        """The value of an attribute, which has to be of the default's type, or of this kind."""
        value = self.attributes.pop(name, default)
        fits = value is default or type(value) is (kind or type(default))
        need(fits, f"operator {self.op}: '{name}' has a type that does not belong to it")
        return value

    def done(self) -> None:
        need(not self.attributes, f"operator {self.op} has attributes that are not read here: {[*self.attributes]}")


# ------------------------------------------------------------------------------------------------------------ network


@dataclass(frozen=True)
class NetworkStep:
    """A step of the network, by `kind`: y = x[index], x · weights, (factor · x + offset) / den, Σ sources, relu(x) or
    σ(x).

    column: the offset as a factor of products, unless it is too long.
    """

    kind: str
    sources: tuple[str, ...]
    out: str
    weights: Any = None
    index: Any = None
    factor: Any = None
    offset: Any = None
    column: Any = None
    den: int = 1
    layer: int = -1
    left: int = 1

    @cached_property
    def scatter(self) -> tuple[Entries, Entries, Sequence[int]]:
        """Of a move, backwards: (entries of y, the places in x that they come from), in rounds."""
        kept = np.flatnonzero(self.index >= 0)
        order, starts = rounds(self.index[kept])
        return kept[order], self.index[kept][order], starts


def rounds(places: Entries) -> tuple[Entries, Sequence[int]]:
    """(an order of the places, where each round begins in it, and the end): in a round no place occurs twice."""
    order = np.argsort(places, kind="stable")
    begins = np.flatnonzero(np.diff(places[order], prepend=-1))
    rank = np.arange(order.size) - np.repeat(begins, np.diff(begins, append=order.size))
    return order[np.argsort(rank, kind="stable")], np.append(0, np.cumsum(np.bincount(rank))).tolist()


RowValue = tuple[Entries, int]
"""(B, n) integers over a denominator."""
RowTerm = tuple[Entries, int]
"""(B,) integers over a denominator."""
RowMessage = tuple[Entries | Limbs, int]
ReluRule = Callable[[int, Any, int], tuple[Any, int, RowTerm]]
"""(layer, μ, denominator) → (ν, its denominator, a lower bound of Σ_j μ_j relu(t_j) − ν_j t_j); a ν of None is 0, and
nothing before this layer is asked on its account."""


@dataclass
class CheckedNetwork:
    """The steps of a model from `input` to `output`; `layers` names each ReLU layer with its size, among them those of
    Sigmoids, `curves`. `scores`: the tensor of the file that `output` is made of, before an operator that is `dropped`.
    `moves`: the steps that are moves, by what they give.
    """

    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    constants: dict[str, Entries] = field(default_factory=dict)
    steps: list[NetworkStep] = field(default_factory=list)
    moves: dict[str, NetworkStep] = field(default_factory=dict)
    layers: list[tuple[str, int]] = field(default_factory=list)
    arguments: list[str] = field(default_factory=list)
    curves: set[int] = field(default_factory=set)
    input: str = ""
    output: str = ""
    scores: str = ""
    dropped: str = ""
    dtype: str = "<f4"
    digest: str = ""
    entries: int = 0
    digits: int = 0
    bits: int = 0

    def size(self, name: str) -> int:
        return math.prod(self.shapes[name])

    def add(self, kind: str, sources: Sequence[str], out: str, shape: Sequence[int], **rest: Any) -> str:
        need(out and out not in self.shapes and out not in self.constants, f"tensor '{out}' is given twice")
        need(all(n > 0 for n in shape), f"tensor '{out}' is empty")
        self.shapes[out] = tuple(int(n) for n in shape)
        self.entries += self.size(out)
        need(self.entries <= MOST_ENTRIES, "the model is too large")
        self.steps.append(NetworkStep(kind, tuple(sources), out, **rest))
        if kind == "move":
            self.moves[out] = self.steps[-1]
        return out

    def move(self, source: str, out: str, index: Entries) -> str:
        """y = x[index] in the shape of `index`; 0 where it is −1."""
        return self.add("move", [source], out, index.shape, index=index.reshape(-1))

    def multiply(self, source: str, out: str, stack: Entries, shape: Sequence[int]) -> str:
        weights = Weights(stack)
        self.digits += len(weights.digits) * stack.size
        need(self.digits <= MOST_DIGITS, "the model has too many weights")
        return self.add("product", [source], out, shape, weights=weights, left=self.size(source) // stack[..., 0].size)

    def scale(
        self, source: str, out: str, factor: Any = None, offset: Entries | None = None, *, divide: bool = False
    ) -> str:
        """factor · x + offset, or x / factor, entry by entry: exact fractions over one denominator."""
        shape, given = self.shapes[source], [None if part is None else np.asarray(part) for part in (factor, offset)]
        for part in given:
            fits = part is None or np.broadcast_shapes(part.shape, shape) == shape
            need(fits, f"tensor '{out}' is broadcast: not read here")
        exactly = [[] if part is None else [*map(Fraction, part.astype(float).reshape(-1).tolist())] for part in given]
        if divide:
            need(all(exactly[0]), f"tensor '{out}' divides by zero")
            exactly[0] = [1 / value for value in exactly[0]]
        den = least_common(value.denominator for values in exactly for value in values)
        self.bits += den.bit_length() * self.size(source)
        need(self.bits <= MOST_BITS, "the model has fractions that are too long")
        slopes, shift = (
            None if part is None else np.broadcast_to(whole(values, den).reshape(part.shape), shape).reshape(-1)
            for part, values in zip(given, exactly, strict=True)
        )
        column = None
        if given[1] is not None and self.size(source) <= MOST_TOGETHER:
            column = Weights(np.broadcast_to(given[1].astype(float), shape).reshape(1, -1, 1))
        return self.add("scale", [source], out, shape, factor=slopes, offset=shift, column=column, den=den)

    def sum(self, sources: Sequence[str], out: str) -> str:
        return self.add("sum", sources, out, self.shapes[sources[0]])

    def relu(self, source: str, out: str, kind: str = "relu") -> str:
        self.layers.append((out, self.size(source)))
        self.arguments.append(source)
        return self.add(kind, [source], out, self.shapes[source], layer=len(self.layers) - 1)

    def sigmoid(self, source: str, out: str) -> str:
        self.curves.add(len(self.layers))
        return self.relu(source, out, "sigmoid")

    @cached_property
    def _ways(self) -> dict[str, tuple[int, NetworkStep | None]]:
        """Of each tensor that linear steps make of the input, one after the other: (products among them, the last)."""
        found: dict[str, tuple[int, NetworkStep | None]] = {self.input: (0, None)}
        for step in self.steps:
            if step.layer < 0 and step.kind != "sum" and step.sources[0] in found:
                found[step.out] = found[step.sources[0]][0] + (step.kind == "product"), step
        return found

    def straight(self, name: str) -> list[NetworkStep] | None:
        """The steps from the input to a tensor, if each reads one other and is linear, and one at most is a product."""
        products, step = self._ways.get(name, (2, None))
        if products > 1:
            return None
        found = list[NetworkStep]()
        while step is not None:
            found.append(step)
            _, step = self._ways[step.sources[0]]
        return found[::-1]

    def forward(self, x: Entries, den: int) -> tuple[Entries, int]:
        """The output (K,) over a denominator at the input x (n,) over `den`, exactly."""
        values = {self.input: (x.reshape(1, -1), den)}
        for step in self.steps:
            values[step.out] = total([FORWARD[step.kind](step, *values[source]) for source in step.sources])
        result, den = values[self.output]
        return result[0], den

    def backward(
        self, start: str, rows: Entries, den: int, relu: ReluRule, direct: Entries | None = None
    ) -> tuple[Entries | Limbs | None, int, list[RowTerm]]:
        """rows · value of `start` (+ direct · x) as g · x + Σ terms, `relu` replacing each ReLU (and each Sigmoid): (g
        over a denominator, terms)."""
        messages: dict[str, RowMessage] = {start: (rows, den)}
        if direct is not None:
            own = (direct, den)
            messages[self.input] = total([messages[self.input], own]) if start == self.input else own
        terms: list[RowTerm] = []
        for step in reversed(self.steps):
            if step.out not in messages:
                continue
            message = messages.pop(step.out)
            sent: RowMessage
            if step.kind == "move":
                sent = scattered(step, self.size(step.sources[0]), *message)
            elif step.layer >= 0:
                nu, below, share = relu(step.layer, *message)
                terms.append(share)
                if nu is None:
                    continue
                sent = nu, below
            else:
                value, below = whole_row(message)
                if step.offset is not None:
                    terms.append(constant(step, value, below))
                sent = BACKWARD[step.kind](step, value, below)
            for source in step.sources:
                messages[source] = united([messages[source], sent]) if source in messages else sent
        found, below = messages.get(self.input, (None, 1))
        return found, below, terms


def is_power(den: int) -> bool:
    """Is it a power of two?"""
    return den & (den - 1) == 0


def least_common(denominators: Iterable[int]) -> int:
    """Their least common multiple; refused where that is too long."""
    found = 1
    for each in denominators:
        if found % each:
            found = math.lcm(found, each)
            need(found.bit_length() <= LONGEST_NUMBER, "the numbers of the model are too long")
    return found


def whole(values: Sequence[Fraction], den: int) -> Entries:
    """Fractions as integers over `den`."""
    integers = np.empty(len(values), dtype=object)
    integers[:] = [value.numerator * (den // value.denominator) for value in values]
    return integers


def whole_row(value: RowMessage) -> RowValue:
    """The same, as Python integers."""
    integers, den = value
    return bounded(integers.whole(), den) if isinstance(integers, Limbs) else (integers, den)


def total(given: Sequence[RowMessage]) -> RowValue:
    """The sum of integers over denominators."""
    values = [*map(whole_row, given)]
    if len(values) == 1:
        return values[0]
    den = least_common(below for _, below in values)
    first, *rest = (value.astype(object) * (den // below) for value, below in values)
    return sum(rest, first), den


def united(given: Sequence[RowMessage]) -> RowMessage:
    """The same; in limbs where one of them is and the others fit into such."""
    den, bits = max(below for _, below in given), max(getattr(value, "bits", 0) for value, _ in given)
    parts: list[Any] = []
    for value, below in given:
        own, digits = (value.bits, value.carried()) if isinstance(value, Limbs) else (0, [value])
        if not (bits and is_power(below) and digits[0].dtype == np.int64):
            return total(given)
        for number, digit in enumerate(digits):
            place, spare = divmod((den // below).bit_length() - 1 + number * own, bits)
            # Two digits of each of them come to one place at most, as no limbs are twice as long as others.
            if place >= MOST_LIMBS or longest(digit) + spare > WORD_BITS - 2 * len(given):
                return total(given)
            parts += [np.zeros_like(digit)] * (place + 1 - len(parts))
            parts[place] = parts[place] + (digit << spare)
    return Limbs(parts, bits), den


def bounded(value: Entries, den: int) -> RowValue:
    """The same; refused where the numbers are too long."""
    bits = max(longest(value), den.bit_length())
    need(bits <= LONGEST_NUMBER and bits * value.size <= MOST_BITS, "the numbers of the model are too long")
    return value, den


def constant(step: NetworkStep, value: Entries, den: int) -> RowTerm:
    """value · a step's offset."""
    if value.dtype != np.int64 or step.column is None:
        return value.astype(object) @ step.offset, den * step.den
    return dot(value, step.column), den * step.column.den


def scattered(step: NetworkStep, size: int, value: Entries | Limbs, den: int) -> RowMessage:
    order, places, starts = step.scatter

    def added(rows: Entries) -> Entries:
        # Columns that lie in a row are moved many times as fast.
        result, columns = np.zeros((size, len(rows)), dtype=rows.dtype), np.ascontiguousarray(rows.T)
        for first, last in pairwise(starts):
            result[places[first:last]] += columns[order[first:last]]
        return np.ascontiguousarray(result.T)

    if isinstance(value, Limbs):
        if max(map(longest, value.parts)) + len(starts).bit_length() <= WORD_BITS:
            return Limbs([*map(added, value.parts)], value.bits), den
        value = value.whole()
    return added(value), den


def multiplied(step: NetworkStep, value: Entries, den: int, *, back: bool = False) -> tuple[Limbs, int]:
    groups, k, n = step.weights.shape
    rows = value.reshape(len(value), groups, step.left, n if back else k)
    return step.weights.product(rows, back=back), den * step.weights.den


def scaled(step: NetworkStep, value: Entries, den: int) -> RowValue:
    if step.factor is not None:
        value, den = bounded(value.astype(object) * step.factor, den * step.den)
    return value, den


def shifted(step: NetworkStep, value: Entries, den: int) -> RowValue:
    own = [] if step.offset is None else [(step.offset, step.den)]
    return total([scaled(step, value, den), *own])


FORWARD: dict[str, Callable[..., RowValue]] = {
    "move": lambda step, value, den: (np.where(step.index >= 0, value[:, step.index], 0), den),
    "product": lambda step, value, den: whole_row(multiplied(step, value, den)),
    "scale": shifted,
    "sum": lambda _, value, den: (value, den),
    "relu": lambda _, value, den: (np.maximum(value, 0), den),
}
BACKWARD: dict[str, Callable[..., RowMessage]] = {
    "product": lambda step, value, den: multiplied(step, value, den, back=True),
    "scale": scaled,
    "sum": lambda _, value, den: (value, den),
}


# ---------------------------------------------------------------------------------------------------------- operators
# Each adds the steps by which `out` follows from the variable x; y is the operator's other input.


def number(net: CheckedNetwork, node: Operator, place: int) -> Entries | None:
    """The constant input at `place` in float64; None where it is left out."""
    if place >= len(node.inputs) or not node.inputs[place]:
        return None
    values = net.constants.get(node.inputs[place])
    if values is None or values.dtype.str != net.dtype:
        raise InvalidError(f"operator {node.op} needs a constant of the input's type as input {place}")
    return values.astype(np.float64)


def weight(net: CheckedNetwork, node: Operator, place: int) -> Entries:
    values = number(net, node, place)
    if values is None:
        raise InvalidError(f"operator {node.op} lacks input {place}")
    return values


def gemm(net: CheckedNetwork, node: Operator, x: str, out: str) -> None:
    alpha, trans = node.take("alpha", 1.0), node.take("transB", 0)
    plain = node.take("beta", 1.0) == 1.0 and not node.take("transA", 0)
    need(plain, "Gemm with beta or transA is not read here")
    matrix, shape = weight(net, node, 1), net.shapes[x]
    need(matrix.ndim == 2, "Gemm is read with one matrix")
    matrix = matrix.T if trans else matrix
    need(len(shape) == 2 and shape[1] == matrix.shape[0], "Gemm does not fit its input")
    product = net.multiply(x, f"{out}#p", matrix[np.newaxis], (shape[0], matrix.shape[1]))
    net.scale(product, out, None if alpha == 1.0 else alpha, number(net, node, 2))


def matmul(net: CheckedNetwork, node: Operator, x: str, out: str) -> None:
    first = x == node.inputs[0]
    matrix, shape = weight(net, node, 1 if first else 0), net.shapes[x]
    need(matrix.ndim == 2, "MatMul is read with one matrix")
    if first:
        need(shape and shape[-1] == matrix.shape[0], "MatMul does not fit its input")
        net.multiply(x, out, matrix[np.newaxis], (*shape[:-1], matrix.shape[1]))
        return
    need(shape in ((matrix.shape[1],), (matrix.shape[1], 1)), "MatMul by a matrix from the left is read for a column")
    net.multiply(x, out, matrix.T[np.newaxis], (matrix.shape[0], *shape[1:]))


def add(net: CheckedNetwork, node: Operator, x: str, out: str) -> None:
    sign = -1.0 if node.op == "Sub" else 1.0
    if all(name in net.shapes for name in node.inputs):
        one, other = node.inputs
        need(net.shapes[one] == net.shapes[other], f"{node.op} with broadcasting is not read here")
        net.sum([one, net.scale(other, f"{out}#n", sign) if sign < 0 else other], out)
    elif x == node.inputs[0]:
        net.scale(x, out, None, sign * weight(net, node, 1))
    else:
        net.scale(x, out, sign if sign < 0 else None, weight(net, node, 0))


def times(net: CheckedNetwork, node: Operator, x: str, out: str) -> None:
    first, divide = x == node.inputs[0], node.op == "Div"
    need(first or not divide, "a division by a variable is not linear")
    net.scale(x, out, weight(net, node, 1 if first else 0), divide=divide)


def normalise(net: CheckedNetwork, node: Operator, x: str, out: str) -> None:
    """γ/√(σ² + ε)·(x − μ) + β; the factor in float64, rounded once: so the network is defined."""
    epsilon, training = node.take("epsilon", float(np.float32(1e-5))), node.take("training_mode", 0)
    need(not training and len(node.outputs) == 1, "BatchNormalization in training is not read here")
    need(node.opset > 8 or node.take("spatial", 1) == 1, "BatchNormalization entry by entry is not read here")
    node.take("momentum", 0.9)
    shape = net.shapes[x]
    gamma, beta, mean, variance = (weight(net, node, place) for place in range(1, 5))
    need(len(shape) > 1 and {v.shape for v in (gamma, beta, mean, variance)} == {shape[1:2]}, "BatchNormalization")
    need(np.all(variance + epsilon >= 2.0**-OVERFLOW_BITS), "BatchNormalization of a negative or subnormal variance")
    factor = gamma / np.sqrt(variance + epsilon)
    mean, factor, beta = (part.reshape(-1, *(1 for _ in shape[2:])) for part in (mean, factor, beta))
    net.scale(net.scale(x, f"{out}#c", None, -mean), out, factor, beta)


def windows(net: CheckedNetwork, node: Operator, x: str, kernel: Sequence[int]) -> tuple[Entries, tuple[int, ...]]:
    """(index (channels, places, taps) into x, −1 in the padding; the places' shape) of a sliding kernel."""
    channels, spatial = math.prod(net.shapes[x][:2]), net.shapes[x][2:]
    d, size = len(spatial), math.prod(spatial)
    padded = node.take("auto_pad", "NOTSET")
    need(padded in ("NOTSET", "VALID"), f"{node.op} with auto_pad {padded} is not read here")
    # ONNX Runtime leaves the pads aside then, or refuses them.
    need(padded == "NOTSET" or "pads" not in node.attributes, f"{node.op} with auto_pad and pads is not read here")
    strides, dilations = node.take("strides", [1] * d), node.take("dilations", [1] * d)
    pads = node.take("pads", [0] * 2 * d)
    need(not node.take("ceil_mode", 0), f"{node.op} with ceil_mode is not read here")
    need(d and len(kernel) == len(strides) == len(dilations) == d and len(pads) == 2 * d, f"{node.op} does not fit")
    need(min(*kernel, *strides, *dilations) > 0 and min(pads) >= 0, f"{node.op} has a window without sense")
    # ONNX Runtime wants each window of a pool to reach beyond the padding.
    beyond = all(pad < kernel[place % d] for place, pad in enumerate(pads))
    need(node.op == "Conv" or beyond, f"{node.op} with such wide padding is not read here")
    wide = [n + before + after for n, before, after in zip(spatial, pads[:d], pads[d:], strict=True)]
    reach = [1 + dilation * (taps - 1) for dilation, taps in zip(dilations, kernel, strict=True)]
    need(all(map(int.__le__, reach, wide)) and math.prod(wide) <= MOST_ENTRIES, f"the window of {node.op} does not fit")
    grid = np.pad(np.arange(size).reshape(spatial), [*zip(pads[:d], pads[d:], strict=True)], constant_values=-1)
    steps = (slice(None, None, step) for step in (*strides, *dilations))
    seen = sliding_window_view(grid, reach)[tuple(steps)]
    need(seen.size * channels <= MOST_ENTRIES, f"{node.op} is too large")
    index = seen.reshape(1, math.prod(seen.shape[:d]), math.prod(kernel))
    return np.where(index >= 0, index + size * np.arange(channels).reshape(-1, 1, 1), -1), seen.shape[:d]


def conv(net: CheckedNetwork, node: Operator, x: str, out: str) -> None:
    kernels, shape, groups = weight(net, node, 1), net.shapes[x], node.take("group", 1)
    need(len(shape) > 2 and kernels.ndim == len(shape) and shape[0] == 1, "Conv of a batch of one is read")
    m, c = kernels.shape[:2]
    need(groups > 0 and shape[1] == groups * c and m % groups == 0, "Conv does not fit its channels")
    need(node.take("kernel_shape", [*kernels.shape[2:]]) == [*kernels.shape[2:]], "Conv's kernel_shape")
    index, places = windows(net, node, x, kernels.shape[2:])
    _, count, taps = index.shape
    every = index.reshape(groups, c, count, taps).transpose(0, 2, 1, 3)
    patches = net.move(x, f"{out}#i", every.reshape(groups, count, c * taps))
    stack = kernels.reshape(groups, m // groups, c * taps).swapaxes(1, 2)
    product = net.multiply(patches, f"{out}#p", stack, (groups, count, m // groups))
    turned = np.arange(m * count).reshape(groups, count, m // groups).swapaxes(1, 2).reshape(1, m, *places)
    bias = number(net, node, 2)
    result = net.move(product, out if bias is None else f"{out}#m", turned)
    if bias is not None:
        need(bias.shape == (m,), "Conv's bias does not fit")
        net.scale(result, out, None, bias.reshape(m, *(1 for _ in places)))


def average(net: CheckedNetwork, node: Operator, x: str, out: str) -> None:
    shape, everywhere = net.shapes[x], node.op == "GlobalAveragePool"
    if everywhere:
        node.done()
    kernel = shape[2:] if everywhere else node.take("kernel_shape", [])
    padded = node.take("count_include_pad", 0)
    index, places = windows(net, node, x, kernel)
    counts = np.full(places, index.shape[2]) if padded else (index[0] >= 0).sum(axis=1).reshape(places)
    need(np.all(counts), "a window lies in the padding only")
    patches = net.move(x, f"{out}#i", index)
    together = net.multiply(patches, f"{out}#p", np.ones((1, index.shape[2], 1)), (*shape[:2], *places))
    net.scale(together, out, counts, divide=True)


def max_pool(net: CheckedNetwork, node: Operator, x: str, out: str) -> None:
    """The padding is −∞: another of the window, along each axis the first, stands in for it. Many meet in halves."""
    shape, kernel = net.shapes[x], node.take("kernel_shape", [])
    need(len(node.outputs) == 1 and not node.take("storage_order", 0), "MaxPool with indices is not read here")
    index, places = windows(net, node, x, kernel)
    seen = index.reshape(*index.shape[:2], *kernel)
    for axis in range(2, seen.ndim):
        seen = np.where(seen >= 0, seen, np.take_along_axis(seen, (seen >= 0).argmax(axis, keepdims=True), axis))
    need(np.all(seen >= 0), "a window lies in the padding only")
    players = np.moveaxis(seen.reshape(index.shape), 2, 0).reshape(-1, *shape[:2], *places)
    players = np.stack([*{player.tobytes(): player for player in players}.values()])
    many, game = len(players) > MOST_PLAYERS, 0
    while many and len(players) > 1:
        game, half = game + 1, (len(players) + 1) // 2
        ends = net.move(x, f"{out}#{game}a", players[:half]), net.move(x, f"{out}#{game}b", players[-half:])
        x = tournament(net, [*ends], f"{out}#{game}")
        players = np.arange(players[:half].size).reshape(players[:half].shape)
    tournament(net, [net.move(x, f"{out}#{tap}t", player) for tap, player in enumerate(players)], out)


def pad(net: CheckedNetwork, node: Operator, x: str, out: str) -> None:
    shape, new = net.shapes[x], node.opset > 10
    need(node.take("mode", "constant") == "constant", "Pad is read with a constant")
    need(len(node.inputs) > 1 if new else len(node.inputs) == 1, "Pad in another form than its operator set's")
    given = net.constants.get(node.inputs[1]) if new else np.array(node.take("pads", []), dtype=np.int64)
    value = number(net, node, 2) if new else np.array(node.take("value", 0.0))
    if given is None or given.dtype != np.int64 or given.shape != (2 * len(shape),):
        raise InvalidError("Pad is read with two constant sizes for each axis")
    value = np.zeros(1) if value is None else value
    need(np.all(given >= 0) and value.size == 1 and np.isfinite(value).all(), "Pad that cuts off, or with no number")
    ends = given.reshape(2, -1).T.tolist()
    need(math.prod(n + sum(end) for n, end in zip(shape, ends, strict=True)) <= MOST_ENTRIES, "Pad gives too much")
    index = np.pad(np.arange(math.prod(shape)).reshape(shape), ends, constant_values=-1)
    net.scale(net.move(x, f"{out}#m", index), out, None, np.where(index < 0, value.reshape(()), 0.0))


def maximum(net: CheckedNetwork, node: Operator, _: str, out: str) -> None:
    need(all(name in net.shapes for name in node.inputs), "Max with a constant is not read here")
    need(len({net.shapes[name] for name in node.inputs}) == 1, "Max")
    tournament(net, list(node.inputs), out)


def tournament(net: CheckedNetwork, players: list[str], out: str) -> str:
    """While two are left, max(a, b) = relu(a − b) + b."""
    shape, game = net.shapes[players[0]], 0
    while len(players) > 1:
        winners = []
        for a, b in zip(players[0::2], players[1::2], strict=False):
            game += 1
            difference = net.sum([a, net.scale(b, f"{out}#n{game}", -1.0)], f"{out}#d{game}")
            winners.append(net.sum([net.relu(difference, f"{out}#r{game}"), b], f"{out}#w{game}"))
        players = winners + players[2 * len(winners) :]
    return net.move(players[0], out, np.arange(math.prod(shape)).reshape(shape))


def leaky(net: CheckedNetwork, node: Operator, x: str, out: str) -> None:
    """s·x + relu(x) − s·relu(x); PRelu has a slope s for each entry, broadcast to x."""
    slope = weight(net, node, 1) if node.op == "PRelu" else np.array(node.take("alpha", float(np.float32(0.01))))
    relu = net.relu(x, f"{out}#r")
    net.sum([net.scale(x, f"{out}#s", slope), relu, net.scale(relu, f"{out}#n", -slope)], out)


def tanh(net: CheckedNetwork, _: Operator, x: str, out: str) -> None:
    """2·σ(2x) − 1."""
    curve = net.sigmoid(net.scale(x, f"{out}#t", 2.0), f"{out}#s")
    net.scale(curve, out, 2.0, np.array(-1.0))


def clip(net: CheckedNetwork, node: Operator, x: str, out: str) -> None:
    """l + relu(x − l) − relu(x − u)."""
    if node.opset > 10:
        ends = [number(net, node, place) for place in (1, 2)]
    else:
        # What a runtime gives is of the input's type, so that such ends are too.
        with np.errstate(over="ignore"):
            kept = [np.array(node.take(name, math.nan)).astype(net.dtype) for name in ("min", "max")]
        ends = [end.astype(np.float64) for end in kept]
    given = [end.reshape(()) for end in ends if end is not None and end.size == 1 and np.isfinite(end).all()]
    need(len(given) == 2, "Clip is read with two finite ends")
    low, high = given
    need(low <= high, "Clip's ends are the wrong way round")
    above = net.relu(net.scale(x, f"{out}#u", None, -high), f"{out}#a")
    below = net.relu(net.scale(x, f"{out}#l", None, -low), f"{out}#b")
    net.scale(net.sum([below, net.scale(above, f"{out}#n", -1.0)], f"{out}#s"), out, None, low)


def moved(net: CheckedNetwork, node: Operator, x: str, out: str) -> None:
    """What only re-shapes or permutes entries: the same done to their numbers."""
    shape = net.shapes[x]
    index = np.arange(math.prod(shape)).reshape(shape)
    if node.op == "Flatten":
        index = index.reshape(math.prod(shape[: behind(node, node.take("axis", 1), len(shape))]), -1)
    elif node.op == "Transpose":
        order = node.take("perm", [*range(len(shape))[::-1]])
        need(sorted(order) == [*range(len(shape))], "Transpose's perm is no permutation of the axes")
        index = index.transpose(order)
    elif node.op == "Reshape":
        given = net.constants.get(node.inputs[1])
        index = index.reshape(wanted_shape(given, shape, literal=node.take("allowzero", 0) != 0))
    elif node.op == "Cast":
        element = TENSOR_TYPES.get(node.take("to", 0), ("",))
        need(element[0] == net.dtype, "Cast to another type than the input's")
    elif node.op == "Dropout":
        # Without training_mode, an input that is not read, it hands on what it is given.
        new = node.opset > 11
        need(new or len(node.inputs) == 1, "Dropout has no second input in this opset")
        node.take("seed", 0) if new else node.take("ratio", 0.5)
    net.move(x, out, index)


def concat(net: CheckedNetwork, node: Operator, x: str, out: str) -> None:
    axis, shape = node.take("axis", None, int), net.shapes[x]
    need(axis is not None and all(name in net.shapes for name in node.inputs), "Concat is read of variables")
    axis = behind(node, axis, len(shape))
    shapes = [net.shapes[name] for name in node.inputs]
    others = {(len(each), each[:axis], each[axis + 1 :]) for each in shapes}
    need(axis < len(shape) and len(others) == 1, "Concat of tensors that do not fit")
    need(sum(map(net.size, node.inputs)) <= MOST_ENTRIES, "Concat gives too much")
    beside(net, node.inputs, [np.arange(math.prod(each)).reshape(each) for each in shapes], axis, out)


def beside(net: CheckedNetwork, names: Sequence[str], places: Sequence[Entries], axis: int, out: str) -> str:
    """Entries of tensors, by their places in each, side by side: where one tensor was moved to all of these, a move of
    that; else the sum of them all, each 0 where another stands."""
    moves = net.moves
    source = moves[names[0]].sources if names[0] in moves else ()
    if all(name in moves and moves[name].sources == source for name in names):
        found = [moves[name].index[own] for name, own in zip(names, places, strict=True)]
        return net.move(source[0], out, np.concatenate(found, axis))
    index = np.concatenate(places, axis)
    owner = np.concatenate([np.full(own.shape, number) for number, own in enumerate(places)], axis)
    parts = [net.move(name, f"{out}#{i}", np.where(owner == i, index, -1)) for i, name in enumerate(names)]
    return net.sum(parts, out)


def behind(node: Operator, axis: int, rank: int) -> int:
    """The axis counted from the front; negative ones count from the back since opset 11."""
    need(-rank <= axis <= rank and (axis >= 0 or node.opset > 10), f"{node.op} has no such axis: {axis}")
    return axis + rank if axis < 0 else axis


def wanted_shape(given: Entries | None, shape: tuple[int, ...], *, literal: bool) -> list[int]:
    """Reshape's shape: −1 (at most once) is whatever is left, 0 the size at the same place, or `literal`: none."""
    if given is None or given.dtype != np.int64 or given.ndim != 1:
        raise InvalidError("Reshape is read with a constant list of sizes")
    wanted: list[int] = given.tolist()
    need(len(wanted) <= MOST_AXES and min(wanted, default=0) >= -1 and wanted.count(-1) <= 1, "Reshape's sizes")
    need(not literal or 0 not in wanted, "Reshape gives an empty tensor")
    need(all(n != 0 or place < len(shape) for place, n in enumerate(wanted)), "Reshape copies a size that is not there")
    return [shape[place] if n == 0 else n for place, n in enumerate(wanted)]


OperatorRule = Callable[[CheckedNetwork, Operator, str, str], Any]
OPERATORS: dict[str, tuple[OperatorRule, int, int]] = {
    "Add": (add, 2, 2),
    "AveragePool": (average, 1, 1),
    "BatchNormalization": (normalise, 5, 5),
    "Cast": (moved, 1, 1),
    "Clip": (clip, 1, 3),
    "Concat": (concat, 1, MOST_SIDE_BY_SIDE),
    "Conv": (conv, 2, 3),
    "Div": (times, 2, 2),
    "Dropout": (moved, 1, 2),
    "Flatten": (moved, 1, 1),
    "Gemm": (gemm, 2, 3),
    "GlobalAveragePool": (average, 1, 1),
    "Identity": (moved, 1, 1),
    "LeakyRelu": (leaky, 1, 1),
    "MatMul": (matmul, 2, 2),
    "Max": (maximum, 1, MOST_PLAYERS),
    "MaxPool": (max_pool, 1, 1),
    "Mul": (times, 2, 2),
    "Neg": (lambda net, _, x, out: net.scale(x, out, -1.0), 1, 1),
    "PRelu": (leaky, 2, 2),
    "Pad": (pad, 1, 3),
    "Relu": (lambda net, _, x, out: net.relu(x, out), 1, 1),
    "Reshape": (moved, 2, 2),
    "Sigmoid": (lambda net, _, x, out: net.sigmoid(x, out), 1, 1),
    "Sub": (add, 2, 2),
    "Tanh": (tanh, 1, 1),
    "Transpose": (moved, 1, 1),
}
"""What is read of nodes that depend on the input, with the least and the most inputs; all else is refused by name."""
SYMMETRIC = ("Add", "Concat", "MatMul", "Max", "Mul", "Sub")
"""Operators whose variable may be another input than the first."""


def read_network(content: bytes, folder: Path | None = None, *, joint: bool = False) -> CheckedNetwork:
    """The network in an ONNX file; external data are looked for in `folder`.

    joint: the file may have several inputs, and several outputs: they are one vector each, the tensors one after the
    other in the order of the file, their entries in row-major order.
    """
    need(len(content) <= 2 * MOST_BYTES, "the model is too large")
    files = Files(folder)
    model = ProtoMessage(memoryview(content), MODEL, files)
    graph = model.part("graph", GRAPH)
    need(OLDEST_IR <= model.integer("ir_version", 0) <= NEWEST_IR, "the model's version of ONNX is not read here")
    for name in ("functions", "training_info", "sparse_initializer", "quantization_annotation"):
        need(not model.has(name) and not graph.has(name), f"a model with {name} is not read here")
    given = (entry for entry in model.parts("opset_import", OPSET) if entry.text("domain") in ("", "ai.onnx"))
    opsets = {entry.integer("version", 0) for entry in given}
    need(len(opsets) == 1, "the model names no opset, or several")
    (opset,) = opsets
    need(OLDEST_OPSET <= opset <= NEWEST_OPSET, f"opset {opset} is not read here")
    outputs = [*map(told, graph.parts("output", VALUE))]
    fits = len(outputs) == 1 or (joint and 0 < len(outputs) <= MOST_SIDE_BY_SIDE)
    need(fits, f"the model has {len(outputs)} outputs; one with the scores alone is read")
    ends = [value.name for value in outputs]
    need(len({*ends}) == len(ends), "the model gives an output twice")
    nodes = [Operator(message, opset) for message in graph.parts("node", NODE)]
    last, dropped = scores(nodes, ends[0]) if len(ends) == 1 else ("", None)
    steps = needed(nodes, {*ends, last} if dropped is None else {last})
    net, names = CheckedNetwork(), set[str]()
    read = {*ends, *(name for node in steps for name in node.inputs)}
    for message in graph.parts("initializer", TENSOR):
        name = message.text("name")
        need(name and name not in names, f"tensor '{name}' has no name, or is given twice")
        names.add(name)
        # One of another type, within the file, is none of our business where no score depends on it.
        if name in read or message.integer("data_type", 0) in TENSOR_TYPES or message.has("external_data"):
            net.constants[name] = tensor(message)
    check_names(nodes, {*inputs_of(net, graph, joint=joint), *names})
    net.digest = files.digest(content)
    for node in steps:
        translate(net, node)
    need(net.shapes.keys() >= ({last} if last else {*ends}), "an output does not depend on the model's input")
    if not last:
        last = beside(net, ends, [np.arange(net.size(name)) for name in ends], 0, JOINED.join(ends))
    need(net.shapes[last] and net.shapes[last][-1] == net.size(last), "the output is not one vector of scores")
    if dropped is not None:
        check_ending(dropped, net.shapes[last])
    for value in (*outputs, *map(told, graph.parts("value_info", VALUE))):
        check_told(value, net.shapes.get(last if [value.name] == ends else value.name), net.dtype)
    net.scores, net.dropped = last, "" if dropped is None else dropped.op
    # One number z: class 0 is z < 0, class 1 is z ≥ 0, as if the scores were (0, z).
    net.output = last if net.size(last) > 1 else net.move(last, f"{last}#pair", np.array([[-1, 0]]))
    return net


def claimed_network(digest: str, content: bytes, folder: Path | None, *, joint: bool = False) -> CheckedNetwork:
    """The network of the model that a certificate names by its digest; of another that is said, whatever else is."""
    try:
        net = read_network(content, folder, joint=joint)
    except InvalidError as error:
        # What lies outside, at a location, is of the digest too: without it this is not known.
        other = hashlib.sha256(content).hexdigest() != digest and b"location" not in content
        need(not other, f"the certificate is for another model, and of this one: {error}")
        raise
    need(digest == net.digest, "the certificate is for another model")
    return net


@dataclass(frozen=True)
class Told:
    """What the file says of a tensor: its type (0: nothing) and its sizes (None: nothing), unknown ones as 0."""

    name: str
    element: int
    sizes: list[int] | None


def told(entry: ProtoMessage) -> Told:
    """A ValueInfoProto, which speaks of a tensor or of nothing."""
    name, kind = entry.text("name"), entry.part("type", TYPE)
    need(kind.fields.keys() <= {"tensor_type", "denotation"}, f"'{name}' is no tensor")
    inner = kind.part("tensor_type", TENSOR_TYPE)
    element = inner.integer("elem_type", 0)
    need(element or not kind.has("tensor_type"), f"'{name}' is a tensor of no type")
    need(element in (0, *TENSOR_TYPES), f"'{name}' is of a type that is not read here")
    dims = inner.part("shape", SHAPE).parts("dim", DIMENSION)
    need(not any(dim.has("dim_value") and dim.has("dim_param") for dim in dims), f"'{name}' has a size twice")
    # Some exporters write −1 for a size that is not fixed; 0 is the size of an empty tensor.
    sizes = [dim.integer("dim_value", -1) for dim in dims]
    need(0 not in sizes and len(sizes) <= MOST_AXES, f"'{name}' is empty")
    return Told(name, element, [max(n, 0) for n in sizes] if inner.has("shape") else None)


def check_told(value: Told, shape: tuple[int, ...] | None, dtype: str) -> None:
    """Refuse what the file says of a tensor where it is not so."""
    if shape is None:
        return
    fits = value.element == 0 or TENSOR_TYPES[value.element][0] == dtype
    need(fits, f"'{value.name}' is of another type than told")
    sizes = shape if value.sizes is None else value.sizes
    fits = len(sizes) == len(shape) and all(n in (0, m) for n, m in zip(sizes, shape, strict=True))
    need(fits, f"'{value.name}' is of another shape than told")


JOINED = " + "
"""Between the names of tensors that are one vector, in its name; no tensor of the file is called so."""


def inputs_of(net: CheckedNetwork, graph: ProtoMessage, *, joint: bool) -> list[str]:
    """The names of the inputs that are no weights, of which there is one unless they are `joint`. (Weights that are
    inputs too have the values of the file.)"""
    inputs = {entry.name: entry for entry in map(told, graph.parts("input", VALUE))}
    need(len(inputs) == len(graph.fields.get("input", [])), "the model gives an input twice")
    for name in inputs.keys() & net.constants.keys():
        check_told(inputs.pop(name), net.constants[name].shape, net.constants[name].dtype.str)
    fits = len(inputs) == 1 or (joint and 0 < len(inputs) <= MOST_SIDE_BY_SIDE)
    need(fits and "" not in inputs, "a model with one input, which has a name, is read")
    need(len({own.element for own in inputs.values()}) == 1, "the model's inputs are of several types")
    shapes: dict[str, tuple[int, ...]] = {}
    for own in inputs.values():
        need(own.element not in (0, 7), "the model's input is no float tensor")
        net.dtype = TENSOR_TYPES[own.element][0]
        sizes = own.sizes or []
        shape = tuple(1 if place == 0 and n == 0 and len(sizes) > 1 else n for place, n in enumerate(sizes))
        fixed = shape and all(n > 0 for n in shape)
        need(fixed and math.prod(shape) <= MOST_ENTRIES, "the input's shape is not fixed, or too large")
        shapes[own.name] = shape
    net.input = JOINED.join(shapes)
    if len(shapes) == 1:
        net.shapes.update(shapes)
        return [net.input]
    ends = np.cumsum([math.prod(shape) for shape in shapes.values()]).tolist()
    need(ends[-1] <= MOST_ENTRIES, "the inputs are too large")
    need(net.input not in net.constants, f"tensor '{net.input}' is given twice")
    net.shapes[net.input] = (ends[-1],)
    for (name, shape), end in zip(shapes.items(), ends, strict=True):
        net.move(net.input, name, np.arange(end - math.prod(shape), end).reshape(shape))
    return [*shapes]


def check_names(nodes: Sequence[Operator], known: set[str]) -> None:
    """Refuse unless each tensor is given once, and before it is read."""
    for node in nodes:
        for name in node.inputs:
            need(not name or name in known, f"operator {node.op} reads '{name}', which nothing gives before it")
        for name in filter(None, node.outputs):
            need(name not in known, f"tensor '{name}' is given twice")
            known.add(name)


def scores(nodes: Sequence[Operator], output: str) -> tuple[str, Operator | None]:
    """The scores: the output, or what stands before an operator at the very end that keeps their order; and that."""
    givers = {node.outputs[0]: node for node in nodes if node.outputs}
    name = output
    while name in givers and givers[name].op == "Identity" and len(givers[name].inputs) == 1:
        name = givers[name].inputs[0]
    if name not in givers or givers[name].op not in ("Softmax", "LogSoftmax", "Sigmoid"):
        return output, None
    need(len(givers[name].inputs) == len(givers[name].outputs) == 1, f"{givers[name].op} of one tensor is read")
    return givers[name].inputs[0], givers[name]


def check_ending(node: Operator, shape: tuple[int, ...]) -> None:
    """Refuse unless it keeps the order of all scores: a Sigmoid, or a Softmax that works on all of them at once.

    Since opset 13 Softmax works along one axis; before, on all axes from that one on together.
    """
    if node.op != "Sigmoid":
        new = node.opset > 12
        axis = behind(node, node.take("axis", -1 if new else 1), len(shape))
        covered = axis == len(shape) - 1 if new else axis < len(shape) and math.prod(shape[:axis]) == 1
        need(covered and shape[-1] > 1, f"{node.op} along an axis without all scores does not keep their order")
    node.done()


def needed(nodes: Sequence[Operator], outputs: Iterable[str]) -> list[Operator]:
    """The nodes on which the outputs depend, in the order of the file."""
    wanted, found = {*outputs}, []
    for node in reversed(nodes):
        if wanted.intersection(filter(None, node.outputs)):
            found.append(node)
            wanted.update(node.inputs)
    return found[::-1]


def translate(net: CheckedNetwork, node: Operator) -> None:
    """Add one operator's steps; constants are kept as they are."""
    variables = [name for name in node.inputs if name in net.shapes]
    need(node.outputs and not any(node.outputs[1:]), f"operator {node.op} has another number of outputs than one")
    out = node.outputs[0]
    if variables:
        need(node.op in OPERATORS, f"operator {node.op} is not read here")
        rule, least, most = OPERATORS[node.op]
        need(least <= len(node.inputs) <= most, f"operator {node.op} with {len(node.inputs)} inputs is not read here")
        need(node.op in SYMMETRIC or variables == [node.inputs[0]], f"operator {node.op} has a variable as parameter")
        rule(net, node, variables[0], out)
    else:
        known = (node.op, len(node.inputs)) in (("Constant", 0), ("Identity", 1))
        need(known, f"operator {node.op} on constants is not read here")
        value = node.take("value", None, np.ndarray) if node.op == "Constant" else net.constants.get(node.inputs[0])
        if value is None or not out:
            raise InvalidError(f"operator {node.op} gives nothing that is read here")
        need(out not in net.shapes, f"tensor '{out}' is given twice")  # steps have names of their own, such as 'out#p'
        net.constants[out] = value
    node.done()


# -------------------------------------------------------------------------------------------------------- certificate


@dataclass(frozen=True)
class CheckedQuery:
    """What is asked: the box and the ball around `centre`, in floats; target None: any class but the label."""

    norm: str
    label: int | None
    target: int | None
    margin: float
    centre: Entries
    lo: Entries
    hi: Entries

    def targets(self, classes: int) -> list[int]:
        need(self.label is None or 0 <= self.label < classes, "the label is no class of the model")
        need(self.target is None or 0 <= self.target < classes, "the target is no class of the model")
        need(self.label != self.target, "the target is the label itself, or neither is given")
        return [self.target] if self.target is not None else [k for k in range(classes) if k != self.label]

    def digest(self, model: str) -> str:
        numbers = [
            np.broadcast_to(v, self.centre.shape).astype("<f8").tobytes() for v in (self.centre, self.lo, self.hi)
        ]
        words = json.dumps([model, self.norm, self.label, self.target, self.margin.hex()])
        return hashlib.sha256(b"".join([words.encode(), *numbers])).hexdigest()


class Region:
    """{x : lo ≤ x ≤ hi, ‖x − centre‖ ≤ radius}, an infinite one for the whole box; all in integers over `unit`."""

    def __init__(self, query: CheckedQuery, radius: float) -> None:
        n, ball = query.centre.size, math.isfinite(radius)
        need(ball or np.all(np.isfinite([query.lo, query.hi])), "the whole of an unbounded box")
        finite = [np.where(np.isfinite(end), end, query.centre) for end in (query.lo, query.hi)]
        numbers, self.unit = exact(np.concatenate([query.centre, *finite, [radius if ball else 0.0]]).tolist())
        centre, lo, hi, self.radius = numbers[:n], numbers[n : 2 * n], numbers[2 * n : 3 * n], int(numbers[-1])
        self.knapsack = ball and query.norm == "l1"
        self.round = ball and query.norm == "l2"
        down, up = centre - lo, hi - centre
        if ball:
            down = np.where(np.isfinite(query.lo), np.minimum(down, self.radius), self.radius)
            up = np.where(np.isfinite(query.hi), np.minimum(up, self.radius), self.radius)
        self.centre, self.ends = centre, (centre - down, centre + up)
        self.box = None if self.knapsack or self.round else self.ends
        self.reach = int(np.maximum(abs(centre - down), abs(centre + up)).sum())
        # A step x − centre is p − m: the entries that p, and m, may have, and how much of it.
        self.rises, self.drops = np.flatnonzero(up > 0), np.flatnonzero(down > 0)
        self._steps = np.concatenate([up[self.rises], down[self.drops]])
        self._centre = Weights(query.centre.reshape(1, n, 1))
        # The rooms below and above in units of 2^spare, rounded up: a larger region is proved.
        self._spare = max(0, longest(np.concatenate([down, up])) - HELD_BITS)
        rooms = ((-(-room >> self._spare)).astype(np.float64) for room in (down, up))
        self._rooms = [Weights(room.reshape(1, n, 1)) for room in rooms]
        self._sizes = [(room.astype(object) / self.unit).astype(np.float64) for room in (down, up)]

    def least(self, value: Entries, shift: Entries, den: int) -> RowTerm:
        """A lower bound of rows · x over the region, (B,); rows that are `held` as value and shift.

        min v·x ≥ v·centre − τ·radius − Σ_i max(0, |v_i| − τ)·room_i, any τ ≥ 0, which is 0 but for balls in L1; in L2
        v·centre − radius·‖b‖₂ − Σ_i (|v_i| − b_i)·room_i, any 0 ≤ b_i ≤ |v_i|, the root rounded up to an integer. v
        are the rows rounded down, each entry by less than one unit: Σ_i max |x_i| units at most.
        """
        size, negative = np.abs(value), value < 0
        fall: Any = (shift > 0).astype(object) * self.reach
        if self.knapsack:
            slope = self._threshold(size, negative)
            fall, size = fall + slope.astype(object) * self.radius, np.maximum(size - slope[:, np.newaxis], 0)
        fine = np.zeros(len(size), dtype=np.int64)
        if self.round:
            # Parts and roots are integers: of rows that are short, finer ones.
            fine = np.maximum(HELD_BITS - lengths(value), 0)
            size = size << fine[:, np.newaxis]
            part = self._round_part(size, negative)
            fall, size = (fall << fine.astype(object)) + roots(squares(part) * self.radius**2), size - part
        for room, chosen in zip(self._rooms, (~negative, negative), strict=True):
            fall = fall + (dot(np.where(chosen, size, 0), room) << self._spare)
        at_centre = dot(value, self._centre) * (self.unit // self._centre.den)
        most = int(fine.max(initial=0))
        below = (at_centre << most) - (fall << (most - fine).astype(object))
        return below << shift, (den * self.unit) << most

    @property
    def steps(self) -> int:
        """Entries of (p, m)."""
        return int(self._steps.size)

    def at_centre(self, value: Entries, shift: Entries, den: int) -> RowTerm:
        """At most rows · centre, and so much less that value · (x − centre) is all that x adds: (B,)."""
        found = dot(value, self._centre) * (self.unit // self._centre.den) - (shift > 0).astype(object) * self.reach
        return found << shift, den * self.unit

    def costs(self, value: Entries, shift: Entries, den: int, paid: Sequence[RowValue]) -> Entries:
        """What a unit of each entry of (p, m) takes from rows · x − Σ paid · (p, m) at most, in multiples of the rows'
        own 2^shift/den, (B, entries): Python integers."""
        found = np.concatenate([-value[:, self.rises], value[:, self.drops]], axis=1).astype(object)
        for more, below in paid:
            found = found - (-more.astype(object) * den) // (below << shift[:, np.newaxis])
        return found

    def most(self, costs: Entries, shift: Entries, den: int) -> RowTerm:
        """At least costs · (p, m) for all steps of a ball in L1, (B,): τ·radius + Σ max(0, cost − τ)·room, τ ≥ 0."""
        if not costs.shape[1]:
            return np.zeros(len(costs), dtype=object), 1
        order = np.argsort(-costs.astype(np.float64), axis=1)
        used = np.cumsum((self._steps.astype(object) / self.unit).astype(np.float64)[order], axis=1)
        full = used >= self.radius / self.unit
        last = np.take_along_axis(order, full.argmax(axis=1)[:, np.newaxis], axis=1)
        slope = np.where(full.any(axis=1), np.take_along_axis(costs, last, axis=1)[:, 0], 0)
        slope = np.maximum(slope, 0)
        found = slope * self.radius + np.maximum(costs - slope[:, np.newaxis], 0) @ self._steps
        return found << shift, den * self.unit

    def _round_part(self, size: Entries, negative: Entries) -> Entries:
        """For each row min(|v_i|, room_i/τ), about the τ at which the step min(τ·|v_i|, room_i) is as long as the
        radius, rounded down."""
        steep, room = size.astype(np.float64), np.where(negative, self._sizes[1], self._sizes[0])
        radius, squared = self.radius / self.unit, steep * steep
        scale = radius / np.sqrt(np.where(room > 0, squared, 0.0).sum(axis=1))
        for _ in range(ROUNDS):
            held = room < scale[:, np.newaxis] * steep
            left = radius * radius - np.where(held, room * room, 0.0).sum(axis=1)
            scale = np.fmax(scale, np.sqrt(np.maximum(left, 0.0) / np.where(held, 0.0, squared).sum(axis=1)))
        most = room / scale[:, np.newaxis]
        part: Entries = np.where(most < steep, np.floor(most), steep).astype(np.int64)
        return np.clip(part, 0, size)

    def _threshold(self, size: Entries, negative: Entries) -> Entries:
        """For each row about the |v_i| at which the radius is used up when the steepest entries move first."""
        order = np.argsort(-size, axis=1)
        room = np.take_along_axis(np.where(negative, self._sizes[1], self._sizes[0]), order, axis=1)
        used = np.cumsum(room, axis=1) >= self.radius / self.unit
        last = np.take_along_axis(order, used.argmax(axis=1)[:, np.newaxis], axis=1)
        return np.where(used.any(axis=1), np.take_along_axis(size, last, axis=1)[:, 0], 0)


def squares(rows: Entries) -> Entries:
    """The sum of the squares of each row's entries, 0 to 2^(2 · HALF_BITS), as Python integers: (B, n) → (B,)."""
    high, low = rows >> HALF_BITS, rows & ((1 << HALF_BITS) - 1)
    pairs = ((high, high, 2 * HALF_BITS), (high, low, HALF_BITS + 1), (low, low, 0))
    found: Entries = sum(np.einsum("bn,bn->b", a, b).astype(object) << bits for a, b, bits in pairs)
    return found


def roots(numbers: Entries) -> Entries:
    """The square roots of Python integers ≥ 0, rounded up to integers."""
    return np.array([math.isqrt(number - 1) + 1 if number > 0 else 0 for number in numbers.tolist()], dtype=object)


def dot(rows: Entries, column: Weights) -> Entries:
    """rows (B, n) · a column, as Python integers (B,)."""
    return column.product(rows[:, np.newaxis, np.newaxis], back=False).whole()[:, 0]


@dataclass(frozen=True)
class Layer:
    """What is known of the arguments of one ReLU layer: those that are `kept` are ≥ low, and ≥ 0 where they are
    `active`, else ≤ high (integers over 2^step, low ≤ 0 ≤ high); all others are ≤ 0."""

    kept: Entries
    active: Entries
    low: Entries
    high: Entries
    step: int
    anchored: Anchored | None = None
    """Lines of the open ones, in proofs by such."""

    def argument(
        self, mu: Entries, den: int, given: Entries, q: int, low: Entries, high: Entries
    ) -> tuple[Entries, int, RowTerm]:
        """A `ReluRule`: ν = given/2^q at open ReLUs, ⌊μ·2^q⌋/2^q − given/2^q at active ones, given ≥ 0, 0 elsewhere.

        The least of μ relu(t) − ν t is min(0, −ν·low, (μ − ν)·high) for low ≤ t ≤ high, (μ − ν)·low for t ≥ low ≥ 0
        and μ ≥ ν, and 0 for t ≤ 0 = ν.
        """
        own = mu[:, self.kept].astype(object) << q
        chosen = np.where(self.active, own // den - given, given)
        nu = np.zeros(mu.shape, dtype=object)
        nu[:, self.kept] = chosen
        rest = own - chosen * den
        ends = np.minimum(np.minimum(-chosen * den * low, rest * high), 0)
        share = np.where(self.active, rest * low, ends).sum(axis=1)
        return nu, 1 << q, (share, den << (q + self.step))

    @cached_property
    def short(self) -> tuple[Entries, Entries, int]:
        """(low, high, s): the ends are within low · 2^s and high · 2^s, in int64 of so few bits that `on_lines` sums
        products with them."""
        most = WORD_BITS - 1 - LINE_BITS - self.kept.size.bit_length()
        spare = max(0, longest(np.concatenate([self.low, self.high])) - most)
        return (self.low >> spare).astype(np.int64), -((-self.high) >> spare).astype(np.int64), spare

    def on_lines(
        self, message: Entries | Limbs, den: int, leaves: LinedLeaves | None = None, *, flat: bool = False
    ) -> tuple[Entries, int, RowTerm]:
        """A `ReluRule`: ν by the lines of CROWN, or of leaves; `flat`: 0 at open ReLUs; of μ as `units` rounds it."""
        value, den, unit, more = self.units(message, den)
        low, high, spare = self.short
        slopes, off, active = np.where(high > -low, 1 << SHARE_BITS, 0), np.zeros(1, dtype=bool), self.active
        beta: Any = 0
        if leaves is not None:
            slopes, off, active = leaves.slopes, leaves.off, self.active | leaves.on
            beta = leaves.of_units(max(1, den >> unit))
        steep = (high << SLOPE_BITS) // np.maximum(high - low, 1)
        chosen = np.where(value > 0, (value * slopes) >> SHARE_BITS, (value * steep) >> SLOPE_BITS)
        if flat:
            chosen[:] = 0
        share = np.minimum(np.minimum(-chosen * low, (value - chosen) * high), 0)
        share = np.where(active | off, 0, share).sum(axis=1).astype(object)
        chosen = np.where(active, value - beta, np.where(off, beta, chosen))
        nu = np.zeros(message_shape(message), dtype=np.int64)
        nu[:, self.kept] = chosen
        below = (den << more) >> unit
        return nu.astype(object) << more if more else nu, below, (share << spare + more, below << self.step)

    def units(self, message: Entries | Limbs, den: int) -> tuple[Entries, int, int, int]:
        """μ of the kept ReLUs rounded down to LINE_BITS, all rows in int64, in multiples of 2^unit/den: (μ, den, unit,
        more), den << more a multiple of 2^unit. As relu(t) ≥ 0, what holds for less than μ holds for μ."""
        if not is_power(den):
            whole, den = whole_row((message, den))
            message, den = (whole.astype(object) << den.bit_length()) // den, 1 << den.bit_length()
        own = message.chosen(self.kept) if isinstance(message, Limbs) else message[:, self.kept]
        value, shift = held(own)
        unit = max(0, int((lengths(value) + shift).max(initial=0)) - LINE_BITS)
        more = max(0, unit + 1 - den.bit_length())
        up, down = (np.clip(gap, 0, WORD_BITS).astype(np.int64)[:, np.newaxis] for gap in (shift - unit, unit - shift))
        return (value << up) >> down, den, unit, more

    def on_anchored(
        self, message: Entries | Limbs, den: int, leaves: LinedLeaves | None = None
    ) -> tuple[Entries, int, RowTerm, RowValue]:
        """A `ReluRule` by anchored lines, for less than μ, and what they take from the form besides: paid · (p, m).

        For any ν and a ≤ 0, μ relu(t) − ν t − a (t − z)⁺ is least at low, 0, z or high, and a (t − z)⁺ is at least
        a·excess + a·growth · (p, m). By rule ν is the slope of the line: below μ > 0 it is the line's that is exact at
        z, or the share that leaves say; above it is the chord's for the share that leaves say, and the anchored line
        for the rest of it, whose slope is `left` below z and `right` above.
        """
        lines = self.anchored
        assert lines is not None
        value, den, unit, more = self.units(message, den)
        active = self.active[np.newaxis] if leaves is None else self.active | leaves.on
        off = np.zeros((1, self.kept.size), dtype=bool) if leaves is None else leaves.off
        own, whole = value[:, lines.places], 1 << SHARE_BITS
        shut = (active | off)[:, lines.places]
        alpha: Any = np.where(lines.anchor > 0, whole, 0)
        chord: Any = np.zeros(1, dtype=np.int64)
        if leaves is not None:
            alpha = chord = leaves.slopes[:, lines.places]
        slope = chord * lines.steep + (whole - chord) * lines.left
        nu = np.where(own > 0, (own * alpha) >> SHARE_BITS, (own * slope) >> SHARE_BITS + SLOPE_BITS)
        against = np.where(shut, 0, np.minimum(own, 0))
        bent = ((against * (whole - chord)) >> SHARE_BITS) * (lines.right - lines.left) >> SLOPE_BITS
        # Any a ≤ 0 will do: of each row so few bits that float64 sums products with growths.
        most = EXACT_BITS - GROWTH_BITS - lines.places.size.bit_length() - 1
        spare = np.maximum(lengths(bent) - most, 0)[:, np.newaxis]
        bent = np.minimum(bent >> spare, 0)
        paid = (-bent).astype(np.float64) @ lines.growth
        bent = bent << spare
        low, high, anchor = lines.low, lines.high, lines.anchor
        ends = np.minimum(-nu * low, (own - nu) * high - bent * (high - anchor))
        inner = np.minimum(-bent * np.maximum(-anchor, 0), own * np.maximum(anchor, 0) - nu * anchor)
        share = np.where(shut, 0, np.minimum(ends, inner)).sum(axis=1).astype(object) << lines.spare
        share = share + bent.astype(object) @ lines.excess if lines.excess.any() else share
        kept = np.where(active, value, 0)
        kept[:, lines.places] = np.where(shut, kept[:, lines.places], nu)
        found = np.zeros(message_shape(message), dtype=np.int64)
        found[:, self.kept] = kept
        below = (den << more) >> unit
        taken = paid.astype(np.int64).astype(object) << (spare + more).astype(object), below << lines.fine
        given = found.astype(object) << more if more else found
        return given, below, (share << more, below << self.step), taken


def message_shape(message: Entries | Limbs) -> tuple[int, ...]:
    """(rows, entries)."""
    return message.parts[0].shape if isinstance(message, Limbs) else message.shape


@dataclass(frozen=True)
class Anchored:
    """What is known of a layer's open ReLUs, those at `places` among its kept ones, of a ball in L1: t lies within low
    and high and is at most anchor + excess + growth · (p, m), where x = centre + p − m.

    low, anchor, high: int64 in multiples of 2^spare of the layer's step, low ≤ anchor ≤ high; excess: Python integers
    in multiples of the step; growth (open, entries): integers of GROWTH_BITS in float64, over 2^fine. The slopes of
    lines are over 2^SLOPE_BITS.
    """

    places: Entries
    low: Entries
    anchor: Entries
    high: Entries
    spare: int
    excess: Entries
    growth: Entries
    fine: int

    @classmethod
    def of(cls, layer: Layer, tops: RowTerm, rows: Sequence[RowShares]) -> Anchored:
        """From t ≤ tops + growth · (p, m) of each open ReLU; rows: growths, some rows after the other."""
        places = np.flatnonzero(~layer.active)
        low, high = layer.low[places], layer.high[places]
        spare = max(0, longest(np.concatenate([low, high])) - (WORD_BITS - 4 - LINE_BITS - places.size.bit_length()))
        low, high = low >> spare, -((-high) >> spare)
        top = -((-tops[0] << layer.step) // tops[1])
        anchor = np.minimum(np.maximum(top >> spare, low), high)
        excess = np.maximum(top - (anchor << spare), 0)
        growth, fine = in_common(rows)
        low, anchor, high = (part.astype(np.int64) for part in (low, anchor, high))
        return cls(places, low, anchor, high, spare, excess, growth, fine)

    @cached_property
    def steep(self) -> Entries:
        """The chord's slope."""
        slope: Entries = (self.high << SLOPE_BITS) // np.maximum(self.high - self.low, 1)
        return slope

    @cached_property
    def left(self) -> Entries:
        """The slope of the line from low to the anchor."""
        slope: Entries = (np.maximum(self.anchor, 0) << SLOPE_BITS) // np.maximum(self.anchor - self.low, 1)
        return slope

    @cached_property
    def right(self) -> Entries:
        """The slope of the line from the anchor to high."""
        flat = (self.high << SLOPE_BITS) // np.maximum(self.high - self.anchor, 1)
        return np.where(self.anchor > 0, 1 << SLOPE_BITS, flat)


RowShares = tuple[Entries, Entries]
"""Rows of integers below 2^GROWTH_BITS, (B, n) in float64, and of each the exponent e of the 2^-e that they count."""


def shortened(rows: Entries, shift: Entries, den: int) -> RowShares:
    """Rows · 2^shift/den of Python integers ≥ 0, rounded up."""
    size = lengths(rows).astype(object)
    fine = GROWTH_BITS - 1 - size - shift + den.bit_length() - 1
    need(np.all(fine >= 0), "arguments grow too fast for anchored lines")
    above = rows << (shift + fine)[:, np.newaxis]
    found = -(-above // den)
    return found.astype(np.float64), fine


def in_common(rows: Sequence[RowShares]) -> RowValue:
    """All of them in multiples of one 2^-e, rounded up."""
    fine = int(min(int(each.min()) for _, each in rows))
    # What shrinks to less than float64 holds is still rounded up.
    less = (np.maximum(fine - each, -WORD_BITS).astype(np.int64)[:, np.newaxis] for _, each in rows)
    parts = [np.ceil(np.ldexp(part, each)) for (part, _), each in zip(rows, less, strict=True)]
    return np.concatenate(parts), fine


@dataclass(frozen=True)
class LinedLeaves:
    """What leaves by lines say of a layer's kept ReLUs (L, kept): where they are split, ≤ 0 and ≥ 0, β/2^q ≥ 0 of
    each, and for the others the share of μ > 0, in multiples of 2^-SHARE_BITS, that ν is.

    Where t ≤ 0, ν = β, else μ − β: so that μ relu(t) − ν t ≥ 0.
    """

    off: Entries
    on: Entries
    slopes: Entries
    beta: Entries
    q: int

    def of_units(self, den: int) -> Entries:
        """β in multiples of 1/den, a power of two, rounded down, to BETA_BITS at most: any β ≥ 0 will do."""
        shift = den.bit_length() - 1 - self.q
        most, up = (1 << BETA_BITS) - 1, min(max(shift, 0), BETA_BITS)
        found: Entries = np.minimum(self.beta >> min(max(-shift, 0), WORD_BITS), most >> up) << up
        return found


@dataclass(frozen=True)
class CheckedGoal:
    """Rows R = (matrix · value of `start` + direct · x)/den + offset/below: some point has all of them ≥ 0, or none.

    matrix (m, K), direct (m, inputs) or None, offset (m,): integers.
    """

    start: str
    matrix: Entries
    direct: Entries | None
    den: int
    offset: Entries
    below: int

    def only(self, rows: Entries) -> CheckedGoal:
        """Some of its rows."""
        direct = None if self.direct is None else self.direct[rows]
        return replace(self, matrix=self.matrix[rows], direct=direct, offset=self.offset[rows])


def against(net: CheckedNetwork, target: int, margin: float) -> CheckedGoal:
    """z_target − z_i − margin ≥ 0 for all i ≠ target."""
    others = np.delete(np.arange(net.size(net.output)), target)
    return compared(net, np.full(others.size, target), others, margin)


def compared(net: CheckedNetwork, targets: Entries, others: Entries, margin: float) -> CheckedGoal:
    """z_target − z_other − margin ≥ 0 for pairs of classes."""
    classes = net.size(net.output)
    matrix = (unit_rows(classes, targets, 1) - unit_rows(classes, others, 1)).astype(object)
    (margin_above,), below = exact([margin])
    return CheckedGoal(net.output, matrix, None, 1, np.full(targets.size, -margin_above, dtype=object), below)


def coded_goal(net: CheckedNetwork, given: QuadraticEvidence, margin: float) -> CheckedGoal:
    """The rows that codes (K − 1) · target + row name, one each."""
    classes = net.size(net.output)
    need(
        np.all((given.codes >= 0) & (given.codes < classes * (classes - 1))),
        "quadratic bounds of a row that is not there",
    )
    need(given.codes.size * classes <= MOST_FORMS, "quadratic bounds of too many rows")
    target, row = np.divmod(given.codes, classes - 1)
    return compared(net, target, row + (row >= target), margin)


def absolute(step: NetworkStep) -> NetworkStep:
    """The step with the absolute values of its constants."""
    weights, column = (part and part.absolute() for part in (step.weights, step.column))
    factor, offset = (None if part is None else abs(part) for part in (step.factor, step.offset))
    return replace(step, weights=weights, factor=factor, offset=offset, column=column)


def growth(step: NetworkStep) -> int:
    """max(1, the largest sum in a row or a column of an absolute step's matrix), rounded up."""
    if step.kind == "move":
        return int(np.bincount(step.index[step.index >= 0]).max(initial=1))
    found = [Fraction(1)]
    if step.kind == "product":
        groups, k, n = step.weights.shape
        for back, inner in ((False, k), (True, n)):
            ones = np.ones((1, groups * step.left * inner), dtype=object)
            sums, den = whole_row(multiplied(step, ones, 1, back=back))
            found.append(Fraction(int(sums.max()), den))
    if step.factor is not None:
        found.append(Fraction(int(step.factor.max()), step.den))
    return math.ceil(max(found))


def operations(net: CheckedNetwork) -> dict[str, int]:
    """How many roundings an entry of each tensor has behind it since the input or a ReLU: the summands of all steps
    that hang together with it, which a runtime may evaluate as one map in any order of summation."""
    leader: dict[str, str] = {}
    count: dict[str, int] = {}

    def found(name: str) -> str:
        while leader[name] != name:
            leader[name] = name = leader[leader[name]]
        return name

    for step in net.steps:
        if step.kind == "relu":
            continue
        leader[step.out] = step.out
        summands = step.weights.shape[1] if step.kind == "product" else len(step.sources) + (step.offset is not None)
        factors = FUSED * (step.weights is not None or step.factor is not None)
        count[step.out] = 0 if step.kind == "move" else summands + factors
        for source in {found(name) for name in step.sources if name in leader}:
            leader[source] = step.out
            count[step.out] += count.pop(source)
    return {name: count[found(name)] + SPARE for name in reversed(leader)}


class Rounding:
    """What float32 evaluations of the network may be off by while its inputs are in a region, in multiples of 2⁻⁸⁰.

    An affine map t = B h + c of the values h of the input and of ReLUs, evaluated with n roundings of 2⁻²⁴ in any
    order, is off by γ·(|B||h| + |c|) at most, γ = n/(2²⁴ − n), and by n·2⁻¹²⁴·G·M for subnormal results that are
    flushed to zero, where G bounds products of constants on the way, and M the sizes of all h, constants and entries.
    """

    def __init__(self, proof: Proof, radius: float) -> None:
        net, query = proof.net, proof.query
        need(net.dtype == "<f4", "a float32 end is claimed of a model of another type")
        need(net.dropped != "Sigmoid" or net.size(net.scores) == 1, "float32: a Sigmoid shows large scores as equal")
        self.net = replace(net, steps=[*map(absolute, net.steps)])
        ends = {"lo": np.zeros_like(query.lo), "hi": np.maximum(abs(query.lo), abs(query.hi))}
        self.region = Region(replace(query, centre=abs(query.centre), **ends), radius)
        self.counts = operations(net)
        self.rows, self.spend = proof.rows, proof.spend
        self.tops: list[Entries] = []
        """What each ReLU layer gives at most."""
        self._rest = iter(self.net.steps)
        self._values: dict[str, RowValue] = {}
        """What |B||h| + |c| is at most of the tensors so far, where the region is a box: all h are largest together."""
        if self.region.box is not None:
            self._values[net.input] = self.region.box[1].reshape(1, -1), self.region.unit
        self._sizes = {net.input: (1, -(-self.region.reach // self.region.unit))}
        """G and M of the tensors so far."""
        self._known: dict[str, tuple[Entries, Entries]] = {}

    def error(self, name: str) -> tuple[Entries, Entries]:
        """(what the entries of a tensor may be off by, their |B||h| + |c| at most), each (size,)."""
        if name not in self._known:
            while name not in self._sizes:
                self._go_on(next(self._rest))
            size, n = self.net.size(name), self.counts.get(name, 0)
            need(n < 1 << ROUNDING_BITS - 1, "float32: sums of too many summands")
            if self.region.box is None:
                every = np.arange(size)
                parts = [self._most(name, every[at : at + self.rows]) for at in range(0, size, self.rows)]
                most = np.concatenate(parts)
            else:
                value, den = self._values[name]
                most = -((-value[0] << ERROR_BITS) // den)
            lost = n * math.prod(self._sizes[name]) << ERROR_BITS >> OVERFLOW_BITS - 2
            found = -(-most * n // ((1 << ROUNDING_BITS) - n)) + lost + min(n, 1)
            if name == self.net.output and self.net.dropped:
                found = found + (1 << ERROR_BITS - TIE_BITS)
            self._known[name] = found, most
        return self._known[name]

    def _most(self, name: str, entries: Entries) -> Entries:
        """Upper bounds of |B||h| + |c| of these entries, rounded up."""
        self.spend(entries.size)
        rows = np.zeros((entries.size, self.net.size(name)), dtype=object)
        rows[np.arange(entries.size), entries] = -1

        def relu(layer: int, given: Entries | Limbs, below: int) -> tuple[None, int, RowTerm]:
            mu, den = whole_row((given, below))
            return None, 1, (mu @ self.tops[layer], den << ERROR_BITS)

        found, below, terms = self.net.backward(name, rows, 1, relu)
        value, den = summed(terms if found is None else [*terms, self.region.least(*held(found), below)], entries.size)
        return -((value << ERROR_BITS) // den)

    def _go_on(self, step: NetworkStep) -> None:
        """G and M of the next step's tensor."""
        size = self.net.size(step.out)
        if self.region.box is not None:
            self.spend(1)
            given = [FORWARD[step.kind](step, *self._values[name]) for name in step.sources if step.layer < 0]
            self._values[step.out] = total(given or [(self.tops[step.layer][np.newaxis], 1 << ERROR_BITS)])
        if step.kind == "relu":
            self._sizes[step.out] = 1, size + (int(self.tops[step.layer].sum()) >> ERROR_BITS)
            return
        before = [self._sizes[name] for name in step.sources]
        added = 0 if step.offset is None else -(-int(step.offset.sum()) // step.den)
        most = growth(step) * sum(each for each, _ in before), sum(each for _, each in before) + added + size
        need(math.prod(most).bit_length() <= OVERFLOW_BITS, "float32: sums, or products of constants, may overflow")
        self._sizes[step.out] = most


def worst(bounds: Sequence[RowTerm]) -> RowTerm:
    """The least of each entry's bounds."""
    common = least_common(den for _, den in bounds)
    return np.min([value * (common // den) for value, den in bounds], axis=0), common


def best(bounds: Sequence[RowTerm]) -> RowTerm:
    """The largest of each entry's bounds."""
    value, den = worst([(-value, den) for value, den in bounds])
    return -value, den


def stacked(bounds: Sequence[RowTerm]) -> RowTerm:
    """One behind the other."""
    common = least_common(den for _, den in bounds)
    return np.concatenate([np.zeros(0, dtype=object), *(value * (common // den) for value, den in bounds)]), common


def unit_rows(size: int, entries: Entries, signs: Entries | int) -> Entries:
    """sign · the unit vector of each entry, (entries, size)."""
    rows = np.zeros((len(entries), size), dtype=np.int64)
    rows[np.arange(len(entries)), entries] = signs
    return rows


def summed(terms: Sequence[RowTerm], rows: int) -> RowTerm:
    """The sum of terms, (rows,)."""
    return total([(np.zeros(rows, dtype=object), 1), *terms])


@dataclass(frozen=True)
class ReluNode:
    """A part of a region, as a tree has come to it: the layers known there, and which of their kept ReLUs (all
    layers', in order) are ≤ 0 and ≥ 0; `whole`: there was no split on the way. slopes: those in force of the kept
    ReLUs; path: the ReLUs that were split since the last bounds anew."""

    layers: list[Layer]
    off: Entries
    on: Entries
    whole: bool = False
    slopes: Entries | None = None
    path: tuple[int, ...] = ()

    @classmethod
    def root(cls, layers: list[Layer]) -> ReluNode:
        """All of the region."""
        signs = np.zeros((2, sum(layer.kept.size for layer in layers)), dtype=bool)
        return cls(layers, signs[0], signs[1], whole=True)

    @property
    def opened(self) -> Entries:
        """Which kept ReLUs are open in the layers, by splits or not."""
        return np.concatenate([np.zeros(0, dtype=bool), *(~layer.active for layer in self.layers)])


QUADRATIC, SLOPES, LINED, CLAUSES, LEAF, BOXES, BOUNDS, FIRST_RELU = range(-4, 4)
"""Tokens: a leaf by quadratic bounds; slopes anew; a leaf by lines; clauses; a leaf with multipliers; a tree of boxes;
bounds anew; splits of ReLUs."""

CURVED = "a Sigmoid or Tanh inside the model is read in trees of boxes, over the real numbers, only"
DENSE = "boxes are halved, and clauses learned, of smaller networks only"


class Proof:
    """The network over one region, and trees that exclude goals there.

    A tree is of ReLUs, split at 0, below bounds that `numbers` claim of neurons' signs; of a property it may be one of
    boxes instead (`BoxProof`), or clauses (`ClauseProof`). Bounds anew: of every neuron whose sign is not known yet,
    what is claimed (0: off, 1: active, 2: open) is evaluated with the node's splits, layer by layer; what was known
    stays so. A goal begins with what was known of all of the region before.

    With a radius for `float32` what is bounded holds there for every float32 evaluation too. anchored: by lines that
    are anchored at the centre of a ball in L1; slopes of leaves are then shares of these and of chords.
    """

    def __init__(
        self,
        net: CheckedNetwork,
        query: CheckedQuery,
        radius: float,
        step: int,
        float32: float = 0.0,
        anchored: bool = False,
    ) -> None:
        need(not anchored or (query.norm == "l1" and math.isfinite(radius)), "anchored lines outside of a ball in L1")
        self.net, self.query, self.step, self.anchored = net, query, step, anchored
        self.rows = max(1, min(ROWS, MOST_TOGETHER // max(net.size(name) for name in net.shapes)))
        self.work = 0
        self.rounding = Rounding(self, float32) if float32 > 0 else None
        # What holds for all float32 evaluations holds for the one that rounds nothing.
        self.worlds = [
            (Region(query, each), charged)
            for each, charged in {radius: None, float32: self.rounding}.items()
            if each > 0
        ]
        self.ball = self.worlds[0][0].round
        """Is it one in L2?"""
        self.layers: list[Layer] = []
        """What is known of ReLU layers where the proof is now, as far as it has come."""
        self.rooted: list[Layer] = []
        """The same of all of the region, with no split."""
        self._paid: list[RowValue] = []
        """What anchored lines have taken from the forms that are being sent back."""
        self.goal: CheckedGoal
        """What the tree that is read excludes."""
        self.leaves = self.anew = 0
        """How many leaves, and how many bounds anew in boxes, this tree has had so far."""
        self._pending: dict[bool, list[tuple[int, ReluNode, Entries]]] = {False: [], True: []}
        """Leaves that wait, with multipliers and by lines: the number, the node, what is given."""
        self._boxes: BoxProof | None = None
        self._quadratic: QuadraticBounds | None = None
        self._intervals: dict[str, RowTerm] = {}

    def spend(self, rows: int) -> None:
        """Count so many evaluations of the network, and a step; refuse where they become too many."""
        self.count(STEP_WORK + rows * self.net.entries)

    def count(self, work: int) -> None:
        """Count entries that are evaluated."""
        self.work += work
        need(self.work <= MOST_WORK, "the certificate asks for too many evaluations of this model")

    def value(self, start: str, rows: Entries, den: int, relu: ReluRule, direct: Entries | None = None) -> RowTerm:
        """A lower bound of rows · (value of `start`) + direct · x over the region, (B,); over all regions, each
        evaluation of those in which float32 rounds."""
        terms, form, below = self._sent(start, rows, den, relu, direct)
        bounds = []
        for (region, _), own in zip(self.worlds, terms, strict=True):
            if form is None:
                bounds.append(summed(own, len(rows)))
            elif not self.anchored:
                bounds.append(summed([*own, region.least(*form, below)], len(rows)))
            else:
                costs = region.costs(*form, below, self._paid)
                most, under = region.most(costs, form[1], below)
                bounds.append(summed([*own, region.at_centre(*form, below), (-most, under)], len(rows)))
        return worst(bounds)

    def _sent(
        self, start: str, rows: Entries, den: int, relu: ReluRule, direct: Entries | None = None
    ) -> tuple[list[list[RowTerm]], tuple[Entries, Entries] | None, int]:
        """rows · (value of `start`) + direct · x is at least a form over the input, `held` over a denominator, and the
        sum of terms, in each of the regions: (terms of each, form or None, denominator)."""
        used = [(start, rows, den)]
        self._paid = []

        def noted(layer: int, mu: Entries | Limbs, den: int) -> tuple[Entries, int, RowTerm]:
            nu, below, share = relu(layer, mu, den)
            used.append((self.net.arguments[layer], nu, below))
            return nu, below, share

        found, below, terms = self.net.backward(start, rows, den, noted, direct)
        own = []
        for _, rounding in self.worlds:
            lost = []
            if rounding is not None:
                errors = ((abs(nu) @ rounding.error(name)[0], under) for name, nu, under in used)
                lost = [(-each, under << ERROR_BITS) for each, under in errors]
            own.append([*terms, *lost])
        if found is None and self._paid:
            found, below = np.zeros((len(rows), self.query.centre.size), dtype=np.int64), 1
        return own, None if found is None else held(found), below

    def interval(self, layer: int) -> RowTerm | None:
        """Lower bounds of all arguments of a layer, and of their negatives, (2, size), where the region is a box and
        they are its entries multiplied with one matrix W: W · middle ∓ |W| · reach, which no row's own form is above
        unless it reads an entry twice. None where that is not so."""
        name = self.net.arguments[layer]
        if name not in self._intervals:
            steps = self.net.straight(name)
            if steps is None or any(region.box is None for region, _ in self.worlds):
                return None
            self.spend(2 * len(self.worlds))
            bounds = []
            for region, rounding in self.worlds:
                low, high = (end.reshape(1, -1) for end in region.box or ())
                middle, reach = (low + high, 2 * region.unit), (low - high, 2 * region.unit)
                for step in steps:
                    middle = FORWARD[step.kind](step, *middle)
                    reach = FORWARD[step.kind](replace(absolute(step), offset=None), *reach)
                parts = [reach] if rounding is None else [reach, (-rounding.error(name)[0], 1 << ERROR_BITS)]
                below, above = (total([(sign * middle[0], middle[1]), *parts]) for sign in (1, -1))
                bounds.append((np.concatenate([below[0], above[0]]), below[1]))
            self._intervals[name] = worst(bounds)
        return self._intervals[name]

    def ends(self, layer: int, entries: Entries, signs: Entries) -> RowTerm:
        """Lower bounds of sign · argument for entries of a layer, by the lines of CROWN in the layers before, or with
        least and largest values in their place in the last of these."""
        start, known = self.net.arguments[layer], self.interval(layer)
        if known is not None:
            return known[0][np.where(signs > 0, 0, 1), entries], known[1]
        parts, ways = [], [-1]
        if layer and not self.layers[layer - 1].active.all():
            ways.append(layer - 1)
        for first in range(0, len(entries), self.rows):
            chosen, sign = entries[first : first + self.rows], signs[first : first + self.rows]
            rows, found = unit_rows(self.net.size(start), chosen, sign), []
            for flat in ways:
                self.spend(len(chosen))
                found.append(self.value(start, rows, 1, partial(self._by_lines, flat=flat)))
            parts.append(best(found))
        return stacked(parts)

    def _by_lines(self, layer: int, given: Entries | Limbs, below: int, flat: int = -1) -> tuple[Entries, int, RowTerm]:
        """A `ReluRule`: ν by the lines of CROWN, or by anchored ones, but 0 at open ReLUs of the layer `flat`."""
        known = self.layers[layer]
        if self.anchored and layer != flat:
            return self._by_anchored(known, given, below)
        return known.on_lines(given, below, flat=layer == flat)

    def _by_anchored(
        self, known: Layer, given: Entries | Limbs, below: int, leaves: LinedLeaves | None = None
    ) -> tuple[Entries, int, RowTerm]:
        nu, under, share, paid = known.on_anchored(given, below, leaves)
        self._paid.append(paid)
        return nu, under, share

    def _anchor(self, place: int, layer: Layer) -> Anchored:
        """The lines of a layer's open ReLUs: of each, −t ≥ what is taken from it at the centre − costs · (p, m)."""
        start, opened = self.net.arguments[place], layer.kept[~layer.active]
        tops, growths, (region, _) = list[RowTerm](), list[RowShares](), self.worlds[0]
        for first in range(0, opened.size, self.rows):
            chosen = opened[first : first + self.rows]
            self.spend(len(chosen))
            rows = unit_rows(self.net.size(start), chosen, -1)
            terms, form, below = self._sent(start, rows, 1, self._by_lines)
            need(form is not None, "a layer that does not read the input")
            value, shift = form or (rows, rows)
            at_centre = [world.at_centre(value, shift, below) for world, _ in self.worlds]
            sums = [summed([*own, at], len(rows)) for own, at in zip(terms, at_centre, strict=True)]
            least, den = worst(sums)
            tops.append((-least, den))
            costs = region.costs(value, shift, below, self._paid)
            growths.append(shortened(np.maximum(costs, 0), shift, below))
        if not growths:
            growths = [(np.zeros((0, region.steps)), np.zeros(1, dtype=object))]
        return Anchored.of(layer, stacked(tops), growths)

    def affine(
        self, start: str, rows: Entries, den: int, most: int, direct: Entries | None = None
    ) -> tuple[dict[int, RowValue], RowTerm, RowTerm]:
        """rows/den · value of `start` (+ direct/den · x) as an affine map, of at most so many entries, of x (0) and of
        what ReLU layers give (1, 2, …): (these parts, constants, minus what float32 may be off by)."""
        blocks: dict[int, RowValue] = {}

        def fits() -> None:
            need(sum(value.size for value, _ in blocks.values()) <= most, DENSE)

        def relu(layer: int, message: Entries | Limbs, below: int) -> tuple[None, int, RowTerm]:
            blocks[layer + 1] = whole_row((message, below))
            fits()
            return None, 1, (np.zeros(len(rows), dtype=object), 1)

        found, below, terms = self.net.backward(start, rows, den, relu, direct)
        if found is not None:
            blocks[0] = whole_row((found, below))
            fits()
        off = np.zeros(len(rows), dtype=object)
        if self.rounding is not None:
            off = -(abs(rows) @ self.rounding.error(start)[0])
        return blocks, summed(terms, len(rows)), (off, den << ERROR_BITS)

    def quadratic(self, layers: Sequence[Layer]) -> QuadraticBounds:
        """What evaluates quadratic bounds over this region, behind these layers."""
        need(layers, "quadratic bounds before any ReLU")
        if self._quadratic is None:
            self._quadratic = QuadraticBounds(self, layers[0].step)
        return self._quadratic

    def quadratic_ends(self, layers: list[Layer], given: QuadraticEvidence) -> RowTerm:
        """Lower bounds of sign · argument in the layer behind these, as codes 2 · entry + (sign < 0) name them."""
        entries, signs, squares = given.codes >> 1, 1 - 2 * (given.codes & 1), self.quadratic(layers)
        there = (given.codes >= 0) & (entries < self.net.layers[len(layers)][1])
        need(np.all(there), "quadratic bounds of a neuron that is not there")
        return squares.least(layers, given, squares.of_neurons(layers, entries, signs))

    def quadratic_rows(self, layers: list[Layer], given: QuadraticEvidence, goal: CheckedGoal) -> RowTerm:
        """Lower bounds of −R for the rows R of a goal, one for each of those given."""
        squares = self.quadratic(layers)
        value = squares.least(layers, given, squares.of_goal(layers, goal))
        return summed([value, (-goal.offset, goal.below)], given.codes.size)

    def bounded(self, node: ReluNode, numbers: Numbers) -> ReluNode:
        """The node with bounds anew, as its numbers claim them."""
        self._flush()
        self.spend(1)
        self.layers, at = [], 0
        for place, (_, size) in enumerate(self.net.layers):
            low, high = np.full(size, -UNKNOWN), np.full(size, UNKNOWN)
            if node.layers:
                known = node.layers[place]
                own = slice(at, at + known.kept.size)
                at += known.kept.size
                low[:], high[:] = -UNKNOWN, 0
                low[known.kept] = np.where(node.on[own], 0, known.low)
                high[known.kept] = np.where(known.active, UNKNOWN, np.where(node.off[own], 0, known.high))
            self.add(self._layer(place, low, high, numbers))
        if node.whole:
            self.rooted = self.layers
        signs = np.zeros((2, sum(layer.kept.size for layer in self.layers)), dtype=bool)
        return replace(node, layers=self.layers, off=signs[0], on=signs[1], slopes=None, path=())

    def _layer(self, place: int, low: Entries, high: Entries, numbers: Numbers) -> Layer:
        """One layer's bounds, low ≤ argument ≤ high known before; some ends are raised by quadratic bounds."""
        state = np.where(low >= 0, 1, np.where(high <= 0, 0, 2))
        asked = np.flatnonzero(state == 2)
        state[asked] = numbers.take(asked.size)
        need(np.all((state >= 0) & (state <= 2)), "a neuron's state is malformed")
        down, up = asked[state[asked] != 0], asked[state[asked] != 1]
        found = self.least(place, np.append(down, up), np.repeat([1, -1], [down.size, up.size]))
        low[down] = np.maximum(low[down], found[: down.size])
        high[up] = np.minimum(high[up], -found[down.size :])
        layer = self.layer_of(place, state, low, high)
        while (given := self.evidence(numbers, self.layers)) is not None:
            claims = numbers.take(given.codes.size)
            value, den = self.quadratic_ends(self.layers, given)
            need(np.all(claims.astype(object) * den <= value << self.step), "a quadratic bound does not follow")
            layer = self.raised(layer, given.codes, claims)
        return layer

    def evidence(self, numbers: Numbers, layers: Sequence[Layer]) -> QuadraticEvidence | None:
        """Multipliers of quadratic bounds over these layers, which the numbers go on with; None for no more of them."""
        return numbers.quadratic(self.query.centre.size, opened(layers), self.ball)

    def least(self, place: int, entries: Entries, signs: Entries) -> Entries:
        """Lower bounds of sign · argument of a layer's entries, in multiples of 2^-step, rounded down."""
        value, den = self.ends(place, entries, signs)
        found = (value << self.step) // den
        need(longest(found) < UNKNOWN.bit_length() - 1, f"layer '{self.net.layers[place][0]}': a bound is too large")
        return found.astype(np.int64)

    def layer_of(self, place: int, state: Entries, low: Entries, high: Entries) -> Layer:
        """The layer with these states of its neurons; refuse those that do not follow."""
        wrong = (state == 1) & (low < 0) | (state == 0) & (high > 0)
        named = f"layer '{self.net.layers[place][0]}'"
        need(not wrong.any(), f"{named}: the sign of neuron {int(np.argmax(wrong))} does not follow")
        kept = np.flatnonzero(state)
        active = state[kept] == 1
        # An open ReLU's interval reaches 0 at least.
        least = np.where(active, low[kept], np.minimum(low[kept], 0))
        most = np.where(active, 0, np.maximum(high[kept], 0))
        return Layer(kept, active, least.astype(object), most.astype(object), self.step)

    def raised(self, layer: Layer, codes: Entries, claims: Entries) -> Layer:
        """The next layer with what is claimed of some of its ends, as the codes of quadratic bounds name them."""
        place = len(self.layers)
        size = self.net.layers[place][1]
        low, high = np.full(size, -UNKNOWN), np.zeros(size, dtype=np.int64)
        low[layer.kept], high[layer.kept] = layer.low, np.where(layer.active, UNKNOWN, layer.high)
        above = codes & 1 > 0
        np.maximum.at(low, codes[~above] >> 1, claims[~above])
        np.minimum.at(high, codes[above] >> 1, -claims[above])
        return self.layer_of(place, np.where(low >= 0, 1, np.where(high <= 0, 0, 2)), low, high)

    @property
    def rounded(self) -> bool:
        """Is it known what float32 may be off by? That rests on the first bounds of all of the region."""
        return self.rounding is None or len(self.rounding.tops) == len(self.net.layers)

    def add(self, layer: Layer) -> None:
        """Go on with a layer whose bounds have been established."""
        if not self.rounded and self.rounding is not None:
            argument = self.net.arguments[len(self.layers)]
            tops = np.zeros(self.net.size(argument), dtype=object)
            tops[layer.kept] = -((-layer.high << ERROR_BITS) >> layer.step)
            active = layer.kept[layer.active]
            off, most = self.rounding.error(argument)
            least, den = self.ends(len(self.layers), active, np.full(active.size, -1))
            tops[active] = np.minimum((off + most)[active], -((least << ERROR_BITS) // den))
            self.rounding.tops.append(tops)
        if self.anchored:
            layer = replace(layer, anchored=self._anchor(len(self.layers), layer))
        self.layers = [*self.layers, layer]

    def refute(self, goal: CheckedGoal, numbers: Numbers) -> None:
        """Read a tree; refuse unless it is complete and every leaf closes."""
        self.goal, self.leaves, self.anew = goal, 0, 0
        self.rows = max(1, min(self.rows, MOST_TOGETHER // max(1, len(goal.offset))))
        stack = [ReluNode.root(self.rooted)]
        while stack:
            node = stack.pop()
            size = node.off.size + self.query.centre.size + BARE_NODE
            need(len(stack) * size <= MOST_SIGNS, "the tree is too deep")
            stack += self._read(node, numbers.one(), numbers)
        self._flush()

    def _read(self, node: ReluNode, token: int, numbers: Numbers) -> list[ReluNode]:
        """What comes of a node."""
        need(token == BOXES or not self.net.curves, CURVED)
        if token == BOUNDS:
            # Each node that waits would hold all growths of its own: 17 kB of numbers took 200 MB.
            need(not self.anchored, "bounds anew by anchored lines within a tree")
            return [self.bounded(node, numbers)]
        need(self.rounded, "float32: a node before any bounds")
        if token in (CLAUSES, BOXES):
            need(node.whole, "clauses, or a tree of boxes, behind a split")
            need(self.query.label is self.query.target is None, "clauses, or a tree of boxes, about a ball")
            if token == BOXES:
                self.in_boxes().refuted(self, numbers)
            else:
                self.leaves += ClauseProof(self, node.layers, numbers.one()).refuted(numbers)
            return []
        if token == QUADRATIC:
            need(node.whole, "quadratic bounds of rows behind a split")
            self._squared(node, numbers)
            return []
        if token in (LEAF, LINED):
            self._leaf(node, numbers, lined=token == LINED)
            return []
        if token == SLOPES:
            return [self._sloped(node, numbers)]
        need(token >= FIRST_RELU, "the tree has a node that is not there")
        return self._signs(node, token - FIRST_RELU)

    def _squared(self, node: ReluNode, numbers: Numbers) -> None:
        """A leaf by quadratic bounds of the goal's rows, one of which has to be < 0."""
        need(len(node.layers) == len(self.net.layers), "quadratic bounds before any others")
        given, goal = self.evidence(numbers, node.layers), self.goal
        if given is None:
            raise InvalidError("quadratic bounds of no rows")
        need(np.all((given.codes >= 0) & (given.codes < len(goal.offset))), "a row that is not there")
        columns = goal.matrix.shape[1] + self.query.centre.size
        need(given.codes.size * columns <= MOST_FORMS, "quadratic bounds of too many rows")
        if not np.any(self.quadratic_rows(node.layers, given, goal.only(given.codes))[0] > 0):
            self.unproved(self.leaves)
        self.leaves += 1

    def in_boxes(self) -> BoxProof:
        """What evaluates halves of this box."""
        if self._boxes is None:
            self._boxes = BoxProof(self)
        return self._boxes

    def unproved(self, leaf: int) -> None:
        """What becomes of a leaf that does not close: the certificate is refused."""
        raise InvalidError(f"leaf {leaf} does not close")

    def unfounded(self, place: int, bounds: Entries, neurons: Entries) -> None:
        """The same of signs of a layer that do not follow, in these of the bounds anew within boxes."""
        raise InvalidError(f"layer '{self.net.layers[place][0]}': the sign of neuron {neurons[0]} does not follow")

    def _signs(self, node: ReluNode, relu: int) -> list[ReluNode]:
        """Both sides of a split of a ReLU, the side ≤ 0 last."""
        need(relu < node.off.size and node.opened[relu], "a split of a neuron that is not open")
        need(not node.off[relu] and not node.on[relu], "a neuron is split twice on one path")
        off, on = node.off.copy(), node.on.copy()
        off[relu] = on[relu] = True
        path = (*node.path, relu)
        return [replace(node, on=on, whole=False, path=path), replace(node, off=off, whole=False, path=path)]

    def _sloped(self, node: ReluNode, numbers: Numbers) -> ReluNode:
        """The node with slopes anew of some of the ReLUs that are open in its layers."""
        self.count(STEP_WORK + node.off.size)
        places = np.flatnonzero(node.opened)
        slopes = np.zeros(node.off.size, dtype=np.int64) if node.slopes is None else node.slopes.copy()
        count = numbers.one()
        need(0 <= count <= places.size, "slopes are malformed")
        gaps, given = numbers.take(count), numbers.take(count)
        need(np.all((gaps > 0) & (gaps <= places.size)) and gaps.sum() <= places.size, "slopes are malformed")
        need(np.all((given >= 0) & (given <= 1 << SHARE_BITS)), "a slope is malformed")
        slopes[places[np.cumsum(gaps) - 1]] = given
        return replace(node, slopes=slopes)

    def _leaf(self, node: ReluNode, numbers: Numbers, *, lined: bool) -> None:
        need(len(node.layers) == len(self.net.layers), "a leaf before any bounds")
        need(not lined or (node.slopes is not None and not self.anchored), "a leaf by lines before any slopes")
        behind = 1 + len(self.goal.offset)
        given = numbers.take(behind + (len(node.path) if lined else node.off.size))
        if lined:
            beta = np.zeros(node.off.size, dtype=np.int64)
            beta[list(node.path)] = given[behind:]
            given = np.append(given[:behind], beta)
        waiting = self._pending[lined]
        # However few numbers a leaf by lines has in the file, it waits as long rows of all kept ReLUs.
        full = len(waiting) == self.rows or len(waiting) * node.off.size >= MOST_TOGETHER
        if waiting and (waiting[0][1].layers is not node.layers or full):
            self._evaluate(lined)
        self._pending[lined].append((self.leaves, node, given))
        self.leaves += 1

    def _flush(self) -> None:
        """Evaluate all leaves that wait."""
        for lined in (False, True):
            if self._pending[lined]:
                self._evaluate(lined)

    def _evaluate(self, lined: bool) -> None:
        """Evaluate the leaves of a kind that wait, which share layers."""
        numbers, nodes, given = zip(*self._pending[lined], strict=True)
        self._pending[lined] = []
        columns = self.net.size(self.goal.start) + self.net.size(self.net.input)
        self.count(len(nodes) * len(self.goal.offset) * columns)
        self.spend(len(nodes))
        self.layers = nodes[0].layers
        off, on = np.array([node.off for node in nodes]), np.array([node.on for node in nodes])
        slopes = np.array([node.slopes for node in nodes]) if lined else None
        closed = self.leaves_closed(self.goal, np.array(given), ~nodes[0].opened, off, on, slopes=slopes)
        for place in np.flatnonzero(~closed):
            self.unproved(numbers[place])

    def leaf_values(self, goal: CheckedGoal, weights: Entries, q: int, relu: LeafRule) -> Entries:
        """Lower bounds of −Σ_k λ_k R_k in leaves, λ = weights/2^q (L, m), up to a positive factor: (L,). relu: (the
        layer, which of the kept ReLUs are its, μ, its denominator) → ν and what else a `ReluRule` gives."""
        starts = np.cumsum([0, *(layer.kept.size for layer in self.layers)])

        def rule(layer: int, message: Entries | Limbs, below: int) -> tuple[Entries, int, RowTerm]:
            return relu(self.layers[layer], slice(starts[layer], starts[layer + 1]), message, below)

        weights = -weights.astype(object)
        direct = None if goal.direct is None else weights @ goal.direct
        value, den = self.value(goal.start, weights @ goal.matrix, goal.den << q, rule, direct)
        found: Entries = value * (goal.below << q) + (weights @ goal.offset) * den
        return found

    def leaves_closed(
        self,
        goal: CheckedGoal,
        leaves: Entries,
        active: Entries,
        off: Entries,
        on: Entries,
        slopes: Entries | None = None,
    ) -> Entries:
        """Which leaves hold no point of the goal, (L,): those whose bound is > 0, with no λ and no ν of a ReLU that is
        active (kept,) below 0. leaves (L, 1 + m + kept): q, λ and ν over 2^q; off, on (L, kept): who is ≤ 0, ≥ 0. With
        `slopes` (L, kept) they are leaves by lines: what stands for ν is β, none of which may be below 0. By anchored
        lines what stands for ν is a share each, in multiples of 2^-SHARE_BITS."""
        need(np.all((leaves[:, 0] >= 0) & (leaves[:, 0] <= FINEST)), "a leaf's step is malformed")
        behind, result = 1 + len(goal.offset), np.zeros(len(leaves), dtype=bool)
        positive = active if slopes is None and not self.anchored else np.ones_like(active)
        sound = np.all(leaves[:, 1:behind] >= 0, axis=1) & np.all(leaves[:, behind:][:, positive] >= 0, axis=1)
        if self.anchored:
            sound &= np.all(leaves[:, behind:] <= 1 << SHARE_BITS, axis=1)
        for q in np.unique(leaves[:, 0]):
            group = np.flatnonzero((leaves[:, 0] == q) & sound)
            for first in range(0, group.size, self.rows):
                chosen = group[first : first + self.rows]
                weights, given, fine = leaves[chosen, 1:behind].astype(object), leaves[chosen, behind:], int(q)
                sides = off[chosen], on[chosen]
                if self.anchored:
                    rule = self.by_shares(given, *sides)
                elif slopes is None:
                    rule = by_multipliers(given.astype(object), fine, *sides)
                else:
                    rule = by_slopes(slopes[chosen], given, fine, *sides)
                result[chosen] = self.leaf_values(goal, weights, fine, rule) > 0
        return result

    def by_shares(self, shares: Entries, off: Entries, on: Entries) -> LeafRule:
        """ν of leaves by anchored lines, from their shares (L, kept)."""

        def rule(known: Layer, part: slice, message: Entries | Limbs, below: int) -> tuple[Entries, int, RowTerm]:
            own = shares[:, part]
            return self._by_anchored(
                known, message, below, LinedLeaves(off[:, part], on[:, part], own, np.zeros_like(own), 0)
            )

        return rule


@dataclass(frozen=True)
class QuadraticEvidence:
    """Multipliers of quadratic bounds of the rows that `codes` name, all of them integers: 1/T (inputs,) over 2^fine,
    κ and π (open ReLUs before,) over 2^shared; of each row t (rows,), λ, μ and σ (rows, open ReLUs) over 2^own; in a
    ball in L2 ρ·radius² over 2^ball."""

    codes: Entries
    fine: int
    shared: int
    own: int
    inverse: Entries
    kappa: Entries
    pi: Entries
    t: Entries
    lines: Entries
    ball: int = 0
    rho: int = 0


@dataclass(frozen=True)
class FormsOverBox:
    """Rows (B, entries of z) · z + constants, in multiples of 2^-q: what they are of is that, or up to `above` more."""

    rows: Entries
    constants: Entries
    above: Entries


BEHIND = ("constants", "above")


class QuadraticBounds:
    """Lower bounds over one box, of rows over z = (ξ, h) with ξ in [0, 1] for each input that moves and h = relu(y) in
    [0, u] for each open ReLU of the layers before, y = F z + f and what rounding adds:

        g·z + g₀ − t Σ [τ ξ(1 − ξ) + π h(u − h) − κ h(h − y)] − Σ [λ h + μ(h − y) + σ(s(y − l) − h)].

    In a ball in L2, whose box is meant, −t ρ(radius² − Σ (d + w ξ)²) joins it, d + w ξ an input's step from the centre.
    Then T = τ + ρ w² takes the place of τ, ρ((d + w)² − d²) joins g and −ρ(radius² − Σ d²) g₀, both times t.

    ξ is minimised over all reals: what is left is c + g'·h + t hᵀH h. With H = R Rᵀ + Δ, R what floats give for a
    factor, it is at least its tangent at some h*, which floats give too, less t Σ_j E_j D_j²: E_j = Σ_k |Δ_jk|, D_j ≥
    |h_j − h*_j|. As z ≥ 0, all that multiplies it is rounded down.
    """

    def __init__(self, proof: Proof, step: int) -> None:
        (region, rounding), *more = proof.worlds
        need(not more, "quadratic bounds for float32 in another ball than over the reals")
        need(not region.knapsack, "quadratic bounds in L1")
        low, high = region.ends
        self.proof, self.rounding, self.unit = proof, rounding, region.unit
        self.moves = np.flatnonzero(high > low)
        self.low, self.width = low, (high - low)[self.moves]
        self.fine = step + SPARE_BITS
        """q of the multiples 2^-q that all is in."""
        self._known: dict[int, tuple[list[Layer], FormsOverBox]] = {}
        # Of the ball, in squares of 1/unit: (d + w)² − d², radius² and radius² − Σ d².
        aside = (low - region.centre)[self.moves]
        self.round, self.square = region.round, region.radius**2
        self.sides, self.free = self.width * (2 * aside + self.width), self.square - int((aside * aside).sum())

    def most_rho(self, given: QuadraticEvidence) -> int:
        """The largest ρ with which no τ = T − ρ w² is below 0, as evidence has it."""
        if not self.round:
            return 0
        whole = self.square << given.ball + given.fine
        return int(min(whole // (self.width**2 * given.inverse[self.moves])))

    def _in_ball(self, given: QuadraticEvidence, pulls: Entries, constants: Entries) -> tuple[Entries, Entries]:
        """The linear part of ξ and the constants, in multiples of 2^-q, with what the ball adds, rounded down."""
        if given.rho == 0:
            return pulls, constants
        self.proof.count(self.moves.size << LONG_BITS + 2)
        need(0 < given.rho <= self.most_rho(given), "the multiplier of a ball is below 0, too large, or of a box")
        t, rho, whole = given.t.astype(object), given.rho << self.fine, self.square << given.ball
        aside, free = rho * self.sides // whole, -rho * self.free // whole
        return pulls + (np.outer(t, aside) >> given.own), constants + (t * free >> given.own)

    def _forms(
        self, layers: Sequence[Layer], start: str, rows: Entries, den: int, direct: Entries | None = None
    ) -> FormsOverBox:
        """rows/den · value of `start` (+ direct/den · x) over z, open ReLUs of these layers."""
        blocks: dict[int, RowValue] = {}
        q = self.fine
        used = [(start, rows, den)]

        def relu(layer: int, message: Entries | Limbs, below: int) -> tuple[Entries, int, RowTerm]:
            known, (mu, below) = layers[layer], whole_row((message, below))
            blocks[layer] = mu[:, known.kept[~known.active]], below
            nu, active = np.zeros(mu.shape, dtype=object), known.kept[known.active]
            nu[:, active] = mu[:, active]
            used.append((self.proof.net.arguments[layer], nu, below))
            return nu, below, (np.zeros(len(rows), dtype=object), 1)

        self.proof.spend(len(rows))
        found, below, terms = self.proof.net.backward(start, rows, den, relu, direct)
        moved = np.zeros((len(rows), self.moves.size), dtype=object)
        if found is not None:
            form, below = whole_row((found, below))
            terms.append((form.astype(object) @ self.low, below * self.unit))
            moved = (form[:, self.moves].astype(object) * self.width << q) // (below * self.unit)
        parts, most = [moved], 1 + self.moves.size
        for place, layer in enumerate(layers):
            high = layer.high[~layer.active]
            mu, under = blocks.get(place, (np.zeros((len(rows), high.size), dtype=object), 1))
            parts.append((mu.astype(object) << q) // under)
            most += -int((-high >> layer.step).sum())
        lost: list[RowTerm] = []
        if self.rounding is not None:
            errors = ((abs(nu) @ self.rounding.error(name)[0], under) for name, nu, under in used)
            lost = [(-each, under << ERROR_BITS) for each, under in errors]
        value, under = summed([*terms, *lost], len(rows))
        off, beneath = summed(lost, len(rows))
        return FormsOverBox(np.concatenate(parts, axis=1), (value << q) // under, most - ((off << q + 1) // beneath))

    def _few(self, layers: Sequence[Layer], rows: int) -> None:
        need(rows * (self.moves.size + opened(layers)) <= MOST_FORMS, "quadratic bounds of too many ReLUs, or rows")

    def of_neurons(self, layers: Sequence[Layer], entries: Entries, signs: Entries | int) -> FormsOverBox:
        """sign · argument of neurons of the layer behind these."""
        self._few(layers, entries.size)
        name, found, none = self.proof.net.arguments[len(layers)], [], np.zeros(0, dtype=object)
        size, every = self.proof.net.size(name), np.broadcast_to(signs, entries.shape)
        for first in range(0, entries.size, self.proof.rows):
            part = slice(first, first + self.proof.rows)
            found.append(self._forms(layers, name, unit_rows(size, entries[part], every[part]), 1))
        return joined_forms(found or [FormsOverBox(none.reshape(0, 0), none, none)], 0)

    def of_goal(self, layers: Sequence[Layer], goal: CheckedGoal) -> FormsOverBox:
        """−R for the rows of a goal, but for their offsets."""
        self._few(layers, len(goal.offset))
        found = []
        for first in range(0, len(goal.offset), self.proof.rows):
            own = goal.only(np.arange(first, min(first + self.proof.rows, len(goal.offset))))
            direct = None if own.direct is None else -own.direct
            found.append(self._forms(layers, goal.start, -own.matrix, goal.den, direct))
        return joined_forms(found, 0)

    def arguments(self, layers: list[Layer]) -> FormsOverBox:
        """Those of the open ReLUs of these layers."""
        found, open_ = list[FormsOverBox](), opened(layers)
        self._few(layers, open_)
        need(self.moves.size and open_, "quadratic bounds of a point, or without any open ReLU")
        for place, layer in enumerate(layers):
            before, made = self._known.get(place, ([], None))
            if made is None or any(a is not b for a, b in zip(before, layers[: place + 1], strict=True)):
                made = self.of_neurons(layers[:place], layer.kept[~layer.active], 1)
                self._known[place] = layers[: place + 1], made
            found.append(made)
        return joined_forms(found, self.moves.size + open_)

    def _hessian(self, given: QuadraticEvidence, hidden: Entries, square: Entries) -> tuple[int, Entries]:
        """(fine, H over 2^fine, rounded down), from the forms' parts of h, and Σ_i F_ji F_ki/τ_i of those of ξ."""
        kappa, diagonal = given.kappa.astype(object), given.kappa.astype(object) + given.pi
        products = kappa[:, np.newaxis] * hidden
        hessian = -(products + products.T)
        hessian[np.diag_indices(kappa.size)] += diagonal << self.fine + 1
        whole = given.shared + self.fine + given.fine + 1
        hessian = (hessian << whole) - kappa[:, np.newaxis] * kappa * square
        spare = max(0, longest(hessian) - HESSIAN_BITS)
        fine = 2 * (given.shared + self.fine) + given.fine + 2 - spare
        need(fine >= 0, "the numbers of quadratic bounds are too long")
        return fine, hessian >> spare

    def least(self, layers: list[Layer], given: QuadraticEvidence, asked: FormsOverBox) -> RowTerm:
        """Lower bounds of these forms, which these layers come before, (B,)."""
        self.proof.count(STEP_WORK)
        q, a, b, d, whole = self.fine, given.shared, given.own, given.fine, given.own + SLOPE_BITS
        own, m = self.arguments(layers), self.moves.size
        open_ = [~layer.active for layer in layers]
        low, high = (
            np.concatenate([end[part] for end, part in zip(ends, open_, strict=True)]).astype(object) << SPARE_BITS
            for ends in ([layer.low for layer in layers], [layer.high for layer in layers])
        )
        count, inverse = high.size, given.inverse[self.moves]
        t = given.t.astype(object)[:, np.newaxis]
        lam, mu, sigma = given.lines.astype(object)
        kappa, pi = given.kappa.astype(object), given.pi.astype(object)
        sound = np.all(given.lines >= 0) and all(map(np.all, (inverse > 0, kappa >= 0, pi >= 0, given.t > 0)))
        need(sound, "a multiplier of quadratic bounds is below 0")
        fits = max(longest(own.rows), longest(high)) <= EXACT_BITS
        need(fits and longest(own.rows) + longest(inverse) <= WORD_BITS, "the numbers of quadratic bounds are too long")
        work = (count + len(asked.rows)) * count * (m + count) >> QUADRATIC_WORK + 2
        self.proof.count(work)
        every = own.rows.astype(np.float64)[np.newaxis]
        moved, hidden = own.rows[:, :m], own.rows[:, m:]  # of ξ, of h
        forms, inputs = Weights(every), Weights(np.ascontiguousarray(every[:, :, :m]))
        square = multiplied_by(inputs, moved.astype(np.int64) * inverse, back=True)
        fine, hessian = self._hessian(given, hidden, square)
        self.proof.count(work)
        factor, inner, off = factored(hessian)
        self.proof.count(work)
        # The linear part: of ξ, of h, and the constant, in multiples of 2^-q.
        slope = -((-high << SLOPE_BITS) // (high - low))
        steps = (mu << SLOPE_BITS) - sigma * slope
        sent = multiplied_by(forms, steps) >> whole
        pulls, reads = sent[:, :m] + asked.rows[:, :m], sent[:, m:] + asked.rows[:, m:]
        pulls, constants = self._in_ball(given, pulls, asked.constants)
        need(longest(pulls) + longest(inverse) <= LONGEST, "the numbers of quadratic bounds are too long")
        weighed = pulls * inverse
        back = (multiplied_by(inputs, weighed, back=True) << b) - (t * moved.sum(axis=1) << d + q)
        reads = reads + ((sigma - lam - mu << q) >> b) + (kappa * back >> a + 1 + d + q + b)
        reads = reads + (-t * (kappa * (own.constants + own.above) + pi * high) >> a + b)
        t = t[:, 0]
        least = constants + (steps @ own.constants - (sigma * slope) @ (own.above - low) >> whole)
        least = least + (-(weighed * pulls).sum(axis=1) << b) // (t << d + q + 2) + (pulls.sum(axis=1) >> 1)
        least = least + (-t * sum(-(-(1 << d + q) // each) for each in inverse.tolist()) >> b + 2)
        # The tangent at h*.
        self.proof.count(work)
        about = (reads / t[:, np.newaxis]).astype(np.float64) @ inner * -0.5
        about = np.nan_to_num(np.ldexp(about, fine + b))
        top = high.astype(np.float64)
        at = np.rint(np.clip(about, -top, 2.0 * top)).astype(np.int64)
        reached = multiplied_by(Weights(hessian.astype(np.float64)[np.newaxis]), at)
        slopes = (reads << b + fine) + 2 * t[:, np.newaxis] * reached
        at = at.astype(object)
        value = np.minimum(slopes, 0) @ high - t * (at * reached).sum(axis=1)
        far = np.maximum(abs(at), abs(high - at))
        value = (value << 2 * factor) - t * ((far * far) @ off)
        return (least << b + fine + 2 * factor + q) + value, 1 << b + fine + 2 * factor + 2 * q


def opened(layers: Sequence[Layer]) -> int:
    """How many of their ReLUs are open."""
    return sum(int((~layer.active).sum()) for layer in layers)


def joined_forms(parts: Sequence[FormsOverBox], entries: int) -> FormsOverBox:
    """One behind the other, over z of at least so many entries."""
    most = max(entries, *(part.rows.shape[1] for part in parts))
    rows = np.zeros((sum(len(part.rows) for part in parts), most), dtype=object)
    first = 0
    for part in parts:
        rows[first : first + len(part.rows), : part.rows.shape[1]] = part.rows
        first += len(part.rows)
    return FormsOverBox(rows, *(np.concatenate([getattr(part, name) for part in parts]) for name in BEHIND))


def multiplied_by(weights: Weights, rows: Entries, *, back: bool = False) -> Entries:
    """rows · a matrix, or its transpose, as Python integers."""
    found = weights.product(rows[:, np.newaxis, np.newaxis], back=back)
    return found.whole()


def factored(matrix: Entries) -> tuple[int, Entries, Entries]:
    """(s, about the inverse of a matrix M of integers, E): 4^s M is R Rᵀ + Δ for integers R, E_j = Σ_k |Δ_jk|."""
    try:
        lower = np.linalg.cholesky(matrix.astype(np.float64))
        inverse = np.linalg.inv(lower)
    except np.linalg.LinAlgError:
        raise InvalidError("the matrix of quadratic bounds is not positive definite") from None
    need(np.all(np.isfinite(lower)), "the matrix of quadratic bounds is not positive definite")
    s = max(0, FACTOR_BITS - int(np.frexp(np.abs(lower).max())[1]))
    factor = np.rint(np.ldexp(lower, s))
    need(np.abs(factor).max() < 1 << FACTOR_BITS + 1, "the numbers of quadratic bounds are too long")
    product = multiplied_by(Weights(factor[np.newaxis]), factor.astype(np.int64), back=True)
    return s, inverse.T @ inverse, abs((matrix << 2 * s) - product).sum(axis=1)


LeafRule = Callable[[Layer, slice, Any, int], tuple[Entries, int, RowTerm]]


def by_multipliers(given: Entries, q: int, off: Entries, on: Entries) -> LeafRule:
    """ν of leaves as `Layer.argument` takes it, from given/2^q (L, kept)."""

    def rule(known: Layer, part: slice, message: Entries | Limbs, below: int) -> tuple[Entries, int, RowTerm]:
        mu, den = whole_row((message, below))
        low, high = np.where(on[:, part], 0, known.low), np.where(off[:, part], 0, known.high)
        return known.argument(mu, den, given[:, part], q, low, high)

    return rule


def by_slopes(slopes: Entries, beta: Entries, q: int, off: Entries, on: Entries) -> LeafRule:
    """ν of leaves by lines (L, kept)."""

    def rule(known: Layer, part: slice, message: Entries | Limbs, below: int) -> tuple[Entries, int, RowTerm]:
        return known.on_lines(message, below, LinedLeaves(off[:, part], on[:, part], slopes[:, part], beta[:, part], q))

    return rule


@dataclass(frozen=True)
class CheckedCertificate:
    """A certificate about a ball as read: nothing of it is believed. `radius` is 0 where no lower end is claimed,
    `float32` where none is for float32 evaluations. The `numbers` are read as they are evaluated: bounds, quadratic
    evidence for goals, and a tree for each target that this does not exclude."""

    model: str
    query: CheckedQuery
    radius: float
    float32: float
    dtype: str
    witness: Entries | None
    step: int
    anchored: bool
    numbers: Numbers


@dataclass(frozen=True)
class PropertyCertificate:
    """The same about a property; the `numbers` are a tree for each of its cases."""

    model: str
    text: bytes
    step: int
    float32: bool
    numbers: Numbers


def unpacked(content: bytes) -> bytes:
    need(content[: len(MAGIC)] == MAGIC, "this is no certificate (it comes first, then the model)")
    most = min(MOST_BYTES, max(FREE_BYTES, MOST_RATIO * len(content)))
    return unpacked_by(zlib.decompressobj(), content[len(MAGIC) :], most)


def unpacked_by(machine: Any, content: bytes, most: int) -> bytes:
    """What zlib has packed, at most so many bytes."""
    try:
        data: bytes = machine.decompress(content, most)
    except zlib.error as error:
        raise InvalidError(f"the file is damaged: {error}") from None
    need(machine.eof and not machine.unused_data, "the file is cut off, too large, or has something behind it")
    return data


def refuse_constant(text: str) -> Any:
    raise InvalidError(f"the certificate's header holds {text}")


def only_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    need(len({name for name, _ in pairs}) == len(pairs), "the certificate's header gives a field twice")
    return dict(pairs)


def natural(value: Any, most: int) -> int:
    need(type(value) is int and 0 <= value <= most, "a number of the certificate's header is out of range")
    return int(value)


def real(value: Any) -> float:
    need(isinstance(value, str) and len(value) < 64, "a number of the certificate's header is malformed")
    found = float.fromhex(value)
    need(not math.isnan(found) and found >= 0, "a number of the certificate's header is not ≥ 0")
    return found


FIELDS = [
    *("schema", "model", "norm", "label", "target", "margin", "radius", "float32", "dtype", "inputs", "box", "witness"),
    *("step", "anchored"),
]
PROPERTY_FIELDS = ["schema", "model", "property", "step", "float32"]


def parse(content: bytes) -> CheckedCertificate | PropertyCertificate:
    """The certificate in a file's bytes."""
    data = unpacked(content)
    need(len(data) >= 4, "the certificate is cut off")
    length = int.from_bytes(data[:4], "little")
    need(length <= min(len(data) - 4, MOST_HEADER), "the certificate is cut off, or its header is too long")
    header = json.loads(data[4 : 4 + length], parse_constant=refuse_constant, object_pairs_hook=only_once)
    need(isinstance(header, dict), "the certificate's header has other fields")
    schema = natural(header.get("schema"), PROPERTY_SCHEMA)
    need(schema >= SCHEMA, f"the certificate has another schema than {SCHEMA} and {PROPERTY_SCHEMA}")
    known, rest = (FIELDS, parse_ball) if schema == SCHEMA else (PROPERTY_FIELDS, parse_property)
    need(sorted(header) == sorted(known), "the certificate's header has other fields")
    return rest(header, memoryview(data)[4 + length :])


def parse_ball(header: dict[str, Any], data: memoryview) -> CheckedCertificate:
    """The rest of a certificate about a ball whose header this is: floats, then integers."""
    n, at = natural(header["inputs"], MOST_ENTRIES), 0

    def floats(count: int, dtype: str) -> Entries:
        nonlocal at
        size = count * int(dtype[-1])
        need(size <= len(data) - at, "the certificate is cut off")
        at += size
        values = np.frombuffer(data, dtype, count, at - size).astype(np.float64)
        need(not np.any(np.isnan(values)), "the certificate holds a NaN")
        return values

    dtype, norm, box = header["dtype"], header["norm"], natural(header["box"], MOST_ENTRIES)
    need(dtype in ("<f2", "<f4", "<f8") and norm in NORMS and box in (1, n), "the certificate's header")
    centre, lo, hi = floats(n, dtype), floats(box, "<f8"), floats(box, "<f8")
    need(all(isinstance(header[name], bool) for name in ("witness", "anchored")), "the certificate's header")
    witness = floats(n, dtype) if header["witness"] else None
    need(n and np.all(np.isfinite(centre)) and np.all(lo <= centre) and np.all(centre <= hi), "the input or the box")
    label, asked = (None if header[k] is None else natural(header[k], MOST_ENTRIES) for k in ("label", "target"))
    margin, radius, float32 = (real(header[name]) for name in ("margin", "radius", "float32"))
    need(math.isfinite(margin), "the margin is not finite")
    query = CheckedQuery(norm, label, asked, margin, centre, np.broadcast_to(lo, n), np.broadcast_to(hi, n))
    told = str(header["model"]), query, radius, float32, dtype, witness, natural(header["step"], FINEST)
    return CheckedCertificate(*told, header["anchored"], Numbers(data[at:]))


def parse_property(header: dict[str, Any], data: memoryview) -> PropertyCertificate:
    """The same about a property: its text, then integers."""
    size = natural(header["property"], MOST_TEXT)
    need(size <= len(data), "the certificate is cut off")
    need(isinstance(header["float32"], bool), "the certificate's header")
    told = str(header["model"]), bytes(data[:size]), natural(header["step"], FINEST), header["float32"]
    return PropertyCertificate(*told, Numbers(data[size:]))


class Numbers:
    """The integers at the certificate's end, one after the other, decoded as they are taken: as int64 all of them
    would take eight times the file's memory."""

    def __init__(self, data: memoryview) -> None:
        self.left = varint_count(data, "the certificate")
        self._parts = varint_parts(data, 9, "the certificate")
        self._here = np.zeros(0, dtype=np.int64)

    def take(self, count: int) -> Entries:
        need(0 <= count <= self.left, "the certificate is cut off")
        self.left -= count
        if count <= self._here.size:
            found, self._here = self._here[:count], self._here[count:]
            return found
        found, made = np.empty(count, dtype=np.int64), 0
        while made < count:
            part = self._here[: count - made]
            found[made : made + part.size] = part
            self._here, made = self._here[part.size :], made + part.size
            if made < count:
                self._here = unfolded(next(self._parts))
        return found

    def one(self) -> int:
        return int(self.take(1)[0])

    def quadratic(self, inputs: int, opened: int, ball: bool = False) -> QuadraticEvidence | None:
        """Multipliers of quadratic bounds over so many inputs and open ReLUs, and of a ball in L2; None for no rows."""
        rows = self.one()
        if rows == 0:
            return None
        need(0 < rows <= self.left, "the certificate is cut off")
        fine, shared, own = self.take(3).tolist()
        of_ball, rho = self.take(2).tolist() if ball else (0, 0)
        steps = fine, shared, own, of_ball
        need(0 <= min(steps) <= max(steps) <= FINEST, "a step is malformed")
        codes, inverse, kappa, pi, t = (self.take(count) for count in (rows, inputs, opened, opened, rows))
        lines = self.take(3 * rows * opened).reshape(3, opened, rows).swapaxes(1, 2)
        return QuadraticEvidence(codes, fine, shared, own, inverse, kappa, pi, t, lines, of_ball, rho)


def unfolded(values: Entries) -> Entries:
    """Zigzag: 0, −1, 1, −2, …"""
    odd = (values & 1).astype(bool)
    found = (values >> np.uint64(1)).view(np.int64)
    return np.where(odd, -found - 1, found)


def one_by_one(values: Entries) -> Iterator[int]:
    """Each as Python's integer, of which millions at once take gigabytes."""
    for at in range(0, values.size, MOST_SIDE):
        yield from values[at : at + MOST_SIDE].tolist()


# ----------------------------------------------------------------------------------------------------------- property

TextLinear = dict[tuple[str, int], Fraction]
"""Coefficients by variable, ("X", i) or ("Y", j); the constant under ("", 0)."""
TextFormula = tuple[str, Any]
"""("row", form): form ≥ 0 or form > 0, read as ≥ 0; ("and", formulas), ("or", formulas)."""
WORD = re.compile(r"(?:\s|;[^\n]*(?:\n|$))*(?:([()])|([^\s();\"|]+)|$)", re.ASCII)
NUMERAL = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?", re.ASCII)
VARIABLE = re.compile(r"([XY])_(0|[1-9][0-9]{0,6})", re.ASCII)


def lists(text: str) -> list[Any]:
    """The lists of a text, one within the other; words as they are written. Comments go to the end of their line."""
    stack: list[list[Any]] = [[]]
    at = 0
    while at < len(text):
        found = WORD.match(text, at)
        if found is None or len(found[2] or "") > LONGEST_WORD:
            raise InvalidError(f"the property cannot be read at letter {at}")
        at = found.end()
        if found[1] == "(":
            need(len(stack) <= DEEPEST, "the property has too many lists within each other")
            stack.append([])
        elif found[1] == ")":
            need(len(stack) > 1, "the property closes a list that is not open")
            done = stack.pop()
            stack[-1].append(done)
        elif found[2]:
            need(len(stack) > 1, f"the property has a word outside lists: {found[2]}")
            stack[-1].append(found[2])
    need(len(stack) == 1, "the property is cut off")
    return stack[0]


def short(value: Fraction) -> Fraction:
    need(max(map(int.bit_length, value.as_integer_ratio())) <= LONGEST_NUMBER, "a number of the property is too long")
    return value


class PropertyText:
    """A property in VNN-LIB 1.0: what must not happen, as a formula in exact numbers.

    Read are declarations of X_0, X_1, … and Y_0, Y_1, … as Real, and assertions of <=, >=, <, >, = under and, or, of
    sums, differences, products with numbers and quotients by numbers. All else is refused.
    """

    def __init__(self, content: bytes) -> None:
        self.known: set[tuple[str, int]] = set()
        formulas = []
        try:
            text = content.decode()
        except UnicodeDecodeError:
            raise InvalidError("the property is no text") from None
        # Where some reader sees a comment's end, and what is behind it, another one sees none.
        alike = len(f"{text}.".splitlines()) == text.count("\n") + 1
        need(alike, "the property ends a line otherwise than by a line feed, or a carriage return and one")
        for command in lists(text):
            name, size = command[0] if command else "", len(command)
            if name == "assert" and size == 2:
                formulas.append(self._formula(command[1]))
                continue
            fits = (name == "declare-const" and size == 3) or (name == "declare-fun" and size == 4 and command[2] == [])
            fits = fits and command[-1] == "Real"
            need(fits, f"the property has a command that is not read here: {told_of(command)}")
            variable = variable_of(command[1])
            if variable is None or variable in self.known:
                raise InvalidError(f"the property declares no variable, or one twice: {told_of(command[1])}")
            self.known.add(variable)
        self.formula: TextFormula = ("and", formulas)
        sizes = {kind: sum(letter == kind for letter, _ in self.known) for kind in "XY"}
        every = {(kind, number) for kind, size in sizes.items() for number in range(size)}
        need(every == self.known and all(sizes.values()), "the property leaves out a variable")
        self.inputs, self.outputs = sizes["X"], sizes["Y"]

    def _formula(self, given: Any) -> TextFormula:
        need(isinstance(given, list) and given and isinstance(given[0], str), "the property has an empty formula")
        name, parts = given[0], given[1:]
        if name in ("and", "or"):
            return name, [self._formula(part) for part in parts]
        fits = name in ("<=", ">=", "<", ">", "=") and len(parts) == 2
        need(fits, f"the property has a formula that is not read here: {name}")
        left, right = map(self._term, parts)
        over, under = (("row", combined([(left, sign), (right, -sign)])) for sign in (1, -1))
        return ("and", [over, under]) if name == "=" else over if name in (">=", ">") else under

    def _term(self, given: Any) -> TextLinear:
        if isinstance(given, str):
            if NUMERAL.fullmatch(given):
                return {CONSTANT: short(Fraction(given))}
            variable = variable_of(given)
            if variable is None or variable not in self.known:
                raise InvalidError(f"the property has a word that is neither a number nor declared: {told_of(given)}")
            return {variable: Fraction(1)}
        fits = len(given) > 1 and given[0] in ("+", "-", "*", "/")
        need(fits, f"the property has a term that is not read here: {told_of(given)}")
        name, parts = given[0], [*map(self._term, given[1:])]
        if name in ("+", "-"):
            rest = 1 if name == "+" else -1
            return combined((part, rest if place or len(parts) == 1 else 1) for place, part in enumerate(parts))
        need(name == "*" or len(parts) > 1, "the property has a quotient of one term")
        form, factor = {CONSTANT: Fraction(1)}, Fraction(1)
        for place, part in enumerate(parts):
            number = part.get(CONSTANT, Fraction(0))
            if not part.keys() <= {CONSTANT}:
                linear = form.keys() <= {CONSTANT} and (name == "*" or not place)
                need(linear, "the property has a term that is not linear")
                form = part
            else:
                divide = name == "/" and place > 0
                need(number or not divide, "the property divides by zero")
                factor = short(factor / number if divide else factor * number)
        return {key: short(value * factor) for key, value in form.items()}


def variable_of(word: Any) -> tuple[str, int] | None:
    """("X", i) or ("Y", j), if it is a variable's name."""
    found = VARIABLE.fullmatch(word) if isinstance(word, str) else None
    return None if found is None else (found[1], int(found[2]))


CONSTANT = ("", 0)


def told_of(expression: Any) -> str:
    """A word of a property, or the first one of a list, in complaints."""
    while isinstance(expression, list):
        expression = expression[0] if expression else "()"
    return repr(expression[:40])


def combined(parts: Iterable[tuple[TextLinear, int]]) -> TextLinear:
    """Σ sign · form, without zeros."""
    found: TextLinear = {}
    for form, sign in parts:
        for key, value in form.items():
            total = short(found.pop(key, Fraction(0)) + sign * value)
            if total:
                found[key] = total
    return found


def disjuncts(formula: TextFormula) -> list[list[TextLinear]]:
    """The rows of each disjunct: of "and", every choice of one of each part, the last part's changing first."""
    kind, content = formula
    if kind == "row":
        return [[content]]
    parts: list[list[list[TextLinear]]] = []
    cases, size = int(kind == "and"), 0
    # What becomes too long is refused before it is there.
    for part in map(disjuncts, content):
        cases = cases * max(1, len(part)) if kind == "and" else cases + len(part)
        size += sum(map(len, part))
        few(cases, size)
        parts += [part] if part != [[]] or kind == "or" else []
    if kind == "or":
        return [*chain(*parts)]
    few(cases, sum(sum(map(len, part)) * (cases // max(1, len(part))) for part in parts))
    # Parts of one choice go before the others.
    return [[*chain(*choice)] for choice in product(*sorted(parts, key=lambda part: len(part) > 1))]


def few(cases: int, rows: int) -> None:
    need(cases <= MOST_CASES and rows <= MOST_ROWS, "the property has too many cases")


@dataclass(frozen=True)
class PropertyCase:
    """One disjunct: ends of a box of inputs, rounded outwards to float64, and the rows that are left."""

    lo: Entries
    hi: Entries
    rows: list[TextLinear]


def property_cases(prop: PropertyText) -> list[PropertyCase]:
    """The disjuncts whose boxes are not empty; rows of one input are ends of its box."""
    found = []
    for rows in disjuncts(prop.formula):
        ends: dict[tuple[int, int], Fraction] = {}
        rest = []
        for row in rows:
            names = row.keys() - {CONSTANT}
            if len(names) != 1 or next(iter(names))[0] != "X":
                rest.append(row)
                continue
            (name,) = names
            end, side = -row.get(CONSTANT, Fraction(0)) / row[name], 1 if row[name] > 0 else -1
            place = name[1], side
            # A lower end counts by itself, an upper one with its sign turned: the larger holds.
            ends[place] = max(ends[place], side * end) if place in ends else side * end
        both = [i for i in range(prop.inputs) if (i, 1) in ends and (i, -1) in ends]
        if any(ends[i, 1] > -ends[i, -1] for i in both):
            continue
        need(len(both) == prop.inputs, "the property leaves an input without an end")
        lo, hi = (np.array([side * rounded(ends[i, side]) for i in both]) for side in (1, -1))
        found.append(PropertyCase(lo, hi, rest))
    return found


def rounded(value: Fraction) -> float:
    """The largest float64 that is not more."""
    need(abs(value) < 1 << 1000, "an end of an input is too large")
    found = float(value)
    return found if Fraction(found) <= value else math.nextafter(found, -math.inf)


def goal_of(net: CheckedNetwork, case: PropertyCase) -> CheckedGoal:
    """A case's rows, over the least common multiples of their denominators."""
    count, sizes = len(case.rows), {"X": net.size(net.input), "Y": net.size(net.scores)}
    need(count * sum(sizes.values()) <= MOST_ROWS, "a case of the property has too many rows")
    if net.dropped:
        for row in case.rows:
            # A Softmax, LogSoftmax or Sigmoid keeps the order of two scores, and nothing else that is linear.
            pair = len(row) == 2 and not sum(row.values()) and all(kind == "Y" for kind, _ in row)
            need(pair, f"a row of the property before a final {net.dropped} does not compare two outputs")
    factors = [(k, key, value) for k, row in enumerate(case.rows) for key, value in row.items() if key != CONSTANT]
    constants = [row.get(CONSTANT, Fraction(0)) for row in case.rows]
    den, below = (least_common(v.denominator for v in some) for some in ([v for *_, v in factors], constants))
    bits = len(factors) * den.bit_length() + count * below.bit_length()
    need(bits <= MOST_BITS, "the numbers of a case differ too much in size")
    parts = {kind: np.zeros((count, size), dtype=object) for kind, size in sizes.items()}
    for k, (kind, place), value in factors:
        parts[kind][k, place] = int(value * den)
    direct = parts["X"] if np.any(parts["X"]) else None
    return CheckedGoal(net.scores, parts["Y"], direct, den, whole(constants, below), below)


@dataclass(frozen=True)
class ClauseRow:
    """Σ_k T_k(v_k) + constant ≥ 0 for variables in ascending order, T_k(v) = above_k · v for v > 0, else below_k · v;
    integers, times any factor > 0, the constant in multiples of a step."""

    variable: Entries
    above: Entries
    below: Entries
    constant: int

    @staticmethod
    def of(above: Entries, below: Entries, constant: int) -> ClauseRow:
        """Of slopes of all variables; the constant is rounded up."""
        variable = np.flatnonzero((above != 0) | (below != 0))
        above, below = above[variable].astype(object), below[variable].astype(object)
        common = math.gcd(*above.tolist(), *below.tolist()) or 1
        return ClauseRow(variable, above // common, below // common, -(-constant // common))

    def short(self, bits: int) -> ClauseRow:
        """The same in int64, where sums of products with bounds of so many bits fit."""
        most = longest(np.concatenate([self.above, self.below, [self.constant]]).astype(object))
        if most + bits + self.variable.size.bit_length() >= WORD_BITS:
            return self
        return replace(self, above=self.above.astype(np.int64), below=self.below.astype(np.int64))


def falls_to(above: int, below: int, high: int, least: int) -> int:
    """The largest v ≤ high with T(v) ≥ least, rounded up; `high` where that says nothing new."""
    if (above if high > 0 else below) * high >= least:
        return high
    if high > 0 >= least:
        return -(-least // above)
    return -(-least // below) if below < 0 else high


class ClauseProof:
    """Refutes a goal by clauses: literals that never hold together, each by steps that raise ends of variables.

    Variables are the inputs, then all ReLU arguments z; v has the ends v, its lower bound, and `variables + v`, its
    upper bound negated; a literal says that an end is at least a value, in multiples of 2^-step. Rows are those of
    z = B h + c, h = max(z, 0), two of each z, those of the goal, and sums of these.
    """

    def __init__(self, proof: Proof, layers: Sequence[Layer], step: int) -> None:
        need(0 <= step <= FINEST, "a step of clauses is malformed")
        net, goal, self.proof, self.step = proof.net, proof.goal, proof, step
        self.relus = sum(size for _, size in net.layers)
        self.variables = net.size(net.input) + self.relus
        (low, high), unit = proof.worlds[0][0].ends, proof.worlds[0][0].unit
        half, unknown = net.size(net.input), np.full(self.relus, -UNKNOWN, dtype=object)
        self.bound = np.concatenate([(low << step) // unit, unknown, (-high << step) // unit, unknown])
        self.rows: list[ClauseRow] = []
        self.clauses: list[list[tuple[int, int]]] = []
        self.closed = False
        self._dense = MOST_DENSE
        wide = max(net.size(name) for name in net.shapes)
        need(wide * max((size for _, size in net.layers), default=0) <= MOST_DENSE, DENSE)
        need(wide * len(goal.offset) <= MOST_DENSE, "clauses are about fewer rows only")
        for place, name in enumerate(net.arguments):
            first = len(self.rows) // 2 + half
            self._add(name, np.eye(net.size(name), dtype=np.int64), 1, None, None)
            for variable in range(first, len(self.rows) // 2 + half):
                self._by_row(2 * (variable - half), variable + self.variables)
                self._by_row(2 * (variable - half) + 1, variable)
            if layers:
                self._known(layers[place], first, net.size(name))
        need(longest(self.bound) < UNKNOWN.bit_length() - 1, "a bound is too large")
        self._add(goal.start, goal.matrix, goal.den, goal.direct, (goal.offset, goal.below))

    def _add(self, start: str, rows: Entries, den: int, direct: Entries | None, offset: RowTerm | None) -> None:
        """Rows of the goal, or (without an offset) two for each of the next ReLU arguments."""
        self.proof.spend(len(rows))
        blocks, constant, lost = self.proof.affine(start, rows, den, self._dense, direct)
        self._dense -= sum(value.size for value, _ in blocks.values())
        starts = self.variables - self.relus + np.cumsum([0, *(size for _, size in self.proof.net.layers)])
        signs = (1,) if offset is not None else (1, -1)
        common = least_common([constant[1], *(below for _, below in blocks.values())])
        for k in range(len(rows)):
            self._count(self.variables)
            above, below = np.zeros((2, self.variables), dtype=object)
            for source, (value, under) in blocks.items():
                part = slice(starts[source - 1], starts[source]) if source else slice(0, starts[0])
                above[part] = value[k].astype(object) * (common // under)
                below[part] = 0 if source else above[part]
            if offset is None:
                z = self.variables - self.relus + len(self.rows) // 2
                above[z] = below[z] = -common
            for sign in signs:
                terms = [(sign * constant[0][k : k + 1], constant[1]), (-lost[0][k : k + 1], lost[1])]
                terms += [] if offset is None else [(offset[0][k : k + 1], offset[1])]
                (value,), under = total(terms)
                self.rows.append(ClauseRow.of(sign * above, sign * below, -((-value * common << self.step) // under)))

    def _count(self, work: int) -> None:
        """Count entries that are looked at."""
        self.proof.count(work)

    def _known(self, layer: Layer, first: int, size: int) -> None:
        """What bounds say of arguments; not of an active one's upper end, nor of the lower end of one that is off."""
        opened, off = ~layer.active, np.setdiff1d(np.arange(size), layer.kept)
        tops = np.append(layer.kept[opened], off), np.append(-layer.high[opened], np.zeros(off.size, dtype=object))
        for side, (places, found) in enumerate(((layer.kept, layer.low), tops)):
            own = first + side * self.variables + places
            self.bound[own] = np.maximum(self.bound[own], (found << self.step) >> layer.step)

    def sums(self, numbers: Numbers) -> None:
        """Read sums of rows: a factor ≥ 0 for each row of the goal, any factor for each z = B h + c."""
        base = [*self.rows]
        goals = base[2 * self.relus :]
        for _ in range(numbers.one()):
            self.proof.spend(1)
            self._count(1 << CLAUSE_BITS)
            weights, factors = numbers.take(len(goals)), numbers.take(self.relus)
            need(np.all(weights >= 0), "a sum with a negative weight")
            above, below, constant = np.zeros(self.variables, object), np.zeros(self.variables, object), 0
            chosen = [(base[2 * k + (f < 0)], abs(f)) for k, f in enumerate(factors.tolist()) if f]
            for row, factor in [*chosen, *((r, f) for r, f in zip(goals, weights.tolist(), strict=True) if f)]:
                self._count(row.variable.size << LONG_BITS)
                above[row.variable] += row.above * factor
                below[row.variable] += row.below * factor
                constant += row.constant * factor
            self.rows.append(ClauseRow.of(above, below, constant))
            self._dense -= self.rows[-1].variable.size + BARE_NODE
            need(self._dense >= 0, DENSE)

    def refuted(self, numbers: Numbers) -> int:
        """Read the clauses; refuse unless each follows, and the last one has no literal. Their number."""
        self.sums(numbers)
        bits = longest(self.bound)
        self.rows = [row.short(bits) for row in self.rows]
        if bits < WORD_BITS:
            self.bound = self.bound.astype(np.int64)
        count = numbers.one()
        for number in range(count):
            need(not self.closed, "clauses behind the last one")
            size = numbers.one()
            need(size <= 2 * self.variables, "a clause of more literals than there are ends")
            self._dense -= size + 1
            need(self._dense >= 0, DENSE)
            literals = [*zip(*[iter(numbers.take(2 * size).tolist())] * 2, strict=True)]
            self._follows(number, literals, numbers.take(numbers.one()))
        need(self.closed, "the last clause does not follow")
        return count

    def _follows(self, number: int, literals: list[tuple[int, int]], steps: Entries) -> None:
        """Take the steps where the literals hold; what follows from none of them stays."""
        self.proof.spend(0)
        self._count(self.bound.size + (len(literals) << CLAUSE_BITS))
        before = self.bound.copy()
        for end, value in literals:
            need(0 <= end < 2 * self.variables, "a literal of a variable that is not there")
            self._raise(end, value)
        rest = one_by_one(steps)
        for reason in rest:
            if reason < len(self.rows):
                self._by_row(reason, next(rest, -1))
            else:
                self._by_clause(reason - len(self.rows))
        if literals:
            need(self.closed, f"clause {number} does not follow")
            self.bound, self.closed = before, False
            self.clauses.append(literals)

    def _raise(self, end: int, value: int) -> None:
        """An end is at least the value: nothing is possible where it passes the other one."""
        if value > -self.bound[(end + self.variables) % (2 * self.variables)]:
            self.closed = True
        elif value > self.bound[end]:
            self.bound[end] = value

    def _by_clause(self, number: int) -> None:
        """Where all literals of a clause but one hold, that one does not."""
        need(0 <= number < len(self.clauses), "a clause that is not there")
        self._count((1 << CLAUSE_BITS) + (len(self.clauses[number]) << LONG_BITS))
        left = [(end, value) for end, value in self.clauses[number] if self.bound[end] < value]
        if not left:
            self.closed = True
        elif len(left) == 1:
            self._raise((left[0][0] + self.variables) % (2 * self.variables), -left[0][1])

    def _by_row(self, reason: int, end: int) -> None:
        """What a row says of an end, where the others are what they are; end −1: it is violated."""
        need(reason >= 0 and -1 <= end < 2 * self.variables, "a step that is not there")
        row = self.rows[reason]
        self._count((1 << CLAUSE_BITS) + (row.variable.size << (LONG_BITS if row.above.dtype == object else 0)))
        low, high = self.bound[row.variable], -self.bound[row.variable + self.variables]
        most = np.maximum(
            np.where(low > 0, row.above, row.below) * low, np.where(high > 0, row.above, row.below) * high
        )
        most = np.where((low < 0) & (high > 0), np.maximum(most, 0), most)
        slack = int(most.sum()) + row.constant
        if slack < 0:
            self.closed = True
            return
        place = int(np.searchsorted(row.variable, end % self.variables))
        if end < 0 or place == row.variable.size or row.variable[place] != end % self.variables:
            return
        above, below, least = int(row.above[place]), int(row.below[place]), int(most[place]) - slack
        if end < self.variables:
            self._raise(end, -falls_to(-below, -above, -int(low[place]), least))
        else:
            self._raise(end, -falls_to(above, below, int(high[place]), least))


ROW, ANEW, HALVES = range(3)
"""Tokens of a tree of boxes: a leaf by one row; bounds anew; a split of an input."""


@dataclass(frozen=True)
class Floored:
    """A matrix B (r, c) as integers in float64, rounded down: 2^power · B is signed[0] + fine/2^bits and less than
    `rest`/2^bits more, 0 ≤ fine < 2^bits, and −2^power · B ≥ signed[1]; rest: 1, or 0 where that is just B. filled:
    which entries of B are not 0, however small."""

    signed: Entries
    fine: Entries
    power: int
    bits: int
    rest: float
    filled: Entries

    @staticmethod
    def of(values: Entries, den: int, bits: int) -> Floored:
        """Of values/den (r, c), or (r,), to twice so many bits of the largest."""
        power = bits - 1 + den.bit_length() - longest(values)
        up, down = max(power + bits, 0), max(-power - bits, 0)
        long = (values << up) // (den << down)
        parts = [long >> bits, -long - 1 >> bits]
        rest = float(np.any(long * (den << down) != values << up))
        signed = np.array(parts).astype(np.float64).reshape(2, *values.shape)
        return Floored(signed, (long & (1 << bits) - 1).astype(np.float64), power, bits, rest, values != 0)

    @cached_property
    def parts(self) -> list[Entries]:
        """signed[0] and, unless it is 0, fine."""
        return [self.signed[0], self.fine] if np.any(self.fine) else [self.signed[0]]

    @cached_property
    def sparse(self) -> tuple[Entries, Entries, Sequence[int]] | None:
        """(rows, columns) of the entries that are not 0, in rounds of different columns, where they are few."""
        if self.fine.ndim == 1:
            return None
        row, column = np.nonzero(self.filled)
        if row.size * SPARSE > self.fine.size:
            return None
        order, starts = rounds(column)
        if (len(starts) - 1) * CROWDED > len(self.fine):
            return None
        return row[order], column[order], starts

    def product(self, rows: Entries) -> Entries:
        """2^power · (rows · B), rounded down, of rows (B, r) of integers."""
        spare: Any = np.zeros(len(rows))
        if self.sparse is None:
            found = [(rows @ part).T for part in self.parts]
            if self.rest:
                spare = np.minimum(rows, 0.0).sum(axis=1)
        else:
            row, column, starts = self.sparse
            values = [part[row, column][:, np.newaxis] for part in self.parts]
            *found, lost = np.zeros((len(values) + 1, self.fine.shape[1], len(rows)))
            given = np.ascontiguousarray(rows.T)
            for first, last in pairwise(starts):
                own, at = given[row[first:last]], column[first:last]
                for place, part in enumerate(values):
                    found[place][at] += own * part[first:last]
                if self.rest:
                    lost[at] += np.minimum(own, 0.0)
            spare = lost
        if len(found) == 1 and not self.rest:
            return np.ascontiguousarray(found[0].T)
        fine = found[1] if len(found) > 1 else np.zeros_like(found[0])
        return np.ascontiguousarray((found[0] + np.floor(np.ldexp(fine + spare, -self.bits))).T)


@dataclass(frozen=True)
class BoxLayer:
    """The arguments of a ReLU layer, or the goal's rows turned (−R), as an affine map of what is ≥ 0: of the input's
    steps (0) and of the ReLUs of layers before (1, 2, …). constant (2, r): it and its negative, rounded down to the
    parts' unit, less what float32 and inputs that hardly move may be off by; column: the constant as a matrix of one
    column; lost: the same of what these take, if that is charged."""

    blocks: dict[int, Floored]
    constant: Entries
    column: Floored
    lost: Floored | None


@dataclass(frozen=True)
class BoxLines:
    """The lines of CROWN over a layer's arguments t in some boxes, each (boxes, neurons): relu(t) ≥ alpha · t, and
    ≤ steep/2^SLOPE_BITS · (t + depth · 2^spare units), spare (boxes,); integers in float64. For Sigmoids, with
    t' = t + depth · 2^spare units ≥ 0, σ(t) ≥ alpha · t' + heights[0] and ≤ steep/2^SLOPE_BITS · t' + heights[1], alpha
    in multiples of 2^-CURVE_BITS, and heights in a unit of their own."""

    alpha: Entries
    steep: Entries
    depth: Entries
    spare: Entries
    heights: tuple[Entries, Entries] | None = None


@dataclass(frozen=True)
class BoxNode:
    """A box in steps of the whole one's, lo ≤ y ≤ hi, and what is known there of all ReLU arguments: their signs (0:
    off, 1: active, 2: open) and, of open ones, ends, in multiples of the certificate's step."""

    lo: Entries
    hi: Entries
    state: Entries
    low: Entries
    high: Entries


class BoxProof:
    """Evaluates CROWN in boxes within one, many side by side: lower bounds, by integers in float64.

    A form is m · 2^e, row by row, m integers of a few bits. It is over what is ≥ 0, the outputs of ReLUs and the steps
    y of the input, x = lo + y · (hi − lo)/2^grid: so one that is rounded down is a bound still, as is one that is
    multiplied with a matrix that is rounded down where the form is ≥ 0 and up elsewhere. No sum reaches 2⁵³.
    """

    def __init__(self, proof: Proof) -> None:
        net, region, self.step = proof.net, proof.worlds[0][0], proof.step
        self.sizes, self.curves = [size for _, size in net.layers], net.curves
        self.wide = max(net.size(name) for name in net.shapes)
        fits = self.wide <= MOST_WIDE and len(self.sizes) <= MOST_LAYERS
        need(fits and self.wide * max(self.sizes, default=0) <= MOST_DENSE, DENSE)
        proof.spend(sum(self.sizes))
        self.starts = np.cumsum([0, *self.sizes])
        self.bits = min(MOST_FORM, (EXACT_BITS - 1 - self.wide.bit_length()) // 2)
        self.heights = self.bits - 2
        """Heights of the lines of Sigmoids, within ±2, are multiples of 2^-heights."""
        self.grid = min(MOST_GRID, EXACT_BITS - 1 - self.bits - net.size(net.input).bit_length())
        self.lo, self.width, self.unit = region.ends[0], region.ends[1] - region.ends[0], region.unit
        # What hardly moves, decimals between two floats, is a constant with a charge.
        self.moving = self.width << STILL_BITS > self.width.max()
        self.layers: list[BoxLayer] = []
        self.dense = 0
        for name in net.arguments:
            self.layers.append(self._layer(proof, name, np.eye(net.size(name), dtype=np.int64), 1))
            self.dense += sum(block.fine.size for block in self.layers[-1].blocks.values())
        every = int(self.starts[-1])
        unknown = np.full(every, UNKNOWN)
        none = np.zeros(self.lo.size, dtype=np.int64)
        self.root = BoxNode(none, none + (1 << self.grid), np.full(every, 2, dtype=np.int8), -unknown, unknown)
        """The whole box, with what has been found of it."""

    def _layer(
        self,
        proof: Proof,
        start: str,
        rows: Entries,
        den: int,
        direct: Entries | None = None,
        offset: RowTerm | None = None,
    ) -> BoxLayer:
        """rows/den · value of `start` (+ direct/den · x + offset)."""
        blocks, constants, lost = proof.affine(start, rows, den, MOST_DENSE - self.dense, direct)
        terms = [constants] if offset is None else [constants, offset]
        if 0 in blocks:
            own, below = blocks[0][0].astype(object), blocks[0][1] * self.unit
            terms.append((own @ self.lo, below))
            lost = summed([lost, (-(abs(own) @ np.where(self.moving, 0, self.width)), below)], len(rows))
            blocks[0] = (own * self.width)[:, self.moving], below << self.grid
        constant, under = summed(terms, len(rows))
        ends = [summed([(sign * constant, under), lost], len(rows)) for sign in (1, -1)]
        both = np.array([(value << self.step + SPARE_BITS) // below for value, below in ends], dtype=object)
        need(longest(both) < SUM_BITS, "a bound is too large")
        floored = {key: Floored.of(value.astype(object), den, self.bits) for key, (value, den) in blocks.items()}
        column = Floored.of(constant.astype(object), under, self.bits)
        charge = Floored.of(*lost, self.bits) if np.any(lost[0]) else None
        return BoxLayer(floored, both.astype(np.int64), column, charge)

    def refuted(self, proof: Proof, numbers: Numbers) -> None:
        """Read a tree; refuse unless it is complete and every leaf closes.

        Of the nodes that wait the last ones, up to GROUP, are read in turn. Behind bounds anew a node waits again.
        """
        rows = self.goal_rows(proof)
        stack = [self.root]
        while stack:
            group, stack = stack[-GROUP:], stack[:-GROUP]
            size = 2 * group[0].lo.size + group[0].state.size + BARE_NODE
            need((len(stack) + 2 * len(group)) * size <= MOST_SIGNS, "the tree is too deep")
            waiting: list[BoxNode | int] = []
            claims, leaves = list[tuple[BoxNode, Entries]](), list[tuple[BoxNode, int]]()
            for node in group:
                proof.spend(0)
                token = numbers.one()
                need(ROW <= token <= HALVES, "the tree has a node that is not there")
                if token == ANEW:
                    waiting.append(len(claims))
                    claims.append((node, self._claimed(node, numbers)))
                elif token == HALVES:
                    waiting += self._halves(node, *numbers.take(2).tolist())
                else:
                    leaves.append((node, numbers.one()))
                    need(0 <= leaves[-1][1] < len(proof.goal.offset), "a leaf by a row that is not there")
            found = self.bounded(proof, claims) if claims else []
            if claims and claims[0][0] is self.root:
                (self.root,) = found
            stack += [found[node] if isinstance(node, int) else node for node in waiting]
            self._close(proof, rows, leaves)

    def goal_rows(self, proof: Proof) -> BoxLayer:
        """The goal's rows, turned."""
        goal, direct = proof.goal, None if proof.goal.direct is None else -proof.goal.direct
        fits = len(goal.offset) * self.wide <= MOST_TOGETHER
        need(fits and len(goal.offset) <= MOST_WIDE, "boxes are halved for fewer rows only")
        proof.spend(len(goal.offset))
        return self._layer(proof, goal.start, -goal.matrix, goal.den, direct, (-goal.offset, goal.below))

    def _claimed(self, node: BoxNode, numbers: Numbers) -> Entries:
        """The states of all neurons, as far as they are known, and as claimed of the others."""
        state, asked = node.state.copy(), np.flatnonzero(node.state == 2)
        claimed = numbers.take(asked.size)
        need(np.all((claimed >= 0) & (claimed <= 2)), "a neuron's state is malformed")
        state[asked] = claimed
        return state

    def _halves(self, node: BoxNode, entry: int, middle: int) -> list[BoxNode]:
        """Both sides of a split of an input at a step, the lower one last."""
        need(0 <= entry < node.lo.size, "a split of an input that is not there")
        need(node.lo[entry] <= middle <= node.hi[entry], "a split of an input outside its box")
        lo, hi = node.lo.copy(), node.hi.copy()
        lo[entry] = hi[entry] = middle
        return [replace(node, lo=lo), replace(node, hi=hi)]

    def _close(self, proof: Proof, rows: BoxLayer, leaves: Sequence[tuple[BoxNode, int]]) -> None:
        """Evaluate leaves."""
        if not leaves:
            return
        nodes, chosen = zip(*leaves, strict=True)
        need(min(node.low.min(initial=0) for node in nodes) > -UNKNOWN, "a leaf before any bounds")
        self._spend(proof, len(nodes))
        state, low, high = (np.array([getattr(node, name) for node in nodes]) for name in ("state", "low", "high"))
        parts = enumerate(self._parts())
        lines = [self._lines(place, state[:, part], low[:, part], high[:, part]) for place, part in parts]
        forms, constants = self._rows(rows, np.zeros(len(nodes), dtype=np.intp), np.array(chosen))
        ends = self._ends(nodes)
        closed = self._back(len(self.sizes), forms, constants, lines, ends, np.arange(len(nodes))) > 0
        for place in np.flatnonzero(~closed):
            proof.unproved(proof.leaves + int(place))
        proof.leaves += len(nodes)

    def _spend(self, proof: Proof, boxes: int) -> None:
        """Count an evaluation of each box, and the lines of its Sigmoids."""
        proof.work += boxes * CURVE_WORK * sum(self.sizes[place] for place in self.curves)
        proof.spend(boxes)

    def _rows(
        self, layer: BoxLayer, signs: Entries, entries: Entries
    ) -> tuple[dict[int, tuple[Entries, Entries]], Entries]:
        """(forms, constants) of rows of a layer, or of their negatives where the sign is 1."""
        forms = {
            key: (block.signed[signs, entries], np.full(entries.size, -block.power))
            for key, block in layer.blocks.items()
        }
        return forms, layer.constant[signs, entries]

    def _parts(self) -> list[slice]:
        return [slice(a, b) for a, b in zip(self.starts[:-1], self.starts[1:], strict=True)]

    def _ends(self, nodes: Sequence[BoxNode]) -> tuple[Entries, Entries]:
        low, high = (np.array([getattr(node, name)[self.moving] for node in nodes]) for name in ("lo", "hi"))
        return low.astype(np.float64), high.astype(np.float64)

    def bounded(self, proof: Proof, claims: Sequence[tuple[BoxNode, Entries]]) -> list[BoxNode]:
        """The nodes with bounds anew of what is claimed, layer by layer."""
        nodes, claimed = zip(*claims, strict=True)
        self._spend(proof, len(nodes))
        before, state = np.array([node.state for node in nodes]), np.array(claimed)
        low, high = (np.array([getattr(node, name) for node in nodes]) for name in ("low", "high"))
        ends, lines = self._ends(nodes), list[BoxLines]()
        for place, part in enumerate(self._parts()):
            asked, own, curved = before[:, part] == 2, state[:, part], place in self.curves
            need(not curved or np.all(own == 2), "a sign of a Sigmoid")
            down, up = np.nonzero(asked & (own != 0)), np.nonzero(asked & (own != 1))
            found = self._least(proof, place, down, up, lines, ends)
            for end, where, values in ((low, down, found[: down[0].size]), (high, up, -found[down[0].size :])):
                at = where[0], where[1] + part.start
                end[at] = (np.maximum if end is low else np.minimum)(end[at], values)
            wrong = asked & ((own == 1) & (low[:, part] < 0) | (own == 0) & (high[:, part] > 0))
            if wrong.any():
                box, neuron = np.nonzero(wrong)
                proof.unfounded(place, proof.anew + box, neuron)
            if not curved:
                # An open ReLU's interval reaches 0 at least; the others' ends are not asked for.
                low[:, part] = np.where(own == 2, np.minimum(low[:, part], 0), 0)
                high[:, part] = np.where(own == 2, np.maximum(high[:, part], 0), 0)
            lines.append(self._lines(place, own, low[:, part], high[:, part]))
        proof.anew += len(nodes)
        rows = zip(nodes, state, low, high, strict=True)
        return [replace(node, state=signs, low=bottom, high=top) for node, signs, bottom, top in rows]

    def _least(
        self,
        proof: Proof,
        place: int,
        down: tuple[Entries, ...],
        up: tuple[Entries, ...],
        lines: Sequence[BoxLines],
        ends: tuple[Entries, Entries],
    ) -> Entries:
        """Lower bounds of a layer's arguments at `down` (box, entry), and of minus those at `up`, in steps."""
        layer = self.layers[place]
        boxes, entries = np.append(down[0], up[0]), np.append(down[1], up[1])
        signs, found = np.repeat([0, 1], [down[0].size, up[0].size]), np.zeros(boxes.size, dtype=np.int64)
        most = max(1, MOST_SIDE // max(1, *self.sizes, ends[0].shape[1]))
        for first in range(0, boxes.size, most):
            some = slice(first, first + most)
            box, entry, sign = boxes[some], entries[some], signs[some]
            proof.spend(box.size)
            found[some] = self._back(place, *self._rows(layer, sign, entry), lines, ends, box)
        found >>= SPARE_BITS
        need(longest(found) < EXACT_BITS, f"layer {place}: a bound is too large")
        return found

    def _back(
        self,
        number: int,
        forms: dict[int, tuple[Entries, Entries]],
        total: Entries,
        lines: Sequence[BoxLines],
        ends: tuple[Entries, Entries],
        box: Entries,
    ) -> Entries:
        """Lower bounds of forms over the first `number` layers and the input, plus `total`, each in its `box` (rows,),
        in units of the parts.

        μ relu(t) ≥ ν t − μ⁻ · steep · depth, with ν = alpha · μ where μ ≥ 0 and steep · μ, rounded down, elsewhere.
        With the same ν, rounded down, μ σ(t) ≥ ν t' + μ · height.
        """
        for place in range(number - 1, -1, -1):
            if place + 1 not in forms:
                continue
            (mu, power), own, layer = forms.pop(place + 1), lines[place], self.layers[place]
            below = shifted = np.floor(np.minimum(mu, 0.0) * own.steep[box] * 2.0**-SLOPE_BITS)
            nu = np.maximum(mu, 0.0) * own.alpha[box] + below
            if own.heights is not None:
                nu = shifted = np.floor(nu)
                heights = np.where(mu > 0, own.heights[0][box], own.heights[1][box])
                total = total + self._fixed(np.einsum("rj,rj->r", mu, heights), power - self.heights)
            lost = np.einsum("rj,rj->r", shifted, own.depth[box])
            total = total + self._fixed(lost, power + own.spare[box] - self.step)
            total = total + self._fixed(layer.column.product(nu), power - layer.column.power)
            if layer.lost is not None:
                total = total + self._fixed(layer.lost.product(np.abs(nu)), power - layer.lost.power)
            for source, block in layer.blocks.items():
                sent = self._held(block.product(nu), power - block.power)
                forms[source] = self._sum(forms[source], sent) if source in forms else sent
        if 0 in forms:
            form, power = forms[0]
            least = np.einsum("rn,rn->r", np.maximum(form, 0.0), ends[0][box])
            least += np.einsum("rn,rn->r", np.minimum(form, 0.0), ends[1][box])
            total = total + self._fixed(least, power)
        return total

    def _held(self, form: Entries, power: Entries) -> tuple[Entries, Entries]:
        """A form · 2^power, rounded down to its bits, row by row."""
        spare = np.maximum(np.frexp(np.abs(form).max(axis=1, initial=0.0))[1] - self.bits, 0)
        return np.floor(np.ldexp(form, -spare[:, np.newaxis])), power + spare

    def _sum(self, one: tuple[Entries, Entries], other: tuple[Entries, Entries]) -> tuple[Entries, Entries]:
        """The sum of two forms, rounded down."""
        power = np.maximum(one[1], other[1])
        first, second = (np.maximum(own - power, -LONGEST)[:, np.newaxis] for _, own in (one, other))
        return self._held(np.floor(np.ldexp(one[0], first)) + np.floor(np.ldexp(other[0], second)), power)

    def _fixed(self, values: Entries, power: Entries) -> Entries:
        """values · 2^power in units of the parts, rounded down."""
        found = np.floor(np.ldexp(values, np.clip(power + self.step + SPARE_BITS, -900, LONGEST)))
        need(np.all(np.abs(found) < 1 << SUM_BITS), "a bound is too large")
        units: Entries = found.astype(np.int64)
        return units

    def _lines(self, place: int, state: Entries, low: Entries, high: Entries) -> BoxLines:
        """By the arguments' signs, and the ends of open ones, low ≤ 0 ≤ high. A larger slope than high/(high − low) is
        valid too: what the quotient is rounded by does not matter."""
        if place in self.curves:
            return self._curves(low, high)
        opened, active = state == 2, (state == 1).astype(np.float64)
        bottom, top = -low.astype(np.float64), high.astype(np.float64)
        steep = np.floor(np.ldexp(top / np.maximum(top + bottom, 1.0), SLOPE_BITS)) + 1.0
        steep = np.where(opened, np.minimum(steep, 2.0**SLOPE_BITS), np.ldexp(active, SLOPE_BITS))
        spare = np.maximum(np.frexp(bottom.max(axis=1, initial=0.0))[1] - self.bits, 0)
        depth = np.ceil(np.ldexp(bottom, -spare[:, np.newaxis]))
        return BoxLines(np.where(opened, top > bottom, active).astype(np.float64), steep, depth, spare)

    def _curves(self, low: Entries, high: Entries) -> BoxLines:
        """Of Sigmoids, low ≤ t ≤ high, from −depth · 2^spare on, which is no more than the lower end."""
        down, up = (np.floor(np.ldexp(end.astype(np.float64), CURVE_BITS - self.step)) for end in (low, -high))
        far = np.minimum(down, up) < -FAR
        down, up = np.clip(down, -FAR, FAR), np.clip(up, -FAR, FAR)
        spare = np.maximum(np.frexp(np.abs(down).max(axis=1, initial=0.0))[1] - self.bits, 0)
        depth = np.ceil(np.ldexp(-down, -spare[:, np.newaxis]))
        start, end = -np.ldexp(depth, spare[:, np.newaxis]).astype(np.int64), -up.astype(np.int64)
        steep, most = over_sigmoid(start, end, far)
        # σ(t) = 1 − σ(−t).
        alpha, other = over_sigmoid(-end, -start, far)
        least = (1 << SIGMA_BITS) - other + (alpha * (start - end) >> 2 * CURVE_BITS - SIGMA_BITS)
        unit = SIGMA_BITS - self.heights
        heights = (least >> unit).astype(np.float64), -(-most >> unit).astype(np.float64)
        slopes = np.ldexp(alpha, -CURVE_BITS), np.ldexp(steep, SLOPE_BITS - CURVE_BITS)
        return BoxLines(*slopes, depth, spare + self.step - CURVE_BITS, heights)


def sigmas(t: Entries) -> tuple[Entries, Entries]:
    """Bounds of σ(t).

    With |t| = a + f, a whole and 0 ≤ f < 1, e^−f is 1 − f/1·(1 − f/2·(… (1 − f/SERIES))), each product rounded down:
    an error e of the inner one becomes e/n + 1 at most, and what is left out is below 1/SERIES! < 2⁻³⁶.
    """
    one = 1 << SIGMA_BITS
    whole_part, rest = np.minimum(np.abs(t) >> CURVE_BITS, DECAYS.shape[1] - 1), np.abs(t) & (1 << CURVE_BITS) - 1
    total = np.full(t.shape, one)
    for count in range(SERIES, 0, -1):
        total = one - (total * rest >> CURVE_BITS) // count
    least = (total - SERIES_ERROR) * DECAYS[0, whole_part] >> SIGMA_BITS
    most = ((total + SERIES_ERROR) * DECAYS[1, whole_part] >> SIGMA_BITS) + 1
    low, high = (one << SIGMA_BITS) // (one + most), -(-(one << SIGMA_BITS) // (one + least))
    return np.where(t < 0, one - high, low), np.where(t < 0, one - low, high)


def decays() -> Entries:
    """Bounds of e^−a, a = 0, 1, … up to where the lower one is 0, beyond which they hold too: (2, a)."""
    sums, one = [Fraction(1)], 1 << SIGMA_BITS
    for count in range(1, 32):
        sums.append(sums[-1] + Fraction((-1) ** count, math.factorial(count)))
    found = [(one, one)]
    while found[-1][0]:
        found.append((math.floor(sums[-1] ** len(found) * one), math.ceil(sums[-2] ** len(found) * one)))
    return np.array(found).T


DECAYS = decays()


def over_sigmoid(low: Entries, high: Entries, far: Entries) -> tuple[Entries, Entries]:
    """(k, v): σ(t) ≤ k · (t − low) + v for low ≤ t ≤ high, k ≥ 0; k is 0 where an end is `far`.

    k is the slope of the chord, or of the tangent at a p > 0 where that is above σ(low): of those that are the one in
    the middle, or the next one.
    """
    one = 1 << SIGMA_BITS
    at_low, at_high = sigmas(low)[1], sigmas(high)[0]

    def above(p: Entries) -> tuple[Entries, Entries]:
        value = sigmas(p)[0]
        slope = value * (one - value) >> SIGMA_BITS
        return slope, value - (slope * (p - low) >> CURVE_BITS) >= at_low

    before, p = np.maximum(np.clip(0, low, high), (low + high) >> 1), high
    slope, bent = above(high)
    for _ in range(TANGENTS):
        middle = (before + p) >> 1
        own, good = above(middle)
        before, p, slope = np.where(good, before, middle), np.where(good, middle, p), np.where(good, own, slope)
    chord = ((at_high - at_low) << 2 * CURVE_BITS - SIGMA_BITS) // np.maximum(high - low, 1)
    k = np.where(far, 0, np.where(bent, slope >> SIGMA_BITS - CURVE_BITS, np.clip(chord, 0, 1 << CURVE_BITS - 2)))
    return k, height_over_sigmoid(low, high, k, np.where(far | ~bent, high, p))


def height_over_sigmoid(low: Entries, high: Entries, k: Entries, p: Entries) -> Entries:
    """v with σ(t) ≤ k · (t − low) + v for low ≤ t ≤ high, whatever 0 ≤ k ≤ 1/4 and p are, p within [first, high], first
    the point of [low, high] that is nearest to 0.

    Where σ is convex, t ≤ 0, σ(t) − k · (t − low) is largest at an end; where it is concave, t ≥ first, it is at most
    σ(p) + σ'(p) · (t − p) − k · (t − low), which is largest at an end too, and σ' = σ · (1 − σ) falls.
    """
    one, first, value = 1 << SIGMA_BITS, np.clip(0, low, high), sigmas(p)
    least, most = value[1] * (one - value[1]) >> SIGMA_BITS, (value[0] * (one - value[0]) >> SIGMA_BITS) + 1
    own = k << SIGMA_BITS - CURVE_BITS
    rise = np.maximum(np.maximum((own - least) * (p - first), (most - own) * (high - p)), 0)
    top = value[1] - (k * (p - low) >> 2 * CURVE_BITS - SIGMA_BITS) - (-rise >> CURVE_BITS)
    return np.asarray(np.maximum(sigmas(low)[1], top))


def box_query(lo: Entries, hi: Entries) -> CheckedQuery:
    """A box as the ball of an infinite radius around its middle."""
    return CheckedQuery("linf", None, None, 0.0, np.clip(0.5 * lo + 0.5 * hi, lo, hi), lo, hi)


class ProvedClaim:
    """What a valid certificate proves."""

    def parts(self) -> dict[str, tuple[Any, str]]:
        """The claim, part by part: as data, and in words, which are empty where another part has them."""
        raise NotImplementedError

    def claim(self) -> dict[str, str]:
        """The whole claim in words."""
        return {name: words for name, (_, words) in self.parts().items() if words}

    def to_json(self) -> dict[str, Any]:
        """The whole claim as data; null for what is infinite or not claimed."""
        return {name: data for name, (data, _) in self.parts().items()}


@dataclass(frozen=True)
class PropertyResult(ProvedClaim):
    """No real input satisfies the property of this text, for `float32` with none of the outputs that float32
    evaluations give. `leaves`: of all trees."""

    model: str
    text: bytes
    inputs: int
    outputs: int
    cases: int
    leaves: int
    scores: str
    float32: bool
    given: str = ""

    def __str__(self) -> str:
        more = ", and for every float32 evaluation" if self.float32 else ""
        return f"no input satisfies the property, over the real numbers{more}"

    @property
    def text_digest(self) -> str:
        """sha256 of the property's text."""
        return hashlib.sha256(self.text).hexdigest()

    @property
    def digest(self) -> str:
        """sha256 over the question: model and property."""
        return hashlib.sha256(json.dumps([self.model, self.text_digest]).encode()).hexdigest()

    def parts(self) -> dict[str, tuple[Any, str]]:
        size = f"{self.inputs} inputs, {self.outputs} outputs, {self.cases} cases"
        return {
            "model": (self.model, f"sha256 {self.model}"),
            "outputs": (self.scores, self.scores),
            "property": (self.text_digest, f"sha256 {self.text_digest}, {size}"),
            "inputs": (self.inputs, printable(self.given)),
            "cases": (self.cases, ""),
            "leaves": (self.leaves, ""),
            "float32": (self.float32, "every float32 evaluation" if self.float32 else NO_FLOAT32),
            "query": (self.digest, f"sha256 {self.digest}"),
        }


NO_FLOAT32 = "none: nothing is claimed of rounding"


def finished(numbers: Numbers) -> None:
    """Refuse unless all of them have been read."""
    need(numbers.left == 0, "the certificate has numbers that belong to nothing")


def property_checked(
    claim: PropertyCertificate, model: bytes, folder: Path | None, made: Callable[..., Proof] = Proof
) -> PropertyResult:
    """What a certificate about a property proves of a model. Raises InvalidError."""
    net, prop = claimed_network(claim.model, model, folder, joint=True), PropertyText(claim.text)
    need(prop.inputs == net.size(net.input), "the property is about another number of inputs than the model has")
    need(prop.outputs == net.size(net.scores), "the property is about another number of outputs than the model has")
    need(not (claim.float32 and net.dropped), f"float32: nothing is proved before a final {net.dropped}")
    need(not (claim.float32 and net.curves), CURVED)
    cases, leaves, proof = property_cases(prop), 0, None
    for number, case in enumerate(cases):
        try:
            goal, query = goal_of(net, case), box_query(case.lo, case.hi)
            if proof is None or not (same(query.lo, proof.query.lo) and same(query.hi, proof.query.hi)):
                work = 0 if proof is None else proof.work
                proof = made(net, query, math.inf, claim.step, math.inf if claim.float32 else 0.0)
                proof.work += work
            proof.refute(goal, claim.numbers)
        except InvalidError as error:
            raise InvalidError(f"case {number}: {error}") from None
        leaves += proof.leaves
    finished(claim.numbers)
    sizes = prop.inputs, prop.outputs, len(cases), leaves
    given = f"'{net.input}': {prop.inputs} numbers" if JOINED in net.input else ""
    return PropertyResult(net.digest, claim.text, *sizes, scores_text(net), claim.float32, given)


# -------------------------------------------------------------------------------------------------------------- check


class CheckedGrid:
    """The inputs k/per: of one, an entry with another k than the centre's is any number that misses k/per by rounding,
    an entry with the same k is the centre's own. Distances are those of the k: in steps, in L2 their squares.

    |x'ᵢ − xᵢ| ≤ |k'ᵢ − kᵢ|/per + 2^-bits·(|x'ᵢ| + |xᵢ|) where k'ᵢ ≠ kᵢ, else 0: in each norm `long` a step at most.
    """

    def __init__(self, query: CheckedQuery, dtype: str, per: int) -> None:
        self.per, self.query, self._bits = per, query, ON_GRID[dtype]
        self.power = 2 if query.norm == "l2" else 1
        most = float(np.abs([query.lo, query.hi]).max())
        need(math.isfinite(most), "a grid in an unbounded box")
        need(2 * most * per < 1 << self._bits, f"steps of 1/{per} are too fine for the box and {NAMES[dtype]}")
        self.long = (1 + Fraction(most) * per / (1 << self._bits - 1)) / per
        self._at = self._numbers(query.centre, "the input")

    def _numbers(self, point: Entries, what: str) -> Entries:
        """The whole numbers of a point."""
        values, unit = exact(point.tolist())
        found = (2 * self.per * values + unit) // (2 * unit)
        missed = abs(values * self.per - found * unit) << self._bits
        need(np.all(missed <= abs(values) * self.per), f"{what} is not on the grid of multiples of 1/{self.per}")
        return found

    def steps(self, radius: float) -> float:
        """The distance of which all that is nearer on the grid lies in the open ball of this radius."""
        return radius if math.isinf(radius) else math.ceil((Fraction(radius) / self.long) ** self.power)

    def wanted(self, radius: float) -> float:
        """The distance that a radius is, as it is told: 8/255 are eight steps, though float64 may have more."""
        told = Fraction(1 << TOLD_BITS, 1 + (1 << TOLD_BITS)) * self.per
        return radius if math.isinf(radius) else math.ceil((Fraction(radius) * told) ** self.power)

    def distance(self, point: Entries) -> int:
        """That of a point on the grid."""
        moved = abs(self._numbers(point, "the witness") - self._at)
        need(np.all((moved > 0) | (point == self.query.centre)), "the witness has an entry that rounding alone moved")
        return int(moved.max() if self.query.norm == "linf" else (moved**self.power).sum())

    def told(self, steps: float) -> str:
        """A distance in words."""
        return "the whole box" if steps == math.inf else f"{'√' * (self.power - 1)}{steps}/{self.per}"


@dataclass(frozen=True)
class CheckedResult(ProvedClaim):
    """No adversarial point is closer than `lower` (inf: none is in the box), and for no float32 evaluation closer than
    `float32` (0: nothing is claimed), and there is one at `distance` (None: none is given). `model` is the file's
    sha256, `dtype` that of its input, `scores` says what the classes are in the file. On a `grid`, where one is
    demanded, the witness is so many `steps` away."""

    lower: float
    float32: float
    distance: Fraction | None
    query: CheckedQuery
    model: str
    dtype: str
    scores: str
    witness: Entries | None = None
    grid: CheckedGrid | None = None
    steps: int | None = None

    def on_grid(self, per: int) -> CheckedResult:
        """The same of inputs k/per. Raises InvalidError where the input or the witness is none."""
        grid = CheckedGrid(self.query, self.dtype, per)
        return replace(self, grid=grid, steps=None if self.witness is None else grid.distance(self.witness))

    def grid_parts(self) -> dict[str, tuple[Any, str]]:
        """What is said of the grid."""
        if self.grid is None:
            return {}
        grid, ends = self.grid, [self.grid.steps(end) for end in (self.lower, self.float32)]
        found = "none given" if self.steps is None else f"one at {grid.told(self.steps)}"
        words = (
            f"of inputs k/{grid.per} none closer than {grid.told(ends[0])}, in float32 {grid.told(ends[1])}; {found}"
        )
        data = {"per": grid.per, "lower": finite(ends[0]), "float32": finite(ends[1]), "distance": self.steps}
        return {"grid": (data, words)}

    def proves(self, end: float, least: float) -> bool:
        """Is this lower end at least so much; on a grid, in whole steps?"""
        return end >= least if self.grid is None else self.grid.steps(end) >= self.grid.wanted(least)

    def __str__(self) -> str:
        if self.distance is None and math.isinf(self.lower):
            return "no adversarial example in the box"
        given = "none given" if self.distance is None else f"one at {decimal(self.distance, up=True)}"
        return f"no adversarial example closer than {decimal(Fraction(self.lower), up=False)}; {given}"

    @property
    def digest(self) -> str:
        """sha256 over the question: model, norm, label, target, margin, input and box."""
        return self.query.digest(self.model)

    @property
    def input_digest(self) -> str:
        """sha256 of the input's bytes, little-endian, in the model's type."""
        return hashlib.sha256(self.query.centre.astype(self.dtype).tobytes()).hexdigest()

    def parts(self) -> dict[str, tuple[Any, str]]:
        query, size, name, read = self.query, self.query.centre.size, NAMES[self.dtype], self.input_digest
        free = int(np.count_nonzero(query.hi > query.lo))
        spans = [(float(np.min(end)), float(np.max(end))) for end in (query.lo, query.hi)]
        box = ", ".join(repr(least) if least == most else f"{least!r} … {most!r}" for least, most in spans)
        some = "" if free == size else f", in which only {free} of {size} entries can change"
        lo, hi = ([finite(end) for end in span] for span in spans)
        lower, float32 = ("the whole box" if math.isinf(end) else repr(end) for end in (self.lower, self.float32))
        rounded = {"radius": finite(self.float32), "whole_box": math.isinf(self.float32)}
        distance = None if self.distance is None else decimal(self.distance, up=True)
        return {
            "model": (self.model, f"sha256 {self.model}"),
            "scores": (self.scores, self.scores),
            "input": ({"sha256": read, "size": size, "dtype": name}, f"sha256 {read}, {size} numbers of {name}"),
            "box": ({"lo": lo, "hi": hi, "free": free}, f"[{box}]{some}"),
            "norm": (query.norm, query.norm),
            "label": (query.label, "none" if query.label is None else str(query.label)),
            "target": (query.target, f"any class but {query.label}" if query.target is None else str(query.target)),
            "margin": (query.margin, repr(query.margin)),
            "radius": (finite(self.lower), lower if self.lower > 0 else "none: only the adversarial example is shown"),
            "whole_box": (math.isinf(self.lower), ""),
            "float32": (
                rounded if self.float32 else None,
                float32 if self.float32 > 0 else NO_FLOAT32,
            ),
            "distance": (distance, ""),
            **self.grid_parts(),
            "query": (self.digest, f"sha256 {self.digest}"),
        }


NAMES = {"<f2": "float16", "<f4": "float32", "<f8": "float64"}


def finite(value: float) -> float | None:
    """The value, None for an infinite one; not all whole numbers fit into a float."""
    return None if abs(value) == math.inf else value


def decimal(value: Fraction, *, up: bool, places: int = 10) -> str:
    exactly = value * 10**places
    units = math.ceil(exactly) if up else math.floor(exactly)
    return f"{units // 10**places}.{units % 10**places:0{places}d}"


def checked(certificate: bytes, model: bytes, folder: Path | None = None) -> CheckedResult:
    """What a certificate about a ball proves of a model, whose external data lie in `folder`.

    Raises InvalidError with the first reason why it proves nothing.
    """
    found = checked_any(certificate, model, folder)
    if not isinstance(found, CheckedResult):
        raise InvalidError("the certificate is about a property, not about an input")
    return found


def checked_any(certificate: bytes, model: bytes, folder: Path | None = None) -> CheckedResult | PropertyResult:
    """The same of a certificate of either kind."""
    try:
        with np.errstate(all="ignore"):
            claim = parse(certificate)
            if isinstance(claim, PropertyCertificate):
                return property_checked(claim, model, folder)
            return ball_checked(claim, model, folder)
    except InvalidError:
        raise
    except Exception as error:  # noqa: BLE001, whatever else a damaged file causes is a reason to refuse it
        raise InvalidError(f"malformed: {type(error).__name__}: {error}"[:300]) from None


def ball_checked(
    claim: CheckedCertificate, model: bytes, folder: Path | None, made: Callable[..., Proof] = Proof
) -> CheckedResult:
    """What a certificate about a ball proves of a model. Raises InvalidError."""
    net, query = claimed_network(claim.model, model, folder), claim.query
    need(not net.curves, CURVED)
    need(query.centre.size == net.size(net.input), "the input does not have the model's size")
    need(claim.dtype == net.dtype, "the input does not have the model's type")
    targets = query.targets(net.size(net.output))
    distance = None if claim.witness is None else witnessed(net, query, claim.witness, targets)
    need(distance is not None or claim.radius > 0, "the certificate claims nothing")
    need(claim.float32 <= claim.radius, "more is claimed for float32 than over the reals")
    need(not claim.anchored or claim.radius > 0, "anchored lines for no radius")
    if claim.radius > 0:
        need(distance is None or math.isfinite(claim.radius), "a witness in a box that holds none")
        need(distance is None or distance >= Fraction(claim.radius), "the witness is closer than the radius")
        proof = made(net, query, claim.radius, claim.step, claim.float32, claim.anchored)
        excluded(proof, targets, claim.numbers)
    finished(claim.numbers)
    told = query, net.digest, net.dtype, scores_text(net), claim.witness
    return CheckedResult(claim.radius, claim.float32, distance, *told)


def scores_text(net: CheckedNetwork) -> str:
    """What the classes are in the file, in words."""
    size, before = net.size(net.scores), f", before a final {net.dropped}" if net.dropped else ""
    many = f"{size} numbers" if size > 1 else "one number z, of class 0 where z < 0 and of class 1 where z ≥ 0"
    return printable(f"'{net.scores}'{before}: {many}")


def witnessed(net: CheckedNetwork, query: CheckedQuery, point: Entries, targets: Sequence[int]) -> Fraction:
    """The exact distance of the witness, which is adversarial; in L2 rounded up."""
    need(np.all(np.isfinite(point)) and np.all((query.lo <= point) & (point <= query.hi)), "the witness leaves the box")
    values, den = net.forward(*exact(point.tolist()))
    logits = [Fraction(int(value), den) for value in values]
    margin = Fraction(query.margin)
    others = [[z + margin for k, z in enumerate(logits) if k != target] for target in targets]
    reached = any(logits[t] >= max(rest) for t, rest in zip(targets, others, strict=True) if rest)
    need(reached, "the witness is not adversarial")
    numbers, unit = exact(np.concatenate([point, query.centre]).tolist())
    gaps = abs(numbers[: point.size] - numbers[point.size :])
    if query.norm == "l2":
        square = int((gaps * gaps).sum())
        root = math.isqrt(square << 2 * ROOT_BITS)
        return Fraction(root + (root * root < square << 2 * ROOT_BITS), unit << ROOT_BITS)
    return Fraction(int(gaps.max() if query.norm == "linf" else gaps.sum()), unit)


def excluded(proof: Proof, targets: Sequence[int], numbers: Numbers) -> None:
    """Refuse unless every target is excluded in the region: by bounds of all of it, then quadratic evidence for some
    goals together, then a tree for each of the others."""
    proof.bounded(ReluNode.root([]), numbers)
    margin, left = proof.query.margin, [*targets]
    while (given := proof.evidence(numbers, proof.rooted)) is not None:
        found = proof.quadratic_rows(proof.rooted, given, coded_goal(proof.net, given, margin))[0] > 0
        done = {*(given.codes[found] // (proof.net.size(proof.net.output) - 1)).tolist()}
        left = [target for target in left if target not in done]
    for target in left:
        try:
            proof.refute(against(proof.net, target, margin), numbers)
        except InvalidError as error:
            raise InvalidError(f"target {target}: {error}") from None


# ------------------------------------------------------------------------------------------------------------ demands


@dataclass(frozen=True)
class Demands:
    """What the certificate has to be about; None: not demanded. The target "any" is any class but the label."""

    input: Entries | None = None
    box: tuple[Entries, Entries] | None = None
    norm: str | None = None
    label: int | None = None
    target: int | str | None = None
    margin: float | None = None
    radius: float | None = None
    float32: float | None = None
    property: bytes | None = None
    """A property's text."""
    grid: int | None = None
    """Of inputs k/grid the radii are demanded, and the input and the witness are to be such."""

    def missing(self, result: CheckedResult | PropertyResult | None = None) -> list[str]:
        """What could be demanded of this result, or of one about a ball, and is not."""
        names = ("property", "float32") if isinstance(result, PropertyResult) else DEMANDS
        return [name for name in names if getattr(self, name) is None]

    def about(self, result: CheckedResult | PropertyResult) -> CheckedResult | PropertyResult:
        """The same result, with what it says of the grid. Raises InvalidError."""
        return result if self.grid is None or isinstance(result, PropertyResult) else result.on_grid(self.grid)

    def unmet(self, result: CheckedResult | PropertyResult) -> str:
        """The first demand that the certificate does not meet, empty if it meets all."""
        if isinstance(result, PropertyResult):
            other = [name for name in (*DEMANDS, "grid") if name != "float32" and getattr(self, name) is not None]
            if other:
                return f"the certificate is about a property, which has no {other[0]}"
            if self.float32 and not result.float32:
                return "the certificate proves nothing for float32 evaluations"
            same_text = self.property in (None, result.text)
            return "" if same_text else f"the certificate is for another property: sha256 {result.text_digest}"
        if self.property is not None:
            return "the certificate is about an input, not about a property"
        query, claim = result.query, result.claim()
        about = {
            "input": self.input is None or np.array_equal(np.ravel(self.input).astype(result.dtype), query.centre),
            "box": self.box is None or all(map(same, self.box, (query.lo, query.hi))),
            "norm": self.norm in (None, query.norm),
            "label": self.label in (None, query.label),
            "target": self.target in (None, "any" if query.target is None else query.target),
            "margin": self.margin in (None, query.margin),
        }
        for name, good in about.items():
            if not good:
                return f"the certificate is for another {name}: {claim[name]}"
        for name, least, proved in (("radius", self.radius, result.lower), ("float32", self.float32, result.float32)):
            if least is not None and not result.proves(proved, least):
                where = name if result.grid is None else "grid"
                return f"the certificate proves less than the {name} {least!r}: {claim[where]}"
        return ""


DEMANDS = ("input", "box", "norm", "label", "target", "margin", "radius", "float32")


def same(given: Entries, own: Entries) -> bool:
    """Are the numbers the same, where one number may stand for all?"""
    values = np.ravel(given)
    return values.size in (1, own.size) and bool(np.all(values == own))


@dataclass(frozen=True)
class CheckedJudgement:
    """What a certificate proves if it is valid and meets the demands, else why not; `missing`: what nobody demanded."""

    result: CheckedResult | PropertyResult | None
    reason: str
    missing: Sequence[str]

    @property
    def valid(self) -> bool:
        return self.result is not None

    def __str__(self) -> str:
        if self.result is None:
            return f"INVALID: {self.reason}"
        claim = self.result.claim()
        width = max(map(len, claim))
        lines = [f"VALID: {self.result}", *(f"{name:<{width}} {text}" for name, text in claim.items())]
        if self.missing:
            lines.append(f"not demanded: {', '.join(self.missing)} (to demand one, give the option of its name)")
        return "\n".join(lines)

    def to_json(self) -> str:
        """One JSON object: `valid`, `reason`, `claim`, `not_demanded`."""
        claim = None if self.result is None else self.result.to_json()
        told = {"valid": self.valid, "reason": self.reason or None, "claim": claim, "not_demanded": [*self.missing]}
        return json.dumps(told, allow_nan=False)


def judged(
    certificate: bytes, model: bytes, demands: Demands | None = None, folder: Path | None = None
) -> CheckedJudgement:
    """The judgement on a certificate that has to be about a model and what is demanded."""
    demands = demands or Demands()
    try:
        result = demands.about(checked_any(certificate, model, folder))
        reason = demands.unmet(result)
        need(not reason, reason)
    except InvalidError as error:
        return CheckedJudgement(None, printable(str(error)), demands.missing())
    return CheckedJudgement(result, "", demands.missing(result))


def printable(text: str) -> str:
    """Names of a file may hold characters that a terminal obeys."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def files_judged(certificate: Path, model: Path, demands: Demands) -> CheckedJudgement:
    """The same of files. Raises OSError where one cannot be read."""
    content = file_bytes(certificate, MOST_BYTES), plain_bytes(model, 2 * MOST_BYTES)
    return judged(*content, demands, model.parent)


def read_demands(given: Mapping[str, Any]) -> Demands:
    """The demands in the words of the command line. Raises OSError or ValueError, one line."""
    norm, target = given["norm"], given["target"]
    if norm not in (None, *NORMS):
        raise ValueError(f"--norm: unknown norm '{norm}': choose {', '.join(NORMS[:-1])} or {NORMS[-1]}")
    if target not in (None, "any") and not (target.isascii() and target.isdecimal()):
        raise ValueError(f"--target: a class or the word any is expected, not '{target}'")
    read: dict[str, Callable[[str], Any]] = {
        "input": lambda path: read_arrays("--input", path, None)[0],
        "box": read_box,
        "target": lambda text: text if text == "any" else int(text),
        "margin": lambda text: read_number("--margin", text),
        "grid": read_grid,
        "radius": lambda text: read_quotient("--radius", text),
        "float32": lambda text: read_quotient("--float32", text),
        "property": lambda path: plain_bytes(Path(path), MOST_TEXT),
    }
    asked = {name: given[name] for name in OPTIONS if given[name] is not None}
    return Demands(**{name: read[name](text) if name in read else text for name, text in asked.items()})


def plain_bytes(path: Path, most: int) -> bytes:
    """A file's bytes, unpacked where it is packed by gzip. Raises OSError or ValueError, one line."""
    content = file_bytes(path, most)
    if content[:2] != b"\x1f\x8b":
        return content
    try:
        return unpacked_by(zlib.decompressobj(wbits=31), content, most + 1)
    except InvalidError as error:
        raise ValueError(f"{path}: {error}") from None


def read_number(option: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not value >= 0:
        raise ValueError(f"{option}: a number that is not negative is expected, not '{text}'")
    return value


def read_grid(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= MOST_DECIMALS and 1 <= int(text) <= FINEST_GRID):
        raise ValueError(f"--grid: a whole number of steps from 1 to {FINEST_GRID} is expected, not '{text}'")
    return int(text)


def read_quotient(option: str, text: str) -> float:
    """A number, or a quotient of two such as 8/255: the least float64 that is not less."""
    parts = text.split("/")
    if len(parts) != 2 or len(text) > MOST_LETTERS or not set(text) <= set("0123456789./"):
        return read_number(option, text)
    try:
        return -rounded(-Fraction(parts[0]) / Fraction(parts[1]))
    except (ValueError, ArithmeticError, InvalidError):
        raise ValueError(f"{option}: '{text}' is no quotient of two numbers") from None


def read_box(text: str) -> tuple[Entries, ...]:
    """ "LO,HI", or an .npz with arrays lo and hi."""
    if text.endswith(".npz"):
        return tuple(read_arrays("--box", text, ("lo", "hi")))
    try:
        low, high = map(float, text.split(","))
    except ValueError:
        raise ValueError(f"--box: two numbers or an .npz with lo and hi are expected, not '{text}'") from None
    return np.array(low), np.array(high)


def read_arrays(option: str, path: str | Path, names: Sequence[str] | None) -> list[Entries]:
    """The array of an .npy, or those of these names in an .npz."""
    try:
        loaded = np.load(io.BytesIO(file_bytes(Path(path), 2 * MOST_BYTES)), allow_pickle=False)
        found = [loaded] if names is None else [loaded[name] for name in names]
    except (ValueError, KeyError, IndexError, EOFError, MemoryError, zipfile.BadZipFile) as error:
        raise ValueError(f"{option}: {path}: {error}") from None
    if not all(isinstance(array, np.ndarray) and array.dtype.kind in "buif" for array in found):
        raise ValueError(f"{option}: {path}: numbers are expected")
    return found


OPTIONS = {
    "input": ("X.npy", "refuse a certificate about another input (rounded to the model's type)"),
    "box": ("LO HI", "refuse one about another box: two numbers, or an .npz with arrays lo and hi"),
    "norm": ("|".join(NORMS), "refuse one about another norm"),
    "label": ("L", "refuse one about another label"),
    "target": ("T|any", "refuse one about another target; any: every class but the label"),
    "margin": ("K", "refuse one about another margin"),
    "radius": ("R", "refuse one that proves less than this radius, such as 0.01 or 8/255"),
    "float32": (
        "R",
        "the same for every float32 evaluation of the model; of a property, which has no radius: any R > 0",
    ),
    "grid": ("K", "refuse one about an input that is no k/K, and count the radii in steps of 1/K, as of such inputs"),
    "property": ("FILE", "refuse one about another property than this text of VNN-LIB 1.0 (which may be packed: .gz)"),
}
"""What can be demanded on the command line."""


def joined(arguments: Sequence[str]) -> list[str]:
    """`--box LO HI` as `--box=LO,HI`: -inf looks like an option otherwise."""
    found, rest = [], [*arguments]
    while rest:
        word = rest.pop(0)
        if word == "--box" and rest:
            word = f"--box={rest.pop(0)}"
            if "," not in word and not word.endswith(".npz") and rest:
                word += f",{rest.pop(0)}"
        found.append(word)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="checker.py", description="Check a certificate against an ONNX model.")
    parser.add_argument("certificate", metavar="FILE", type=Path)
    parser.add_argument("model", metavar="MODEL", type=Path)
    for name, (shown, text) in OPTIONS.items():
        parser.add_argument(f"--{name}", metavar=shown, help=text, type=int if name == "label" else str)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    asked = parser.parse_args(joined(sys.argv[1:] if arguments is None else arguments))
    try:
        found = files_judged(asked.certificate, asked.model, read_demands(vars(asked)))
    except (OSError, ValueError) as error:
        parser.exit(2, f"{parser.prog}: error: {printable(str(error))}\n")  # a line, not the usage above it
    print(found.to_json() if asked.json else found)
    return 0 if found.valid else 1


if __name__ == "__main__":
    sys.exit(main())
