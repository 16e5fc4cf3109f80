"""Continues a checkpoint of 2015: samples the text that it wrote then, trains it further, and saves a model file.

    python examples/continue_2015.py cv/lm_lstm_epoch50.00_1.3656.t7 my-book.txt

The first text equals the output of `th sample.lua` for the same seed, byte for byte.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import char_rnn
from char_rnn.cli import main as char_rnn_command
from char_rnn.torch7 import read_model


def loss(file: char_rnn.ModelFile, corpus: char_rnn.Corpus) -> float:
    """Return nats per character on the last tenth of a text."""
    model = char_rnn.build_model(
        file.config.model, file.vocabulary.size, file.tensors, dtype=file.config.training.parameter_type
    )
    return char_rnn.evaluate(model, corpus.split("val", 0.9, 0.1)).loss


def main() -> None:
    """Sample, train, compare, save."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("checkpoint", type=Path, help="a .t7 file of char-rnn, or of torch-rnn")
    options.add_argument("text", type=Path, help="training text; may differ from the original one")
    options.add_argument("--minutes", type=float, default=1.0, help="minutes of training")
    options.add_argument("--out", type=Path, default=Path("continued.safetensors"), help="the model file to write")
    arguments = options.parse_args()
    for path in (arguments.checkpoint, arguments.text):
        if not path.is_file():
            options.error(f"{path}: no such file")
    if not arguments.out.parent.is_dir() or arguments.out.is_dir():
        options.error(f"--out {arguments.out}: must be a file in an existing folder")
    old = read_model(arguments.checkpoint)
    corpus = char_rnn.prepare_corpus(arguments.text, vocabulary=old.vocabulary)
    print("--- as in 2015 ---", flush=True)
    try:
        char_rnn_command(["sample", str(arguments.checkpoint), "--torch7", "-length", "300", "-seed", "2015"])
    except SystemExit as end:
        if end.code:
            raise
    with TemporaryDirectory() as folder:
        settings = {"device.threads": 1, "logging.sample_length": 0, "data.train_frac": 0.9, "data.val_frac": 0.1}
        run = char_rnn.train(
            arguments.text, Path(folder, "run"), minutes=arguments.minutes, init_from=old, settings=settings
        )
        new = char_rnn.ModelFile.read(run.folder / "best.safetensors")
    print(
        f"--- loss on the end of {arguments.text.name}: {loss(old, corpus):.4f} before, {loss(new, corpus):.4f} now ---"
    )
    print(char_rnn.TextGenerator.load(new).generate("\n", length=300, temperature=0.8, seed=1, unknown="skip"))
    new.write(arguments.out)
    print(f"--- {arguments.out} ---")


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError) as error:  # no checkpoint, a text that is too short or has other characters, ...
        sys.exit(str(error))
