"""The graph of a decoding step as the kernels read it (``kernels/decode.h``): operations, matrices and memory.

It computes the steps of :mod:`char_rnn.generation.numpy_engine`, with references to buffers for the values in between.

Dimensions: N streams, V vocabulary, R rows, C columns, H hidden, W window.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from char_rnn.cells import Value, normalize, ordered
from char_rnn.generation.network import (
    Array,
    Attention,
    FeedForwardWeights,
    Layer,
    Matches,
    Network,
    Norm,
    Precision,
    quantize,
)
from char_rnn.generation.precompute import constants, input_tables
from char_rnn.generation.stream_states import StreamStates
from char_rnn.kernels import ArrayStructure, BufferRef, UnitsStructure, packed, structure
from char_rnn.kernels.fold_additions import with_starts
from char_rnn.kernels.lowering import Elementwise, Lowering

ROWS = 32  # of a block of a packed matrix
_KINDS = {"float64": 0, "float32": 0, "bfloat16": 1, "int8": 2}
OPERATORS = ("one_hot", "product", "normalize", "elementwise", "gelu", "attend", "turn", "log_softmax", "match")

Operation = structure(
    "Operation",
    "operator width columns kind has_start out in_ other extra weights scales number instructions length",
    number=ctypes.c_double,
    **dict.fromkeys(("out", "in_", "other", "extra"), UnitsStructure),
    **dict.fromkeys(("weights", "scales", "instructions"), ctypes.c_void_p),
)
Work = structure(
    "Work",
    "operations length count time symbols rows arrays states tables places",
    **dict.fromkeys(("operations", "symbols", "rows", "arrays", "places"), ctypes.c_void_p),
)


class DecodeGraph:
    """The operations of a network, and copies of what they read; :class:`BoundGraph` applies them to some streams.

    They refer to arrays by number: first the parts of the state, then tables by symbol, then vectors and buffers.

    Args:
        network: The network.
        precision: Precision of the stored matrices.
        prepare: ``elementwise_prepare`` of elementwise.h.

    Attributes:
        weight_bytes: Bytes of the matrices.
        feeding: Number of operations that advance the states. The others compute the scores, and the last one their
            log-probabilities.
        operations: The operations, as in decode.h.
        scores: The scores, and after the last operation their log-probabilities.
        tables: Tables by symbol.
        others: Vectors, and widths of buffers.

    Raises:
        LoweringError: The kernels cannot run the cell.
    """

    def __init__(self, network: Network, precision: Precision, prepare: Callable[[Any, int, int], None]) -> None:
        self._precision, self._prepare = precision, prepare
        self._steps: list[Any] = []
        self._kept: list[Any] = []
        self._buffers: dict[str, int] = {}
        self.others: list[Array | int] = []
        self.weight_bytes = 0
        x = self._layers(network)
        self.feeding = len(self._steps)
        if network.output_norm is not None:
            x = self._normalize(x, network.output_norm, "normed")
        self.scores = self._buffer("scores", network.vocab_size)
        self._product(x, network.output_weight, self.scores, self._vector(network.output_bias))
        self._do("log_softmax", self.scores, network.vocab_size, in_=self.scores)
        self.operations = (Operation * len(self._steps))(*self._steps)

    def __len__(self) -> int:
        return len(self._steps)

    def _layers(self, network: Network) -> BufferRef:
        """Advance all layers; return their output."""
        given = input_tables(network)
        tables = [] if given is None else list(given.values())
        reads_x, parts = given is None or network.layers[0].residual, len(network.cell.state)
        if reads_x and network.embedding is not None:
            tables.append(network.embedding)
        self._states, self.tables = parts + 2, [_copied(table) for table in tables]
        self._ring, self._attending = parts, 0
        x = self._vectors(network) if reads_x else None
        if x is not None and network.matches is not None:
            x = self._match(network.matches, x, BufferRef(parts + 1))
        looked_up = {value: self._table(number) for number, value in enumerate(given or ())}
        for number, layer in enumerate(network.layers):
            x = self._layer(number, layer, x, looked_up if given is not None and number == 0 else None)
        assert x is not None
        if self._attending:
            self._do("turn", x, 1, columns=self._ring_places)
        return x

    def _vectors(self, network: Network) -> BufferRef:
        if network.embedding is not None:
            return self._table(len(self.tables) - 1)
        x = self._buffer("one_hot", network.vocab_size)
        self._do("one_hot", x, network.vocab_size)
        return x

    def _match(self, matches: Matches, x: BufferRef, history: BufferRef) -> BufferRef:
        """Add the vectors of the matches to that of the symbol."""
        tables, lengths = _copied(np.stack(matches.tables)), np.array(matches.lengths, np.int64)
        self._kept += [tables, lengths]
        out = self._buffer("matched", tables.shape[2])
        self._do(
            "match", out, tables.shape[2], in_=x, extra=history, columns=matches.window + 1, kind=len(lengths),
            weights=tables.ctypes.data, scales=lengths.ctypes.data, length=tables.shape[1],
        )  # fmt: skip
        return out

    def _layer(
        self, number: int, layer: Layer, x: BufferRef | None, looked_up: Mapping[Value, BufferRef] | None
    ) -> BufferRef:
        """Advance a layer and its sublayers; return the output."""
        step, hidden = layer.step, layer.step.hidden
        states = [BufferRef(part, number * hidden) for part in range(len(step.state))]
        given = dict(zip(step.loop.states, states, strict=True))
        given.update((value, self._vector(array)) for value, array in constants(layer).items())
        if looked_up is not None:
            given.update(looked_up)
        elif x is not None:
            read = x if layer.norm is None else self._normalize(x, layer.norm, "read")
            given.update((value, read) for value in step.values if value.op == "x")
        # A part of the state that becomes another part is copied first: computed values may be written over it.
        after = [1.0 * value if value in given else value for value in step.after]
        wanted, out = list(zip(after, states, strict=True)), states[0]
        if layer.residual and x is not None:
            before, out = Value("x", hidden), self._buffer("x", hidden)
            given[before] = x
            wanted.append((before + after[0], out))
        self._lower(given, wanted, hidden, layer.parameters)
        if layer.attention is not None:
            out = self._attend(layer.attention, out, hidden)
        return out if layer.feed_forward is None else self._feed_forward(layer.feed_forward, out, hidden)

    def _lower(
        self,
        given: Mapping[Value, BufferRef],
        wanted: list[tuple[Value, BufferRef]],
        hidden: int,
        parameters: Mapping[str, Array] | None = None,
    ) -> None:
        """Compute values from the given ones."""
        room = 0

        def scratch(width: int) -> BufferRef:
            nonlocal room
            room += 1
            return self._buffer(f"scratch {room}", width)

        values = with_starts([value for value, _ in wanted], given)
        stored = list(zip(values, (place for _, place in wanted), strict=True))
        for operation in list(Lowering(ordered(values, given), given, stored, [], hidden, scratch).operations()):
            if isinstance(operation, Elementwise):
                self._elementwise(operation)
            elif operation.value.op == "normalize":
                self._do("normalize", operation.out, operation.value.width, in_=operation.read)
            else:
                assert parameters is not None
                start, width = operation.value.start, operation.value.width
                matrix = parameters[operation.value.name][start : start + width]
                self._product(operation.read, matrix, operation.out, operation.start)

    def _attend(self, attention: Attention, x: BufferRef, hidden: int) -> BufferRef:
        heads, size = attention.heads, hidden // attention.heads
        seen = self._normalize(x, attention.norm, "seen")
        query, asked = self._buffer("query", hidden), self._buffer("asked", heads * hidden)
        self._product(seen, attention.query, query)
        for head in range(heads):
            key = attention.key[head * size : (head + 1) * size].T
            self._product(query.after(head * size), key, asked.after(head * hidden))
        self._ring_places = attention.window + 1
        mean = self._buffer("mean", heads * hidden + self._ring_places)
        ring = BufferRef(self._ring, self._attending * self._ring_places * hidden)
        self._do(
            "attend", mean, hidden, in_=seen, other=asked, extra=ring, columns=self._ring_places, kind=heads,
            number=1 / math.sqrt(size),
        )  # fmt: skip
        self._attending += 1
        for head in range(heads):
            value = attention.value[head * size : (head + 1) * size]
            self._product(mean.after(head * hidden), value, query.after(head * size))
        found = self._buffer("found", hidden)
        self._product(query, attention.output, found)
        return self._add(x, found, hidden)

    def _feed_forward(self, sublayer: FeedForwardWeights, x: BufferRef, hidden: int) -> BufferRef:
        size = len(sublayer.widen)
        seen, wide = self._normalize(x, sublayer.norm, "seen"), self._buffer("wide", size)
        self._product(seen, sublayer.widen, wide, self._vector(sublayer.widen_bias))
        self._do("gelu", wide, size, in_=wide)
        found = self._buffer("found", hidden)
        self._product(wide, sublayer.narrow, found, self._vector(sublayer.narrow_bias))
        return self._add(x, found, hidden)

    def _add(self, x: BufferRef, found: BufferRef, width: int) -> BufferRef:
        left, right, out = Value("x", width), Value("x", width), self._buffer("x", width)
        self._lower({left: x, right: found}, [(left + right, out)], width)
        return out

    def _normalize(self, x: BufferRef, norm: Norm, name: str) -> BufferRef:
        width = len(norm.gain)
        read, gain, bias = Value("x", width), Value("vector", width), Value("vector", width)
        given = {read: x, gain: self._vector(norm.gain), bias: self._vector(norm.bias)}
        out = self._buffer(name, width)
        self._lower(given, [(normalize(read, gain, bias), out)], width)
        return out

    def _product(self, x: BufferRef, matrix: Array, out: BufferRef, start: BufferRef | None = None) -> None:
        numbers, scales = _packed(matrix, self._precision)
        self._kept += [numbers, scales]
        self.weight_bytes += numbers.nbytes
        self._do(
            "product", out, matrix.shape[0], in_=x, columns=matrix.shape[1], kind=_KINDS[self._precision],
            weights=numbers.ctypes.data, scales=None if scales is None else scales.ctypes.data,
            has_start=start is not None, other=start or BufferRef(0),
        )  # fmt: skip

    def _elementwise(self, operation: Elementwise) -> None:
        instructions = packed(operation.instructions)
        self._kept.append(instructions)
        address, length = ctypes.addressof(instructions), len(instructions)
        self._prepare(address, length, operation.width)
        self._do("elementwise", BufferRef(0), operation.width, instructions=address, length=length)

    def _do(self, operator: str, out: BufferRef, width: int, **others: Any) -> None:
        refs = {name: UnitsStructure(*other) for name, other in others.items() if isinstance(other, BufferRef)}
        refs["out"] = UnitsStructure(*out)
        self._steps.append(Operation(operator=OPERATORS.index(operator), width=width, **others | refs))

    def _table(self, number: int) -> BufferRef:
        """Rows of a table."""
        return BufferRef(self._states + number)

    def _vector(self, array: Array) -> BufferRef:
        """A copy of a vector, the same for all streams."""
        self.others.append(_copied(array))
        return self._other(len(self.others) - 1)

    def _buffer(self, name: str, width: int) -> BufferRef:
        """Rows of a buffer, as wide as the widest requested under its name."""
        if name not in self._buffers:
            self._buffers[name] = len(self.others)
            self.others.append(0)
        number = self._buffers[name]
        self.others[number] = max(width, self.others[number])
        return self._other(number)

    def _other(self, number: int) -> BufferRef:
        return BufferRef(self._states + len(self.tables) + number)


class BoundGraph:
    """The operations with the memory of some streams.

    Attributes:
        scores: The scores, or log-probabilities, of the last step, (N, V).
    """

    def __init__(self, graph: DecodeGraph, states: StreamStates) -> None:
        count, dtype = len(states), states.output.dtype
        parts = [part.reshape(count, -1) for part in (*states.cells.values(), states.ring, states.history)]
        others = [aligned((count, other), dtype) if isinstance(other, int) else other for other in graph.others]
        memory = [*parts, *graph.tables, *others]
        self._operations, self._kept = graph.operations, (graph, states, memory)
        self._arrays = (ArrayStructure * len(memory))(*map(_structure, memory))
        self._counts = len(parts), len(graph.tables)
        self._places = states.place.ctypes.data
        self.scores: Array = memory[graph.scores.array]

    def work(self, length: int, count: int, time: int, symbols: int, rows: int) -> Any:
        """A :class:`Work` of the first `length` operations for `count` streams and `time` steps.

        `symbols` is the address of the symbols, (time, N), `rows` that of the streams' numbers, (N,).
        """
        operations, arrays = ctypes.addressof(self._operations), ctypes.addressof(self._arrays)
        return Work(operations, length, count, time, symbols, rows, arrays, *self._counts, self._places)


def _packed(matrix: Array, precision: Precision) -> tuple[npt.NDArray[Any], Array | None]:
    """A matrix (R, C) in blocks of ROWS rows, each block column by column and on a cache line; and its scales."""
    kept, scales = quantize(matrix, precision)
    blocks = -(-len(matrix) // ROWS)
    numbers = aligned((blocks, matrix.shape[1], ROWS), kept.dtype)
    numbers[...] = 0
    for block in range(blocks):
        rows = kept[block * ROWS : (block + 1) * ROWS]
        numbers[block, :, : len(rows)] = rows.T
    return numbers, scales


def _structure(array: Array) -> Any:
    row = array.strides[0] // array.itemsize if array.ndim == 2 else 0
    return ArrayStructure(array.ctypes.data, 0, row, None, 0)


def _copied(array: Array) -> Array:
    copy = aligned(array.shape, array.dtype)
    copy[...] = array
    return copy


def aligned(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """An uninitialized array that begins on a cache line of 64 bytes."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(size + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + size].view(dtype).reshape(shape)
