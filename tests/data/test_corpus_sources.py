"""Where a text comes from: folders, compressed files, standard input, pipes; and what is no source."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import re
import signal
import sys
import threading
import zipfile
from pathlib import Path

import pytest
from data_helpers import TEXT, text_of, write, zipped

from char_rnn.data import DataError, reading
from char_rnn.data import cache as cache_module
from char_rnn.data import corpus as corpus_module
from char_rnn.data.corpus import prepare_corpus
from char_rnn.data.datasets import data_root


def test_folders_are_read_in_order(tmp_path: Path) -> None:
    folder = tmp_path / "poems"
    contents = {"b10.txt": "3", "b2.txt": "2", "a/x.md": "0", "a.txt": "1", ".git/config": "no", ".hidden": "no"}
    for name, content in contents.items():
        write(folder / name, content)
    write(folder / "picture.png", b"\x89PNG\x00\x00")
    write(folder / "c.txt.gz", gzip.compress(b"4"))
    corpus = prepare_corpus(folder)
    assert (corpus.name, text_of(corpus)) == ("poems", "10234")
    assert corpus.sha256 == hashlib.sha256(b"10234").hexdigest()
    assert text_of(prepare_corpus(folder, file_order="path")) == "10324"  # as version 1.0
    write(folder / "d.zip", zipped({"a": b"5"}, zipfile.ZIP_STORED))
    assert text_of(prepare_corpus(folder, file_order="path")) == "10324"
    assert text_of(prepare_corpus(folder)) == "102345"
    (folder / "d.zip").unlink()
    assert text_of(prepare_corpus(folder, separator="|")) == "1|0|2|3|4"


def test_several_texts_are_read_one_after_the_other(tmp_path: Path) -> None:
    first, second = write(tmp_path / "one.txt", "1é"), write(tmp_path / "two.txt.gz", gzip.compress(b"2"))
    write(tmp_path / "more" / "three.txt", "3")
    corpus = prepare_corpus([second, str(first), tmp_path / "more", second], separator="\n")
    assert (corpus.name, text_of(corpus)) == ("two-and-3-more", "2\n1é\n3")
    wide = [write(tmp_path / name, name.encode("utf-16")) for name in ("a", "b")]
    assert text_of(prepare_corpus(wide, encoding="utf-16", separator="\n")) == "a\nb"
    read = prepare_corpus(wide, encoding="utf-16", separator="\n", vocabulary="bytes")
    assert read.vocabulary.decode_bytes(read.ids) == "a".encode("utf-16") + b"\n\0" + "b".encode("utf-16")


def test_a_separator_must_be_in_the_encoding(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"separator '☃': cannot be written in ascii; give another"):
        prepare_corpus([write(tmp_path / name, name) for name in "ab"], encoding="ascii", separator="☃")
    with pytest.raises(DataError, match="separator 5: must be a text"):
        prepare_corpus(write(tmp_path / "a", "a"), separator=5)  # type: ignore[arg-type]


def test_an_unknown_order_of_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="file_order 'size': must be one of natural, path"):
        prepare_corpus(write(tmp_path / "a", "a"), file_order="size")  # type: ignore[arg-type]


@pytest.mark.usefixtures("settled")
def test_how_files_are_joined_is_part_of_what_is_remembered(tmp_path: Path) -> None:
    files = [write(tmp_path / "texts" / name, content) for name, content in (("a", "1"), ("b", "2\0"))]
    for _ in range(2):
        assert text_of(prepare_corpus(files)) == "12\0"
        assert text_of(prepare_corpus(files, separator="-")) == "1-2\0"
        assert text_of(prepare_corpus(tmp_path / "texts")) == "1"  # a binary file that nobody named


def test_a_file_behind_two_names_counts_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = write(tmp_path / "books" / "a.txt", "text")
    (tmp_path / "books" / "b.txt").symlink_to("a.txt")
    os.link(first, tmp_path / "books" / "c.txt")
    assert text_of(prepare_corpus(tmp_path / "books")) == "text"
    assert "left out: b.txt, c.txt (the same file as a.txt)" in caplog.text
    assert text_of(prepare_corpus([tmp_path / "books" / "c.txt", first])) == "text"
    assert text_of(prepare_corpus(tmp_path / "books", file_order="path")) == "texttexttext"  # as version 1.0


def test_the_files_that_are_left_out_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(8):
        write(tmp_path / "books" / f"{number}.bin", b"\0")
    listed = r"0\.bin, 1\.bin, 2\.bin, 3\.bin, 4\.bin and 3 more \(a binary file\)"
    with pytest.raises(DataError, match=rf"contains no text files: {listed}; give"):
        prepare_corpus(tmp_path / "books")
    write(tmp_path / "books" / "a.txt", "text")
    prepare_corpus(tmp_path / "books")
    assert re.search(rf"books: left out: {listed}\n", caplog.text)
    write(tmp_path / "books" / "input.txt", "text")
    prepare_corpus(tmp_path / "books")
    assert "0.bin, 1.bin, 2.bin, 3.bin, 4.bin and 4 more (the folder has an input.txt)" in caplog.text


def test_the_input_file_of_a_folder_comes_first(tmp_path: Path) -> None:
    write(tmp_path / "play" / "input.txt", "the play")
    write(tmp_path / "play" / "notes.txt", "other")
    for source in (tmp_path / "play", tmp_path / "play" / "input.txt"):
        corpus = prepare_corpus(source)
        assert (corpus.name, text_of(corpus)) == ("play", "the play")


def test_nul_bytes_are_no_hindrance_in_utf_16(tmp_path: Path) -> None:
    write(tmp_path / "wide" / "a.txt", "hi".encode("utf-16"))
    write(tmp_path / "wide" / "b.txt", "yo".encode("utf-16"))
    assert text_of(prepare_corpus(tmp_path / "wide", encoding="UTF_16")) == "hiyo"


def test_a_folder_without_text_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "binary" / "a", b"\x00")
    with pytest.raises(DataError, match="contains no text files"):
        prepare_corpus(tmp_path / "binary")


def test_an_unfinished_character_belongs_to_its_own_file(tmp_path: Path) -> None:
    write(tmp_path / "parts" / "a", b"x\xc3")
    write(tmp_path / "parts" / "b", b"\xa9")
    with pytest.raises(DataError, match=r"a: byte 0xC3 at offset 1 is not utf-8"):
        prepare_corpus(tmp_path / "parts")


def test_a_full_disk_is_foreseen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = cache_module.shutil.disk_usage(tmp_path)._replace(free=3)
    monkeypatch.setattr(corpus_module.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(DataError, match="4 bytes are needed to prepare it and 3 are free"):
        prepare_corpus(write(tmp_path / "text", "abcd"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le"])
def test_standard_input(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(TEXT.encode(encoding))))
    corpus = prepare_corpus("-", encoding=encoding)
    assert (corpus.name, text_of(corpus)) == ("stdin", TEXT)
    assert sorted(path.suffix for path in (data_root() / "cache").iterdir()) == [".ids", ".json"]


def test_empty_standard_input_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    with pytest.raises(DataError, match="standard input: the text is empty"):
        prepare_corpus("-")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="has no named pipes")
def test_a_pipe_is_read_once(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(TEXT.encode(),))
    writer.start()
    assert text_of(prepare_corpus(pipe)) == TEXT
    writer.join()


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="has no named pipes")
def test_a_pipe_that_nobody_writes_to_can_be_interrupted(tmp_path: Path) -> None:
    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    os.mkfifo(tmp_path / "pipe")
    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        with pytest.raises(KeyboardInterrupt):
            prepare_corpus(tmp_path / "pipe")
    finally:
        signal.signal(signal.SIGALRM, before)
    assert list((data_root() / "cache").iterdir()) == []


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nothing.txt", "nothing.txt: no such file or folder; named data sets: python-stdlib, tinyshakespeare"),
        ("tinyshakespear", "tinyshakespear: no such file or folder; did you mean tinyshakespeare?"),
        ("a\0b", "cannot be read"),
        ("x" * 5000, "looks like a text"),
        ("", "no text files|no such file"),
    ],
)
def test_what_is_not_there_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=message):
        prepare_corpus(source)


@pytest.mark.skipif(not Path("/dev/null").is_char_device(), reason="has no devices in the file system")
def test_a_device_is_refused() -> None:
    with pytest.raises(DataError, match="/dev/null: neither a file nor a folder"):
        prepare_corpus("/dev/null")


def test_progress_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "PIECE", 10)
    seen: list[tuple[str, int, int | None]] = []
    prepare_corpus(write(tmp_path / "text", "x" * 25), progress=lambda *step: seen.append(step))
    assert seen == [(stage, done, 25) for stage in ("reading", "encoding") for done in (10, 20, 25)]
