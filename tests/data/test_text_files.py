"""Files of text, read as what they are: compressed, archives, documents; damaged, and too large when decompressed."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import os
import re
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from data_helpers import TEXT, text_of, write, zipped

from char_rnn.data import DataError
from char_rnn.data import text_files as module
from char_rnn.data.corpus import prepare_corpus

COMPRESSIONS = (gzip.compress, bz2.compress, lzma.compress)


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
    "rtf": (rb"{\rtf1\ansi some text}", "an RTF document, not plain text; save it as plain text"),
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


def test_the_list_of_an_archives_members_is_not_read_for_each_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lists: list[str] = []
    read = zipfile.ZipFile.__init__
    monkeypatch.setattr(zipfile.ZipFile, "__init__", lambda *given: (lists.append(""), read(*given))[1])
    for members in (3, 30):
        path = tmp_path / f"{members}.zip"
        path.write_bytes(zipped({f"{number}.txt": b"text" for number in range(members)}))
        lists.clear()
        assert len(prepare_corpus(path)) == 4 * members
        assert len(lists) == 4


def test_a_zip_archive_that_cannot_be_read_in_bounded_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.zip", zipped({"a.txt": b"text"}, zipfile.ZIP_BZIP2))
    with pytest.raises(DataError, match=r"its member a\.txt is compressed with an unsupported method \(number 12\)"):
        prepare_corpus(path)
    encrypted = bytearray(zipped({"a.txt": b"text"}))
    encrypted[encrypted.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(DataError, match=r"its member a\.txt is encrypted"):
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
    ids=lambda value: value if isinstance(value, str) else "",  # the bytes have the time in them
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
