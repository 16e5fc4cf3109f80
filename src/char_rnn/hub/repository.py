"""The files of a repository on the Hub: the model, its configuration and its card.

The card is README.md: metadata in YAML, then a text in Markdown.
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from char_rnn.generation.text_generator import TextGenerator
from char_rnn.model_file import VERSIONS, ModelFile
from char_rnn.runs import METRICS
from char_rnn.runs.history import History, read_history
from char_rnn.sampling.options import Strategy
from char_rnn.training.evaluation import perplexity
from char_rnn.utils.hub import INSTALL, MODEL, Address, is_address
from char_rnn.utils.model_files import write_configuration
from char_rnn.utils.terminal import counted, visible, visible_name

SAMPLE_LENGTH, SEED = 600, 1


@dataclass(frozen=True)
class Words:
    """Texts of a card about its model.

    Attributes:
        license: Identifier of the license, such as "cc-by-4.0".
        description: A sentence or more, in Markdown.
        prime: Beginning of the sample.
        sample: A text of the model, with the prime.
        command: Command that trains the model again.
        page: File name of the exported page.
    """

    license: str | None = None
    description: str | None = None
    prime: str = ""
    sample: str = ""
    command: str | None = None
    page: str | None = None


def shareable(file: ModelFile, primes: tuple[str, ...] = ()) -> ModelFile:
    """Return a model without paths, and with these suggested primes: its own are words of the training text."""
    config = file.config.changed(generation={"suggested_primes": list(primes)})
    return replace(file, config=config).without_paths()


def write_repository(file: ModelFile, folder: Path, address: Address, words: Words, run: Path) -> None:
    """Write the files of a model into a folder; if a text of it cannot be made, none.

    Args:
        file: The model, as `shareable` returns it.
        folder: A folder, which is made if there is none.
        address: Address of the repository.
        words: Texts about the model; the sample is written here.
        run: The run folder, if it is one, with the losses.
    """
    history = read_history(run) if (run / METRICS).is_file() else None
    card = model_card(file, address, replace(words, sample=_sample(file, words.prime)), history)
    folder.mkdir(parents=True, exist_ok=True)
    file.write(folder / MODEL)
    write_configuration(folder, file.config.model_dump(mode="json"))
    (folder / "README.md").write_text(card, encoding="utf-8", newline="\n")


def model_card(file: ModelFile, address: Address, words: Words, history: History | None = None) -> str:
    """Return the card of a model without paths; ``history`` has the losses of its run."""
    model, settings = file.config.model, file.config.generation
    architecture = f"{model.num_layers}-layer {model.type} with {model.hidden_size} units"
    prime = f" --prime {shlex.quote(words.prime)}" if words.prime.isprintable() and words.prime else ""
    begun = f"Begun with `{visible_name(words.prime).replace('`', chr(39))}`, at" if words.prime else "At"
    parts = [
        f"---\n{yaml.safe_dump(_metadata(file, words), sort_keys=False, allow_unicode=True)}---",
        f"# {_plain(address.name)}",
        words.description,
        f"A language model that writes one {file.vocabulary.unit} at a time: {architecture},"
        f" {counted(file.parameters, 'parameter')}, trained with char-rnn.",
        "## Sample",
        _block(words.sample, "text"),
        f"{begun} temperature {settings.temperature:g}.",
        "## Use",
        _block(f"{INSTALL}\nchar-rnn sample {address}{prime}", "sh"),
        _block(
            f'from char_rnn import CharModel, TextGenerator\n\ngenerator = TextGenerator.load("{address}")\n'
            f"print(generator.generate({words.prime!r}, length=500, temperature={settings.temperature:g}))\n"
            f'model = CharModel.from_pretrained("{address.repository}")  # for PyTorch',
            "python",
        ),
        words.page and f"[{words.page}]({words.page}) runs the model in a browser: download the page and open it.",
        "## Training",
        "\n".join(["| | |", "|---|---|", *(f"| {name} | {_plain(text)} |" for name, text in _facts(file, history))]),
        words.command and f"To train it again (names in place of paths):\n\n{_block(words.command, 'sh')}",
        "The model can repeat passages of its training text.",
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def _sample(file: ModelFile, prime: str) -> str:
    """Return a text of the model with its own settings, which ends with a line if it has several."""
    opening, strategy = prime or 2 * (file.vocabulary.line_end or ""), Strategy.of(file.config.generation)
    text = TextGenerator.load(file).generate(opening, SAMPLE_LENGTH, seed=SEED, **asdict(strategy))
    lines = text.strip("\r\n").splitlines()
    return "\n".join(lines[:-1] if len(lines) > 2 else lines)


def _metadata(file: ModelFile, words: Words) -> dict[str, Any]:
    origin = file.training.get("init_from")
    return {
        "library_name": "char-rnn",
        "pipeline_tag": "text-generation",
        **({"license": words.license} if words.license else {}),
        **({"base_model": Address.parse(origin).repository} if isinstance(origin, str) and is_address(origin) else {}),
        "tags": ["char-rnn", "character-level", file.config.model.type],
    }


def _facts(file: ModelFile, history: History | None) -> list[tuple[str, str]]:
    """Return the rows of the table, each a name and a text."""
    training, unit = file.training, file.vocabulary.unit
    size = training.get("characters")
    text = f"{training.get('data', 'unknown')}" + (f", {counted(size, unit)}" if size else "")
    rows = [("text", text), ("vocabulary", f"{file.vocabulary.size:,} {file.vocabulary.kind}")]
    if "init_from" in training:
        rows.append(("started from", str(training["init_from"])))
    if "step" in training:
        epochs = f", {training['epoch']:.2f} epochs" if "epoch" in training else ""
        minutes = f", {training['seconds'] / 60:.1f} minutes" if "seconds" in training else ""
        rows.append(("training", f"{counted(training['step'], 'step')}{epochs}{minutes}"))
    rows += [(f"{split} loss", _loss(loss, unit)) for split, loss in _losses(training, history).items()]
    versions = [f"{name} {training[key]}" for key, name in VERSIONS.items() if key in training]
    return rows + ([("versions", ", ".join(versions))] if versions else [])


def _losses(training: Mapping[str, Any], history: History | None) -> dict[str, float]:
    """Return the losses of the model: of a run, those that were measured last up to its step."""
    step, best = training.get("step", math.inf), training.get("best_val_loss", math.nan)
    losses = {}
    for name, split in {"training": "train", "validation": "val", "test": "test"}.items():
        measured = [point.loss for point in (history.finite(split) if history else ()) if point.step <= step]
        if split == "val" and math.isfinite(best) and training.get("best_step", step) == step:
            measured = [best]
        if measured:
            losses[name] = measured[-1]
    return losses


def _loss(loss: float, unit: str) -> str:
    return f"{loss:.4f} nats per {unit} ({loss / math.log(2):.4f} bits, perplexity {perplexity(loss):.3f})"


def _plain(text: str) -> str:
    """Return a short text in one line that is not markup."""
    return re.sub(r"([\\`*_{}\[\]<>#|])", r"\\\1", visible_name(text))


def _block(text: str, language: str) -> str:
    """Return a text as a block of code, whatever it contains."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}{language}\n{visible(text).strip()}\n{fence}" if text.strip() else ""
