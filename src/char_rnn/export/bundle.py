"""Joins the modules of a page into one script.

Modules import by lines of their own, ``import { names } from "./file.js";``, names as they are and without cycles, and
no two of them share a name at the top.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_IMPORT = re.compile(r'^import \{[^}]*\} from "\./([\w.]+)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=const|let|function|async function|class)", re.MULTILINE)


def joined(modules: Mapping[str, str], first: str) -> str:
    """Return a module and all that it imports as one script, what is imported first.

    Args:
        modules: Texts of the modules by their files' names; an import of another is left out.
        first: The name of the module that is to run.

    Raises:
        ValueError: An import or an export is not of the form that can be joined.
    """
    order: list[str] = []
    _visit(modules, first, order)
    script = "\n".join(_EXPORT.sub("", _IMPORT.sub("", modules[name])) for name in order)
    if left := re.search(r"^(?:import|export)\b.*", script, re.MULTILINE):
        raise ValueError(f"modules that {first} imports: cannot be joined at {left[0]!r}")
    return script


def _visit(modules: Mapping[str, str], name: str, order: list[str]) -> None:
    for imported in _IMPORT.findall(modules[name]):
        if imported in modules and imported not in order:
            _visit(modules, imported, order)
    order.append(name)
