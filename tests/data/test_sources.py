import errno
import io
import sys
from pathlib import Path

import pytest

from char_rnn.data import DataError
from char_rnn.data.cache import Cache
from char_rnn.data.sources import find_source, is_stream, spooled


def test_names_come_from_the_file_or_its_folder(tmp_path: Path) -> None:
    (tmp_path / "play").mkdir()
    names = {
        "poem.txt": "poem",
        "poem.txt.gz": "poem",
        "poem": "poem",
        "play/input.txt": "play",
        "play/input.txt.gz": "play",
    }
    for name, expected in names.items():
        (tmp_path / name).write_bytes(b"x")
        assert find_source(tmp_path / name, "utf-8").name == expected


def test_a_relative_folder_has_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "poems").mkdir()
    (tmp_path / "poems" / "a.txt").write_bytes(b"x")
    monkeypatch.chdir(tmp_path / "poems")
    assert find_source(".", "utf-8").name == "poems"


def test_the_home_folder_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "poem.txt").write_bytes(b"x")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert find_source("~/poem.txt", "utf-8").candidates == (tmp_path / "poem.txt",)


def test_a_name_means_the_data_set_and_a_path_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "python-stdlib").mkdir()
    (tmp_path / "python-stdlib" / "mine.txt").write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    assert len(find_source("python-stdlib", "utf-8").candidates) > 100
    assert [path.name for path in find_source("./python-stdlib", "utf-8").candidates] == ["mine.txt"]


def test_a_fingerprint_follows_size_time_and_place(tmp_path: Path) -> None:
    path = tmp_path / "poem.txt"
    path.write_bytes(b"abc")
    first = find_source(path, "utf-8").fingerprint()
    assert first.size == 3
    assert first == find_source(path, "utf-8").fingerprint()
    path.write_bytes(b"abcd")
    assert find_source(path, "utf-8").fingerprint().digest != first.digest


def test_a_file_that_goes_meanwhile_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "poem.txt"
    path.write_bytes(b"abc")
    source = find_source(path, "utf-8")
    path.unlink()
    with pytest.raises(DataError, match=r"poem\.txt: cannot be read"):
        source.fingerprint()


def test_a_folder_that_cannot_be_listed_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr("char_rnn.data.sources.os.scandir", refuse)
    with pytest.raises(DataError, match=r"cannot be read \(Permission denied\)"):
        find_source(tmp_path, "utf-8")


def test_only_standard_input_and_pipes_are_streams(tmp_path: Path) -> None:
    (tmp_path / "poem.txt").write_bytes(b"abc")
    assert is_stream("-")
    assert not any(map(is_stream, [tmp_path, tmp_path / "poem.txt", tmp_path / "nothing", "a\0b"]))


class Broken(io.RawIOBase):
    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        raise OSError(errno.EIO, "Input/output error")


def test_a_broken_stream_is_reported_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(Broken())))
    with (
        pytest.raises(DataError, match=r"standard input: cannot be read \(Input/output error\)"),
        spooled("-", Cache(tmp_path), "utf-8"),
    ):
        pass
    assert list(tmp_path.iterdir()) == []
