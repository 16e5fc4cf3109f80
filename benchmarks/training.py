"""What does the trainer cost over the bare PyTorch loop of the same shapes?

    python benchmarks/training.py [--threads N] [--steps N] [--rounds N] [--json FILE]

The bare loop is nn.Embedding, nn.LSTM (or GRU, RNN), nn.Linear, cross-entropy, AdamW, clipping by norm and carried
state over batches that stand ready in memory. The trainer does the same from a corpus, with its loss guard, schedule,
and records written to metrics.jsonl and TensorBoard and printed (to nowhere) every 10 steps. Both train in turn; the
ratio is the trainer's seconds over the bare loop's, round by round. Each case is measured twice, each time in a process
of its own: with memory given back to the system at every step (D), as anyone runs PyTorch with glibc, and with memory
kept (K), for both sides alike. `char-rnn train` keeps it.

    python benchmarks/training.py --precision bfloat16 [--text FILE] [--steps N] [--cases "lstm 2x512, batch 50x50"]

What does training in low precision on the CPU gain, and what does it cost in loss? The package's models, trained from
the same weights on the same text, a step in float32 and a step with the matrix products in the other type; then the
mean training loss of the last 50 steps and the validation loss, the latter computed in float32 for both. The speed-up
is the median over the steps; the ratios of the losses are those of low precision over float32. ``--compile`` compares
``training.compile: true`` with false in the same way.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict

import torch
from harness import parser, report
from precision import CASES as PRECISION_CASES
from precision import measure as measure_change

from char_rnn.bench.processes import in_own_process
from char_rnn.bench.training_sides import SHAPES, Shape

CASES = {
    "lstm 2x128, batch 50x50 (default)": SHAPES["default"],
    "lstm 1x384, batch 16x64 (quickstart)": SHAPES["quickstart"],
    "gru 2x128, batch 50x50": SHAPES["gru"],
    "rnn 2x128, batch 50x50": SHAPES["rnn"],
    "lstm 1x32, batch 16x32 (tiny)": SHAPES["tiny"],
    "lstm 2x512, batch 50x50": Shape(hidden=512),
}


def measure(name: str, steps: int, rounds: int, threads: int | None) -> Iterator[dict[str, str | float]]:
    """Measure one case: as anyone runs it (D, memory given back) and with memory kept (K)."""
    bare_given_back = math.nan
    for memory in ("D", "K"):
        arguments = {"steps": steps, "rounds": rounds, "threads": threads, "kept": memory == "K"}
        found = in_own_process("char_rnn.bench.training_sides:speeds", shape=asdict(CASES[name]), **arguments)
        bare_given_back = found["bare"] if memory == "D" else bare_given_back
        yield {
            "case": name,
            "memory": memory,
            "bare, characters/s": found["bare"],
            "trainer, characters/s": found["trainer"],
            "spread": found["spread"],
            "trainer / bare, time": found["ratio"],
            "time over bare D": bare_given_back / found["trainer"],
            "page faults a step": found["faults"],
            "peak, MB": found["peak"],
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
        settings = arguments.steps or 30, arguments.rounds, arguments.threads
        rows = [row for name in CASES for row in measure(name, *settings)]
        title, facts = "trainer against the bare loop", {}
    report(title, rows, arguments.json, threads=torch.get_num_threads(), **facts)


if __name__ == "__main__":
    main()
