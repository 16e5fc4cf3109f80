"""Prepares and reads a text of any size.

    python benchmarks/data.py [--size-mb 1000] [--text ascii|mixed] [--json FILE]

The measurements are those of `char-rnn bench data`, each in a process of its own.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from harness import parser, report

from char_rnn.bench.data import KINDS, measure_text


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--size-mb", type=int, default=1000, help="size of the text in 10^6 bytes (default: 1000)")
    options.add_argument("--text", choices=KINDS, default="mixed", help="mixed: a tenth of the words is not ASCII")
    options.add_argument("--folder", type=Path, help="folder for the text and its cache during the measurement")
    arguments = options.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        figures = measure_text(Path(folder, "text"), arguments.size_mb, arguments.text, arguments.threads)
    rows = [{"figure": name, "value": value} for name, value in figures.items()]
    report("preparing and reading a text", rows, arguments.json, text=arguments.text, megabytes=arguments.size_mb)


if __name__ == "__main__":
    main()
