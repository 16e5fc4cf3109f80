"""Texts made on the fly, of any size and always the same."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Literal

import numpy as np

Kind = Literal["ascii", "mixed"]
KINDS: tuple[Kind, ...] = ("ascii", "mixed")
ALPHABETS = ("abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789.,;:!?")
OTHERS = ("абвгдежзийклмнопрстуфхцчшщ", "日本語文字列山川")
REST = 0.05  # of the words in each alphabet but the first
SETTLED = 3  # seconds after which a file just written is no longer read again at every start
WORDS, WORDS_IN_BLOCK, BLOCKS = 20_000, 100_000, 64


def settle() -> None:
    """Wait until texts just written are on the disk, and are no longer taken for files that may still change."""
    if hasattr(os, "sync"):
        os.sync()
    time.sleep(SETTLED)


def write_text(file: Path, size: int, kind: Kind = "ascii") -> int:
    """Write random words to a file.

    Args:
        file: to write.
        size: bytes to write, about; a block of words more at most.
        kind: "mixed" has a tenth of its words in alphabets beyond ASCII.

    Returns:
        The bytes written.
    """
    rng = np.random.default_rng(0)
    words = _words(rng, ALPHABETS + (OTHERS if kind == "mixed" else ()))
    blocks: list[bytes] = []
    written = 0
    with file.open("wb") as out:
        while written < size:
            if len(blocks) < BLOCKS:
                chosen = rng.integers(0, len(words), size=min(WORDS_IN_BLOCK, size // 4))
                blocks.append(" ".join(words[index] for index in chosen).encode() + b"\n")
                written += out.write(blocks[-1])
            else:
                written += out.write(blocks[rng.integers(BLOCKS)])
    return written


def _words(rng: np.random.Generator, alphabets: tuple[str, ...]) -> list[str]:
    weights = [1 - REST * (len(alphabets) - 1), *[REST] * (len(alphabets) - 1)]
    words = []
    for _ in range(WORDS):
        letters = list(alphabets[rng.choice(len(alphabets), p=weights)])
        words.append("".join(rng.choice(letters, size=rng.integers(2, 10))))
    return words
