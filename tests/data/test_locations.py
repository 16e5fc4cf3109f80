"""Which file and line a place of a text is in."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from char_rnn.data import locations
from char_rnn.data.corpus import Corpus, prepare_corpus
from char_rnn.data.locations import SourceLocation, find_locations


def test_in_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locations, "PIECE", 3)
    path = tmp_path / "a.txt"
    path.write_text("one\ntwo\n\nfour", encoding="utf-8")
    corpus = prepare_corpus(path, cache_dir=tmp_path / "cache")
    found = find_locations(path, corpus, "utf-8", [9, 0, 4, 7, 3])
    assert found == [
        SourceLocation(9, path, 4),
        SourceLocation(0, path, 1),
        SourceLocation(4, path, 2),
        SourceLocation(7, path, 2),
        SourceLocation(3, path, 1),
    ]
    assert str(found[0]) == f"{path}:4"


@pytest.mark.parametrize("line_end", ["\r", "\x85", "\u2028", "\r\n"])
def test_lines_end_as_they_do_in_the_text(line_end: str) -> None:
    text = line_end.join(["one", "two", "three"])
    assert find_locations("-", Corpus.from_text(text), "utf-8", [text.index("three")])[0].line == 3


def test_in_a_folder_lines_are_those_of_the_file(tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    folder.mkdir()
    for name, text in (("a", "ä\nb\n"), ("b", ""), ("c", "\n\nc"), ("d", "d")):
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    corpus = prepare_corpus(folder, cache_dir=tmp_path / "cache")
    found = find_locations(folder, corpus, "utf-8", [2, 4, 6, 7])
    assert [(place.path and place.path.name, place.line) for place in found] == [
        ("a.txt", 2),
        ("c.txt", 1),
        ("c.txt", 3),
        ("d.txt", 1),
    ]


def test_in_several_files_with_a_separator(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a.txt", "b.zip", "c.txt")]
    files[0].write_text("a\nb")
    with zipfile.ZipFile(files[1], "w") as archive:
        archive.writestr("x.txt", "x")
        archive.writestr("y.txt", "\ny")
    files[2].write_text("c")
    corpus = prepare_corpus(files, separator="\n", cache_dir=tmp_path / "cache")
    assert corpus.vocabulary.decode(corpus.ids) == "a\nb\nx\n\ny\nc"
    found = find_locations(files, corpus, "utf-8", [2, 4, 7, 9], "\n")
    assert [str(place) for place in found] == [
        f"{files[0]}:2",
        f"{files[1] / 'x.txt'}:1",
        f"{files[1] / 'y.txt'}:2",
        f"{files[2]}:1",
    ]


@pytest.mark.parametrize(("text", "line"), [("one two", 1), ("one\ntwo", 2)])
def test_standard_input_has_no_path(text: str, line: int) -> None:
    place = find_locations("-", Corpus.from_text(text), "utf-8", [5])[0]
    assert place == SourceLocation(5, None, line)
    assert str(place) == f"line {line}"
