"""How the cost of writing grows with the model, and with the number of texts side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psutil
import torch

from char_rnn.bench.cost import parameter_count, writing_flop
from char_rnn.bench.peaks import LEAST_SHARED, level_of
from char_rnn.bench.processes import MB, ProcessError, in_own_process, peak_mb
from char_rnn.bench.questions import Settings
from char_rnn.bench.timing import ratio, timed_each
from char_rnn.bench.writing_sides import SYMBOLS, Side, bytes_of, model_file, products, reader, steps_of, writer
from char_rnn.generation.engine import Engine
from char_rnn.generation.network import Precision
from char_rnn.generation.text_generator import TextGenerator

SIZES: dict[Precision, int] = {"float32": 4, "int8": 1}
COPIES = 4  # of the weights in float32 while an engine is made, the random numbers they are drawn as among them
SHARE_OF_MEMORY = 0.6  # of what is free
HIDDEN = 512  # of the texts side by side
Row = dict[str, Any]


def writing_rows(hidden: Sequence[int], settings: Settings, seconds: float) -> tuple[list[Row], list[str]]:
    """Write one text with models of two layers, in both precisions, each in a process of its own.

    Returns:
        A row a model and precision, and why others are left out.
    """
    rows, notes = [], []
    for size in hidden:
        for precision in SIZES:
            name = f"2 x {size}, {precision}"
            settings.tell(f"writing one text, {name}")
            row, reason = _measured(name, size, "write_one", settings, seconds, precision=precision)
            rows += row
            notes += reason
    return rows, notes


def texts_rows(
    counts: Sequence[int], peak: float, settings: Settings, seconds: float, hidden: int = HIDDEN
) -> tuple[list[Row], list[str]]:
    """Write many texts side by side with a model of two layers in float32, each number in a process of its own.

    Args:
        counts: of texts.
        peak: FLOP/s of the machine on so many threads as are asked for.
        settings: what is asked for.
        seconds: of a round.
        hidden: units of a layer.

    Returns:
        A row a count, and why others are left out.
    """
    rows, notes = [], []
    for count in counts:
        name = f"{count} texts"
        settings.tell(f"writing {name} side by side, 2 x {hidden}")
        row, reason = _measured(name, hidden, "write_many", settings, seconds, count=count)
        rows += [{**each, "share of peak": each["GFLOP/s"] * 1e9 / peak} for each in row]
        notes += reason
    return rows, notes


def _measured(
    name: str, hidden: int, function: str, settings: Settings, seconds: float, **arguments: Any
) -> tuple[list[Row], list[str]]:
    """Return the row that a process makes, or why there is none."""
    needed, free = 4 * COPIES * 12 * hidden**2, SHARE_OF_MEMORY * psutil.virtual_memory().available
    if needed > free:
        return [], [f"{name}: takes about {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB may be taken"]
    how = {"hidden": hidden, "threads": settings.threads, "rounds": settings.rounds, "seconds": seconds}
    try:
        return [in_own_process(f"char_rnn.bench.growth_writing:{function}", **how, **arguments)], []
    except ProcessError as error:
        return [], [f"{name}: {error}"]


def write_one(hidden: int, precision: Precision, threads: int, rounds: int, seconds: float) -> Row:
    """Write one text, make the engine's steps alone, and read as many bytes as these read, in turn.

    A small model has one thread, as by itself: a second one costs more than it gains.
    """
    before = peak_mb()
    file = model_file("lstm", hidden)
    size = bytes_of(file) // 4 * SIZES[precision]
    threads = threads if size >= LEAST_SHARED else 1
    engine = Engine(file.config.model, file.tensors, precision, threads=threads)
    step = steps_of(engine)
    step(10)
    peak = peak_mb()
    sides: dict[str, Side] = {
        "text": writer(TextGenerator(engine, file.vocabulary)),
        "step": step,
        "reading": reader(size, threads),
    }
    timings = timed_each(sides, rounds, seconds)
    return {
        "hidden": hidden,
        "precision": precision,
        "parameters": parameter_count(file.config.model, len(SYMBOLS)),
        "read, MB": size / 1e6,
        "fits in": level_of(size, threads),
        "threads": threads,
        "characters/s": 1 / timings["text"].median,
        "spread": timings["text"].spread,
        "steps/s": 1 / timings["step"].median,
        "GB/s": size / timings["step"].median / 1e9,
        "reading, GB/s": size / timings["reading"].median / 1e9,
        "share of reading": ratio(timings, "reading", "step"),
        "memory, MB": peak,
        "of it grown, MB": peak - before,
    }


def write_many(hidden: int, count: int, threads: int, rounds: int, seconds: float) -> Row:
    """Make the engine's steps for texts side by side, and PyTorch's products of the same shapes, in turn.

    What the texts add is counted in memory held now: making the weights left a peak behind that hides it.
    """
    torch.set_num_threads(threads)
    file = model_file("lstm", hidden)
    engine = Engine(file.config.model, file.tensors, threads=threads)
    engine.begin(1).step([0])
    process = psutil.Process()
    before = process.memory_info().rss
    step = steps_of(engine, count)
    step(10)
    own, peak = process.memory_info().rss - before, peak_mb()
    timings = timed_each({"step": step, "products": products("lstm", hidden, count)}, rounds, seconds)
    flop = count * writing_flop(file.config.model, len(SYMBOLS))
    return {
        "texts": count,
        "characters/s": count / timings["step"].median,
        "spread": timings["step"].spread,
        "GFLOP/s": flop / timings["step"].median / 1e9,
        "products, GFLOP/s": flop / timings["products"].median / 1e9,
        "share of products": ratio(timings, "products", "step"),
        "memory, MB": peak,
        "texts' own, MB": own / MB,
    }
