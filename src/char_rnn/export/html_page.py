"""A model as one HTML file that runs it in a browser, without a server or a network.

The file is the playground's page with its style and scripts inside, a worker in place of the server, and the model:
its description as JSON and its weights in base64. Text of the model or its maker is never markup, and a content
security policy lets the page run and load only its own parts.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from char_rnn.export.packing import pack
from char_rnn.generation.network import Network
from char_rnn.generation.unknown_characters import default_prime
from char_rnn.model_file import ModelFile
from char_rnn.models.parameters import check_finite
from char_rnn.utils.files import replacing
from char_rnn.utils.page_files import page_files

TAGLINE = "writes one character at a time"
_IMPORT = re.compile(r'^import \{[^}]*\} from "\./([\w.]+)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=const|let|function|async function|class)", re.MULTILINE)


@dataclass(frozen=True)
class Words:
    """Texts of a page about its model.

    Attributes:
        name: Name of the model.
        title: Title of the page; by default the name.
        description: A sentence below the title; by default that of the playground.
    """

    name: str
    title: str = ""
    description: str = ""


def write_page(file: ModelFile, path: str | Path, words: Words) -> None:
    """Write the page in one step.

    Raises:
        ValueError: The tensors do not match the configuration, or are not finite.
        OSError: The file cannot be written.
    """
    text = page(file, words)
    with replacing(path) as temporary:
        temporary.write_bytes(text.encode())


def page(file: ModelFile, words: Words) -> str:
    """Return the page, whose characters can all be encoded in UTF-8.

    Raises:
        ValueError: The tensors do not match the configuration, or are not finite.
    """
    check_finite(file.tensors, np.float32)
    network, weights = pack(Network.of(file.config.model, file.tensors, np.float32))
    facts = {**file.summary(), "precision": "int8"}
    facts["data"] = _shown(facts["data"]) if facts["data"] is not None else None
    prime, _ = default_prime(file.vocabulary, file.config.generation.prime)
    described = {"name": words.name, "facts": facts, "vocabulary": file.vocabulary.to_dict(), "network": network}
    described["prime"] = prime
    playground, own = page_files("char_rnn.playground"), page_files("char_rnn.export")
    playground.pop("backend_server.js")
    scripts = joined(own, "start.js"), joined(playground, "app.js")
    style = playground["style.css"] + own["page.css"]
    title = html.escape(_shown(words.title or words.name))
    about = html.escape(_shown(words.description or TAGLINE))
    held = (
        _script("application/json", json.dumps(described, separators=(",", ":")).replace("<", r"\u003c"), "model"),
        _script("text/plain", base64.b64encode(weights).decode(), "weights"),
        _script("text/plain", joined(own, "worker.js"), "program"),
    )
    changes = {
        '<meta charset="utf-8">': f'<meta charset="utf-8">\n{_policy(style, *scripts)}',
        "<title>char-rnn</title>": f'<title>{title}</title>\n<meta name="description" content="{about}">',
        'href="static/icon.svg"': f'href="data:image/svg+xml,{quote(playground["icon.svg"])}"',
        '<link rel="stylesheet" href="static/style.css">': f"<style>{style}</style>",
        '<script type="module" src="static/app.js"></script>': "\n".join(_script("module", each) for each in scripts),
        "<h1>char-rnn</h1>": f"<h1>{title}</h1>",
        f'<p class="tagline">{TAGLINE}</p>': f'<p class="tagline">{about}</p>',
        "</body>": "\n".join((_card(facts, file), *held, "</body>")),
    }
    return _changed(playground["index.html"], changes)


def joined(modules: Mapping[str, str], first: str) -> str:
    """Return a JavaScript module and all that it imports as one script, imports first.

    An import is one line, ``import { names } from "./file.js";``, without renaming or cycles, and no two modules share
    a top-level name.

    Args:
        modules: Texts of the modules by file name; imports of other files are dropped.
        first: File name of the module to run.

    Raises:
        ValueError: An import or an export has another form.
    """
    order: list[str] = []

    def visit(name: str) -> None:
        for imported in _IMPORT.findall(modules[name]):
            if imported in modules and imported not in order:
                visit(imported)
        order.append(name)

    visit(first)
    script = "\n".join(_EXPORT.sub("", _IMPORT.sub("", modules[name])) for name in order)
    if left := re.search(r"^(?:import|export)\b.*", script, re.MULTILINE):
        raise ValueError(f"modules that {first} imports: cannot be joined at {left[0]!r}")
    return script


def _card(facts: Mapping[str, Any], file: ModelFile) -> str:
    unit = file.vocabulary.unit
    lines = {
        "Trained on": facts["data"],
        "Network": f"{facts['num_layers']} × {facts['hidden_size']} {facts['cell'].upper()}, "
        f"{facts['parameters']:,} parameters, stored in 8 bits here",
        "Loss": facts["loss"] and f"{facts['loss']:.3f} nats per {unit} on validation text, in full precision",
        "Vocabulary": f"{file.vocabulary.size:,} {unit}s",
    }
    rows = "".join(f"<dt>{name}</dt><dd>{html.escape(line)}</dd>" for name, line in lines.items() if line)
    note = "The model is part of this page and runs on this device. Your text never leaves it."
    summary = "<summary>About this model</summary>"
    return f'<footer class="card"><details>{summary}<dl>{rows}</dl><p class="hint">{note}</p></details></footer>'


def _changed(text: str, changes: Mapping[str, str]) -> str:
    """Replace each of some texts, which has to occur once; replacements are not searched."""
    for old in changes:
        if text.count(old) != 1:
            raise ValueError(f"the playground's page: contains {old!r} {text.count(old)} times; must occur once")
    return re.sub("|".join(map(re.escape, changes)), lambda match: changes[match[0]], text)


def _policy(style: str, *scripts: str) -> str:
    """Return the policy: only these scripts and their worker run, and nothing is loaded."""

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


def _script(kind: str, text: str, name: str = "") -> str:
    """Return a script element; only a mistake in this program puts the end of the element into its text."""
    if "</script" in text.lower() or "<!--" in text:
        raise ValueError("a script of the page contains </script> or <!--")
    attribute = f' id="{name}"' if name else ""
    return f'<script type="{kind}"{attribute}>{text}</script>'


def _shown(text: str) -> str:
    """Return a text with U+FFFD for line ends, controls and surrogates."""
    unshown = ("Cc", "Cs", "Zl", "Zp")
    return "".join("\ufffd" if unicodedata.category(character) in unshown else character for character in text)
