"""A report of the question "growth" as a machine of known speed would give it."""

from __future__ import annotations

from char_rnn.bench.cost import parameter_count, training_flop
from char_rnn.bench.report import Report, Table
from char_rnn.bench.training_sides import VOCABULARY, Shape, config_of

PEAK, HIDDEN = 2e11, (64, 256, 1024)


def growth_report() -> Report:
    products = [
        {"products": kind, "shape": f"50 x {k} by {k} x {4 * k}", "threads": threads, "GFLOP/s": 100.0 * threads}
        for kind in ("square", "a step", "a batch") for k in (128, 512) for threads in (1, 2)
    ]  # fmt: skip
    reading = [
        {"read, MB": float(size), "threads": threads, "GB/s": 60.0 * threads / (1 + size / 2),
         "fits in": "L2" if size < 4 else "L3"}
        for size in (1, 4, 16, 64) for threads in (1, 2)
    ]  # fmt: skip
    tables = [
        Table("matrix products", products),
        Table("reading memory", reading),
        Table("training by hidden units", [_trained(Shape(hidden=h, layers=n)) for n in (1, 2) for h in HIDDEN]),
        Table("training by batch", [_trained(Shape(hidden=512, batch=batch)) for batch in (1, 8, 64)]),
        Table("writing by hidden units", [_written(h, p) for h in HIDDEN for p in ("float32", "int8")]),
        Table("writing by texts side by side", [_texts(count) for count in (1, 8, 64)]),
        Table("training by size of the text", [_text(size) for size in (1, 10, 100)]),
    ]  # fmt: skip
    return Report("growth", "How?", tables, machine={"processor": "none"}, date="2020-01-01")


def _trained(shape: Shape) -> dict[str, float]:
    model = config_of(shape).model
    flop, share = training_flop(model, VOCABULARY), shape.hidden / 2048
    speed = share * PEAK / flop
    return {
        "layers": shape.layers, "hidden": shape.hidden, "batch": shape.batch,
        "parameters": parameter_count(model, VOCABULARY), "FLOP a character": flop, "characters/s": speed,
        "GFLOP/s": share * PEAK / 1e9, "share of peak": share, "bare": 0.9 * speed, "memory, MB": 250.0 + shape.batch,
        "of it grown, MB": float(shape.batch),
    }  # fmt: skip


def _written(hidden: int, precision: str) -> dict[str, object]:
    size = 12 * hidden**2 * (4 if precision == "float32" else 1) / 1e6
    return {"hidden": hidden, "precision": precision, "read, MB": size, "characters/s": 1e4 / size, "GB/s": 10.0,
            "reading, GB/s": 20.0}  # fmt: skip


def _texts(count: int) -> dict[str, float]:
    return {"texts": count, "characters/s": 1e3 * count**0.5, "GFLOP/s": 5.0 * count**0.5,
            "products, GFLOP/s": 4.0 * count**0.5, "share of peak": 5.0 * count**0.5 * 1e9 / PEAK}  # fmt: skip


def _text(size: int) -> dict[str, float]:
    return {"text, MB": size, "preparing, MB/s": 100.0, "its memory, MB": 50.0, "first step after, s": 2.0,
            "of it the text, s": 0.001, "characters/s": 5e4, "memory, MB": 300.0}  # fmt: skip
