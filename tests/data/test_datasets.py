import hashlib
import socket
import sysconfig
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from char_rnn.data import DataError, datasets
from char_rnn.data.corpus import prepare_corpus
from char_rnn.data.datasets import Download, data_root, fetch, list_datasets

TEXT = b"First Citizen:\nBefore we proceed any further, hear me speak.\n" * 1000
WAYS_ROUND = ("give the path of a text", "CHAR_RNN_DATA_DIR", "python-stdlib")


@dataclass
class Answer:
    """What the server on loopback answers, and what it was asked for."""

    status: int = 200
    body: bytes = TEXT
    announced: int | None = None
    requests: list[str] = field(default_factory=list)


@pytest.fixture
def answer() -> Answer:
    return Answer()


@pytest.fixture
def server(answer: Answer, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer.requests.append(self.path)
            self.send_response(answer.status)
            self.send_header("Content-Length", str(answer.announced or len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True).start()
        url = f"http://127.0.0.1:{httpd.server_port}/input.txt"
        point_to(url, monkeypatch)
        yield url
        httpd.shutdown()


def point_to(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    download = Download(url, "a play", len(TEXT), hashlib.sha256(TEXT).hexdigest())
    monkeypatch.setitem(datasets.DOWNLOADS, "tinyshakespeare", download)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


def left_behind() -> list[Path]:
    return [path for path in data_root().rglob("*") if path.is_file()]


def check_message(error: DataError, reason: str) -> None:
    message = str(error)
    assert reason in message
    assert "\n" not in message
    assert all(way in message for way in WAYS_ROUND)


def test_a_download_is_kept_and_reported(server: str, answer: Answer) -> None:
    seen: list[tuple[str, int, int | None]] = []
    path = fetch("tinyshakespeare", lambda *step: seen.append(step))
    assert path == data_root() / "tinyshakespeare" / "input.txt"
    assert path.read_bytes() == TEXT
    assert seen[-1] == ("downloading", len(TEXT), len(TEXT))
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)
    assert left_behind() == [path]
    fetch("tinyshakespeare")
    assert answer.requests == ["/input.txt"]


@pytest.mark.parametrize("source", ["tinyshakespeare", "data/tinyshakespeare", Path("data/tinyshakespeare")])
def test_a_corpus_downloads_what_it_needs(server: str, source: str | Path) -> None:
    corpus = prepare_corpus(source)
    assert (corpus.name, len(corpus)) == ("tinyshakespeare", len(TEXT))
    assert corpus.sha256 == hashlib.sha256(TEXT).hexdigest()


def test_another_content_is_refused(server: str, answer: Answer) -> None:
    answer.body = TEXT.replace(b"Citizen", b"Netizen")
    with pytest.raises(DataError) as caught:
        fetch("tinyshakespeare")
    check_message(caught.value, "the wrong SHA-256")
    assert left_behind() == []


def test_a_cut_off_download_is_refused(server: str, answer: Answer) -> None:
    answer.body, answer.announced = TEXT[:1000], len(TEXT)
    with pytest.raises(DataError) as caught:
        fetch("tinyshakespeare")
    check_message(caught.value, "interrupted")
    assert left_behind() == []


def test_a_missing_page_is_reported(server: str, answer: Answer) -> None:
    answer.status = 404
    with pytest.raises(DataError) as caught:
        fetch("tinyshakespeare")
    check_message(caught.value, "the server answered 404")
    assert left_behind() == []


def test_a_refused_connection_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    point_to(f"http://127.0.0.1:{port}/input.txt", monkeypatch)
    with pytest.raises(DataError) as caught:
        fetch("tinyshakespeare")
    check_message(caught.value, "no connection")


def test_a_folder_that_takes_no_files_is_reported(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    monkeypatch.setenv("CHAR_RNN_DATA_DIR", str(tmp_path / "file"))
    with pytest.raises(DataError) as caught:
        fetch("tinyshakespeare")
    check_message(caught.value, "cannot be downloaded")


def test_a_damaged_copy_is_downloaded_again(server: str, answer: Answer) -> None:
    path = fetch("tinyshakespeare")
    path.write_bytes(TEXT[:-1] + b"?")
    assert fetch("tinyshakespeare").read_bytes() == TEXT
    assert len(answer.requests) == 2


def test_a_copy_put_there_by_hand_needs_no_network(server: str, answer: Answer) -> None:
    path = data_root() / "tinyshakespeare" / "input.txt"
    path.parent.mkdir(parents=True)
    path.write_bytes(TEXT)
    assert fetch("tinyshakespeare") == path
    assert answer.requests == []


def test_the_list_says_what_is_here(server: str, answer: Answer) -> None:
    stdlib, shakespeare = list_datasets()
    assert (stdlib.name, stdlib.path) == ("python-stdlib", Path(sysconfig.get_paths()["stdlib"]))
    assert stdlib.size is not None
    assert stdlib.size > 5_000_000
    assert (shakespeare.name, shakespeare.size, shakespeare.path) == ("tinyshakespeare", len(TEXT), None)
    assert answer.requests == []
    path = fetch("tinyshakespeare")
    assert list_datasets()[1].path == path


def test_the_real_set_is_the_one_of_2015() -> None:
    download = datasets.DOWNLOADS["tinyshakespeare"]
    assert (download.size, download.sha256[:8], download.url[:8]) == (1_115_394, "86c4e6aa", "https://")


def test_the_data_folder_is_the_platforms_unless_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHAR_RNN_DATA_DIR")
    assert data_root().is_absolute()
    assert "char-rnn" in str(data_root())


def test_the_standard_library_comes_without_its_tests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = {"b.py": "b = 1\n", "a/z.py": "z = 1\n", "a.py": "a = 'é'\n"}
    skipped = [
        "test/t.py",
        "a/tests/t.py",
        "idlelib/idle_test/t.py",
        "site-packages/p.py",
        "__pycache__/c.py",
        "a/note.txt",
    ]
    for name, text in {**kept, **dict.fromkeys(skipped, "no\n")}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "latin.py").write_bytes(b"# \xe9\n")
    monkeypatch.setattr(datasets, "stdlib_folder", lambda: tmp_path)
    corpus = prepare_corpus("python-stdlib")
    assert corpus.name == "python-stdlib"
    assert corpus.vocabulary.decode(corpus.ids) == "a = 'é'\nz = 1\nb = 1\n"


def test_a_python_without_sources_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "stdlib_folder", lambda: tmp_path)
    with pytest.raises(DataError, match="python-stdlib: contains no text files"):
        prepare_corpus("python-stdlib")
    assert list_datasets()[0].path is None


def test_the_running_pythons_library_is_there() -> None:
    files = list(datasets.stdlib_files())
    names = {path.relative_to(datasets.stdlib_folder()).as_posix() for path in files}
    assert {"os.py", "json/decoder.py"} <= names
    assert not any(part in name.split("/") for name in names for part in ("test", "encodings", "site-packages"))
    assert files[0].name == "__future__.py"
