"""docs/specification.md: every path and every test that it names is there."""

from __future__ import annotations

import re
from glob import has_magic
from pathlib import Path

from pages import ROOT, spans

PAGE = ROOT / "docs" / "specification.md"
WHERE = re.compile(r"(?:[\w.*-]+/)*[\w.*-]+(?:/|\.(?:py|md|yaml|yml|toml))(?:::\w+)?")
NOT_OURS = {"data/tinyshakespeare/", "config/default.yaml", "setup.py", "checkpoints/", "runs/", "my.yaml"}
OF_THE_SKETCH = ("src/models/", "src/data/", "src/training/", "src/generation/", "src/utils/")


def named(page: Path) -> list[str]:
    """The paths on the page, but those of the specification's own sketch."""
    found = [span for span in spans(page.read_text(encoding="utf-8")) if WHERE.fullmatch(span)]
    return [path for path in found if path not in NOT_OURS and not path.startswith(OF_THE_SKETCH)]


def exists(path: str) -> bool:
    """Whether a path of the repository, perhaps with wildcards, names something."""
    return bool(list(ROOT.glob(path))) if has_magic(path) else (ROOT / path).exists()


def test_every_path_is_there() -> None:
    paths = named(PAGE)
    assert len(paths) > 100
    assert [path for path in paths if not exists(path.partition("::")[0])] == []


def test_every_test_is_there() -> None:
    tests = [path.split("::") for path in named(PAGE) if "::" in path]
    assert len(tests) > 40
    missing = [f"{file}::{test}" for file, test in tests if f"\ndef {test}(" not in (ROOT / file).read_text("utf-8")]
    assert missing == []


def test_rows_have_as_many_cells_as_their_heading() -> None:
    width = 0
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = line.count("|") - 1 if line.startswith("|") else 0
        assert width in {0, cells} or not cells, line
        width = cells
