"""The tokens of a torch-rnn model as a vocabulary."""

from __future__ import annotations

import re

from char_rnn.data.vocabulary import Vocabulary
from char_rnn.torch7.checkpoints.fields import CheckpointFormatError
from char_rnn.torch7.t7.types import Table

_BYTE = re.compile(rb"\[(1(?:2[89]|[3-9]\d)|2(?:[0-4]\d|5[0-5]))\]")  # [128] to [255]


def read_tokens(idx_to_token: Table) -> Vocabulary:
    """Return the vocabulary of a table token by index, in its order.

    Tokens are characters in UTF-8; with ``preprocess.py --encoding bytes`` they are ASCII characters, and other bytes
    are written as "[195]".

    Raises:
        CheckpointFormatError: they are not numbered from 1 on, or are something else.
    """
    tokens = idx_to_token.array()
    if not tokens or len(tokens) != len(idx_to_token) or not all(isinstance(token, bytes) for token in tokens):
        raise CheckpointFormatError("model.idx_to_token does not give a token to every index from 1 on")
    try:
        if any(_BYTE.fullmatch(token) for token in tokens):
            return Vocabulary("bytes", [_byte(token) for token in tokens])
        return Vocabulary("characters", [ord(token.decode()) for token in tokens])
    except (ValueError, TypeError):
        raise CheckpointFormatError(
            "model.idx_to_token holds tokens that are not single characters, each once"
        ) from None


def _byte(token: bytes) -> int:
    written = _BYTE.fullmatch(token)
    return int(written[1]) if written else ord(token.decode("ascii"))
