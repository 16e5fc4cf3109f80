"""What is learnt in equal time: a recipe of this package, the bare PyTorch loop and the specification's sketch.

All read the first nine tenths of a text and are scored alike, by this package's evaluation with carried state, on the
rest. The bare loop has the sizes of the recipe and its learning rate, constant; the sketch has its own defaults.
"""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from char_rnn.bench.questions import QUESTIONS, Settings
from char_rnn.bench.report import Report, Table
from char_rnn.bench.sketch import Sketch
from char_rnn.bench.training_sides import BareLoop, Shape, as_string, config_of
from char_rnn.data.corpus import Corpus, prepare_corpus
from char_rnn.data.dataloader import CharDataset, create_dataloaders
from char_rnn.models import build_model
from char_rnn.training.evaluation import evaluate
from char_rnn.training.run import start_run
from char_rnn.utils.config import Config, compose_config

SECONDS, QUICK_SECONDS = 60.0, 10.0
CHARACTERS = 1_000_000  # of the text that are used; the sketch holds them as a list
TRAIN, VAL = 0.9, 0.1
NOTE = (
    "Nats per character on the last tenth of the first million characters, each predicted once, state carried; one "
    "seed. Each side trains for as many seconds; read: characters that were predicted while training. char-rnn is the "
    "recipe quickstart; bare has its sizes and learning rate, constant; sketch the specification's 2x128 at 0.002."
)


def measure(settings: Settings) -> Report:
    """Answer the question."""
    seconds = QUICK_SECONDS if settings.quick else SECONDS
    with TemporaryDirectory(dir=settings.folder) as folder:
        text = Path(folder, "text.txt")
        text.write_bytes(as_string(prepare_corpus(settings.text), CHARACTERS).encode())
        corpus = prepare_corpus(text, cache_dir=Path(folder, "cache"))
        recipe = compose_config("quickstart")
        shape = Shape(
            recipe.model.type,
            recipe.model.hidden_size,
            recipe.model.num_layers,
            int(recipe.training.batch_size),
            recipe.training.seq_length,
        )
        settings.tell(f"learning for {seconds:g} s: char-rnn")
        rows = [_recipe(recipe, text, Path(folder), seconds, settings.threads)]
        settings.tell(f"learning for {seconds:g} s: the bare loop")
        rows.append(_bare(corpus, shape, recipe.training.learning_rate, seconds))
        settings.tell(f"learning for {seconds:g} s: the sketch")
        rows.append(_sketch(corpus, Shape(), seconds))
    note = f"{NOTE} {seconds:g} seconds; text: {settings.text}."
    return Report("quality", QUESTIONS["quality"], [Table("equal time", rows, note)])


def _recipe(recipe: Config, text: Path, folder: Path, seconds: float, threads: int) -> dict[str, Any]:
    settings = {
        "training.minutes": seconds / 60, "data.data_dir": str(text), "data.cache_dir": str(folder / "cache"),
        "data.train_frac": TRAIN, "data.val_frac": VAL, "logging.sample_length": 0, "logging.tensorboard": False,
        "device.threads": threads, "training.eval_interval": 10**6,
    }  # fmt: skip
    sections = recipe.model_dump()
    for key, value in settings.items():
        section, _, name = key.partition(".")
        sections[section][name] = value
    run = start_run(Config.model_validate(sections), folder / "run")
    result = run.train()
    steps = run.trainer.step
    return {
        "side": "char-rnn",
        "parameters": sum(parameter.numel() for parameter in run.trainer.model.parameters()),
        "steps": steps,
        "read": steps * int(recipe.training.batch_size) * recipe.training.seq_length,
        "loss": result.best_val_loss,
    }


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
    return _scored("bare", corpus, shape, loop.state_dict(), steps)


def _sketch(corpus: Corpus, shape: Shape, seconds: float) -> dict[str, Any]:
    torch.manual_seed(1)
    sketch = Sketch(as_string(corpus), shape)
    sketch.dataset.splits["train"] = sketch.dataset.splits["train"][: int(TRAIN * len(corpus.ids))]
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        sketch.train(1)
    sketch.close()
    return _scored("sketch", corpus, shape, sketch.model.state_dict(), sketch.steps)


def _scored(side: str, corpus: Corpus, shape: Shape, parameters: dict[str, Any], steps: int) -> dict[str, Any]:
    model = build_model(config_of(shape).model, corpus.vocabulary.size)
    model.load_state_dict(parameters)
    return {
        "side": side,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "steps": steps,
        "read": steps * shape.characters,
        "loss": evaluate(model, corpus.split("val", TRAIN, VAL)).loss,
    }
