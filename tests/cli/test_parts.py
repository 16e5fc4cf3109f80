"""A model with every part, from the shell: trained, sampled, evaluated, described."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from cli_helpers import SMALL, Command

from char_rnn import TextGenerator
from char_rnn.api import sampler_of
from char_rnn.data.vocabulary import Vocabulary
from char_rnn.model_file import ModelFile
from char_rnn.models import build_model
from char_rnn.utils.config import Config
from char_rnn.utils.config.schema import GenerationConfig

PARTS = {
    "locked_dropout": "true", "dropout": 0.1, "embedding_dropout": 0.1, "weight_dropout": 0.1, "zoneout": 0.1,
    "tie_weights": "true", "residual": "true", "feed_forward_size": 9, "attention": "top", "attention_heads": 2,
    "attention_window": 7, "match_lengths": "[3,1]", "match_window": 50, "match_dropout": 0.1,
}  # fmt: skip


@pytest.mark.parametrize(
    "own",
    [
        {"type": "lstm", "layer_norm": "cell", "mogrifier_rounds": 2},
        {"type": "gru", "reset": "before", "layer_norm": "cell"},
        {"type": "mingru", "layer_norm": "between"},
    ],
    ids=lambda own: " ".join(map(str, own.values())),
)
def test_every_part_is_trained_sampled_and_evaluated(
    char_rnn: Command, poem: Path, tmp_path: Path, own: dict[str, object]
) -> None:
    parts = [word for key, value in {**PARTS, **own}.items() for word in ("--set", f"model.{key}={value}")]
    others = ["training.max_steps=12", "data.train_frac=0.8", "data.val_frac=0.1", f"data.cache_dir={tmp_path / 'c'}"]
    sets = [word for other in others for word in ("--set", other)]
    run = tmp_path / "run"
    assert char_rnn("train", poem, "--out", run, *SMALL, *parts, *sets, "--quiet").status == 0

    sampled = [char_rnn("sample", run, "--length", 60, "--seed", 3, "--quiet") for _ in range(2)]
    assert sampled[0].out == sampled[1].out
    assert len(sampled[0].out) == 61

    figures = json.loads(char_rnn("eval", run, poem, "--split", "val", "--json").out)
    recorded = ModelFile.read(run).training["best_val_loss"]
    assert figures["nats_per_character"] == pytest.approx(recorded, abs=1e-6)

    described = char_rnn("inspect", run).out
    assert "attention after the top layer (2 x 7 steps), matches of 3, 1 symbols within 50" in described
    assert "feed-forward 9, residual, tie weights" in described
    assert re.search(r"blocks\.0\.attention\.query\.weight +8x8\n", described)


@pytest.mark.parametrize(
    ("characters", "line_end"), [("ab\n", "\n"), ("ab\r", "\r"), ("ab\u2028", "\u2028"), ("ab, ", "")]
)
def test_the_sample_of_a_training_begins_a_paragraph(characters: str, line_end: str) -> None:
    vocabulary = Vocabulary.from_text(characters)
    config = Config.model_validate({"model": {"hidden_size": 6, "num_layers": 1}})
    model = build_model(config.model, vocabulary.size)
    generator = TextGenerator(model, vocabulary)
    for given, read in (("", 2 * line_end), ("\n", line_end), ("a", "a")):
        config = config.model_copy(update={"generation": GenerationConfig(prime=given, seed=4)})
        expected = generator.generate(read, 20, seed=4, top_p=0.9)
        assert sampler_of(config, 20)(model, vocabulary) == (expected if given else expected.removeprefix(read))


def test_a_head_too_many_is_one_line(char_rnn: Command, poem: Path) -> None:
    done = char_rnn("train", poem, "--set", "model.attention=top", "--set", "model.attention_heads=3")
    assert (done.status, done.out) == (2, "")
    assert "model.attention_heads 3 does not divide model.hidden_size 128; give a divisor of it" in done.err
