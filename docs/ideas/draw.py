"""Measures the figures of the pages in this folder, prints them and draws the pictures.

python docs/ideas/draw.py state runs/plays
python docs/ideas/draw.py backpropagation runs/kinds/type=lstm runs/kinds/type=gru runs/kinds/type=rnn
python docs/ideas/draw.py temperature runs/plays
python docs/ideas/draw.py cells runs/code --name code
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import backpropagation
import cells
import state
import temperature
import torch
from reading import Subject

IMAGES = Path(__file__).resolve().parents[1] / "images"


def main(given: Sequence[str] | None = None) -> None:
    """Draw one idea."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("idea", choices=("state", "backpropagation", "temperature", "cells"))
    parser.add_argument("models", nargs="+", metavar="MODEL", help="run folder or model file")
    parser.add_argument("--text", help="training text of the models (default: that of each run)")
    parser.add_argument("--out", type=Path, default=IMAGES, metavar="DIR", help="folder for the pictures")
    parser.add_argument("--characters", type=int, default=100_000, help="held-out characters (state; cells: a fifth)")
    parser.add_argument("--sequences", type=int, default=64, help="number of sequences (backpropagation)")
    parser.add_argument("--back", type=int, default=256, help="steps of backpropagation")
    parser.add_argument("--samples", type=int, default=10, help="number of texts per temperature")
    parser.add_argument("--length", type=int, default=2000, help="characters per text")
    parser.add_argument("--prime", default=temperature.PRIME, help="prime for the bars (temperature)")
    parser.add_argument("--name", default="plays", help="name of the picture (cells)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args(given)
    torch.set_num_threads(arguments.threads)
    if arguments.idea != "backpropagation" and len(arguments.models) > 1:
        parser.error(f"{arguments.idea} takes one model")
    try:
        words, pictures = drawn(arguments)
    except (ValueError, OSError) as error:
        parser.exit(1, f"error: {error}\n")
    print(words)
    print(*pictures, sep="\n")


def drawn(arguments: argparse.Namespace) -> tuple[str, list[Path]]:
    """Measure and draw one idea; return the numbers as text, and the pictures."""
    subjects = {model: Subject.of(model, arguments.text) for model in arguments.models}
    subject = subjects[arguments.models[0]]
    found: Any
    if arguments.idea == "state":
        found = state.measure(subject, arguments.characters)
        return state.tell(found), state.draw(found, arguments.out)
    if arguments.idea == "backpropagation":
        found = backpropagation.measure(subjects, arguments.sequences, arguments.back)
        return backpropagation.tell(found), backpropagation.draw(found, arguments.out)
    if arguments.idea == "temperature":
        settings = arguments.prime, arguments.samples, arguments.length, arguments.seed
        found = temperature.measure(subject, *settings)
        return temperature.tell(found), temperature.draw(found, arguments.out)
    found = cells.measure(subject, arguments.characters // 5, arguments.seed)
    return cells.tell(found), cells.draw(found, arguments.out, arguments.name)


if __name__ == "__main__":
    main()
