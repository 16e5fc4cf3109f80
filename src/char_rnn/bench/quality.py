"""Loss after equal time of a recipe of this package and of the bare PyTorch loop.

Both train on the first nine tenths of a text. This package's evaluation, with carried state, scores them on the rest.
The bare loop has the recipe's sizes and learning rate, which stays constant.
"""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from char_rnn.bench.baselines import BareLoop, Shape, as_string, config_of
from char_rnn.bench.suites import ResultTable, Settings
from char_rnn.data.corpus import Corpus, prepare_corpus
from char_rnn.data.dataloader import CharDataset, create_dataloaders
from char_rnn.models import build_model
from char_rnn.training.evaluation import evaluate
from char_rnn.training.run import start_run
from char_rnn.utils.config import Config, compose_config, with_settings

SECONDS, QUICK_SECONDS = 60.0, 10.0
CHARACTERS = 1_000_000  # used of the text
TRAIN, VAL = 0.9, 0.1
NOTE = (
    "Loss in nats per character on the last tenth of the first million characters, each predicted once, with carried "
    "state; one seed. read: characters predicted in training. char-rnn: the recipe quickstart. bare: an LSTM of the "
    "same sizes, and the same learning rate without a schedule. {:g} seconds each; text: {}."
)


def measure(settings: Settings) -> list[ResultTable]:
    """Run the suite."""
    seconds = QUICK_SECONDS if settings.quick else SECONDS
    recipe = compose_config("quickstart")
    batch, length = int(recipe.training.batch_size), recipe.training.seq_length
    shape = Shape("lstm", recipe.model.hidden_size, recipe.model.num_layers, batch, length)
    with TemporaryDirectory() as folder:
        text, cache = Path(folder, "text.txt"), Path(folder, "cache")
        text.write_bytes(as_string(prepare_corpus(settings.text), CHARACTERS).encode())
        corpus = prepare_corpus(text, cache_dir=cache)
        settings.progress(f"training for {seconds:g} s: char-rnn")
        rows = [_recipe(recipe, text, cache, shape, seconds, settings.threads)]
        settings.progress(f"training for {seconds:g} s: the bare loop")
        rows.append(_bare(corpus, shape, recipe.training.learning_rate, seconds))
    return [ResultTable("equal time", rows, NOTE.format(seconds, settings.text))]


def _recipe(recipe: Config, text: Path, cache: Path, shape: Shape, seconds: float, threads: int) -> dict[str, Any]:
    settings = {
        "training.minutes": seconds / 60, "training.eval_interval": 10**6, "data.data_dir": str(text),
        "data.cache_dir": str(cache), "data.train_frac": TRAIN, "data.val_frac": VAL, "logging.sample_length": 0,
        "logging.tensorboard": False, "device.threads": threads,
    }  # fmt: skip
    run = start_run(with_settings(recipe, settings, "bench"), text.parent / "run")
    loss = run.train().best_val_loss
    return _row("char-rnn", run.trainer.model, run.trainer.step, shape, loss)


def _bare(corpus: Corpus, shape: Shape, learning_rate: float, seconds: float) -> dict[str, Any]:
    torch.manual_seed(1)
    loaders = create_dataloaders(CharDataset(corpus, shape.length, TRAIN, VAL), shape.batch)
    loop = BareLoop(shape, corpus.vocabulary.size, learning_rate)
    steps, epoch, end = 0, 0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        loop.state = None
        for x, y in loaders["train"].epoch(epoch):
            loop.step(x, y)
            steps += 1
            if time.perf_counter() >= end:
                break
        epoch += 1
    model = build_model(config_of(shape).model, corpus.vocabulary.size)
    model.load_state_dict(loop.state_dict())
    return _row("bare", model, steps, shape, evaluate(model, corpus.split("val", TRAIN, VAL)).loss)


def _row(side: str, model: torch.nn.Module, steps: int, shape: Shape, loss: float) -> dict[str, Any]:
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return {"side": side, "parameters": parameters, "steps": steps, "read": steps * shape.characters, "loss": loss}
