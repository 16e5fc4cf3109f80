"""How fast is writing: the engine, a loop of PyTorch's modules, and the specification's sketch, on the same shapes."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from char_rnn.bench.peers import Peer, itself, rates_of
from char_rnn.bench.questions import QUESTIONS, Settings
from char_rnn.bench.report import Report, Table
from char_rnn.bench.sketch import SketchDataset, SketchModel, generate
from char_rnn.bench.timing import in_turn, ratio, timed_each
from char_rnn.bench.training_sides import MODULES, Shape
from char_rnn.bench.writing_sides import (
    SYMBOLS,
    Side,
    bytes_of,
    first_character,
    model_file,
    plain_loop,
    products,
    reader,
    steps_of,
    writer,
)
from char_rnn.generation.engine import Engine
from char_rnn.generation.network import Precision
from char_rnn.generation.text_generator import TextGenerator

SIZES: dict[Precision, int] = {"float32": 4, "bfloat16": 2, "int8": 1}
HIDDEN, QUICK_HIDDEN = (128, 512), (128,)
STREAMS = (1, 4, 16, 64, 256)
COMMAND_CHARACTERS = 200_000
LOOP_CHARACTERS = 2000
PEER_CHARACTERS = (1000, 20_000)
PEER_HIDDEN = 128

ALONE_NOTE = (
    "Models of two layers over 65 symbols with random weights; characters/s, medians of rounds in turn. loop: "
    "nn.Embedding, the recurrent module, nn.Linear and torch.multinomial; sketch: the specification's. step / reading "
    "is the engine's step over reading as many bytes as its matrices have, with as many threads: 1 is the limit."
)
COMMAND_NOTE = (
    f"`char-rnn sample` with the defaults for {COMMAND_CHARACTERS:,} characters, a process from its start to its end; "
    f"in turn with {LOOP_CHARACTERS:,} characters of the loop in this one."
)
BATCH_NOTE = "The engine in float32; products are PyTorch's matrix products of a step's shapes: 1 is their speed."
START_NOTE = "Processes of their own: from the start of `char-rnn sample` to its first character, and the memory then."
PROCESS_NOTE = (
    f"Whole programs, run in turn for {PEER_CHARACTERS[0]:,} and {PEER_CHARACTERS[1]:,} characters: the rate is "
    "of those between."
)


def measure(settings: Settings) -> Report:
    """Answer the question."""
    cells = ("lstm",) if settings.quick else tuple(MODULES)
    hidden = QUICK_HIDDEN if settings.quick else HIDDEN
    shapes = [(cell, size) for cell in cells for size in hidden]
    peers = settings.peers_of("generation")
    processes = _processes(settings, peers) if peers else []  # first: a wrong command ends it soon
    tables = [Table("one text", [row for shape in shapes for row in alone(*shape, settings)], ALONE_NOTE)]
    commands = [command_line(cell, HIDDEN[0], settings) for cell in cells]
    tables.append(Table("command line", commands, COMMAND_NOTE))
    if not settings.quick:
        tables.append(Table("texts side by side", list(together("lstm", 512, settings, STREAMS)), BATCH_NOTE))
    tables.append(Table("start", [start(*shape, settings) for shape in shapes if shape[0] == "lstm"], START_NOTE))
    if processes:
        tables.append(Table("whole processes", processes, PROCESS_NOTE))
    return Report("generation", QUESTIONS["generation"], tables)


def sketch_writer(cell: str, hidden: int) -> Side:
    """Return the sketch's way of writing; its text grows by one string a character."""
    dataset = SketchDataset("".join(SYMBOLS) * 2, 1)
    model = SketchModel(len(SYMBOLS), Shape(cell, hidden))
    return lambda count: generate(model, dataset, " ", count)


