"""The documentation as a site: it builds without a warning, and needs no other host."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from pages import COMMANDS, ROOT, blocks, pages

LOADS = re.compile(
    r'<(?:script|img|iframe|source)\b[^>]* src="?https?:|<link\b[^>]*stylesheet[^>]*https?:|url\("?https?:',
)

pytest.importorskip("zensical", reason="the extra docs is not installed")


@pytest.fixture(scope="module")
def program() -> ModuleType:
    spec = importlib.util.spec_from_file_location("site_program", ROOT / ".ci" / "site.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_parts_of_a_command_have_colours_of_their_own(program: ModuleType) -> None:
    def tokens(text: str) -> dict[str, str]:
        return {value: str(token) for token, value in program.CommandLexer().get_tokens(text) if value.strip()}

    found = tokens("char-rnn train a-b.txt --recipe x | head -3  # a note\npip install 'a b'\n")
    assert {value for value, token in found.items() if token == "Token.Name.Attribute"} == {"--recipe", "-3"}
    assert {value for value, token in found.items() if token == "Token.Name.Function"} == {"char-rnn", "head", "pip"}
    assert found["train"] == "Token.Keyword"
    assert found["a-b.txt"] == found["install"] == "Token.Text"
    assert found["# a note"] == "Token.Comment"
    assert found["'a b'"] == "Token.Literal.String"
    session = tokens("$ char-rnn sample demo\nimport os --all\n$ ls\n")
    assert session["import os --all\n"] == "Token.Generic.Output"
    assert session["ls"] == "Token.Name.Function"


def test_the_lexer_reads_every_command_of_the_pages(program: ModuleType) -> None:
    commands = [
        line
        for page in pages()
        for block in blocks(page.read_text(encoding="utf-8"))
        if block.kind == COMMANDS
        for line in block.lines
    ]
    assert len(commands) > 100
    for command in commands:
        assert not any(str(token) == "Token.Error" for token, _ in program.CommandLexer().get_tokens(command)), command


@pytest.mark.slow  # builds the whole site
def test_the_site_builds_without_a_warning_and_needs_no_other_host(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "docs", tmp_path / "docs", ignore=shutil.ignore_patterns("demo-page.html"))
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "site.py", tmp_path / ".ci")
    (tmp_path / "src").symlink_to(ROOT / "src")
    command = [sys.executable, tmp_path / ".ci" / "site.py", "build", "--strict"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    built = {path.relative_to(tmp_path / "site").as_posix(): path for path in (tmp_path / "site").rglob("*.*")}
    for name, path in built.items():
        if name.endswith((".html", ".css")) and name != "demo-page.html":
            text = path.read_text(encoding="utf-8")
            assert not LOADS.search(text), name
    front = built["index.html"].read_text(encoding="utf-8")
    assert 'src="demo-page.html?embed"' in front
    assert built["demo-page.html"].stat().st_size > 10**6
    assert '<span class="na">--recipe</span>' in front
    reference = built["reference/cli/index.html"].read_text(encoding="utf-8")
    assert "--temperature" in reference
    assert "Sentinel" not in reference
    assert '<span class="nf">char-rnn</span><span class="w"> </span><span class="k">bench</span>' in reference
    assert "<iframe" not in reference
    assert "init_hidden" in built["reference/python/index.html"].read_text(encoding="utf-8")
