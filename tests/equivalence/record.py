"""What the exact recipe computes on a text of its own, and the recordings of it that the tests carry with them.

    python tests/equivalence/record.py

writes ``recorded/*.json`` anew. The recipe has been shown equal to the 2015 program on that program's own recordings
(``test_golden_training.py``, ``test_golden_samples.py``), so these stand for it where those are not at hand.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from equivalence_helpers import Watcher, flat_vector, torch7_trainer

from char_rnn import ModelFile, Vocabulary, build_model, prepare_corpus
from char_rnn.torch7 import layout
from char_rnn.torch7.sampling import sample_torch7
from char_rnn.utils.config import Config, compose_config

FOLDER = Path(__file__).parent / "recorded"
TEXT = FOLDER / "text.txt"
COMMON = (
    "training.batch_size=4",
    "training.seq_length=10",
    "training.max_epochs=2",
    "training.learning_rate_decay_after=1",
    "training.eval_interval=20",
    "training.grad_clip=0.5",
    "data.train_frac=0.8",
    "data.val_frac=0.1",
)
CASES = {
    "lstm": ("model.type=lstm", "model.hidden_size=12", "model.num_layers=2"),
    "lstm_dropout": ("model.type=lstm", "model.hidden_size=9", "model.num_layers=1", "model.dropout=0.4"),
    "gru": ("model.type=gru", "model.hidden_size=10", "model.num_layers=2", "training.seed=4294967300"),
    "gru_dropout": ("model.type=gru", "model.hidden_size=8", "model.num_layers=3", "model.dropout=0.25"),
    "rnn": ("model.type=rnn", "model.hidden_size=12", "model.num_layers=2", "training.seed=7"),
}


def config_of(name: str) -> Config:
    """Return the configuration of a recording."""
    return compose_config("torch7", overrides=[*COMMON, *CASES[name]])


def measure(name: str) -> dict[str, Any]:
    """Train one of the cases and return everything that is compared."""
    config, watcher = config_of(name), Watcher()
    corpus = prepare_corpus(TEXT, vocabulary="bytes")
    trainer = torch7_trainer(corpus, config, [watcher])
    initial = flat_vector(trainer.model)
    trainer.train()
    final = watcher.parameters[trainer.step]
    file = model_file(config, corpus.vocabulary, final)
    return {
        "parameters": len(initial),
        "initial": initial[:: len(initial) // 16].tolist(),
        "final": final[:: len(final) // 16].tolist(),
        "losses": watcher.losses,
        "rates": watcher.rates[:: len(watcher.rates) // 4],
        "validation": list(watcher.val.values()),
        "next_words": trainer.rng.words(4).tolist(),
        "log_probs": log_probs(file)[:, ::9].tolist(),
        "samples": samples(file),
    }


def model_file(config: Config, vocabulary: Vocabulary, parameters: np.ndarray) -> ModelFile:
    """Return a model of 2015's flat vector."""
    sizes = config.model.type, vocabulary.size, config.model.hidden_size, config.model.num_layers
    return ModelFile(config, vocabulary, layout.to_tensors(*sizes, parameters))


def log_probs(file: ModelFile, text: bytes = b"The clock ") -> np.ndarray:
    """Return what the model makes of a text, (T, V), in float64."""
    model = build_model(file.config.model, file.vocabulary.size, file.tensors, dtype=torch.float64).eval()
    ids = torch.from_numpy(file.vocabulary.encode(text).astype(np.int64))
    with torch.no_grad():
        values: np.ndarray = model(ids[None])[0][0].numpy()
    return values


def samples(file: ModelFile) -> dict[str, str]:
    """Return texts that the model writes as ``sample.lua`` would; bytes as latin-1."""
    settings: dict[str, dict[str, Any]] = {
        "seed 1": {"seed": 1, "temperature": 1.0},
        "seed 123, temperature 0.5, prime": {"seed": 123, "temperature": 0.5, "prime": b"The caf\xc3\xa9 "},
        "argmax": {"seed": 1, "argmax": True, "prime": b"tick, "},
    }
    return {
        name: b"".join(sample_torch7(file, length=60, **options)).decode("latin-1")
        for name, options in settings.items()
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in CASES:
        (FOLDER / f"{name}.json").write_text(json.dumps(measure(name), indent=1) + "\n", encoding="utf-8")
