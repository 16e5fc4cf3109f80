"""Turns a network into the list of operations that the kernels run (``char_rnn/kernels/decode.h``).

It says step by step what :mod:`char_rnn.generation.reference` says, with places for what comes in between.

Dimensions: V vocabulary, H hidden, W window.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Mapping
from typing import Any

from char_rnn.cells import Value, normalize, ordered
from char_rnn.generation.network import Array, Attention, FeedForward, Layer, Network, Norm, Precision
from char_rnn.generation.operations import OPERATORS, Arrays, Bound, Operation, Packed, Units
from char_rnn.generation.reference import constants, input_tables
from char_rnn.generation.state import States
from char_rnn.kernels.instructions import BufferRef, packed
from char_rnn.kernels.lowering import Elementwise, lower
from char_rnn.kernels.starts import with_starts


class Program:
    """The operations of a network, and what they read; :meth:`bind` makes them of use for some streams.

    It holds copies: the network is not kept.

    Args:
        network: The network.
        precision: What its matrices are kept in.
        prepare: ``elementwise_prepare`` of elementwise.h.

    Raises:
        LoweringError: The kernels cannot run the cell.
    """

    def __init__(self, network: Network, precision: Precision, prepare: Callable[[Any, int, int], None]) -> None:
        self._precision, self._prepare = precision, prepare
        self._steps: list[Any] = []
        self._kept: list[Any] = []
        self.weight_bytes = 0
        """Of the matrices."""
        x = self._layers(network)
        self.feeding = len(self._steps)
        """Operations that advance the states; the others make the scores, and the last log-probabilities of them."""
        if network.output_norm is not None:
            x = self._normalize(x, network.output_norm, "normed")
        self._scores = self._buffer("scores", network.vocab_size)
        self._product(x, network.output_weight, self._scores, self._arrays.vector(network.output_bias))
        self._do("log_softmax", self._scores, network.vocab_size, in_=self._scores)
        self._operations = (Operation * len(self._steps))(*self._steps)

    def __len__(self) -> int:
        return len(self._steps)

    def bind(self, states: States) -> Bound:
        """Give the operations the states that they advance, and room for as many streams."""
        return Bound(self._operations, self._arrays, self._scores, states)

    def _layers(self, network: Network) -> BufferRef:
        """Advance all layers, and return their output."""
        given = input_tables(network)
        tables = [] if given is None else list(given.values())
        reads_x, parts = given is None or network.layers[0].residual, len(network.cell.state)
        if reads_x and network.embedding is not None:
            tables.append(network.embedding)
        self._arrays = Arrays(parts + 1, tables)
        self._buffer, self._ring, self._attending = self._arrays.buffer, parts, 0
        x = self._vectors(network) if reads_x else None
        looked_up = {value: self._arrays.table(number) for number, value in enumerate(given or ())}
        for number, layer in enumerate(network.layers):
            x = self._layer(number, layer, x, looked_up if given is not None and number == 0 else None)
        assert x is not None
        if self._attending:
            self._do("turn", x, 1, columns=self._ring_places)
        return x

    def _vectors(self, network: Network) -> BufferRef:
        if network.embedding is not None:
            return self._arrays.table(len(self._arrays.tables) - 1)
        x = self._buffer("one_hot", network.vocab_size)
        self._do("one_hot", x, network.vocab_size)
        return x

    def _layer(
        self, number: int, layer: Layer, x: BufferRef | None, looked_up: Mapping[Value, BufferRef] | None
    ) -> BufferRef:
        """Advance a layer and what is around it, and return its output."""
        step, hidden = layer.step, layer.step.hidden
        states = [BufferRef(part, number * hidden) for part in range(len(step.state))]
        given = dict(zip(step.loop.states, states, strict=True))
        given.update((value, self._arrays.vector(array)) for value, array in constants(layer).items())
        if looked_up is not None:
            given.update(looked_up)
        elif x is not None:
            read = x if layer.norm is None else self._normalize(x, layer.norm, "read")
            given.update((value, read) for value in step.values if value.op == "x")
        # A part of the state that another one becomes is read before it is written to as what is computed is.
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
        """Compute values from those given."""
        room = 0

        def scratch(width: int) -> BufferRef:
            nonlocal room
            room += 1
            return self._buffer(f"scratch {room}", width)

        values = with_starts([value for value, _ in wanted], given)
        stored = list(zip(values, (place for _, place in wanted), strict=True))
        for operation in lower(ordered(values, given), given, stored, [], hidden, scratch):
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

    def _feed_forward(self, sublayer: FeedForward, x: BufferRef, hidden: int) -> BufferRef:
        size = len(sublayer.widen)
        seen, wide = self._normalize(x, sublayer.norm, "seen"), self._buffer("wide", size)
        self._product(seen, sublayer.widen, wide, self._arrays.vector(sublayer.widen_bias))
        self._do("gelu", wide, size, in_=wide)
        found = self._buffer("found", hidden)
        self._product(wide, sublayer.narrow, found, self._arrays.vector(sublayer.narrow_bias))
        return self._add(x, found, hidden)

    def _add(self, x: BufferRef, found: BufferRef, width: int) -> BufferRef:
        left, right, out = Value("x", width), Value("x", width), self._buffer("x", width)
        self._lower({left: x, right: found}, [(left + right, out)], width)
        return out

    def _normalize(self, x: BufferRef, norm: Norm, name: str) -> BufferRef:
        width = len(norm.gain)
        read, gain, bias = Value("x", width), Value("vector", width), Value("vector", width)
        given = {read: x, gain: self._arrays.vector(norm.gain), bias: self._arrays.vector(norm.bias)}
        out = self._buffer(name, width)
        self._lower(given, [(normalize(read, gain, bias), out)], width)
        return out

    def _product(self, x: BufferRef, matrix: Array, out: BufferRef, start: BufferRef | None = None) -> None:
        made = Packed(matrix, self._precision)
        self._kept.append(made)
        self.weight_bytes += made.numbers.nbytes
        self._do(
            "product", out, made.rows, in_=x, columns=made.columns, kind=made.kind, weights=made.numbers.ctypes.data,
            scales=None if made.scales is None else made.scales.ctypes.data,
            has_start=start is not None, other=start or BufferRef(0),
        )  # fmt: skip

    def _elementwise(self, operation: Elementwise) -> None:
        instructions = packed(operation.instructions)
        self._kept.append(instructions)
        address, length = ctypes.addressof(instructions), len(instructions)
        self._prepare(address, length, operation.width)
        self._do("elementwise", BufferRef(0), operation.width, instructions=address, length=length)

    def _do(self, operator: str, out: BufferRef, width: int, **others: Any) -> None:
        fields = {name: Units(*other) if isinstance(other, BufferRef) else other for name, other in others.items()}
        self._steps.append(Operation(operator=OPERATORS.index(operator), out=Units(*out), width=width, **fields))
