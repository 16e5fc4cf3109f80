"""The ``model`` section of a configuration."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from char_rnn.cells import BUILT_IN, CELLS
from char_rnn.utils.config.section import NameOf, Section, conflict

CellType = Annotated[
    str, NameOf(CELLS, BUILT_IN, "if it is a cell of your own, import the module that defines it first")
]
_WIDTH = 65_536
LARGEST_DEFAULT_EMBEDDING = 512
FOR_TRAINING = frozenset({"dropout", "locked_dropout", "embedding_dropout", "weight_dropout", "initialization"})
"""The keys that matter in training alone: what a trained model computes does not depend on them."""


class ModelConfig(Section):
    """The network."""

    type: CellType = "lstm"
    """Recurrent cell: lstm, gru, rnn (tanh), or one that the importing program defines."""
    hidden_size: int = Field(default=128, ge=1, le=_WIDTH)
    """Units in each recurrent layer."""
    num_layers: int = Field(default=2, ge=1, le=1024)
    """Recurrent layers stacked on each other."""
    dropout: float = Field(default=0.2, ge=0, lt=1)
    """Probability of dropping a unit, between the layers and after the top one; 0 = none."""
    locked_dropout: bool = False
    """Whether dropout drops the same units at every step of a sequence (variational dropout)."""
    embedding_dropout: float = Field(default=0.0, ge=0, lt=1)
    """Probability of dropping a symbol's whole input vector, wherever it stands in the batch; 0 = none."""
    weight_dropout: float = Field(default=0.0, ge=0, lt=1)
    """Probability of dropping a recurrent weight for a whole batch (DropConnect); 0 = none."""
    zoneout: float = Field(default=0.0, ge=0, lt=1)
    """Probability of a unit keeping its state of the step before; 0 = none."""
    embedding: Literal["learned", "one-hot"] = "learned"
    """How a symbol enters the first layer: a learned vector, or the fixed one-hot vector of 2015."""
    embedding_size: int | None = Field(default=None, ge=1, le=_WIDTH)
    """Length of a learned vector; null = the vocabulary's size (a new run: 512 at most), hidden_size when tied."""
    tie_weights: bool = False
    """Whether the embedding is the output projection's matrix too; it is as long as hidden_size then."""
    reset: Literal["after", "before"] = "after"
    """GRU only: the reset gate acts after the recurrent product (PyTorch) or before it (Chung et al. 2014)."""
    mogrifier_rounds: int = Field(default=0, ge=0, le=100)
    """LSTM only: times that input and state gate each other before a step; 0 = none."""
    layer_norm: Literal["none", "between", "cell"] = "none"
    """Layer normalization: of each layer's input and of what leaves the top, or inside the cells (Ba et al. 2016)."""
    residual: bool = False
    """Whether a layer's output is added to its input, where both are equally long."""
    feed_forward_size: int | None = Field(default=None, ge=1, le=_WIDTH)
    """Units of a feed-forward sublayer after each layer; null = none."""
    attention: Literal["none", "top", "all"] = "none"
    """After which recurrent layers a sublayer attends to the past."""
    attention_heads: int = Field(default=1, ge=1, le=_WIDTH)
    """Heads of the attention, a divisor of hidden_size."""
    attention_window: int = Field(default=256, ge=1, le=_WIDTH)
    """Steps before the present one that attention sees, across sequences too."""
    initialization: Literal["pytorch", "uniform", "xavier", "he", "orthogonal"] = "pytorch"
    """Scheme of the starting weights; uniform is 2015's (within 0.08 of 0, LSTM forget bias 1)."""

    def input_size(self, vocab_size: int) -> int:
        """Return the length of the vectors that enter the first layer."""
        return self.embedding_size or (self.hidden_size if self.tie_weights else vocab_size)

    def for_new_run(self, vocab_size: int) -> ModelConfig:
        """Return the section with the embedding's default length written out where the vocabulary is larger.

        Files of 1.0 hold null with vectors as long as a large vocabulary, so null keeps that meaning in what is read.
        """
        chosen = self.embedding_size is not None or self.embedding == "one-hot" or self.tie_weights
        if chosen or vocab_size <= LARGEST_DEFAULT_EMBEDDING:
            return self
        return self.model_copy(update={"embedding_size": LARGEST_DEFAULT_EMBEDDING})

    @model_validator(mode="after")
    def _one_hot_has_no_size(self) -> ModelConfig:
        if self.embedding == "one-hot" and self.embedding_size is not None:
            raise conflict(
                "model.embedding_size is {size}, but one-hot vectors have the vocabulary's size;"
                " set model.embedding_size to null or model.embedding to learned",
                ("model.embedding", "model.embedding_size"),
                size=self.embedding_size,
            )
        return self

    @model_validator(mode="after")
    def _tied_weights_fit(self) -> ModelConfig:
        if self.tie_weights and self.embedding == "one-hot":
            raise conflict(
                "model.tie_weights shares the embedding, but one-hot vectors are not learned;"
                " set model.tie_weights to false or model.embedding to learned",
                ("model.embedding", "model.tie_weights"),
            )
        if self.tie_weights and self.embedding_size not in {None, self.hidden_size}:
            raise conflict(
                "model.embedding_size is {size}, but a tied embedding is as long as model.hidden_size {hidden};"
                " set model.embedding_size to null or model.tie_weights to false",
                ("model.hidden_size", "model.embedding_size", "model.tie_weights"),
                size=self.embedding_size,
                hidden=self.hidden_size,
            )
        return self

    @model_validator(mode="after")
    def _heads_share_the_units(self) -> ModelConfig:
        if self.attention != "none" and self.hidden_size % self.attention_heads:
            raise conflict(
                "model.attention_heads {heads} does not divide model.hidden_size {hidden}; give a divisor of it",
                ("model.hidden_size", "model.attention_heads", "model.attention"),
                heads=self.attention_heads,
                hidden=self.hidden_size,
            )
        return self

    @model_validator(mode="after")
    def _cell_has_a_normalization(self) -> ModelConfig:
        if self.layer_norm == "cell" and not CELLS[self.type].normalization:
            raise conflict(
                "model.layer_norm is cell, but the cell {type} has no normalization inside;"
                " set model.layer_norm to between or none",
                ("model.type", "model.layer_norm"),
                type=self.type,
            )
        return self

    @model_validator(mode="after")
    def _mogrifier_is_an_lstm(self) -> ModelConfig:
        if self.mogrifier_rounds and self.type != "lstm":
            raise conflict(
                "model.mogrifier_rounds is {rounds}, but model.type is {type}, and only an lstm has them;"
                " set model.mogrifier_rounds to 0 or model.type to lstm",
                ("model.type", "model.mogrifier_rounds"),
                rounds=self.mogrifier_rounds,
                type=self.type,
            )
        return self
