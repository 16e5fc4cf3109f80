"""``char-rnn interact``."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click
from click.exceptions import Exit

from char_rnn.cli.inputs import escapes_option, open_model, read_prime, unescaped
from char_rnn.cli.learning import check_learning, learn_options, learner_of
from char_rnn.cli.options import check_target, strategy_flags, strategy_of
from char_rnn.cli.output import progress_bar, say, write_text
from char_rnn.sampling.options import NUMBERS

if TYPE_CHECKING:
    from char_rnn.generation.engine import Engine
    from char_rnn.generation.learning import Learning
    from char_rnn.interact.draft import Draft
    from char_rnn.model_file import ModelFile

LONG = 10_000  # characters of a prime that take noticeable time


@click.command(name="interact")
@click.argument("model")
@click.option("--prime", default="", show_default=False, metavar="TEXT", help="Text to begin with.")
@click.option(
    "--prime-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File with the text to begin with.",
)
@click.option("--encoding", help="Encoding of the --prime-file (default: that of the training text).")
@escapes_option("--prime")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="File to write the text to at the end.")
@click.option("--length", type=click.IntRange(min=1), default=200, help="Characters that the model writes on Ctrl-P.")
@learn_options
@click.option(
    "--save-learned",
    type=click.Path(dir_okay=False, path_type=Path),
    help="New model file for the weights that --learn has learned, written at the end.",
)
@strategy_flags(name for name in NUMBERS if name != "final_temperature")
@click.option(
    "--seed", type=click.IntRange(min=0), help="Seed of the random numbers; the same keys then give the same text."
)
def command(
    model: str,
    prime: str,
    prime_file: Path | None,
    out: Path | None,
    length: int,
    learn: bool,
    learn_rate: float | None,
    save_learned: Path | None,
    **options: Any,
) -> None:
    """Write a text together with a model, in the terminal.

    The model reads what you type and shows its predictions beside the text. Tab lets it write a word, Ctrl-E the rest
    of the line, and Ctrl-P the number of characters of --length. Ctrl-N shows several continuations to choose from.
    Ctrl-Z undoes the last edit. The keys are listed below the text. Ctrl-Q quits and prints the text; with --out, it
    writes the text to that file.

    With --learn, the model learns from the text that you type, paste or choose, not from what it writes by itself. It
    learns on a copy of its weights; the model file does not change. Undo also undoes what was learned from the text.

    \b
    Examples:
      char-rnn interact runs/my-book
      char-rnn interact runs/my-book --prime "It was " --temperature 0.7 --out story.txt
      char-rnn interact runs/my-book --prime-file story.txt --out story.txt
      char-rnn interact runs/my-book --prime-file story.txt --learn
    """
    if not _is_terminal():
        raise click.UsageError("interact needs a terminal for input and output; `char-rnn sample` works without one")
    if prime and prime_file:
        raise click.UsageError("give --prime or --prime-file, not both")
    if out is not None and not out.parent.is_dir():
        raise click.BadParameter(f"{out.parent}: no such folder", param_hint="--out")
    check_learning(learn, learn_rate=learn_rate, save_learned=save_learned)
    if save_learned is not None:
        check_target(save_learned, [".safetensors"], "--save-learned", force=None)
    from char_rnn.interact.screen import Screen

    encoding, escapes = options.pop("encoding"), options.pop("escapes")
    file = open_model(model)
    if prime_file is not None:
        prime = read_prime(prime_file, file, encoding)
    elif escapes:
        prime = unescaped(prime, "--prime")
    if len(prime) > LONG:
        say(f"reading {len(prime):,} characters")
    learning = _learning(file, learn_rate) if learn else None
    draft = _draft(file, learning, prime, options)
    screen = Screen(draft, Path(model).name, paragraph=length, path=out)
    try:
        screen.run()
    finally:
        _keep(draft.text, out)
        if learning is not None and save_learned is not None:
            _save_learned(learning, draft, file, model, save_learned)
    if screen.ended_by is not None:
        raise Exit(128 + screen.ended_by)


def _is_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def _engine(file: ModelFile, tensors: Mapping[str, Any]) -> Engine:
    from char_rnn.generation.engine import Engine

    return Engine(file.config.model, tensors, file.config.training.parameter_type)


def _learning(file: ModelFile, rate: float | None) -> Learning:
    from char_rnn.generation.learning import Learning

    say("measuring the model's gradients, to learn")
    with progress_bar(quiet=False) as show:
        learner = learner_of(file, show, rate)
    return Learning(learner, partial(_engine, file))


def _draft(file: ModelFile, learning: Learning | None, prime: str, options: dict[str, Any]) -> Draft:
    from char_rnn.interact.draft import Draft

    settings = file.config.generation
    draft = Draft(
        learning or _engine(file, file.tensors),
        file.vocabulary,
        strategy_of(settings, options, final_temperature=None),
        seed=settings.seed if options["seed"] is None else options["seed"],
        prime=prime,
    )
    with progress_bar(quiet=False) as show:
        _learn(draft, show)
    return draft


def _learn(draft: Draft, show: Callable[[str, int, int], None]) -> None:
    """Let a draft learn from its text."""
    most = 0
    for left in draft.catch_up():
        most = max(most, left)
        show("learning from the text", most - left, most)


def _save_learned(learning: Learning, draft: Draft, file: ModelFile, model: str, path: Path) -> None:
    """Write a model file with the weights that were learned; losses of the training are not theirs."""
    _learn(draft, lambda *_: None)
    facts = {name: value for name, value in file.training.items() if name not in ("best_val_loss", "best_step")}
    learned = replace(file, tensors=learning.learner.tensors(), training={**facts, "init_from": model}, in_8_bits=False)
    learned.write(path)
    say(f"wrote the learned model to {path}")


def _keep(text: str, out: Path | None) -> None:
    """Print the text or write it to its file; if that fails, save it in a new file."""
    from char_rnn.interact.draft import save

    if not text:
        return
    try:
        if out is None:
            write_text(text + "\n")
        else:
            save(text, out)
            say(f"the text is in {out}")
    except OSError:
        folder = Path.cwd() if os.access(Path.cwd(), os.W_OK) else None
        with tempfile.NamedTemporaryFile(
            "wb", prefix="char-rnn-draft-", suffix=".txt", dir=folder, delete=False
        ) as file:
            file.write(text.encode("utf-8", "surrogateescape"))
        say(f"the text is in {file.name}")
        raise
