"""The ``model`` section of a configuration."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from char_rnn.cells import BUILT_IN, CELLS
from char_rnn.utils.config.fields import Conflict, NameOf, Section

CellType = Annotated[str, NameOf(CELLS, BUILT_IN, "to use a cell of your own, import its module first")]
_WIDTH = 65_536
LARGEST_DEFAULT_EMBEDDING = 512
FOR_TRAINING = frozenset(
    {"dropout", "locked_dropout", "embedding_dropout", "weight_dropout", "match_dropout", "initialization"}
)
"""Keys that affect training only, not the predictions of a trained model."""


class ModelConfig(Section):
    """The model's architecture."""

    type: CellType = "lstm"
    """Recurrent cell: lstm, gru, rnn (tanh), slstm, mingru, minlstm, or a cell that your program defines."""
    hidden_size: int = Field(default=128, ge=1, le=_WIDTH)
    """Number of units in each recurrent layer."""
    num_layers: int = Field(default=2, ge=1, le=1024)
    """Number of recurrent layers."""
    dropout: float = Field(default=0.2, ge=0, lt=1)
    """Dropout probability between the layers and after the top layer; 0 = none."""
    locked_dropout: bool = False
    """Drop the same units at every step of a sequence (variational dropout)."""
    embedding_dropout: float = Field(default=0.0, ge=0, lt=1)
    """Probability of dropping a symbol's input vector at all its positions in the batch; 0 = none."""
    weight_dropout: float = Field(default=0.0, ge=0, lt=1)
    """Probability of dropping a recurrent weight (of mingru, minlstm: an input weight) for one batch; 0 = none."""
    zoneout: float = Field(default=0.0, ge=0, lt=1)
    """Probability that a unit keeps its state from the previous step; 0 = none."""
    embedding: Literal["learned", "one-hot"] = "learned"
    """Input of the first layer: a learned vector for each symbol, or the one-hot vector of 2015."""
    embedding_size: int | None = Field(default=None, ge=1, le=_WIDTH)
    """Length of a learned vector; null = the vocabulary size (at most 512 in new runs), or hidden_size if tied."""
    tie_weights: bool = False
    """Use one matrix for the embedding and the output projection; embedding_size is then hidden_size."""
    reset: Literal["after", "before"] = "after"
    """Reset gate of a GRU: after the recurrent product (PyTorch), or before it (Chung et al. 2014)."""
    mogrifier_rounds: int = Field(default=0, ge=0, le=100)
    """Number of mogrifier rounds of an LSTM, in which input and state gate each other; 0 = none."""
    layer_norm: Literal["none", "between", "cell"] = "none"
    """Layer normalization (Ba et al. 2016): between the layers and after the top layer, or inside the cells."""
    residual: bool = False
    """Add a layer's input to its output, where both have the same size."""
    feed_forward_size: int | None = Field(default=None, ge=1, le=_WIDTH)
    """Number of units of the feed-forward block after each layer; null = none."""
    attention: Literal["none", "top", "all"] = "none"
    """Recurrent layers that an attention block follows."""
    attention_heads: int = Field(default=1, ge=1, le=_WIDTH)
    """Number of attention heads; must divide hidden_size."""
    attention_window: int = Field(default=256, ge=1, le=_WIDTH)
    """Number of past steps that attention sees, also from earlier sequences."""
    match_lengths: list[Annotated[int, Field(ge=1, le=64)]] = Field(
        default=[],
        max_length=8,
        strict=False,  # a tuple too
        json_schema_extra={"allowed": "a list of at most 8 whole numbers from 1 to 64"},
    )
    """Lengths of matches: where the last n symbols occurred before, the symbol that followed is an input; [] = none."""
    match_window: int = Field(default=16_384, ge=1, le=_WIDTH)
    """Number of past symbols searched for matches, also from earlier sequences."""
    match_dropout: float = Field(default=0.0, ge=0, lt=1)
    """Probability that a training sequence has no matches, so that the model also learns without them; 0 = none."""
    initialization: Literal["pytorch", "uniform", "xavier", "he", "orthogonal"] = "pytorch"
    """Initialization of the weights; uniform is that of 2015 (from -0.08 to 0.08, LSTM forget bias 1)."""

    def input_size(self, vocab_size: int) -> int:
        """Return the length of the first layer's input vectors."""
        return self.embedding_size or (self.hidden_size if self.tie_weights else vocab_size)

    def for_new_run(self, vocab_size: int) -> ModelConfig:
        """Return the section for a new run, whose embedding is at most ``LARGEST_DEFAULT_EMBEDDING`` long by default.

        In files of 1.0 null means the size of the vocabulary, also a large one, so null keeps that meaning.
        """
        chosen = self.embedding_size is not None or self.embedding == "one-hot" or self.tie_weights
        if chosen or vocab_size <= LARGEST_DEFAULT_EMBEDDING:
            return self
        return self.model_copy(update={"embedding_size": LARGEST_DEFAULT_EMBEDDING})

    def _conflicts(self) -> Iterator[Conflict]:
        if self.embedding == "one-hot" and self.embedding_size is not None:
            yield (
                f"model.embedding_size is {self.embedding_size}, but one-hot vectors have the vocabulary's size;"
                " set model.embedding_size to null or model.embedding to learned",
                ("model.embedding", "model.embedding_size"),
            )
        if self.tie_weights and self.embedding == "one-hot":
            yield (
                "model.tie_weights shares the embedding, but one-hot vectors are not learned;"
                " set model.tie_weights to false or model.embedding to learned",
                ("model.embedding", "model.tie_weights"),
            )
        if self.tie_weights and self.embedding_size not in {None, self.hidden_size}:
            yield (
                f"model.embedding_size is {self.embedding_size}, but a tied embedding has the size of"
                f" model.hidden_size, {self.hidden_size}; set model.embedding_size to null or model.tie_weights"
                " to false",
                ("model.hidden_size", "model.embedding_size", "model.tie_weights"),
            )
        if self.attention != "none" and self.hidden_size % self.attention_heads:
            yield (
                f"model.attention_heads {self.attention_heads} does not divide model.hidden_size {self.hidden_size};"
                " give a divisor of it",
                ("model.hidden_size", "model.attention_heads", "model.attention"),
            )
        if max(self.match_lengths, default=0) > self.match_window:
            yield (
                f"model.match_lengths has {max(self.match_lengths)}, more than model.match_window {self.match_window};"
                " lower it, or give a longer window",
                ("model.match_lengths", "model.match_window"),
            )
        if self.layer_norm == "cell" and self.type in CELLS and not CELLS[self.type].normalization:
            yield (
                f"model.layer_norm is cell, but the cell {self.type} has no normalization;"
                " set model.layer_norm to between or none",
                ("model.type", "model.layer_norm"),
            )
        if self.mogrifier_rounds and self.type != "lstm":
            yield (
                f"model.mogrifier_rounds is {self.mogrifier_rounds}, but model.type is {self.type}, and only lstm has"
                " mogrifier rounds; set model.mogrifier_rounds to 0 or model.type to lstm",
                ("model.type", "model.mogrifier_rounds"),
            )
