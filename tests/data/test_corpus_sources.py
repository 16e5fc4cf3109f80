"""Where a text comes from: folders, compressed files, standard input, pipes; and what is no source."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import sys
import threading
import tracemalloc
from pathlib import Path

import pytest
from data_helpers import TEXT, text_of, write

from char_rnn.data import cache as cache_module
from char_rnn.data import preparation, reading
from char_rnn.data.corpus import prepare_corpus
from char_rnn.data.datasets import data_root
from char_rnn.data.errors import DataError


def test_folders_are_read_in_order(tmp_path: Path) -> None:
    folder = tmp_path / "poems"
    for name, content in {"b.txt": "2", "a/x.md": "0", "a.txt": "1", ".git/config": "no", ".hidden": "no"}.items():
        write(folder / name, content)
    write(folder / "picture.png", b"\x89PNG\x00\x00")
    write(folder / "c.txt.gz", gzip.compress(b"3"))
    corpus = prepare_corpus(folder)
    assert (corpus.name, text_of(corpus)) == ("poems", "1023")
    assert corpus.sha256 == hashlib.sha256(b"1023").hexdigest()


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
    with pytest.raises(DataError, match="no text files in it"):
        prepare_corpus(tmp_path / "binary")


def test_an_unfinished_character_belongs_to_its_own_file(tmp_path: Path) -> None:
    write(tmp_path / "parts" / "a", b"x\xc3")
    write(tmp_path / "parts" / "b", b"\xa9")
    with pytest.raises(DataError, match=r"a: byte 0xC3 at offset 1 is not utf-8"):
        prepare_corpus(tmp_path / "parts")


def test_compressed_text(tmp_path: Path) -> None:
    path = write(tmp_path / "poem.txt.gz", gzip.compress(TEXT.encode()) + gzip.compress(b"more"))
    corpus = prepare_corpus(path)
    assert (corpus.name, text_of(corpus)) == ("poem", TEXT + "more")


def damaged() -> bytes:
    data = bytearray(gzip.compress(os.urandom(10_000)))
    data[5000] ^= 255
    return bytes(data)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(b"abc" * 1000)[:-12], "the compressed data ends early"),
        (b"plain text, wrongly named", "not gzip data"),
        (gzip.compress(b"abc") + b"trailing", "not gzip data"),
        (gzip.compress(b"abc")[:10] + b"\xff" * 40, "the compressed data is damaged"),
    ],
)
def test_bad_compressed_data_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        prepare_corpus(write(tmp_path / "poem.gz", content))


def test_damaged_compressed_data_never_passes(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        prepare_corpus(write(tmp_path / "noise.gz", damaged()), vocabulary="bytes")


def test_a_gzip_bomb_takes_little_memory(tmp_path: Path) -> None:
    size = 64 << 20
    path = tmp_path / "bomb.gz"
    with gzip.open(path, "wb") as file:
        for _ in range(64):
            file.write(bytes(1 << 20))
    tracemalloc.start()
    corpus = prepare_corpus(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(corpus) == size
    assert peak < 16 << 20


def test_a_full_disk_is_foreseen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = cache_module.shutil.disk_usage(tmp_path)._replace(free=3)
    monkeypatch.setattr(preparation.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(DataError, match="4 bytes are needed to prepare it and 3 are free"):
        prepare_corpus(write(tmp_path / "text", "abcd"))


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(TEXT.encode())))
    corpus = prepare_corpus("-")
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


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nothing.txt", "nothing.txt: no such file or folder; named data sets: python-stdlib, tinyshakespeare"),
        ("tinyshakespear", "tinyshakespear: no such file or folder; did you mean tinyshakespeare?"),
        ("a\0b", "cannot be read"),
        ("x" * 5000, "cannot be read"),
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
