"""What is measured of a text in a process of its own; nothing is imported here that is not measured with it."""

from __future__ import annotations

import statistics
import time
from itertools import islice
from pathlib import Path

from char_rnn.bench.processes import MB, peak_mb


def prepare(file: str, cache: str) -> dict[str, float]:
    """Prepare a text that no cache has."""
    from char_rnn.data.corpus import prepare_corpus

    began = time.perf_counter()
    prepare_corpus(file, cache_dir=cache)
    seconds, peak = time.perf_counter() - began, peak_mb()
    prepare_corpus(file, cache_dir=cache)  # notes the text's state, now that it is some seconds old
    return {"MB/s": Path(file).stat().st_size / MB / seconds, "peak": peak}


def train(file: str, cache: str, steps: int, threads: int, began: float) -> dict[str, float]:
    """Train the default model on a prepared text, in a process that was started at ``began``."""
    import torch

    from char_rnn.bench.training_sides import Shape, config_of
    from char_rnn.data.dataloader import CharDataset, create_dataloaders
    from char_rnn.models import build_model
    from char_rnn.training.stepping import Stepper

    torch.set_num_threads(threads)
    shape = Shape()
    config = config_of(shape)
    opened = time.perf_counter()
    dataset = CharDataset(file, shape.length, cache_dir=cache)
    batches = create_dataloaders(dataset, shape.batch)["train"].epoch(0)
    x, y = next(batches)
    text = time.perf_counter() - opened
    stepper = Stepper(build_model(config.model, dataset.vocab_size), config.training, torch.device("cpu"))
    _, state = stepper.step(x, y, None, config.training.learning_rate)
    start, seconds = time.time() - began, []
    for x, y in islice(batches, steps):
        step_began = time.perf_counter()
        _, state = stepper.step(x, y, state, config.training.learning_rate)
        seconds.append(time.perf_counter() - step_began)
    speed = shape.characters / statistics.median(seconds)
    return {"start": start, "text": text, "characters/s": speed, "peak": peak_mb()}
