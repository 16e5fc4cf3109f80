"""The timings of ``device.py``: single layers, training, and sampling."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from itertools import product

import torch
from device_parts import Check, Figure, Found, Part, Setup, attempt, peak_memory

from char_rnn import TextGenerator
from char_rnn.bench.baselines import MODULES, BareLoop, Shape, batches_of, config_of, random_text, text_of
from char_rnn.bench.ops import LAYERS, Turns, compare, repeated
from char_rnn.bench.timing import ratio, timed_each
from char_rnn.bench.training import trainer_loop
from char_rnn.generation.engine import Engine
from char_rnn.models import build_model
from char_rnn.training.train_step import Precision


def layers(setup: Setup) -> Found:
    """Single layers: PyTorch's functions and this package's, forward and backward, and one step."""
    turns = Turns(rounds=3, seconds=0.02 if setup.small else 0.1, device=setup.device)
    tasks = (("train", 50, 50), ("step", 1, 1))
    for hidden, layer, (task, batch, steps) in product((32,) if setup.small else (128, 512, 1024), LAYERS, tasks):
        if setup.left < 1:
            yield Check("the other layers", None, f"no time left for {layer} {hidden}")
            return
        yield Figure("Layers, ms", compare(layer, task, batch, steps, hidden, turns))


SHAPES = (Shape(), Shape(hidden=512, batch=64, length=64), Shape(hidden=1024, layers=3, batch=128, length=128))
SMALL_SHAPES = (Shape(hidden=16, batch=8, length=8),)
KINDS = ("lstm", "gru", "gru before", "rnn", "slstm", "mingru", "minlstm")
EPOCH, ROUNDS = 3, 3


def speed(setup: Setup) -> Found:
    """The trainer in every precision against the bare loop of nn.LSTM, nn.GRU and nn.RNN; other cells, nn.LSTM's."""
    shapes = SMALL_SHAPES if setup.small else SHAPES
    precisions = [each for each in setup.precisions if each != "float64"]
    seconds = 0.6 * setup.left / (len(shapes) * len(KINDS) * 2 * len(precisions) * ROUNDS)
    for shape, kind, precision in product(shapes, KINDS, precisions):
        name = f"{kind} of {shape}, {precision}"
        if setup.left < 1:
            yield Check("speed of the other models", None, f"no time left for {name}")
            return
        yield from attempt(f"speed of {name}", partial(speed_of, setup, shape, kind, precision, seconds))


def speed_of(setup: Setup, shape: Shape, kind: str, precision: str, seconds: float) -> Found:
    """Train one cell and the bare loop in turn."""
    cell, _, reset = kind.partition(" ")
    of_module = cell if cell in MODULES else "lstm"
    text = text_of(shape, EPOCH)
    batches = [(x.to(setup.device), y.to(setup.device)) for x, y in batches_of(text, shape)]
    bare = BareLoop(Shape(of_module, shape.hidden, shape.layers), device=setup.device)
    context = partial(Precision(precision, torch.device(setup.device)).context)
    model = {"type": cell, **({"reset": reset} if reset else {})}
    settings = {"model": model, "training": {"precision": precision}}
    folder = setup.folder / f"{len(list(setup.folder.iterdir()))}"
    folder.mkdir()
    ours = trainer_loop(shape, text, folder, settings, setup.device)

    def plain() -> None:
        bare.state = None
        for x, y in batches:
            with context() if precision != "float32" else nullcontext():
                bare.step(x, y)

    with peak_memory(setup) as peak:
        sides = {"bare": repeated(plain, setup.device), "char-rnn": repeated(ours, setup.device)}
        timings = timed_each(sides, ROUNDS, seconds)
    characters = shape.characters * EPOCH
    yield Figure(
        "Training, characters/s",
        {
            "cell": kind,
            "shape": str(shape).partition(" ")[2],
            "precision": precision,
            "char-rnn": characters / timings["char-rnn"].median,
            "bare": characters / timings["bare"].median,
            "char-rnn / bare": ratio(timings, "bare", "char-rnn"),
            "spread": timings["char-rnn"].spread,
            **peak(),
        },
    )


def sampling(setup: Setup) -> Found:
    """Speed of writing one text: the engine on the CPU, which `char-rnn sample` uses, and PyTorch on the device."""
    for hidden in (32,) if setup.small else (128, 512):
        config, text = config_of(Shape(hidden=hidden)), random_text(5000)
        torch.manual_seed(0)
        model = build_model(config.model, text.vocabulary.size)
        tensors = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
        sides = {
            "engine, CPU": TextGenerator(Engine(config.model, tensors), text.vocabulary),
            f"PyTorch, {setup.device}": TextGenerator(model.eval(), text.vocabulary, device=setup.device),
        }
        length = 50 if setup.small else 300
        written = {n: repeated(partial(side.generate, "", length, seed=1), setup.device) for n, side in sides.items()}
        for name, timing in timed_each(written, 3, 0.1 if setup.small else 1.0).items():
            yield Figure("Sampling", {"model": f"lstm 2x{hidden}", "by": name, "characters/s": length / timing.median})


PARTS = {"layers": Part(layers, 6), "speed": Part(speed, 14), "sampling": Part(sampling, 4)}
