"""Cells that follow quotes, lines, indentation and brackets, and a text coloured by their activations.

Dimensions: T characters, L layers, H hidden.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
import numpy.typing as npt
from reading import Subject

from char_rnn import TextGenerator, build_model
from char_rnn.generation.engine import Engine
from char_rnn.generation.tracking_cells import FEATURES, TrackingCell, best_cells, correlations
from char_rnn.utils.files import replacing

Activations = npt.NDArray[np.float32]
SHOWN = ("quotes", "line length", "indentation", "brackets")
COLUMNS, ROWS = 84, 7
_WIDTH, _HEIGHT = 7.2, 17  # of a character, in pixels
_LEVELS = 8  # of colour, either way


@dataclass(frozen=True)
class Scored:
    """A cell and its scores.

    Attributes:
        cell: The best of its feature in the first half of the text.
        again: Its correlation in the second half.
        untrained: The best correlation of any cell of an untrained model in the first half.
        shifted: That of the trained model's cells with the feature moved by a quarter of the text.
    """

    cell: TrackingCell
    again: float
    untrained: float
    shifted: float


def measure(subject: Subject, characters: int, seed: int) -> dict[str, Any]:
    """Find the best cell of each feature in half of the held-out text, and score it on the other half."""
    import torch

    config, vocabulary = subject.file.config.model, subject.file.vocabulary
    text = vocabulary.decode(subject.held_out(characters))
    half = len(text) // 2
    held = TextGenerator.load(subject.file).activations(text).output
    torch.manual_seed(seed)
    fresh = {name: of.numpy() for name, of in build_model(config, vocabulary.size).state_dict().items()}
    untrained = TextGenerator(Engine(config, fresh), vocabulary).activations(text[:half]).output
    scored = []
    for cell in best_cells(text[:half], held[:half], count=1):
        if cell.tracks in SHOWN:
            feature = FEATURES[cell.tracks]
            own = held[half:, cell.layer, cell.index]
            first = feature(text[:half])
            again = correlations(feature(text[half:])[None], own[:, None])[0, 0]
            chance = [
                float(np.abs(correlations(of[None], cells.reshape(half, -1))).max())
                for of, cells in ((first, untrained), (np.roll(first, half // 4), held[:half]))
            ]
            scored.append(Scored(cell, float(again), *chance))
    return {"text": text[half:], "held": held[half:], "scored": scored}


def draw(found: dict[str, Any], folder: Path, name: str) -> list[Path]:
    """Draw, for each feature, the part of the second half where it varies most, coloured by its cell."""
    text, parts, top = found["text"], [], 0
    for scored in found["scored"]:
        cell = scored.cell
        start = _liveliest(text, cell.tracks)
        title = f"{cell.tracks}: layer {cell.layer}, cell {cell.index}, r = {scored.again:+.2f}"
        lines = _wrapped(text, start)
        parts.append(_block(title, lines, text, found["held"][:, cell.layer, cell.index], top))
        top += (len(lines) + 2) * _HEIGHT
    width = round(COLUMNS * _WIDTH) + 16
    path = folder / f"cells-{name}.svg"
    with replacing(path) as temporary:
        temporary.write_text(
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{top}" viewBox="0 0 {width} {top}">\n'
            '<rect width="100%" height="100%" fill="#fff"/>\n'
            f'<g font-family="monospace" font-size="12">\n{"".join(parts)}</g>\n</svg>\n',
            encoding="utf-8",
        )
    return [path]


def _liveliest(text: str, tracks: str) -> int:
    """The start of the line after which a feature varies most within the picture."""
    values, size = FEATURES[tracks](text), COLUMNS * ROWS // 2
    starts = [0, *(place + 1 for place, character in enumerate(text[:-size]) if character == "\n")]
    return max(starts, key=lambda start: values[start : start + size].var())


def _wrapped(text: str, start: int) -> list[tuple[int, int]]:
    """Start and end of the drawn lines."""
    lines: list[tuple[int, int]] = []
    while len(lines) < ROWS and start < len(text):
        end = text.find("\n", start, start + COLUMNS)
        stop = min(start + COLUMNS, len(text)) if end < 0 else end + 1
        lines.append((start, stop))
        start = stop
    return lines


def _block(title: str, lines: list[tuple[int, int]], text: str, held: Activations, top: int) -> str:
    """A heading and coloured lines; a line break is coloured too."""
    scale = np.abs(held).max() or 1.0
    levels = np.rint(held / scale * _LEVELS).astype(int)
    parts = [f'<text x="8" y="{top + 14}" font-weight="bold" fill="#333">{escape(title)}</text>\n']
    for row, (start, stop) in enumerate(lines, 1):
        y, place = top + row * _HEIGHT, start
        while place < stop:
            end = place + 1
            while end < stop and levels[end] == levels[place]:
                end += 1
            if levels[place]:
                x, width = 8 + (place - start) * _WIDTH, (end - place) * _WIDTH
                parts.append(
                    f'<rect x="{x:.1f}" y="{y + 2}" width="{width:.1f}" height="{_HEIGHT}"'
                    f' fill="{_colour(levels[place])}"/>\n'
                )
            place = end
        line = text[start:stop].replace("\n", "").replace("\t", " ").replace(" ", "\u00a0")
        if line.strip():
            length = f"{len(line) * _WIDTH:.1f}"
            parts.append(f'<text x="8" y="{y + 14}" textLength="{length}" fill="#111">{escape(line)}</text>\n')
    return "".join(parts)


def _colour(level: int) -> str:
    """White at 0, blue below, orange above."""
    share = abs(level) / _LEVELS
    end = (66, 133, 214) if level < 0 else (255, 149, 43)
    return "#" + "".join(f"{round(255 + (part - 255) * share):02x}" for part in end)


def tell(found: dict[str, Any]) -> str:
    """Format the cells as lines."""
    lines = ["tracks       layer  cell  found  again  untrained  shifted"]
    for of in found["scored"]:
        cell = of.cell
        places = f"{cell.tracks:<12} {cell.layer:>5}  {cell.index:>4}"
        lines.append(f"{places}  {cell.correlation:+.2f}  {of.again:+.2f}  {of.untrained:>9.2f}  {of.shifted:>7.2f}")
    return "\n".join(lines)
