"""Finds hidden cells that follow features of a text, and colours the text by their activations.

    python examples/reading_a_mind.py
    python examples/reading_a_mind.py --model runs/my-book --text my-book.txt --picture cells.png

A model is not told about quotation marks or indentation, but it predicts better if it tracks them, so some cells learn
to. This program finds them by correlation. Without `--model`, it trains one on Python's standard library.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

import char_rnn
from char_rnn.data.datasets import NAMES
from char_rnn.generation.cell_activations import ColouredText
from char_rnn.generation.tracking_cells import TrackingCell
from char_rnn.runs.plots import check_picture, save_figure

READ = 6000  # characters to search
COLUMNS, ROWS = 88, 16  # of the picture


def lines_of(text: str) -> list[tuple[int, int, int]]:
    """Return (row, column, position in the text) of the characters that fit into the picture."""
    places, row, column = [], 0, 0
    for place, character in enumerate(text):
        if character == "\n" or column == COLUMNS:
            row, column = row + 1, 0
        if row == ROWS:
            break
        if character != "\n":
            places.append((row, column, place))
            column += 1
    return places


def draw(text: str, cells: list[TrackingCell], values: NDArray[np.floating]) -> Figure:
    """Draw the beginning of a text once per cell, each character on the colour of the activation."""
    figure = Figure(figsize=(9, 2.9 * len(cells)), layout="constrained")
    for axes, cell in zip(np.atleast_1d(figure.subplots(len(cells))), cells, strict=True):
        grid = np.zeros((ROWS, COLUMNS))
        for row, column, place in lines_of(text):
            grid[row, column] = np.sign(cell.correlation) * values[place, cell.layer, cell.index]
            axes.text(column, row, text[place], family="monospace", size=6.5, ha="center", va="center")
        axes.imshow(grid, cmap="RdBu", vmin=-1.4, vmax=1.4, aspect="auto")
        axes.set_title(f"{cell.tracks}: layer {cell.layer}, cell {cell.index}, r = {cell.correlation:.2f}", size=9)
        axes.set_axis_off()
    return figure


def main() -> None:
    """Train a model if none is given, find cells, print and draw."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", type=Path, help="characters model (default: train one)")
    options.add_argument("--text", default="python-stdlib", help="text to read: a file or a named data set")
    options.add_argument("--minutes", type=float, default=1.0, help="minutes of training")
    options.add_argument("--picture", type=Path, default=Path("cells.png"), help="picture to write: .png, .svg or .pdf")
    options.add_argument("--cells", type=int, default=3, choices=range(1, 7), help="number of cells")
    arguments = options.parse_args()
    for path in (arguments.model, None if arguments.text in NAMES else Path(arguments.text)):
        if path is not None and not path.exists():
            options.error(f"{path}: no such file or folder")
    try:
        check_picture(arguments.picture)
    except (OSError, ValueError) as error:
        options.error(str(error))
    with TemporaryDirectory() as folder:
        model = arguments.model
        if model is None:
            settings = {"device.threads": 1, "logging.sample_length": 0}
            model = char_rnn.train(
                arguments.text, Path(folder, "run"), recipe="quickstart", minutes=arguments.minutes, settings=settings
            ).folder
        file = char_rnn.ModelFile.read(model)
    corpus = char_rnn.prepare_corpus(arguments.text, vocabulary=file.vocabulary)
    text = corpus.vocabulary.decode(np.asarray(corpus.ids[-READ:]))
    activations = char_rnn.TextGenerator.load(file).activations(text)
    values = activations.output
    found = sorted(activations.tracking(), key=lambda cell: -abs(cell.correlation))[: arguments.cells]
    if not found:
        sys.exit("no feature of this text can be tracked; give a longer one with --text")
    for cell in found:
        print(f"\n{cell.tracks}: layer {cell.layer}, cell {cell.index}, correlation {cell.correlation:.2f}")
        print(ColouredText(text[:400], np.sign(cell.correlation) * values[:400, cell.layer, cell.index]))
    save_figure(draw(text, found, values), arguments.picture)
    print(f"\n{arguments.picture}")


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError) as error:  # a text that is too short, a model of another kind, ...
        sys.exit(str(error))
