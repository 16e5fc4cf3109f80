"""A model as one HTML file that runs it in a browser, without a server or a network.

The file is the playground's page with its style and scripts in it, a worker instead of the server, and the model: its
description as JSON and its weights in base64. What comes from the model or its maker stands in the page as text alone,
and a content security policy lets nothing run or load but what is in the file.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
import unicodedata
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from char_rnn.export.bundle import joined
from char_rnn.export.packing import pack
from char_rnn.generation.network import Network
from char_rnn.model_file import ModelFile
from char_rnn.models.parameters import check_finite
from char_rnn.utils.files import replacing

TAGLINE = "writes one character at a time"


@dataclass(frozen=True)
class Words:
    """What a page says of its model.

    Attributes:
        name: What the model is called.
        title: The page's; empty for the name.
        description: A sentence beneath the title; empty for that of the playground.
    """

    name: str
    title: str = ""
    description: str = ""


def write_page(file: ModelFile, path: str | Path, words: Words) -> None:
    """Write the page in one step.

    Raises:
        ValueError: The tensors are not the model's, or not all finite.
        OSError: The file cannot be written.
    """
    text = page(file, words)
    with replacing(path) as temporary:
        temporary.write_bytes(text.encode())


def page(file: ModelFile, words: Words) -> str:
    """Return the page, which has no characters but those of UTF-8.

    Raises:
        ValueError: The tensors are not the model's, or not all finite.
    """
    check_finite(file.tensors, np.float32)
    network, weights = pack(Network.of(file.config.model, file.tensors, np.float32))
    facts = facts_of(file)
    described = {"name": words.name, "facts": facts, "vocabulary": file.vocabulary.to_dict(), "network": network}
    playground, own = _texts("char_rnn.playground"), _texts("char_rnn.export")
    playground.pop("backend_server.js")
    scripts = joined(own, "start.js"), joined(playground, "app.js")
    style = playground["style.css"] + own["page.css"]
    icon = "data:image/svg+xml," + quote(playground["icon.svg"])
    title = html.escape(_shown(words.title or words.name))
    about = html.escape(_shown(words.description or TAGLINE))
    held = (
        _held("model", "application/json", _json(described)),
        _held("weights", "text/plain", base64.b64encode(weights).decode()),
        _held("program", "text/plain", joined(own, "worker.js")),
    )
    changes = {
        '<meta charset="utf-8">': f'<meta charset="utf-8">\n{_policy(style, *scripts)}',
        "<title>char-rnn</title>": f'<title>{title}</title>\n<meta name="description" content="{about}">',
        'href="static/icon.svg"': f'href="{icon}"',
        '<link rel="stylesheet" href="static/style.css">': f"<style>{style}</style>",
        '<script type="module" src="static/app.js"></script>': "\n".join(map(_module, scripts)),
        "<h1>char-rnn</h1>": f"<h1>{title}</h1>",
        f'<p class="tagline">{TAGLINE}</p>': f'<p class="tagline">{about}</p>',
        "</body>": "\n".join((_card(facts, file), *held, "</body>")),
    }
    return _changed(playground["index.html"], changes)


def facts_of(file: ModelFile) -> dict[str, Any]:
    """Return what the page shows of a model, in types that JSON has; of a path to its text, the name alone."""
    model, training = file.config.model, file.without_paths().training
    loss = training.get("best_val_loss")
    is_loss = isinstance(loss, float) and math.isfinite(loss)
    return {
        "cell": model.type,
        "hidden_size": model.hidden_size,
        "num_layers": model.num_layers,
        "parameters": sum(tensor.size for tensor in file.tensors.values()),
        "data": _shown(str(training["data"])) if "data" in training else None,
        "loss": loss if is_loss else None,
        "precision": "int8",
    }


def _card(facts: dict[str, Any], file: ModelFile) -> str:
    unit = file.vocabulary.unit
    lines = {
        "Trained on": facts["data"],
        "Network": f"{facts['num_layers']} × {facts['hidden_size']} {facts['cell'].upper()}, "
        f"{facts['parameters']:,} parameters, kept in 8 bits here",
        "Loss": facts["loss"] and f"{facts['loss']:.3f} nats a {unit} on text it was not trained on, in full precision",
        "Writes": f"{file.vocabulary.size:,} different {unit}s",
    }
    rows = "".join(f"<dt>{name}</dt><dd>{html.escape(line)}</dd>" for name, line in lines.items() if line)
    note = "The model is in this page and runs on this device. Nothing that you write leaves it."
    summary = "<summary>About this model</summary>"
    return f'<footer class="card"><details>{summary}<dl>{rows}</dl><p class="hint">{note}</p></details></footer>'


def _texts(package: str) -> dict[str, str]:
    """The files that a package's pages are made of, by their names."""
    kinds = (".html", ".css", ".js", ".svg")
    static = (file for file in (files(package) / "static").iterdir() if file.name.endswith(kinds))
    return {file.name: file.read_text("utf-8") for file in static}


def _changed(text: str, changes: dict[str, str]) -> str:
    """Put something else in the place of each of some texts; what is put there is not looked at again."""
    places = []
    for old in changes:
        if text.count(old) != 1:
            raise ValueError(f"the playground's page: has {text.count(old)} times {old!r}; an export needs it once")
        places.append((text.index(old), old))
    pieces, end = [], 0
    for start, old in sorted(places):
        pieces += [text[end:start], changes[old]]
        end = start + len(old)
    return "".join((*pieces, text[end:]))


def _policy(style: str, *scripts: str) -> str:
    """Nothing runs but these scripts and the worker that they make, and nothing is loaded from anywhere."""

    def hashed(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    rules = (
        "default-src 'none'",
        f"script-src {' '.join(map(hashed, scripts))} 'wasm-unsafe-eval'",
        "worker-src blob: data:",
        f"style-src {hashed(style)}",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
    )
    return f'<meta http-equiv="Content-Security-Policy" content="{"; ".join(rules)}">'


def _module(script: str) -> str:
    return f'<script type="module">{_unbroken(script)}</script>'


def _held(name: str, kind: str, text: str) -> str:
    return f'<script type="{kind}" id="{name}">{_unbroken(text)}</script>'


def _unbroken(text: str) -> str:
    """Return a text that stands in a script element; only a mistake in this program puts the element's end into it."""
    if "</script" in text.lower() or "<!--" in text:
        raise ValueError("a script of the page holds the end of its element")
    return text


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":")).replace("<", r"\u003c")


def _shown(text: str) -> str:
    """Return a text with U+FFFD for what ends lines, controls or cannot be written."""
    unshown = ("Cc", "Cs", "Zl", "Zp")
    return "".join("\ufffd" if unicodedata.category(character) in unshown else character for character in text)
