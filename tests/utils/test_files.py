"""Only regular files of limited size are opened, without waiting for a pipe; formats are known by their first bytes."""

from __future__ import annotations

import io
import os
import re
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from char_rnn.model_file import ModelFile
from char_rnn.torch7.t7.reader import load
from char_rnn.training.run_folder import check_folder_is_free, check_run
from char_rnn.utils.config import load_config
from char_rnn.utils.files import (
    check_regular,
    compression,
    find_document,
    find_foreign,
    not_a_model,
    open_regular,
    read_bounded,
    read_regular,
    replacing,
)


def test_a_regular_file_is_read_up_to_its_bound(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345\r\n")
    (tmp_path / "link").symlink_to("a")
    assert read_regular(tmp_path / "link", 7) == b"12345\r\n"
    with open_regular(tmp_path / "a") as file:
        assert file.readline() == b"12345\r\n"
    with pytest.raises(OSError, match=re.escape("longer than 6 bytes")) as error:
        read_regular(tmp_path / "a", 6)
    assert error.value.filename == str(tmp_path / "a")
    with pytest.raises(OSError, match="longer than 2 bytes"):
        read_bounded(io.BytesIO(b"123"), 2, "standard input")


@pytest.mark.skipif(os.name == "nt", reason="needs the pipes and devices of POSIX")
@pytest.mark.parametrize("kind", ["pipe", "device", "socket"])
def test_what_has_no_end_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path("odd")
    with socket.socket(socket.AF_UNIX) as server:
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "device":
            path.symlink_to("/dev/zero")
        else:
            server.bind(str(path))
        for use in (check_regular, open_regular, lambda path: read_regular(path, 10)):
            with pytest.raises(OSError, match=f"a {kind}, not a regular file") as error:
                use(path)
            assert error.value.filename == "odd"


def test_a_pipe_that_takes_the_place_of_a_file_is_refused_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not hasattr(os, "mkfifo"):
        pytest.skip("needs the pipes of POSIX")
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setattr("char_rnn.utils.files.check_regular", lambda path, most: None)
    with pytest.raises(OSError, match="a pipe, not a regular file"):
        open_regular(tmp_path / "pipe")


def test_folders_and_missing_files_are_errors_of_their_kind(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        open_regular(tmp_path)
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "no")


@pytest.mark.parametrize("text", ["To be,\nor not", "x" * 20_000, "word " * 250, "a/" * 3_000])
@pytest.mark.parametrize("read", [load_config, ModelFile.read, check_run, check_folder_is_free, open_regular, load])
def test_a_text_in_place_of_a_path_gets_a_short_message(read: Callable[[str], object], text: str) -> None:
    with pytest.raises(ValueError, match="looks like a text, not a path; save it in a file") as caught:
        read(text)
    assert len(str(caught.value)) < 200


@pytest.mark.skipif(os.name == "nt", reason="names have no line ends there")
def test_a_path_may_have_a_line_end(tmp_path: Path) -> None:
    path = tmp_path / "two\nlines.txt"
    path.write_bytes(b"text")
    assert read_regular(path, 4) == b"text"


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


def test_a_file_that_is_being_read_is_replaced_as_on_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows refuses to replace a file that another process reads at this moment."""
    attempts, rename = [], Path.replace

    def replace(path: Path, target: Path) -> Path:
        attempts.append(target)
        if len(attempts) < 3:
            raise PermissionError(13, "Access is denied", str(path))
        return rename(path, target)

    monkeypatch.setattr(Path, "replace", replace)
    monkeypatch.setattr("char_rnn.utils.files.PAUSES", (0, 0, 0))
    with replacing(tmp_path / "model") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "model").read_text() == "new"
    assert attempts == [tmp_path / "model"] * 3
