"""Where a text comes from: folders, compressed files, standard input, pipes; and what is no source."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import os
import re
import signal
import sys
import tarfile
import threading
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from data_helpers import TEXT, text_of, write

from char_rnn.data import cache as cache_module
from char_rnn.data import preparation, reading
from char_rnn.data import text_files as module
from char_rnn.data.corpus import prepare_corpus
from char_rnn.data.datasets import data_root
from char_rnn.data.errors import DataError


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
    with pytest.raises(DataError, match=rf"no text files in it: {listed}; give"):
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
    with pytest.raises(DataError, match="no text files in it"):
        prepare_corpus(tmp_path / "binary")


def test_an_unfinished_character_belongs_to_its_own_file(tmp_path: Path) -> None:
    write(tmp_path / "parts" / "a", b"x\xc3")
    write(tmp_path / "parts" / "b", b"\xa9")
    with pytest.raises(DataError, match=r"a: byte 0xC3 at offset 1 is not utf-8"):
        prepare_corpus(tmp_path / "parts")


COMPRESSIONS = (gzip.compress, bz2.compress, lzma.compress)


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


@pytest.mark.parametrize("name", ["poem.txt.gz", "POEM.TXT.GZ", "poem.txt", "poem"])
@pytest.mark.parametrize("compress", [*COMPRESSIONS, lambda text: zipped({"a": text})])
def test_compressed_text_is_read_whatever_its_name(
    tmp_path: Path, name: str, compress: Callable[[bytes], bytes]
) -> None:
    corpus = prepare_corpus(write(tmp_path / name, compress(TEXT.encode())))
    assert (corpus.name.lower(), text_of(corpus)) == ("poem", TEXT)
    assert corpus.sha256 == hashlib.sha256(TEXT.encode()).hexdigest()


@pytest.mark.parametrize("compress", COMPRESSIONS)
def test_streams_in_a_row_are_one_text(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    path = write(tmp_path / "poem", compress(TEXT.encode() * 9000) + compress(b"more"))
    assert text_of(prepare_corpus(path)) == TEXT * 9000 + "more"


def test_padding_between_xz_streams_is_skipped(tmp_path: Path) -> None:
    path = write(tmp_path / "poem.xz", lzma.compress(b"one ") + bytes(70_000) + lzma.compress(b"two") + bytes(4))
    assert text_of(prepare_corpus(path)) == "one two"


def test_the_texts_of_a_zip_archive_are_read_in_natural_order(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    members = {"b/10.txt": b"3", "b/2.txt": b"2", "a.txt": b"1", "\x1b[2J.png": b"\x89PNG\0", "__MACOSX/a.txt": b"no"}
    corpus = prepare_corpus(write(tmp_path / "book.zip", zipped(members)), separator="\n\n")
    assert (corpus.name, text_of(corpus)) == ("book", "1\n\n2\n\n3")
    assert r"book.zip: left out: \x1b[2J.png (a binary file)" in caplog.text


def test_an_unfinished_character_of_a_member_is_reported_with_its_name(tmp_path: Path) -> None:
    path = write(tmp_path / "book.zip", zipped({"a.txt": b"x\xc3", "b.txt": b"\xa9"}))
    with pytest.raises(DataError, match=r"book\.zip.a\.txt: byte 0xC3 at offset 1 is not utf-8"):
        prepare_corpus(path)


def tarred(mode: str) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=f"w:{mode}") as archive:
        archive.addfile(tarfile.TarInfo("a.txt"))
    return file.getvalue()


FOREIGN = {
    "tar": (tarred(""), "a tar archive, not plain text; unpack it"),
    "tar.gz": (tarred("gz"), "a tar archive, not plain text; unpack it"),
    "docx": (zipped({"[Content_Types].xml": b"", "word/document.xml": b"text"}), r"a Word document \(\.docx\)"),
    "odt": (zipped({"mimetype": b"x", "META-INF/manifest.xml": b""}), "an OpenDocument file"),
    "pdf": (b"%PDF-1.4\n%\xe2\xe3", "a PDF document, not plain text; extract its text"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "a Git LFS pointer, not the file itself"),
}


@pytest.mark.parametrize(("content", "message"), FOREIGN.values(), ids=FOREIGN)
def test_documents_and_archives_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes, message: str
) -> None:
    path = write(tmp_path / "books" / "b.txt", content)
    with pytest.raises(DataError, match=message) as caught:
        prepare_corpus(path)
    assert "--encoding" not in str(caught.value)
    write(tmp_path / "books" / "a.txt", b"text")
    assert text_of(prepare_corpus(tmp_path / "books")) == "text"
    assert re.search(rf"books: left out: b\.txt \({message.partition(',')[0]}", caplog.text)
    assert len(prepare_corpus(path, vocabulary="bytes")) > 9  # bytes are read as they are


def test_a_zip_archive_that_cannot_be_read_in_bounded_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.zip", zipped({"a.txt": b"text"}, zipfile.ZIP_BZIP2))
    with pytest.raises(DataError, match=r"a\.txt in it is compressed by a method \(number 12\)"):
        prepare_corpus(path)
    encrypted = bytearray(zipped({"a.txt": b"text"}))
    encrypted[encrypted.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(DataError, match=r"a\.txt in it is encrypted"):
        prepare_corpus(write(path, bytes(encrypted)))
    monkeypatch.setattr(module, "MAX_DIRECTORY", 40)
    with pytest.raises(DataError, match="its list of members is too long"):
        prepare_corpus(write(path, zipped({"a.txt": b"text"})))


def test_xz_that_needs_much_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "XZ_MEMORY", 1 << 20)
    with pytest.raises(DataError, match=r"Memory usage limit exceeded\); get the file again, or decompress it"):
        prepare_corpus(write(tmp_path / "a.xz", lzma.compress(b"text")))


def damaged() -> bytes:
    data = bytearray(gzip.compress(os.urandom(10_000)))
    data[5000] ^= 255
    return bytes(data)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        *((compress(b"abc" * 1000)[:-12], "the compressed data ends early") for compress in COMPRESSIONS),
        *((compress(b"abc")[:14] + b"\xff" * 40, "the compressed data is damaged") for compress in COMPRESSIONS),
        (gzip.compress(b"abc") + b"trailing", "the compressed data is damaged"),
        (lzma.compress(b"abc") + b"trailing", "the compressed data is damaged"),
        (zipped({"a": b"abc"})[:-12], "the compressed data is damaged"),
        (zipped({"a": b"abc"}, zipfile.ZIP_STORED).replace(b"abc", b"abd"), "the compressed data is damaged"),
    ],
)
def test_bad_compressed_data_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        prepare_corpus(write(tmp_path / "poem.gz", content))


def test_damaged_compressed_data_never_passes(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        prepare_corpus(write(tmp_path / "noise.gz", damaged()), vocabulary="bytes")


BOMBS = {"gz": gzip.open, "bz2": bz2.open, "xz": lzma.open}


@pytest.mark.parametrize("kind", [*BOMBS, "zip"])
def test_a_decompression_bomb_takes_little_memory(tmp_path: Path, kind: str) -> None:
    size = 32 << 20
    path = tmp_path / f"bomb.{kind}"
    if kind == "zip":
        write(path, zipped({"bomb": bytes(size)}))
    else:
        with BOMBS[kind](path, "wb") as file:
            for _ in range(32):
                file.write(bytes(1 << 20))
    tracemalloc.start()
    corpus = prepare_corpus(path, vocabulary="bytes")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(corpus) == size
    assert peak < 24 << 20  # xz alone takes 9 MB, twice where a second pass begins


def test_a_full_disk_is_foreseen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = cache_module.shutil.disk_usage(tmp_path)._replace(free=3)
    monkeypatch.setattr(preparation.shutil, "disk_usage", lambda folder: usage)
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
