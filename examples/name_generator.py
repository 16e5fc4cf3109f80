"""Invents names: by default, of emoji that do not exist yet.

    python examples/name_generator.py
    python examples/name_generator.py names.txt --minutes 3 --begin "Ka"

A model learns a list of names, one a line, and goes on with it; what stands in the list already is left out. Without a
list it learns what Unicode calls its pictures.
"""

from __future__ import annotations

import argparse
import sys
import unicodedata
from pathlib import Path
from tempfile import TemporaryDirectory

import char_rnn

PICTURES = (*range(0x1F300, 0x1F650), *range(0x1F680, 0x1F700), *range(0x1F900, 0x1FB00))
ATTEMPTS = 20


def emoji_names() -> list[str]:
    """Return the names of the pictures that this Python knows."""
    names = (unicodedata.name(chr(point), "") for point in PICTURES)
    return [name.lower() for name in names if name]


def new_names(model: Path, known: set[str], begin: str, count: int, temperature: float, seed: int) -> list[str]:
    """Return names that are not in the list, each once; fewer if the model knows little but the list."""
    generator = char_rnn.TextGenerator.load(model)
    found: dict[str, None] = {}
    for attempt in range(ATTEMPTS):
        drawn = generator.generate_many(
            "\n" + begin, 60, num_samples=10 * count, temperature=temperature, stop="\n", seed=seed + attempt
        )
        found |= dict.fromkeys(name for text in drawn if (name := text.strip()) and name not in known)
        if len(found) >= count:
            break
    return list(found)[:count]


def main() -> None:
    """Train, then invent."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("list", nargs="?", type=Path, help="a text with one name a line")
    options.add_argument("--minutes", type=float, default=1.0, help="how long to learn")
    options.add_argument("--begin", default="", help="how every name begins")
    options.add_argument("--count", type=int, default=12, help="how many to invent")
    options.add_argument("--temperature", type=float, default=0.8, help="higher is stranger")
    options.add_argument("--seed", type=int, default=1)
    arguments = options.parse_args()
    if arguments.list is not None and not arguments.list.is_file():
        options.error(f"{arguments.list}: no such file")
    names = arguments.list.read_text(encoding="utf-8").split("\n") if arguments.list else emoji_names()
    known = {name.strip() for name in names} - {""}
    with TemporaryDirectory() as folder:
        text = Path(folder, "names.txt")
        text.write_text("".join(f"{name}\n" for name in sorted(known)), encoding="utf-8")
        print(f"learning {len(known):,} names", file=sys.stderr)
        batch = max(1, min(32, text.stat().st_size // 320))  # a short list has to fill ten batches, too
        settings = {
            "device.threads": 1,
            "training.seed": arguments.seed,
            "training.batch_size": batch,
            "logging.sample_length": 0,
        }
        run = char_rnn.train(text, Path(folder, "run"), recipe="names", minutes=arguments.minutes, settings=settings)
        found = new_names(run.folder, known, arguments.begin, arguments.count, arguments.temperature, arguments.seed)
    print("\n".join(found))


if __name__ == "__main__":
    try:
        main()
    except ValueError as error:  # a text that is too short, a model of another kind, ...
        sys.exit(str(error))
