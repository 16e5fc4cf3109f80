"""What does the trainer gain over the bare PyTorch loop of the same shapes, and cost beside it?

    python benchmarks/training.py [--threads N] [--rounds N] [--shapes 2x128 tiny ...] [--json FILE]

The table "over the bare loop" of `char-rnn bench training`, alone. The bare loop is nn.Embedding, nn.LSTM (or GRU,
RNN), nn.Linear, cross-entropy, AdamW, clipping by norm and carried state over batches that are ready in memory. The
trainer does the same from a corpus, with its loss guard, schedule, and records written to metrics.jsonl and TensorBoard
and printed (to nowhere) every 10 steps. The sides take turns, with one thread and with N. Each case is measured twice,
each time in a process of its own: with memory returned to the system at every step (D), as anyone runs PyTorch with
glibc, and with memory kept (K), for both sides alike. `char-rnn train` keeps it.

    python benchmarks/training.py --precision bfloat16 [--text FILE] [--steps N] [--cases "lstm 2x512, batch 50x50"]

What does training in low precision on the CPU gain, and what does it cost in loss? The package's models, trained from
the same weights on the same text, a step in float32 and a step with the matrix products in the other type; then the
mean training loss of the last 50 steps and the validation loss, the latter computed in float32 for both. The speed-up
is the median over the steps; the ratios of the losses are those of low precision over float32. ``--compile`` compares
``training.compile: true`` with false in the same way.
"""

from __future__ import annotations

import torch
from harness import parser, report
from precision import CASES as PRECISION_CASES
from precision import measure as measure_change

from char_rnn.bench.questions import Settings
from char_rnn.bench.training import over_bare
from char_rnn.bench.training_sides import CASES


def main() -> None:
    """Measure every case, print a table."""
    options = parser(__doc__)
    options.add_argument("--rounds", type=int, default=5, help="turns of each side, beside the bare loop")
    options.add_argument("--shapes", nargs="+", choices=list(CASES), default=list(CASES), help="beside the bare loop")
    options.add_argument("--steps", type=int, default=300, help="steps with --precision and --compile")
    options.add_argument("--precision", choices=["bfloat16", "float16"], help="compare with float32, not the loops")
    options.add_argument("--compile", action="store_true", help="compare training.compile with none, not the loops")
    options.add_argument("--text", default="python-stdlib", help="what to train on with --precision and --compile")
    options.add_argument("--cases", nargs="+", choices=list(PRECISION_CASES), default=list(PRECISION_CASES))
    arguments = options.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    if arguments.precision or arguments.compile:
        change = {"compile": True} if arguments.compile else {"precision": arguments.precision}
        rows = [measure_change(name, change, arguments.text, arguments.steps) for name in arguments.cases]
        facts = {"text": arguments.text, "steps": arguments.steps}
        title = f"training {'compiled' if arguments.compile else 'in ' + arguments.precision} against plain float32"
    else:
        settings = Settings(arguments.threads or torch.get_num_threads(), arguments.rounds, progress=print)
        rows = [row for name in arguments.shapes for row in over_bare(name, settings)]
        title, facts = "trainer against the bare loop", {}
    report(title, rows, arguments.json, threads=torch.get_num_threads(), **facts)


if __name__ == "__main__":
    main()
