"""How fast is a text prepared, in how much memory, and what does a batch cost?

Makes a text of its own, then measures against the project's targets, each start in a process of its own:

    prepare    a new text into the cache: MB/s, and the process's largest resident memory
    warm       from after the imports to the first batch of a text in the cache
    epoch      a pass over all batches, and the largest resident memory after it
    batch      assembling a batch, beside a training step of the default model (2 x 128 LSTM, 50 x 50), in turn

    python benchmarks/data.py [--size-mb 1000] [--text ascii|mixed] [--json FILE]
"""

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from harness import parser, report

from char_rnn.bench.preparing import measure, write_text

PARTS = ("prepare", "warm", "epoch", "batch")
TARGETS = {
    "prepare_mb_per_s": (">=", 100.0),
    "prepare_peak_mb": ("<=", 600.0),
    "warm_first_batch_ms": ("<=", 100.0),
    "epoch_peak_mb": ("<=", 600.0),
    "streams_percent_of_step": ("<=", 2.0),
}


def main() -> None:
    """Measure, print a table, and write JSON where asked to."""
    arguments = parse()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        file, cache = Path(folder, "text.txt"), Path(folder, "cache")
        size = write_text(file, arguments.size_mb * 10**6, arguments.text)
        os.sync()  # else the text's own way to the disk is measured with it
        time.sleep(3)  # a file written just now is read again at the next start
        figures: dict[str, float] = {}
        for name in PARTS:
            figures |= measure(name, file, cache)
    report("preparing and reading a text", rows_of(figures), arguments.json, text=arguments.text, bytes=size)


def parse() -> argparse.Namespace:
    options = parser(__doc__, threads=False)
    options.add_argument("--size-mb", type=int, default=1000, help="size of the text in 10^6 bytes (default 1000)")
    options.add_argument(
        "--text", choices=["ascii", "mixed"], default="mixed", help="mixed: a tenth of the words is not ASCII"
    )
    options.add_argument("--folder", type=Path, help="where to put the text and its cache, for the while")
    return options.parse_args()


def rows_of(figures: dict[str, float]) -> list[dict[str, Any]]:
    """Set every figure beside its target."""
    rows = []
    for name, value in figures.items():
        relation, target = TARGETS.get(name, ("", 0.0))
        met = value >= target if relation == ">=" else value <= target
        verdict = f"{relation} {target:g}: {'met' if met else 'missed'}" if relation else ""
        rows.append({"figure": name, "value": value, "target": verdict})
    return rows


if __name__ == "__main__":
    main()
