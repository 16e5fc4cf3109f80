"""The model card: nothing of a model, its text or its run can break the Markdown."""

from __future__ import annotations

import numpy as np
import pytest

from char_rnn.data.vocabulary import Vocabulary
from char_rnn.hub.repository import Words, model_card, shareable
from char_rnn.model_file import ModelFile
from char_rnn.runs.history import History, Measurement
from char_rnn.utils.config import Config
from char_rnn.utils.hub import Address

ADDRESS = Address("anna/rose_1")


def model(**training: object) -> ModelFile:
    config = Config.model_validate({"model": {"type": "gru"}, "generation": {"suggested_primes": ["The ", "A "]}})
    return ModelFile(config, Vocabulary.from_text("a rose\n"), {"w": np.zeros(7, np.float32)}, training)


def test_the_losses_are_those_of_the_models_step() -> None:
    points = {
        "train": [Measurement(10, 0.1, 1, 2.5), Measurement(20, 0.2, 2, 1.5), Measurement(30, 0.3, 3, 0.5)],
        "test": [Measurement(20, 0.2, 2, 1.75)],
    }
    file = model(step=20, epoch=1.25, seconds=90, best_step=20, best_val_loss=1.625, data="rose", characters=1234)
    card = model_card(file, ADDRESS, Words(), History(None, points))  # type: ignore[arg-type]
    table = card[card.index("| text") :].split("\n\n")[0].splitlines()
    assert table == [
        "| text | rose, 1,234 characters |",
        "| vocabulary | 7 characters |",
        "| training | 20 steps, 1.25 epochs, 1.5 minutes |",
        "| training loss | 1.5000 nats per character (2.1640 bits, perplexity 4.482) |",
        "| validation loss | 1.6250 nats per character (2.3444 bits, perplexity 5.078) |",
        "| test loss | 1.7500 nats per character (2.5247 bits, perplexity 5.755) |",
    ]


@pytest.mark.parametrize("name", ["a|b\n| c", "<script>", "`x`", "[a](b)"])
def test_names_are_no_markup(name: str) -> None:
    card = model_card(model(data=name), ADDRESS, Words(license="---\nx: 1"), None)
    row = next(line for line in card.splitlines() if line.startswith("| text"))
    assert row.replace("\\|", "").count("|") == 3
    assert "<script>" not in row.replace("\\<", "")
    assert card.startswith("---\nlibrary_name: char-rnn\n")
    assert "\n# rose\\_1\n" in card


def test_a_sample_stays_in_its_block() -> None:
    card = model_card(model(), ADDRESS, Words(sample="```\n# no title\x1b\n````", prime="it's"), None)
    assert "\n`````text\n```\n# no title\\x1b\n````\n`````\n" in card
    assert "char-rnn sample hf://anna/rose_1 --prime 'it'\"'\"'s'" in card
    assert 'generate("it\'s", length=500' in card


def test_without_facts() -> None:
    card = model_card(model(), ADDRESS, Words(), None)
    assert "| text | unknown |\n| vocabulary | 7 characters |\n\nThe model can repeat" in card


def test_a_huge_loss() -> None:
    assert "| validation loss | 800.0000 nats per character (1154.1560 bits, perplexity inf) |" in model_card(
        model(best_val_loss=800.0), ADDRESS, Words()
    )


def test_primes_are_those_given() -> None:
    assert shareable(model()).config.generation.suggested_primes == []
    assert shareable(model(), ("Roses",)).config.generation.suggested_primes == ["Roses"]
