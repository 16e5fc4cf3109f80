"""What a file is, by its first bytes."""

from __future__ import annotations

import pytest

from char_rnn.utils.file_kinds import compression, find_document, find_foreign, not_a_model


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\x1f\x8b\x08\x00", "gzip"),
        (b"BZh91AY&SY", "bzip2"),
        (b"BZh, said the text", None),
        (b"\xfd7zXZ\x00", "xz"),
        (b"PK\x03\x04", "zip"),
        (b"PK\x05\x06", "zip"),
        (b"PK is a name", None),
        (b"", None),
    ],
)
def test_compression(head: bytes, kind: str | None) -> None:
    assert compression(head) == kind


@pytest.mark.parametrize("text", [b"", b"To be", b"version https://git.example", "日本".encode(), bytes(512)])
def test_what_may_be_text_is_not_foreign(text: bytes) -> None:
    assert find_foreign(text) is None


def test_an_archive_of_texts_is_no_document() -> None:
    assert find_document(["a.txt", "notes/word/b.txt"]) is None


@pytest.mark.parametrize(
    ("head", "what"),
    [
        (b"<!DOCTYPE html>\n<html>", "an HTML page, not a model; download the file itself"),
        (b"\xef\xbb\xbf\n  <html lang=en>", "an HTML page, not a model; "),
        (b"\x1f\x8b\x08\x00", "a gzip file, not a model; unpack it"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer, not the file itself, not a model; run"),
        (b"\x10\x00\x00\x00\x00\x00\x00\x00{", ""),
    ],
)
def test_what_is_not_a_model(head: bytes, what: str) -> None:
    assert not_a_model(head)[: len(what) or None] == what
