"""The tokens of torch-rnn are characters, or bytes."""

from __future__ import annotations

import pytest

from char_rnn.data.vocabulary import Vocabulary
from char_rnn.torch7.checkpoints.fields import CheckpointFormatError
from char_rnn.torch7.checkpoints.torch_rnn import read_tokens
from char_rnn.torch7.t7.values import Table


def idx_to_token(tokens: list[object]) -> Table:
    return Table.of({float(index): token for index, token in enumerate(tokens, 1)})


def test_the_tokens_of_bytes() -> None:
    assert read_tokens(idx_to_token([b"b", b"[195]", b"a", b"[128]", b"[255]", b"["])) == Vocabulary(
        "bytes", [98, 195, 97, 128, 255, 91]
    )
    assert read_tokens(idx_to_token([b"]", b"["])).kind == "characters"


@pytest.mark.parametrize(
    "tokens",
    [[], [b"ab"], [b""], [b"\xff"], [b"a", b"a"], [b"a", 3.0], [b"[127]"], [b"[256]"], [b"[195]", "é".encode()]],
)
def test_tokens_that_are_no_single_characters_are_refused(tokens: list[object]) -> None:
    with pytest.raises(CheckpointFormatError, match="idx_to_token"):
        read_tokens(idx_to_token(tokens))


def test_indices_must_be_without_a_gap() -> None:
    with pytest.raises(CheckpointFormatError, match="token for every index from 1"):
        read_tokens(Table.of({1.0: b"a", 3.0: b"b"}))
