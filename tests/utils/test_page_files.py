"""The files of a page as a browser gets them."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import pytest

from char_rnn.utils.page_files import page_files

SOURCE = """/* A module.
 *
 * With two paragraphs. */

import { a } from "./a.js";

/** One line. */
export function b(url = "//host/*", pattern = /\\/\\//) {
  // why
  const text = `${url} // no comment /* nor this */`; // kept
  /* a */ return text;
  return a(text); /* kept */
}
"""
LIGHT = """import { a } from "./a.js";
export function b(url = "//host/*", pattern = /\\/\\//) {
const text = `${url} // no comment /* nor this */`; // kept
/* a */ return text;
return a(text); /* kept */
}
"""


def test_comments_and_indentation_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "package" / "static").mkdir(parents=True)
    (tmp_path / "package" / "__init__.py").touch()
    (tmp_path / "package" / "static" / "b.js").write_text(SOURCE)
    (tmp_path / "package" / "static" / "page.html").write_text("<p>\n  // text\n</p>\n")
    (tmp_path / "package" / "static" / "notes.txt").write_text("not of the page")
    monkeypatch.syspath_prepend(tmp_path)
    assert page_files("package") == {"b.js": LIGHT, "page.html": "<p>\n// text\n</p>\n"}


@pytest.mark.parametrize("package", ["playground", "export"])
def test_no_string_spans_lines(package: str) -> None:
    for file in (files(f"char_rnn.{package}") / "static").iterdir():
        for line in re.sub(r'"[^"\n]*"', "", file.read_text("utf-8")).splitlines():
            assert line.count("`") % 2 == 0, (file.name, line)
