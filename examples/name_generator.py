"""Invents names: by default, of emoji that do not exist.

    python examples/name_generator.py
    python examples/name_generator.py names.txt --minutes 3 --begin "Ka"

A model learns a list of names, one per line, and writes new ones; names in the list are not printed. Without a list it
learns the Unicode names of pictographs.
"""

from __future__ import annotations

import argparse
import random
import sys
import unicodedata
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

import char_rnn

PICTURES = (*range(0x1F300, 0x1F650), *range(0x1F680, 0x1F700), *range(0x1F900, 0x1FB00))
ATTEMPTS = 20


def emoji_names() -> list[str]:
    """Return the pictograph names in this Python's Unicode data."""
    names = (unicodedata.name(chr(point), "") for point in PICTURES)
    return [name.lower() for name in names if name]


def listed(path: Path) -> list[str]:
    """Return the lines of a text."""
    corpus = char_rnn.prepare_corpus(path)
    return corpus.vocabulary.decode(np.asarray(corpus.ids)).split("\n")


def new_names(model: Path, known: set[str], begin: str, count: int, temperature: float, seed: int) -> list[str]:
    """Return distinct names that are not in the list; fewer than `count` if the model mostly repeats the list."""
    generator = char_rnn.TextGenerator.load(model)
    found: dict[str, None] = {}
    for attempt in range(ATTEMPTS):
        drawn = generator.generate_many(
            "\n" + begin, 100, num_samples=10 * count, temperature=temperature, stop="\n", seed=seed + attempt
        )
        found |= dict.fromkeys(name for text in drawn if (name := text.strip()) and name not in known)
        if len(found) >= count:
            break
    return list(found)[:count]


def main() -> None:
    """Train, then invent."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("list", nargs="?", type=Path, help="text with one name per line")
    options.add_argument("--minutes", type=float, default=1.0, help="minutes of training")
    options.add_argument("--begin", default="", help="beginning of every name")
    options.add_argument("--count", type=int, default=12, help="number of names")
    options.add_argument("--temperature", type=float, default=0.8, help="sampling temperature")
    options.add_argument("--seed", type=int, default=1)
    arguments = options.parse_args()
    if arguments.list is not None and not arguments.list.is_file():
        options.error(f"{arguments.list}: no such file")
    if arguments.count < 1 or arguments.temperature < 0:
        options.error("--count: must be 1 or more, and --temperature 0 or more")
    names = listed(arguments.list) if arguments.list else emoji_names()
    known = {name.strip() for name in names} - {""}
    if strange := set(arguments.begin) - set("".join(known)):
        options.error(f"--begin: no name in the list contains {' or '.join(sorted(strange))}")
    with TemporaryDirectory() as folder:
        text = Path(folder, "names.txt")
        shuffled = random.Random(arguments.seed).sample(sorted(known), len(known))  # the last are validated on
        text.write_text("".join(f"{name}\n" for name in shuffled), encoding="utf-8")
        print(f"training on {len(known):,} names", file=sys.stderr)
        batch = max(1, min(32, text.stat().st_size // 320))  # ten batches, also for a short list
        settings = {
            "device.threads": 1,
            "training.seed": arguments.seed,
            "training.batch_size": batch,
            "logging.sample_length": 0,
        }
        run = char_rnn.train(text, Path(folder, "run"), recipe="names", minutes=arguments.minutes, settings=settings)
        found = new_names(run.folder, known, arguments.begin, arguments.count, arguments.temperature, arguments.seed)
    if not found:
        sys.exit("the model wrote only names in the list; raise --temperature")
    print("\n".join(found))


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError) as error:  # a text that is too short, a model of another kind, ...
        sys.exit(str(error))
