"""The reference has every command, every key and every public name."""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from types import ModuleType

import pytest
from pages import ROOT
from pydantic import BaseModel

import char_rnn
from char_rnn.cli import COMMANDS, cli
from char_rnn.utils.config import Config

REFERENCE = ROOT / "docs" / "reference"


def shown(page: str) -> dict[str, object]:
    """What a page takes out of the code by ``:::``, by its name."""
    names = re.findall(r"(?m)^::: (char_rnn[\w.]*)$", (REFERENCE / page).read_text(encoding="utf-8"))
    found: dict[str, object] = {}
    for name in names:
        try:
            found[name] = import_module(name)
        except ModuleNotFoundError:
            home, _, attribute = name.rpartition(".")
            found[name] = getattr(import_module(home), attribute)
    return found


def is_shown(thing: object, page: dict[str, object]) -> bool:
    """Whether a thing is there by its name, or in a module that is there."""
    modules = [each.__name__ for each in page.values() if isinstance(each, ModuleType)]
    return any(thing is each for each in page.values()) or getattr(thing, "__module__", None) in modules


def test_every_command_is_in_the_reference() -> None:
    docs = pytest.importorskip("mkdocs_click._docs", reason="the extra docs is not installed")
    page = (REFERENCE / "cli.md").read_text(encoding="utf-8")
    assert re.search(r"(?m)^::: mkdocs-click\n +:module: char_rnn\.cli\n +:command: cli$", page)
    lines = set(docs.make_command_docs("char-rnn", cli, style="table"))
    headings = {line.lstrip("# ") for line in lines if line.startswith("#")}
    assert {f"{command}" for command in COMMANDS} <= {heading.split()[-1] for heading in headings}


def test_every_key_is_in_the_reference() -> None:
    page = shown("configuration.md")
    sections = {name: field.annotation for name, field in Config.model_fields.items()}
    assert len(sections) == 6
    for name, section in sections.items():
        assert inspect.isclass(section)
        assert issubclass(section, BaseModel)
        assert is_shown(section, page), f"{name}: {section.__module__}.{section.__name__} is not on the page"
        for key in section.model_fields:
            (home,) = [base for base in section.__mro__ if key in inspect.get_annotations(base)]
            assert is_shown(home, page), f"{name}.{key}"


def test_every_public_name_is_in_the_reference() -> None:
    page = {**shown("python.md"), **shown("configuration.md")}
    names = [name for name in char_rnn.__all__ if name != "__version__"]
    assert [name for name in names if not is_shown(getattr(char_rnn, name), page)] == []