def alone(cell: str, hidden: int, settings: Settings) -> Iterator[dict[str, Any]]:
    """Measure one text at a time; return a row a precision."""
    settings.tell(f"writing one text, {cell} 2x{hidden}")
    file = model_file(cell, hidden)
    sides: dict[str, Side] = {"loop": plain_loop(cell, hidden), "sketch": sketch_writer(cell, hidden)}
    for precision, size in SIZES.items():
        engine = Engine(file.config.model, file.tensors, precision, threads=settings.threads)
        sides[precision] = writer(TextGenerator(engine, file.vocabulary))
        sides[f"{precision} step"] = steps_of(engine)
        sides[f"{precision} reading"] = reader(bytes_of(file) // 4 * size, settings.threads)
    timings = timed_each(sides, settings.rounds, 0.1 if settings.quick else 0.3)
    for precision in SIZES:
        yield {
            "cell": cell,
            "hidden": hidden,
            "precision": precision,
            "loop": 1 / timings["loop"].median,
            "sketch": 1 / timings["sketch"].median,
            "char-rnn": 1 / timings[precision].median,
            "spread": timings[precision].spread,
            "char-rnn / loop": ratio(timings, "loop", precision),
            "steps/s": 1 / timings[f"{precision} step"].median,
            "step / reading": ratio(timings, f"{precision} reading", f"{precision} step"),
        }


def command_line(cell: str, hidden: int, settings: Settings) -> dict[str, Any]:
    """Measure `char-rnn sample` beside the loop."""
    settings.tell(f"writing by the command line, {cell} 2x{hidden}")
    with TemporaryDirectory(dir=settings.folder) as folder:
        path = Path(folder, "model.safetensors")
        model_file(cell, hidden).write(path)
        values = {"model": path, "characters": COMMAND_CHARACTERS}
        sides: dict[str, Callable[[], object]] = {
            "loop": partial(plain_loop(cell, hidden), LOOP_CHARACTERS),
            "sample": partial(itself("generation", settings.threads).run, values, settings.threads),
        }
        timings = in_turn(sides, settings.rounds)
    return {
        "cell": cell,
        "hidden": hidden,
        "loop": LOOP_CHARACTERS / timings["loop"].median,
        "char-rnn sample": COMMAND_CHARACTERS / timings["sample"].median,
        "spread": timings["sample"].spread,
        "sample / loop": ratio(timings, "loop", "sample") * COMMAND_CHARACTERS / LOOP_CHARACTERS,
    }


def together(cell: str, hidden: int, settings: Settings, streams: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Measure so many texts side by side, in float32; return a row a number."""
    file = model_file(cell, hidden)
    engine = Engine(file.config.model, file.tensors, threads=settings.threads)
    for count in streams:
        settings.tell(f"writing {count} texts side by side, {cell} 2x{hidden}")
        sides = {"engine": steps_of(engine, count), "products": products(cell, hidden, count)}
        timings = timed_each(sides, settings.rounds)
        yield {
            "cell": cell,
            "hidden": hidden,
            "texts": count,
            "characters/s": count / timings["engine"].median,
            "µs a character": timings["engine"].median / count * 1e6,
            "spread": timings["engine"].spread,
            "engine / products": ratio(timings, "products", "engine"),
        }


def start(cell: str, hidden: int, settings: Settings) -> dict[str, Any]:
    """Measure from the shell to the first character."""
    settings.tell(f"the first character, {cell} 2x{hidden}")
    with TemporaryDirectory(dir=settings.folder) as folder:
        path = Path(folder, "model.safetensors")
        model_file(cell, hidden).write(path)
        measured = [first_character(path) for _ in range(settings.rounds + 1)][1:]
    return {
        "cell": cell,
        "hidden": hidden,
        "first character, s": statistics.median(seconds for seconds, _ in measured),
        "slowest, s": max(seconds for seconds, _ in measured),
        "resident MB": statistics.median(resident for _, resident in measured),
    }


def _processes(settings: Settings, peers: list[Peer]) -> list[dict[str, Any]]:
    everyone = [itself("generation", settings.threads), *peers]
    settings.tell("writing, whole processes: " + ", ".join(peer.name for peer in everyone))
    with TemporaryDirectory(dir=settings.folder) as folder:
        model = Path(folder, "model.safetensors")
        model_file("lstm", PEER_HIDDEN).write(model)
        places = {"hidden": PEER_HIDDEN, "layers": 2, "model": model}
        asked = [{**places, "characters": characters} for characters in PEER_CHARACTERS]
        rates = rates_of(everyone, asked, "characters", math.ceil(settings.rounds / 2), settings.threads)
    own = rates["char-rnn"].per_second
    return [
        {
            "program": name,
            "characters/s": rate.per_second,
            "start, s": rate.start,
            "char-rnn / it": own / rate.per_second,
        }
        for name, rate in rates.items()
    ]
