"""The effect of temperature and filters on one prediction, and of temperature on a text.

Dimensions: T characters of a text, V vocabulary, N texts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from reading import Ids, Subject

from char_rnn import TextGenerator
from char_rnn.generation.engine import Engine, read
from char_rnn.novelty.novelty import judge, match
from char_rnn.runs.plots import save_figure, style
from char_rnn.sampling.strategies import Floats, probabilities

PRIME = "ROMEO:\nI will s"
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "as the model has it": {},
    "temperature 0.5": {"temperature": 0.5},
    "temperature 1.5": {"temperature": 1.5},
    "top-k 4": {"top_k": 4},
    "top-p 0.8": {"top_p": 0.8},
    "min-p 0.1": {"min_p": 0.1},
    "typical-p 0.6": {"typical_p": 0.6},
    "temperature 1.5, min-p 0.1": {"temperature": 1.5, "min_p": 0.1},
}
TEMPERATURES = (0.2, 0.35, 0.5, 0.65, 0.8, 1.0, 1.2, 1.5)
NGRAM = 8
SHOWN = 8


@dataclass(frozen=True)
class Figures:
    """Figures of some texts.

    Attributes:
        entropy: Of what is drawn from, in bits a character; that of the model alone for a text of a person's.
        repeated: Share of their 8-grams that stand earlier in the same text.
        new: Share of their 8-grams that do not stand in the training text.
        invented: Share of their words that do not.
    """

    entropy: float
    repeated: float
    new: float
    invented: float


def entropy(engine: Engine, texts: Sequence[Ids], temperature: float) -> float:
    """Return the mean entropy, in bits, of the distributions that N texts of one length were drawn from."""
    streams, total = engine.begin(len(texts)), 0.0
    symbols = np.array(texts, np.int64)
    for column in symbols[:, :-1].T:
        weights = probabilities(streams.step(column), temperature)
        logs = np.log2(weights, out=np.zeros_like(weights), where=weights > 0)
        total -= float((weights * logs).sum(axis=1).mean())
    return total / float(symbols.shape[1] - 1)


def repeated(text: str, length: int = NGRAM) -> float:
    """Return the share of a text's n-grams that occur earlier in it."""
    grams = [text[start : start + length] for start in range(len(text) - length + 1)]
    return 1 - len(set(grams)) / len(grams)


def words(text: str) -> list[str]:
    """Return the words of a text except the last, which may be incomplete."""
    return "".join(character if character.isalpha() else " " for character in text).split()[:-1]


def judged(subject: Subject, engine: Engine, texts: Sequence[str], temperature: float, known: set[str]) -> Figures:
    """Measure texts of one length, in the model's vocabulary."""
    symbols = [subject.file.vocabulary.encode(text).astype(np.int64) for text in texts]
    new = judge(match(symbols, subject.trained_on, subject.file.vocabulary.size)).novel[NGRAM]
    said = [word for text in texts for word in words(text)]
    invented = sum(word not in known for word in said) / max(1, len(said))
    again = float(np.mean([repeated(text) for text in texts]))
    return Figures(entropy(engine, symbols, temperature), again, new or 0.0, invented)


def measure(subject: Subject, prime: str, count: int, length: int, seed: int) -> dict[str, Any]:
    """Return one prediction, and the figures of ``count`` texts at each temperature and of held-out ones."""
    config, vocabulary = subject.file.config.model, subject.file.vocabulary
    engine = Engine(config, subject.file.tensors)
    log_probs = read(engine.begin(), vocabulary.encode(prime))
    known = set(words(vocabulary.decode(subject.trained_on)))
    generator = TextGenerator(engine, vocabulary)
    by_temperature = {}
    for temperature in TEMPERATURES:
        written = generator.generate_many("\n", length - 1, temperature, num_samples=count, seed=seed)
        by_temperature[temperature] = judged(subject, engine, written, temperature, known)
    ids = subject.held_out(count * length)
    size = len(ids) // count
    pieces = [vocabulary.decode(ids[number * size : (number + 1) * size]) for number in range(count)]
    person = judged(subject, engine, pieces, 1.0, known)
    symbols = [vocabulary.decode(np.array([place])) for place in range(vocabulary.size)]
    return {"symbols": symbols, "log_probs": log_probs, "temperatures": by_temperature, "person": person}


def draw(found: dict[str, Any], folder: Path) -> list[Path]:
    """Draw the prediction and the figures."""
    return [
        save_figure(_bars(found["log_probs"], found["symbols"]), folder / "temperature-bars.svg"),
        save_figure(_lines(found["temperatures"], found["person"]), folder / "temperature.svg"),
    ]


def _bars(log_probs: Floats, symbols: Sequence[str]) -> Figure:
    order = np.argsort(-np.asarray(log_probs), kind="stable")[:SHOWN]
    names = [{" ": "␣", "\n": "↵"}.get(symbols[place], symbols[place]) for place in order]
    own = probabilities(log_probs)
    with style():
        figure = Figure(figsize=(9, 4), layout="constrained")
        for axes, (title, settings) in zip(figure.subplots(2, 4, sharey=True).flat, SETTINGS.items(), strict=True):
            weights = probabilities(log_probs, **settings)
            axes.bar(names, own[order], color="#dddddd")
            axes.bar(names, weights[order], color="#1b6ca8", width=0.5)
            axes.set_title(title, fontsize=9)
    return figure


def _lines(temperatures: Mapping[float, Figures], person: Figures) -> Figure:
    panels = {"entropy, bits": ("entropy",), "8-grams": ("repeated", "new"), "words": ("invented",)}
    labels = {"repeated": "said before in the text", "new": "not in the training text", "invented": "invented"}
    colours = {"repeated": "#d95f02"}
    with style():
        figure = Figure(figsize=(9, 3), layout="constrained")
        for axes, (title, names) in zip(figure.subplots(1, 3), panels.items(), strict=True):
            for name in names:
                colour = colours.get(name, "#1b6ca8")
                values = [getattr(of, name) for of in temperatures.values()]
                axes.plot(list(temperatures), values, "o-", color=colour, label=labels.get(name))
                axes.axhline(getattr(person, name), color=colour, linestyle=":")
            axes.set_ylim(0)
            axes.set(xlabel="temperature", title=title)
            if names[0] in labels:
                axes.legend()
    return figure


def tell(found: dict[str, Any]) -> str:
    """Format the figures as lines."""
    lines = ["temperature  entropy, bits  repeated 8-grams  new 8-grams  invented words"]
    rows = [*found["temperatures"].items(), ("held out", found["person"])]
    for name, of in rows:
        shares = f"{of.repeated:>16.1%}  {of.new:>11.1%}  {of.invented:>14.1%}"
        lines.append(f"{name:>11}  {of.entropy:>13.2f}  {shares}")
    return "\n".join(lines)
