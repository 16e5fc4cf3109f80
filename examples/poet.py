"""Writes with a mixture of two models; `--dial` sets the weight of the second.

    python examples/poet.py
    python examples/poet.py letters.txt recipes.txt --dial 0.3 --prime "My dear "

Two models, one trained on each text, predict the next character; it is drawn from a mixture of their predictions. At 0
the first model writes alone, at 1 the second. Without texts, one model is trained on the source of Python's standard
library and the other on the language's manual.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from pydoc_data.topics import topics  # the manual that Python's `help` prints
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

import char_rnn
from char_rnn.data.vocabulary import Vocabulary
from char_rnn.generation.engine import Engine

Floats = NDArray[np.float64]
CHARACTERS = 400_000  # of each text


class Voice:
    """A model that reads the common text and predicts over a common alphabet."""

    def __init__(self, model: Path, alphabet: str) -> None:
        file = char_rnn.ModelFile.read(model / "best.safetensors")
        self.places = {character: place for place, character in enumerate(letters(file.vocabulary))}
        self.shared = [(alphabet.index(character), place) for character, place in self.places.items()]
        self.streams = Engine(file.config.model, file.tensors).begin()
        self.expected: Floats = np.full(len(alphabet), 1 / len(alphabet))

    def read(self, character: str) -> None:
        """Read a character and predict the next; ignore characters that the model does not know."""
        if character in self.places:
            log_probs = self.streams.step(np.array([self.places[character]]))[0]
            to, of = np.array(self.shared).T
            self.expected = np.zeros_like(self.expected)
            self.expected[to] = np.exp(log_probs[of].astype(np.float64))


def letters(vocabulary: Vocabulary) -> str:
    """Return the characters of a vocabulary in their order."""
    return vocabulary.decode(np.arange(vocabulary.size))


def write(voices: list[Voice], alphabet: str, dial: float, prime: str, length: int, seed: int) -> Iterator[str]:
    """Yield characters, each drawn from the mixture of two models and read by both."""
    rng = np.random.default_rng(seed)
    for character in prime:
        for voice in voices:
            voice.read(character)
    for _ in range(length):
        mixed = ((1 - dial) * voices[0].expected + dial * voices[1].expected) ** (1 / 0.7)  # temperature 0.7
        character = alphabet[int(rng.choice(len(alphabet), p=mixed / mixed.sum()))]
        for voice in voices:
            voice.read(character)
        yield character


def opening(source: str | Path) -> str:
    """Return the beginning of a text."""
    corpus = char_rnn.prepare_corpus(source)
    return corpus.vocabulary.decode(np.asarray(corpus.ids[:CHARACTERS]))


def learnt(name: str, text: str, folder: Path, minutes: float) -> Path:
    """Train a model; return its run folder."""
    print(f"training on {name}", file=sys.stderr)
    path = folder / f"{name}.txt"
    path.write_text(text, encoding="utf-8")
    settings = {"device.threads": 1, "logging.sample_length": 0}
    return char_rnn.train(path, folder / name, recipe="quickstart", minutes=minutes, settings=settings).folder


def main() -> None:
    """Train two models, then write a text for each dial value."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("texts", nargs="*", type=Path, help="two texts; --dial 0 is the first")
    options.add_argument("--dial", type=float, nargs="+", default=[0.0, 0.25, 0.5, 0.75, 1.0])
    options.add_argument("--minutes", type=float, default=0.75, help="minutes of training for each model")
    options.add_argument("--prime", default="The ")
    options.add_argument("--length", type=int, default=300)
    options.add_argument("--seed", type=int, default=1)
    arguments = options.parse_args()
    if len(arguments.texts) not in (0, 2):
        options.error("give two texts, or none")
    for text in arguments.texts:
        if not text.is_file():
            options.error(f"{text}: no such file")
    if not all(0 <= dial <= 1 for dial in arguments.dial):
        options.error("--dial: must be from 0 to 1")
    if arguments.texts:
        texts = {f"voice{place}": opening(text) for place, text in enumerate(arguments.texts)}
    else:
        texts = {"code": opening("python-stdlib"), "manual": "\n".join(topics.values())[:CHARACTERS]}
    alphabet = "".join(sorted(set("".join(texts.values()))))
    with TemporaryDirectory() as folder:
        models = [learnt(name, text, Path(folder), arguments.minutes) for name, text in texts.items()]
        for dial in arguments.dial:
            voices = [Voice(model, alphabet) for model in models]
            written = write(voices, alphabet, dial, arguments.prime, arguments.length, arguments.seed)
            print(f"--- {dial:g} ---\n{arguments.prime}{''.join(written)}\n")


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError) as error:  # a text that is too short, a model of another kind, ...
        sys.exit(str(error))
