"""The files of a repository on the Hub: the model, its configuration and its card."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

from char_rnn.generation.text_generator import TextGenerator
from char_rnn.hub.card import README, Words, model_card
from char_rnn.model_file import ModelFile
from char_rnn.runs import METRICS
from char_rnn.runs.history import read_history
from char_rnn.sampling.options import Strategy
from char_rnn.utils.hub import MODEL, Address
from char_rnn.utils.model_files import write_configuration

SAMPLE_LENGTH, SEED = 600, 1


def shareable(file: ModelFile, primes: tuple[str, ...] = ()) -> ModelFile:
    """Return a model without paths, and with these suggested primes: its own are words of the training text."""
    config = file.config.changed(generation={"suggested_primes": list(primes)})
    return replace(file, config=config).without_paths()


def write_repository(file: ModelFile, folder: Path, address: Address, words: Words, run: Path) -> None:
    """Write the files of a model into a folder; if a text of it cannot be made, none.

    Args:
        file: The model, as `shareable` returns it.
        folder: A folder, which is made if there is none.
        address: Address of the repository.
        words: Texts about the model; the sample is written here.
        run: The run folder, if it is one, with the losses.
    """
    history = read_history(run) if (run / METRICS).is_file() else None
    card = model_card(file, address, replace(words, sample=_sample(file, words.prime)), history)
    folder.mkdir(parents=True, exist_ok=True)
    file.write(folder / MODEL)
    write_configuration(folder, file.config.model_dump(mode="json"))
    (folder / README).write_text(card, encoding="utf-8", newline="\n")


def _sample(file: ModelFile, prime: str) -> str:
    """Return a text of the model with its own settings, which ends with a line if it has several."""
    opening, strategy = prime or 2 * (file.vocabulary.line_end or ""), Strategy.of(file.config.generation)
    text = TextGenerator.load(file).generate(opening, SAMPLE_LENGTH, seed=SEED, **asdict(strategy))
    lines = text.strip("\r\n").splitlines()
    return "\n".join(lines[:-1] if len(lines) > 2 else lines)
