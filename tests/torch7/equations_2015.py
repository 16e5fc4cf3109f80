"""The models of 2015 as their equations, for one character at a time, in float64.

Dimensions: V vocabulary, H hidden, L layers, T time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

Pair = tuple[np.ndarray, np.ndarray]


def sigmoid(a: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-a))


def log_softmax(scores: np.ndarray) -> np.ndarray:
    shifted = scores - scores.max()
    return shifted - np.log(np.exp(shifted).sum())


def char_rnn(cell: str, linears: list[Pair], sizes: tuple[int, int, int], ids: Iterable[int]) -> np.ndarray:
    """Log-probabilities (T, V) of a char-rnn model; `linears` in the order of the flat vector."""
    vocab_size, hidden_size, num_layers = sizes
    h = [np.zeros(hidden_size) for _ in range(num_layers)]
    c = [np.zeros(hidden_size) for _ in range(num_layers)]
    rows = []
    for index in ids:
        parts = iter(linears)
        x = np.eye(vocab_size)[index]
        for layer in range(num_layers):
            h[layer], c[layer] = _STEPS[cell](parts, x, h[layer], c[layer])
            x = h[layer]
        rows.append(log_softmax(_apply(next(parts), x)))
    return np.array(rows)


def _apply(linear: Pair, x: np.ndarray) -> np.ndarray:
    return linear[0] @ x + linear[1]


def _lstm(parts: Iterator[Pair], x: np.ndarray, h: np.ndarray, c: np.ndarray) -> Pair:
    i, f, o, g = np.split(_apply(next(parts), x) + _apply(next(parts), h), 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def _gru(parts: Iterator[Pair], x: np.ndarray, h: np.ndarray, c: np.ndarray) -> Pair:
    z = sigmoid(_apply(next(parts), x) + _apply(next(parts), h))
    candidate = _apply(next(parts), x)
    r = sigmoid(_apply(next(parts), x) + _apply(next(parts), h))
    n = np.tanh(candidate + _apply(next(parts), r * h))
    return z * n + (1 - z) * h, c


def _rnn(parts: Iterator[Pair], x: np.ndarray, h: np.ndarray, c: np.ndarray) -> Pair:
    return np.tanh(_apply(next(parts), x) + _apply(next(parts), h)), c


_STEPS = {"lstm": _lstm, "gru": _gru, "rnn": _rnn}


def torch_rnn(
    embedding: np.ndarray, modules: list[tuple[str, dict[str, np.ndarray]]], ids: Iterable[int]
) -> np.ndarray:
    """Scores (T, V) of a torch-rnn model: its modules after the embedding by class, each with its fields."""
    hidden: dict[int, Pair] = {}
    rows = []
    modules = [(name, {key: value.astype(np.float64) for key, value in fields.items()}) for name, fields in modules]
    for index in ids:
        x = embedding[index]
        for place, (name, fields) in enumerate(modules):
            if name in ("nn.LSTM", "nn.VanillaRNN"):
                zeros = np.zeros(len(fields["bias"]) // (4 if name == "nn.LSTM" else 1))
                h, c = hidden.get(place, (zeros, zeros))
                total = fields["bias"] + np.concatenate([x, h]) @ fields["weight"]
                if name == "nn.LSTM":
                    i, f, o, g = np.split(total, 4)
                    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
                    x = sigmoid(o) * np.tanh(c)
                else:
                    x = np.tanh(total)
                hidden[place] = x, c
            elif name == "nn.BatchNormalization":
                centred = (x - fields["running_mean"]) / np.sqrt(fields["running_var"] + 1e-5)
                x = centred * fields["weight"] + fields["bias"]
            else:
                x = fields["weight"] @ x + fields["bias"]
        rows.append(x)
    return np.array(rows)
