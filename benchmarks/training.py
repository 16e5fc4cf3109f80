"""What does the trainer cost over the bare PyTorch loop of the same shapes?

    python benchmarks/training.py [--threads N] [--steps N] [--rounds N] [--json FILE]

The bare loop is nn.Embedding, nn.LSTM (or GRU, RNN), nn.Linear, cross-entropy, AdamW, clipping by norm and carried
state over batches that stand ready in memory. The trainer does the same from a corpus, with its loss guard, schedule,
and records written to metrics.jsonl and TensorBoard and printed (to nowhere) every 10 steps. Both train in turn; the
ratio is the trainer's seconds over the bare loop's, round by round.

    python benchmarks/training.py --precision bfloat16 [--text FILE] [--steps N] [--cases "lstm 2x512, batch 50x50"]

What does training in low precision on the CPU gain, and what does it cost in loss? The package's models, trained from
the same weights on the same text, a step in float32 and a step with the matrix products in the other type; then the
mean training loss of the last 50 steps and the validation loss, the latter computed in float32 for both. The speed-up
is the median over the steps; the ratios of the losses are those of low precision over float32. ``--compile`` compares
``training.compile: true`` with false in the same way.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from harness import in_turn, parser, ratio, report
from precision import CASES as PRECISION_CASES
from precision import measure as measure_change
from rich.console import Console
from torch import nn

from char_rnn import CharDataset, CharRNNTrainer, Config, Corpus, build_model, create_dataloaders
from char_rnn.training.progress import LineProgress

CASES = {
    "lstm 2x128, batch 50x50 (default)": ("lstm", 128, 2, 50, 50),
    "lstm 1x384, batch 16x64 (quickstart)": ("lstm", 384, 1, 16, 64),
    "gru 2x128, batch 50x50": ("gru", 128, 2, 50, 50),
    "rnn 2x128, batch 50x50": ("rnn", 128, 2, 50, 50),
    "lstm 1x32, batch 16x32 (tiny)": ("lstm", 32, 1, 16, 32),
}
VOCABULARY = 65


def corpus(characters: int) -> Corpus:
    """Return a random text over 65 characters."""
    ids = np.random.default_rng(0).integers(0, VOCABULARY, characters)
    return Corpus.from_text("".join(map(chr, ids + 40)))


def bare_loop(
    kind: str, hidden: int, layers: int, batches: list[tuple[torch.Tensor, torch.Tensor]]
) -> Callable[[], None]:
    """Return a function that trains once over the batches."""
    embedding, output = nn.Embedding(VOCABULARY, VOCABULARY), nn.Linear(hidden, VOCABULARY)
    cell = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}[kind](VOCABULARY, hidden, layers, batch_first=True)
    parameters = [*embedding.parameters(), *cell.parameters(), *output.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=1e-5, fused=True)

    def epoch() -> None:
        state = None
        for x, y in batches:
            out, state = cell(embedding(x), state)
            loss = nn.functional.cross_entropy(output(out).flatten(0, 1), y.flatten())
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(parameters, 5.0)
            optimizer.step()
            state = tuple(part.detach() for part in state) if isinstance(state, tuple) else state.detach()

    return epoch


def trainer_loop(
    kind: str, hidden: int, layers: int, text: Corpus, batch: int, length: int, folder: Path
) -> Callable[[], float]:
    """Return a function that trains once over the text, with the trainer and all its listeners."""
    config = Config.model_validate(
        {
            "model": {"type": kind, "hidden_size": hidden, "num_layers": layers, "dropout": 0.0},
            "training": {"batch_size": batch, "seq_length": length, "learning_rate": 1e-3, "eval_interval": 10**9,
                         "max_epochs": 10**6},
            "logging": {"save_interval": 10**9, "log_interval": 10},
        }
    )  # fmt: skip
    loaders = create_dataloaders(CharDataset(text, length, 1.0, 0.0), batch)
    trainer = CharRNNTrainer(
        build_model(config.model, VOCABULARY),
        loaders,
        config,
        vocabulary=text.vocabulary,
        run_dir=folder,
        callbacks=[LineProgress(Console(file=(folder / "log").open("w")))],
    )
    trainer.recorder.tell("on_start", trainer)
    return trainer.train_epoch


def measure(name: str, steps: int, rounds: int) -> dict[str, str | float]:
    """Measure one case."""
    kind, hidden, layers, batch, length = CASES[name]
    text = corpus(batch * length * steps + batch)
    batches = list(create_dataloaders(CharDataset(text, length, 1.0, 0.0), batch)["train"].epoch(0))
    torch.manual_seed(0)
    with TemporaryDirectory() as folder:
        sides = {
            "bare": bare_loop(kind, hidden, layers, batches),
            "trainer": trainer_loop(kind, hidden, layers, text, batch, length, Path(folder)),
        }
        timings = in_turn(sides, rounds)
    characters = batch * length * len(batches)
    assert math.isclose(len(batches), steps, abs_tol=1)
    return {
        "case": name,
        "bare, characters/s": characters / timings["bare"].median,
        "trainer, characters/s": characters / timings["trainer"].median,
        "spread": timings["trainer"].spread,
        "trainer / bare, time": ratio(timings, "trainer", "bare"),
    }


def main() -> None:
    """Measure every case, print a table."""
    options = parser(__doc__)
    options.add_argument("--steps", type=int, help="steps in a round (30), or of each precision (300)")
    options.add_argument("--rounds", type=int, default=9)
    options.add_argument("--precision", choices=["bfloat16", "float16"], help="compare with float32, not the loops")
    options.add_argument("--compile", action="store_true", help="compare training.compile with none, not the loops")
    options.add_argument("--text", default="python-stdlib", help="what to train on with --precision and --compile")
    options.add_argument("--cases", nargs="+", choices=list(PRECISION_CASES), default=list(PRECISION_CASES))
    arguments = options.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    if arguments.precision or arguments.compile:
        steps = arguments.steps or 300
        change = {"compile": True} if arguments.compile else {"precision": arguments.precision}
        rows = [measure_change(name, change, arguments.text, steps) for name in arguments.cases]
        facts = {"text": arguments.text, "steps": steps}
        title = f"training {'compiled' if arguments.compile else 'in ' + arguments.precision} against plain float32"
    else:
        rows = [measure(name, arguments.steps or 30, arguments.rounds) for name in CASES]
        title, facts = "trainer against the bare loop", {}
    report(title, rows, arguments.json, threads=torch.get_num_threads(), **facts)


if __name__ == "__main__":
    main()
