"""Every command and every piece of Python on every page does what the page has it do: it runs."""

from __future__ import annotations

import os
import re
import shlex
import sys
from pathlib import Path

import pytest
import rich_click as click
from pages import COMMANDS, ROOT, SPAN, blocks, pages, spans
from running import Make, write_checkpoints

from char_rnn.cli import cli
from char_rnn.utils.config import Config

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the commands of the pages are for bash")

SECTIONS = "|".join(Config.model_fields)
KEY = re.compile(rf"^(?:--set )?({SECTIONS})\.(\w+)(?:[=:].*)?$", re.DOTALL)
FILES = {"t7", "md", "py", "txt", "yaml", "json", "safetensors", "onnx", "html", "pt"}


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def of_pages(found: dict[str, list[str]]) -> list[object]:
    return [pytest.param(page, words, id=f"{page}: {words}") for page, each in found.items() for words in each]


def spans_that(begin: str) -> list[object]:
    found = {name(page): [span for span in spans(page.read_text(encoding="utf-8")) if re.match(begin, span)]
             for page in pages()}  # fmt: skip
    return of_pages({page: list(dict.fromkeys(each)) for page, each in found.items()})


@pytest.mark.slow
@pytest.mark.parametrize("page", pages(), ids=name)
def test_a_page_from_top_to_end(page: Path, make_desk: Make) -> None:
    desk, text = make_desk(), page.read_text(encoding="utf-8")
    write_checkpoints(desk.folder, text)
    for block in blocks(text):
        if block.not_run:
            continue
        if block.kind == COMMANDS:
            for command in block.lines:
                desk.run(command, fails=command in block.failing)
        else:
            desk.python(block.lines)


@pytest.mark.slow
def test_a_wrong_command_fails(make_desk: Make) -> None:
    desk = make_desk()
    wrong = (
        "char-rnn sample nowhere",
        "char-rnn runs --backwards",
        "python -c 'import nothing'",
        "python no.py | cat no",
    )
    for command in wrong:
        with pytest.raises(AssertionError, match="ended with status"):
            desk.run(command)
    with pytest.raises(ModuleNotFoundError):
        desk.python(["import nothing"])


@pytest.mark.slow
def test_a_training_is_cut_and_a_run_goes_on(make_desk: Make) -> None:
    desk = make_desk()
    desk.run("char-rnn train my-book.txt --recipe quickstart --minutes 10 --out runs/my-book")
    desk.run("char-rnn train --resume runs/my-book")
    records = Path("runs/my-book/metrics.jsonl").read_text()
    assert '"step": 6' in records
    assert '"step": 7' not in records
    assert os.environ["CHAR_RNN_DATA_DIR"] == str(Path(os.environ["CHAR_RNN_DATA_DIR"]).resolve())


@pytest.mark.parametrize(("page", "span"), spans_that("char-rnn "))
def test_a_command_in_a_sentence_exists(page: str, span: str) -> None:
    check_command(span)


def check_command(span: str) -> None:
    """Raise AssertionError where the command, or one of its options, is not there."""
    words = shlex.split(span.replace("'", "").replace("...", ""), comments=True)[1:]
    command: click.Command = cli
    for word in list(words):
        if word.startswith("-") or not isinstance(command, click.Group):
            break
        found = command.get_command(click.Context(command), word)
        assert found is not None or not word.islower(), f"{word} is no command"
        command = found or command
        words = words[1:]
    options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    options |= {"--help", "-h", "--debug"} | ({"-V", "--version"} if command is cli else set())
    for word in words:
        if re.match(r"--?[a-zA-Z]", word):
            assert word.partition("=")[0] in options, f"{word} is no option of {command.name}"


def test_a_wrong_command_in_a_sentence_is_found() -> None:
    for wrong in ("char-rnn fly", "char-rnn runs --backwards"):
        with pytest.raises(AssertionError):
            check_command(wrong)
    for right in ("char-rnn export MODEL --format html|onnx", "char-rnn --version", "char-rnn config show --recipe x"):
        check_command(right)


@pytest.mark.parametrize(("page", "span"), spans_that(r"python (benchmarks|docs|examples|scripts)/"))
def test_a_program_in_a_sentence_has_its_options(page: str, span: str) -> None:
    program, *words = shlex.split(span)[1:]
    source = (ROOT / program).read_text(encoding="utf-8") + (ROOT / "benchmarks/harness.py").read_text(encoding="utf-8")
    for word in words:
        if word.startswith("--"):
            assert f'"{word}"' in source, f"{program} has no {word}"


@pytest.mark.parametrize(("page", "span"), spans_that(r"(pytest|bash) "))
def test_what_a_sentence_has_one_run_is_there(page: str, span: str) -> None:
    for word in shlex.split(span)[1:]:
        if "/" in word:
            assert (ROOT / word.partition("::")[0]).exists(), word


def test_the_keys_that_pages_name_exist() -> None:
    wrong, found = [], 0
    for page in pages():
        if name(page) == "docs/upgrading.md":  # it lists removed keys
            continue
        for span in SPAN.findall(page.read_text(encoding="utf-8")):
            if (key := KEY.match(span)) and key[2] not in FILES:
                found += 1
                if key[2] not in Config.model_fields[key[1]].annotation.model_fields:
                    wrong.append(f"{name(page)}: {span}")
    assert not wrong
    assert found > 80
