"""Turns a network into the list of operations that the kernels run (``char_rnn/kernels/decode.h``).

It says step by step what :mod:`char_rnn.generation.reference` says, with places for what comes in between.

Dimensions: N streams, V vocabulary, G gates, H hidden, W window.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from char_rnn.generation.network import Array, Attention, FeedForward, Layer, Named, Network, Norm, Precision
from char_rnn.generation.operations import Bound, Packed, Place
from char_rnn.generation.reference import input_tables
from char_rnn.generation.state import States


class Program:
    """The operations of a network, and what they read; :meth:`bind` makes them of use for some streams.

    It holds copies: the network is not kept.
    """

    def __init__(self, network: Network, precision: Precision) -> None:
        self._network = network
        self._precision = precision
        self._steps: list[dict[str, Any]] = []
        self._widths: dict[str, int] = {}
        self._attending = 0
        x = self._recurrent_layers()
        self.feeding = len(self._steps)
        """Operations that advance the states; the others make the scores, and the last log-probabilities of them."""
        if network.output_norm is not None:
            x = self._normalize(x, network.output_norm, self._place("normed", network.hidden_size))
        self._product(x, network.output_weight, self._place("scores", network.vocab_size), network.output_bias)
        self._do("log_softmax", Place("scores"), network.vocab_size, in_=Place("scores"))
        self.weight_bytes = sum(step["matrix"].numbers.nbytes for step in self._steps if "matrix" in step)
        del self._network

    def __len__(self) -> int:
        return len(self._steps)

    def bind(self, states: States, count: int) -> Bound:
        """Give the operations room for `count` streams that step at a time, and the states they advance."""
        return Bound(self._steps, self._widths, states, count)

    def _recurrent_layers(self) -> Place:
        network, tables = self._network, input_tables(self._network)
        table = None if tables is None else next(iter(tables.values()))
        x = self._place("x", network.hidden_size)
        for number, layer in enumerate(network.layers):
            looks_up = table is not None and number == 0
            if number == 0 and (not looks_up or layer.residual):
                width = network.vocab_size if network.embedding is None else network.embedding.shape[1]
                x = self._place("embedded", width)
                self._do("look_up", x, width, table=network.embedding)
            if looks_up and table is not None:
                arguments = self._place("arguments", table.shape[1])
                self._do("look_up", arguments, table.shape[1], table=table)
                h = self._recur(layer, number, None, arguments)
            else:
                h = self._recur(layer, number, x, None)
            x = self._around(layer, x, h)
        if self._attending:
            self._do("turn", x, 1, columns=self._ring_places)
        return x

    def _recur(self, layer: Layer, number: int, x: Place | None, arguments: Place | None) -> Place:
        network, hidden = self._network, self._network.hidden_size
        h = read_h = Place("h", number * hidden)
        named = Named.of(network.cell, layer)
        if x is not None:
            width = named.weight_ih.shape[1]
            read = x if layer.norm is None else self._normalize(x, layer.norm, self._place(f"read_{width}", width))
            for index, matrix in enumerate(named.mogrifier):
                if index % 2 == 0:
                    read = self._gate(matrix, read_h, read, f"gated_{width}_x")
                else:
                    read_h = self._gate(matrix, read, read_h, "gated_h")
            arguments = self._input_arguments(named, read)
        assert arguments is not None
        new_h = h if network.update == 1 else self._place("new_h", hidden)
        if named.kind == "lstm":
            self._lstm(named, arguments, read_h, Place("c", number * hidden), new_h)
        elif named.kind == "rnn":
            self._rnn(named, arguments, read_h, new_h)
        else:
            self._gru(named, arguments, read_h, h, new_h)
        if network.update != 1:
            self._do("update", h, hidden, in_=new_h, number=network.update)
        return h

    def _gate(self, matrix: Array, of: Place, gated: Place, name: str) -> Place:
        """A round of the mogrifier."""
        out = self._place(name, len(matrix))
        factor = self._place(f"factor_{len(matrix)}", len(matrix))
        self._product(of, matrix, factor)
        self._do("gate", out, len(matrix), in_=factor, other=gated)
        return out

    def _input_arguments(self, layer: Named, read: Place) -> Place:
        cell, hidden, gain = layer.kind, self._network.hidden_size, layer.gains.get("gain_ih")
        arguments = self._place("arguments", len(layer.weight_ih))
        bias = layer.bias_ih + layer.bias_hh
        if cell == "gru_after":
            bias[2 * hidden :] = layer.bias_ih[2 * hidden :]
        if not layer.gains:
            self._product(read, layer.weight_ih, arguments, bias)
            return arguments
        self._product(read, layer.weight_ih, arguments)
        if cell == "lstm" and gain is not None:
            self._normalize(arguments, Norm(gain, bias), arguments)
        elif gain is not None:
            rz, n = slice(2 * hidden), slice(2 * hidden, None)
            self._normalize(arguments, Norm(gain[rz], bias[rz]), arguments)
            self._normalize(arguments + 2 * hidden, Norm(gain[n], bias[n]), arguments + 2 * hidden)
        return arguments

    def _add_product(self, read: Place, matrix: Array, gain: Array | None, out: Place) -> None:
        """Add a product, normalized where there is a gain."""
        if gain is None:
            self._product(read, matrix, out, accumulates=True)
        else:
            rows = self._place("rows", len(matrix))
            self._product(read, matrix, rows)
            self._do("normalize", out, len(matrix), in_=rows, scales=gain, accumulates=True)

    def _lstm(self, layer: Named, arguments: Place, read_h: Place, c: Place, new_h: Place) -> None:
        hidden, update = self._network.hidden_size, self._network.update
        self._add_product(read_h, layer.weight_hh, layer.gains.get("gain_hh"), arguments)
        new_c = c if update == 1 else self._place("new_c", hidden)
        self._do("lstm_cell", new_c, hidden, in_=arguments, other=c)
        shown = new_c
        if layer.gains:
            norm = Norm(layer.gains["gain_c"], layer.gains["bias_c"])
            shown = self._normalize(new_c, norm, self._place("shown", hidden))
        self._do("lstm_output", new_h, hidden, in_=arguments, other=shown)
        if update != 1:
            self._do("update", c, hidden, in_=new_c, number=update)

    def _rnn(self, layer: Named, arguments: Place, read_h: Place, new_h: Place) -> None:
        hidden = self._network.hidden_size
        self._product(read_h, layer.weight_hh, arguments, accumulates=True)
        if layer.gains:
            self._normalize(arguments, Norm(layer.gains["gain"], layer.bias_ih + layer.bias_hh), arguments)
        self._do("tanh", new_h, hidden, in_=arguments)

    def _gru(self, layer: Named, arguments: Place, read_h: Place, h: Place, new_h: Place) -> None:
        hidden, gain, bias_n = self._network.hidden_size, layer.gains.get("gain_hh"), layer.bias_hh[2 * self._hidden :]
        rz, n = layer.weight_hh[: 2 * hidden], layer.weight_hh[2 * hidden :]
        gain_n = None if gain is None else gain[2 * hidden :]
        self._add_product(read_h, rz, None if gain is None else gain[: 2 * hidden], arguments)
        self._do("sigmoid", arguments, 2 * hidden, in_=arguments)
        candidate, after = self._place("candidate", hidden), layer.kind == "gru_after"
        if not after:
            read_h = self._place("reset_h", hidden)
            self._do("multiply", read_h, hidden, in_=arguments, other=h)
        self._product(read_h, n, candidate, bias_n if after and gain_n is None else None)
        if gain_n is not None:
            self._do("normalize", candidate, hidden, in_=candidate, scales=gain_n, bias=bias_n if after else None)
        self._do("gru_output", new_h, hidden, in_=arguments, other=candidate, extra=h, accumulates=after)

    def _around(self, layer: Layer, x: Place, h: Place) -> Place:
        """The residual connection and the sublayers; return what the block puts out."""
        hidden = self._network.hidden_size
        if not (layer.residual or layer.attention or layer.feed_forward):
            return h
        out = self._place("x", hidden)
        if layer.residual:
            self._do("add", out, hidden, in_=x, other=h)
            h = out
        if layer.attention is not None:
            h = self._attend(layer.attention, h, out)
        if layer.feed_forward is not None:
            h = self._feed_forward(layer.feed_forward, h, out)
        return h

    def _attend(self, attention: Attention, x: Place, out: Place) -> Place:
        hidden, heads = self._network.hidden_size, attention.heads
        size = hidden // heads
        seen = self._normalize(x, attention.norm, self._place("seen", hidden))
        query, asked = self._place("query", hidden), self._place("asked", heads * hidden)
        self._product(seen, attention.query, query)
        for head in range(heads):
            key = attention.key[head * size : (head + 1) * size].T
            self._product(query + head * size, key, asked + head * hidden)
        self._ring_places = attention.window + 1
        mean = self._place("mean", heads * hidden + self._ring_places)
        ring = Place("ring", self._attending * self._ring_places * hidden)
        self._do(
            "attend", mean, hidden, in_=seen, other=asked, extra=ring, columns=self._ring_places, kind=heads,
            number=1 / math.sqrt(size),
        )  # fmt: skip
        self._attending += 1
        for head in range(heads):
            value = attention.value[head * size : (head + 1) * size]
            self._product(mean + head * hidden, value, query + head * size)
        found = self._place("found", hidden)
        self._product(query, attention.output, found)
        self._do("add", out, hidden, in_=x, other=found)
        return out

    def _feed_forward(self, sublayer: FeedForward, x: Place, out: Place) -> Place:
        hidden, size = self._network.hidden_size, len(sublayer.widen)
        seen, wide = self._normalize(x, sublayer.norm, self._place("seen", hidden)), self._place("wide", size)
        self._product(seen, sublayer.widen, wide, sublayer.widen_bias)
        self._do("gelu", wide, size, in_=wide)
        found = self._place("found", hidden)
        self._product(wide, sublayer.narrow, found, sublayer.narrow_bias)
        self._do("add", out, hidden, in_=x, other=found)
        return out

    @property
    def _hidden(self) -> int:
        return self._network.hidden_size

    def _normalize(self, x: Place, norm: Norm, out: Place) -> Place:
        self._do("normalize", out, len(norm.gain), in_=x, scales=norm.gain, bias=norm.bias)
        return out

    def _product(
        self, x: Place, matrix: Array, out: Place, bias: Array | None = None, *, accumulates: bool = False
    ) -> None:
        packed = Packed(matrix, self._precision)
        self._do("product", out, packed.rows, in_=x, matrix=packed, bias=bias, accumulates=accumulates)

    def _place(self, name: str, width: int) -> Place:
        self._widths[name] = max(width, self._widths.get(name, 0))
        return Place(name)

    def _do(self, operator: str, out: Place, width: int, **others: Any) -> None:
        copies = {name: np.array(own, order="C") for name, own in others.items() if isinstance(own, np.ndarray)}
        self._steps.append({"operator": operator, "out": out, "width": width, **others, **copies})
