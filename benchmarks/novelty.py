"""Speed and memory of the search for copied text.

    python benchmarks/novelty.py [--text tinyshakespeare] [--sizes-mb 100 1000] [--json FILE]

Searches ten pieces of a text, of 2,000 characters each, and ten with their letters shuffled, in shuffled copies of the
text's paragraphs, as `char-rnn novelty` does. Sampling and the preparation of the text are not measured. Resident
memory is the peak of the process, with texts of growing size one after the other; the first row is before any.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
from harness import parser, report

from char_rnn.bench.timing import peak_mb
from char_rnn.data.corpus import Corpus, prepare_corpus
from char_rnn.data.mapped import open_ids
from char_rnn.novelty.novelty import match
from char_rnn.novelty.verbatim import Integers

PIECES, LENGTH = 10, 2000


def main() -> None:
    options = parser(__doc__, threads=False)
    options.add_argument("--text", default="tinyshakespeare", help="text of the pieces and paragraphs")
    options.add_argument("--sizes-mb", nargs="+", type=int, default=[100, 1000], help="10^6 characters to search in")
    options.add_argument("--folder", type=Path, help="folder for the shuffled text during the measurement")
    arguments = options.parse_args()
    corpus = prepare_corpus(arguments.text)
    texts = pieces(corpus)
    rows = [{"characters": 0, "seconds": 0.0, "million/s": 0.0, "resident MB": peak_mb()}]
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        for size in arguments.sizes_mb:
            file = Path(folder, "shuffled.ids")
            length = write_shuffled(corpus, file, size * 10**6)
            ids = open_ids(file, corpus.ids.dtype, length)
            began = time.perf_counter()
            match(texts, ids, corpus.vocabulary.size)
            seconds = time.perf_counter() - began
            speed = length / seconds / 1e6
            rows.append({"characters": length, "seconds": seconds, "million/s": speed, "resident MB": peak_mb()})
    report("search for copied text", rows, arguments.json, text=corpus.name)


def pieces(corpus: Corpus) -> list[Integers]:
    """Return pieces of the text, and the same with their letters shuffled."""
    rng = np.random.default_rng(0)
    starts = rng.integers(0, len(corpus) - LENGTH, PIECES)
    copied = [corpus.ids[start : start + LENGTH].astype(np.int64) for start in starts]
    return [*copied, *(rng.permutation(piece) for piece in copied)]


def write_shuffled(corpus: Corpus, file: Path, size: int) -> int:
    """Write the paragraphs of a text, in another order each time; return the number of characters."""
    rng = np.random.default_rng(1)
    ids = np.asarray(corpus.ids)
    newline = corpus.vocabulary.char_to_idx["\n"]
    ends = np.flatnonzero((ids[1:] == newline) & (ids[:-1] == newline)) + 2
    paragraphs = np.split(ids, ends)
    written = 0
    with file.open("wb") as out:
        while written < size:
            copy = np.concatenate([paragraphs[place] for place in rng.permutation(len(paragraphs))])
            out.write(copy.tobytes())
            written += len(copy)
    return written


if __name__ == "__main__":
    main()
