"""How fast is a text made ready, in how much memory, and what does a batch cost?"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from char_rnn.bench.preparing import measure as measure_part
from char_rnn.bench.questions import QUESTIONS, Settings
from char_rnn.bench.report import Report, Table
from char_rnn.bench.texts import KINDS, Kind, settle, write_text

MEGABYTES, QUICK_MEGABYTES, SKETCH_MEGABYTES = 200, 5, 20
NOTE = (
    "Texts of random words; mixed: a tenth of the words is not ASCII. Each figure is of a process of its own. warm: "
    "from after the imports to the first batch of a text in the cache. batch / step: making a batch beside a training "
    "step of the default model, in turn."
)
SKETCH_NOTE = "The specification's sketch holds the text as a list of numbers."


def measure(settings: Settings) -> Report:
    """Answer the question."""
    size = QUICK_MEGABYTES if settings.quick else MEGABYTES
    with TemporaryDirectory(dir=settings.folder) as folder:
        rows = [_prepared(Path(folder, kind), size, kind, settings) for kind in KINDS]
        settings.tell("a text as the sketch reads it")
        text = Path(folder, "small.txt")
        small = min(size, SKETCH_MEGABYTES)
        write_text(text, small * 10**6, "ascii")
        sketch = measure_part("list", text, Path(folder))
    row = {
        "text": f"ascii, {small} MB",
        "MB/s": sketch["list_mb_per_s"],
        "peak MB": sketch["list_peak_mb"],
        "bytes of memory a byte of text": sketch["list_bytes_per_byte"],
    }
    return Report("data", QUESTIONS["data"], [Table("texts", rows, NOTE), Table("the sketch", [row], SKETCH_NOTE)])


def _prepared(folder: Path, size: int, kind: Kind, settings: Settings) -> dict[str, Any]:
    folder.mkdir()
    text, cache = folder / "text.txt", folder / "cache"
    settings.tell(f"a text of {size} MB, {kind}")
    write_text(text, size * 10**6, kind)
    settle()
    figures: dict[str, float] = {}
    for part in ("prepare", "warm", "epoch", "batch"):
        figures |= measure_part(part, text, cache, settings.threads)
    text.unlink()
    return {
        "text": f"{kind}, {size} MB",
        "MB/s": figures["prepare_mb_per_s"],
        "peak MB": figures["prepare_peak_mb"],
        "warm, ms": figures["warm_first_batch_ms"],
        "an epoch, characters/s": figures["epoch_characters_per_s"],
        "its peak MB": figures["epoch_peak_mb"],
        "batch / step, %": figures["streams_percent_of_step"],
        "window batch / step, %": figures["windows_percent_of_step"],
    }
