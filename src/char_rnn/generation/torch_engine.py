"""A PyTorch model as a predictor: for devices other than the CPU, and for a model in training.

Dimensions: N streams, T time, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import torch

from char_rnn.cells import Cell
from char_rnn.generation.engine import Predictions
from char_rnn.models import CharModel
from char_rnn.models.char_model import Hidden, state_parts

_CHUNK = 1024


class TorchEngine:
    """A PyTorch model, ready to predict; it is moved to ``device``, and its mode does not change.

    Its ``forward(x, hidden)`` returns log-probabilities (B, T, V).
    """

    def __init__(self, model: CharModel, device: torch.device | str) -> None:
        self.device = torch.device(device)
        self.model = model.to(self.device)
        self.vocab_size = model.vocab_size
        cell: Cell | None = getattr(model, "cell", None)  # None: a model of the caller's own class
        self.cell: str = type(model).__name__ if cell is None else cell.name
        self.state_names: Sequence[str] = ("h",) if cell is None else cell.state

    def begin(self, count: int = 1) -> TorchStreams:
        """Make ``count`` streams in the zero state."""
        return TorchStreams(self, count)


class TorchStreams:
    """Texts that a model reads, one after the other, so that none depends on the others."""

    def __init__(self, engine: TorchEngine, count: int) -> None:
        self._model, self._device, self._names = engine.model, engine.device, engine.state_names
        self._hidden: list[Hidden] = [self._model.init_hidden(1, self._device) for _ in range(count)]

    def __len__(self) -> int:
        return len(self._hidden)

    def step(self, symbols: npt.ArrayLike, rows: npt.ArrayLike | None = None) -> Predictions:
        """Read one symbol (N,) in each of some streams (``None``: all); return log-probabilities (N, V), in nats."""
        read = np.asarray(symbols, np.int64)[:, None]
        places = range(len(self)) if rows is None else np.asarray(rows, np.intp).tolist()
        return np.stack([self._read(symbol, row) for symbol, row in zip(read, places, strict=True)])

    def feed(self, symbols: npt.ArrayLike, row: int = 0) -> None:
        """Read a text (T,) in one stream, in chunks that limit the memory for log-probabilities."""
        read = np.asarray(symbols, np.int64)
        for start in range(0, len(read), _CHUNK):
            self._read(read[start : start + _CHUNK], row)

    def feed_each(self, texts: Sequence[npt.ArrayLike]) -> None:
        """Read a text (T,) in each of the first streams, one after the other."""
        for row, text in enumerate(texts):
            self.feed(text, row)

    def writer(self, *_: object) -> None:
        """There is no faster way to draw than :meth:`step`."""

    def state(self, row: int = 0) -> Hidden:
        """A stream's state, which is never changed in place."""
        return self._hidden[row]

    def set_state(self, state: Hidden, row: int = 0) -> None:
        """Set a stream's state."""
        self._hidden[row] = state

    def cells(self, row: int = 0) -> dict[str, Predictions]:
        """The parts of the cells' state in a stream, (L, H) each, by name; the first is the layers' output."""
        parts = zip(self._names, state_parts(self._hidden[row]), strict=False)  # attention and matches follow
        return {name: part[:, 0].detach().cpu().float().numpy() for name, part in parts}

    def _read(self, symbols: npt.NDArray[np.int64], row: int) -> Predictions:
        with _evaluating(self._model), torch.inference_mode():
            x = torch.from_numpy(symbols[None]).to(self._device)
            log_probs, self._hidden[row] = self._model(x, self._hidden[row])
            prediction: Predictions = log_probs[0, -1].cpu().double().numpy()
            return prediction


@contextmanager
def _evaluating(model: torch.nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode, and each of its modules back into its own mode afterwards.

    Each step does it, because the caller may train the model between two steps.
    """
    training = [module for module in model.modules() if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True
