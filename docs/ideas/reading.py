"""A trained model and held-out text, the input of every drawing.

Dimensions: N characters.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from char_rnn import Corpus, ModelFile, build_model, prepare_corpus
from char_rnn.models import CharModel

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Subject:
    """A model and its text.

    Attributes:
        file: The model.
        corpus: What it was trained on a part of, in its vocabulary.
    """

    file: ModelFile
    corpus: Corpus

    @classmethod
    def of(cls, model: str | Path, text: str | None = None) -> Subject:
        """Open a model, and the text of this name or file (default: the model's training text)."""
        file = ModelFile.read(model)
        return cls(file, prepare_corpus(text or file.config.data.data_dir, vocabulary=file.vocabulary))

    @property
    def trained_on(self) -> npt.NDArray[Any]:
        """The training split, (N,)."""
        return np.asarray(self.corpus.ids[: self._end])

    def held_out(self, most: int) -> Ids:
        """The first characters after the training split, (N,) with N at most ``most``."""
        return np.asarray(self.corpus.ids[self._end : self._end + most], np.int64)

    def module(self) -> CharModel:
        """The model in PyTorch, in evaluation mode."""
        return build_model(self.file.config.model, self.file.vocabulary.size, self.file.tensors).eval()

    @property
    def _end(self) -> int:
        return len(self.corpus.split("train", self.file.config.data.train_frac, 0.0))
