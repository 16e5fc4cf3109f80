"""How does the cost grow with the work, and how near is it to what the machine can do?

Hidden units, sequences in a batch, texts side by side and the size of the text grow by powers; the best that the
machine can do stands beside. Whatever memory is told of runs in a process of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from char_rnn.bench.growth_corpus import corpus_rows
from char_rnn.bench.growth_training import training_rows
from char_rnn.bench.growth_writing import HIDDEN, texts_rows, writing_rows
from char_rnn.bench.processes import in_own_process
from char_rnn.bench.questions import QUESTIONS, Settings
from char_rnn.bench.report import Report, Table
from char_rnn.bench.training_sides import Shape
from char_rnn.generation.native import available_cores


@dataclass(frozen=True)
class Work:
    """What is measured.

    Attributes:
        hidden: units of a layer, in training and writing.
        layers: of the models trained.
        batches: sequences trained side by side, by a model of 2 x 512.
        texts: written side by side, by the same.
        corpora: sizes of texts in 10^6 bytes.
        steps: of a training on each text.
        runs: trainings on each.
        seconds: of a round, or one step if that is longer.
        limit: seconds that a point of training may take.
    """

    hidden: Sequence[int] = (64, 128, 256, 512, 1024, 2048)
    layers: Sequence[int] = (1, 2)
    batches: Sequence[int] = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
    texts: Sequence[int] = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
    corpora: Sequence[int] = (1, 10, 100, 500, 2000)
    steps: int = 60
    runs: int = 3
    seconds: float = 0.2
    limit: float = 120.0


WHOLE = Work()
QUICK = Work(
    hidden=(64, 256, 512), layers=(2,), batches=(1, 16), texts=(1, 64), corpora=(1, 8),
    steps=10, runs=1, seconds=0.05, limit=10.0,
)  # fmt: skip

PRODUCTS_NOTE = "Products of matrices in float32 by torch.mm, by shape and threads; medians of rounds in turn."
READING_NOTE = (
    "Vectors read over and over by BLAS, a share a thread. fits in: the nearest cache that holds so much by what the "
    "system tells of the processor; a virtual machine may be told of a cache that it has only a part of."
)
TRAINING_NOTE = (
    "LSTMs over 65 symbols in float32, sequences of 50 characters, {threads} threads. FLOP are those of the matrix "
    "products alone (6 for each element of the matrices: 2 forward, 4 backward); the peak is {peak:.0f} GFLOP/s, the "
    "best of the first table on as many threads. bare: the loop of nn.LSTM, in turn; what is slow has 3 rounds. "
    "memory: the largest of a process that does nothing else, and what of it came with the training (the rest is "
    "Python and PyTorch)."
)
WRITING_NOTE = (
    "One text, two layers, 65 symbols, by the engine. read: the bytes of the matrices that a step reads; share of "
    "reading: the step's speed over that of reading as many bytes, in turn, with as many threads. int8 reads a quarter "
    "of them and computes in float32. memory: the process's largest, and what of it came with the model, in "
    "float32 as it was made, and the engine's copy."
)
TEXTS_NOTE = (
    "Steps of the engine in float32, two layers of {hidden}, {threads} threads. share of products: its speed over that "
    "of PyTorch's products of the same shapes, in turn; share of peak: over {peak:.0f} GFLOP/s. texts' own: what the "
    "resident memory grew by with their states, 0 where these found room in what was freed before."
)
CORPUS_NOTE = (
    "The default model, {steps} steps after the first. first step after: from the start of the process, the text in "
    "the cache, PyTorch's own start included; of it the text: from opening it to the first batch. Medians of runs in "
    "turn, but for the preparing, which is done once; memory: the largest of all."
)


def measure(settings: Settings) -> Report:
    """Answer the question."""
    return measure_work(settings, QUICK if settings.quick else WHOLE)


def measure_work(settings: Settings, work: Work) -> Report:
    """Answer the question with work of these sizes."""
    products, reading = machine_tables(settings, work)
    peak = peak_of(products.rows, settings.threads)
    words = {"threads": settings.threads, "peak": peak / 1e9, "hidden": HIDDEN, "steps": work.steps}
    hidden = [Shape(hidden=size, layers=layers) for layers in work.layers for size in work.hidden]
    batches = [Shape(hidden=HIDDEN, batch=batch) for batch in work.batches]
    tables = [
        products,
        reading,
        _table("training by hidden units", TRAINING_NOTE.format(**words),
               training_rows(hidden, peak, settings, work.seconds, work.limit)),
        _table("training by batch", TRAINING_NOTE.format(**words),
               training_rows(batches, peak, settings, work.seconds, work.limit)),
        _table("writing by hidden units", WRITING_NOTE, writing_rows(work.hidden, settings, work.seconds)),
        _table("writing by texts side by side", TEXTS_NOTE.format(**words),
               texts_rows(work.texts, peak, settings, work.seconds)),
        _table("training by size of the text", CORPUS_NOTE.format(**words),
               corpus_rows(work.corpora, settings, work.steps, work.runs)),
    ]  # fmt: skip
    return Report("growth", QUESTIONS["growth"], tables)


def machine_tables(settings: Settings, work: Work) -> tuple[Table, Table]:
    """Return what the machine can do on one thread, on as many as are asked for, and on all its cores."""
    threads = sorted({1, settings.threads, available_cores()})
    how = {"threads": threads, "rounds": settings.rounds, "seconds": work.seconds / 2, "quick": settings.quick}
    settings.tell("the machine: matrix products")
    products = in_own_process("char_rnn.bench.peaks:product_rates", **how)
    settings.tell("the machine: reading memory")
    reading = in_own_process("char_rnn.bench.peaks:read_rates", **how)
    return Table("matrix products", products, PRODUCTS_NOTE), Table("reading memory", reading, READING_NOTE)


def peak_of(rows: Sequence[Any], threads: int) -> float:
    """Return the best rate of matrix products on so many threads, in FLOP/s."""
    return 1e9 * float(max(row["GFLOP/s"] for row in rows if row["threads"] == threads))


def _table(name: str, note: str, measured: tuple[list[dict[str, Any]], list[str]]) -> Table:
    rows, left_out = measured
    return Table(name, rows, note + (f" Left out: {'; '.join(left_out)}." if left_out else ""))
