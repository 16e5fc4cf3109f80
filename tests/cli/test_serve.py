"""``char-rnn serve``: started as a program, asked, and ended."""

from __future__ import annotations

import json
import logging
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cli_helpers import PLAYGROUND, WAIT, Command, ask
from processes import disposition

for needed in PLAYGROUND:
    pytest.importorskip(needed, reason="the extra playground is not installed")

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")


@pytest.fixture(autouse=True)
def _settings_stay_here(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The command sets the process's threads and its log's level, which a process of its own would take with it."""
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
        monkeypatch.setenv(variable, "1")
    level = logging.getLogger("char_rnn").level
    yield
    logging.getLogger("char_rnn").setLevel(level)


@contextmanager
def serving(*arguments: object, ignoring: bool = False) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """Start the command, perhaps ignoring Ctrl-C; yield the process, its line about the models, and its address."""
    command = [sys.executable, "-m", "char_rnn", "serve", *map(str, arguments), "--port", "0"]
    with disposition(ignoring, signal.SIGINT):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        address = process.stdout.readline().removesuffix("\n")
        assert re.fullmatch(r"http://\S+:\d+/", address), address + process.stderr.read()
        yield process, "" if "--quiet" in arguments else process.stderr.readline(), address
    finally:
        process.kill()
        process.communicate(timeout=WAIT)


def test_without_a_model_it_serves_demo() -> None:
    with serving() as (_, line, address):
        assert line.startswith("serving demo (")
        [model] = json.loads(ask(address, "api/models"))["models"]
        assert (model["name"], model["data"], model["temperature"]) == ("demo", "python-stdlib", 0.6)
        assert model["suggested_primes"][0] == "class "


def test_it_serves_until_ctrl_c(run_folder: Path) -> None:
    with serving(run_folder, run_folder / "best.safetensors", run_folder, "--max-length", 50) as (
        process,
        line,
        address,
    ):
        assert line == "serving poem, best, poem-2 (press Ctrl-C to stop) at\n"
        answer = json.loads(ask(address, "api/models"))
        assert [model["name"] for model in answer["models"]] == ["poem", "best", "poem-2"]
        assert answer["models"][0]["data"] == "poem"
        assert answer["limits"]["length"] == 50
        assert "<title>" in ask(address, "")
        answers = [ask(address, "api/generate", {"model": name, "length": 20, "seed": 1}) for name in ("poem", "best")]
        texts = ["".join(re.findall(r'(?m)^data: {"text":"(.*)","characters"', answer)) for answer in answers]
        assert texts[0] == texts[1]
        assert len(texts[0].replace("\\n", "\n")) == 20
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=WAIT)
        assert (process.returncode, out, error) == (130, "", "\ninterrupted\n")


def test_the_address_for_other_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    from char_rnn.playground.server import address_in_network, bind

    connect = socket.socket.connect
    with bind("127.0.0.1", 0) as local, bind("0.0.0.0", 0) as bound:
        assert address_in_network(local) is None
        monkeypatch.setattr(socket.socket, "connect", lambda self, _: connect(self, ("127.0.0.1", 9)))
        assert address_in_network(bound) == f"http://127.0.0.1:{bound.getsockname()[1]}/"
        monkeypatch.setattr(socket.socket, "connect", lambda self, _: connect(self, ("256.1.1.1", 9)))
        assert address_in_network(bound) is None


def test_the_stretches_that_are_copied_from_the_training_text(run_folder: Path, poem: Path) -> None:
    text = poem.read_text("utf-8")
    with serving(run_folder, "--text", poem) as (_, line, address):
        assert line == "serving poem (press Ctrl-C to stop) at\n"
        assert json.loads(ask(address, "api/models"))["models"][0]["copied_from"] == "poem"
        answer = json.loads(ask(address, "api/copied", {"text": f"~~~{text[:30]}~~~"}))
        assert answer == {"stretches": [[3, 33]]}


@pytest.mark.slow
def test_a_copy_learns_from_the_texts_of_a_request(run_folder: Path) -> None:
    """Again by another server: the same numbers."""
    found = []
    for _ in range(2):
        with serving(run_folder, "--learn", "--learn-rate", 0.01) as (_, _, address):
            assert json.loads(ask(address, "api/models"))["models"][0]["learns"]
            words = "the rose is red, " * 5
            found.append([ask(address, "api/score", {"text": words, "learn": learn}) for learn in ([], [words])])
    assert found[0] == found[1]
    plain, learned = (sum(json.loads(answer)["log_probs"]) for answer in found[0])
    assert learned > plain


def test_ctrl_c_ends_texts_that_are_being_written(run_folder: Path) -> None:
    with serving(run_folder, "--max-length", 10**9) as (process, _, address):
        port = int(address.rstrip("/").rpartition(":")[2])
        body = json.dumps({"model": "poem", "length": 10**9}).encode()
        with socket.create_connection(("127.0.0.1", port), timeout=WAIT) as connection:
            head = "POST /api/generate HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            connection.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
            assert connection.recv(65536)
            process.send_signal(signal.SIGINT)
            rest = b""
            while piece := connection.recv(65536):
                rest += piece
        assert b'event: error\ndata: {"message":"the server is shutting down"}' in rest
        assert process.communicate(timeout=WAIT) == ("", "\ninterrupted\n")
        assert process.returncode == 130


@pytest.mark.slow
def test_sigterm_ends_it_too(run_folder: Path) -> None:
    with serving(run_folder, "--quiet") as (process, _, _):
        process.terminate()
        assert process.communicate(timeout=WAIT) == ("", "")
        assert process.returncode == 128 + signal.SIGTERM


def test_a_key_in_the_environment_and_an_allowed_origin(run_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAR_RNN_API_KEY", "sesame")
    options = ("--allow-origin", "https://a.example", "--allow-host", "box.example")
    with serving(run_folder, *options) as (_, _, address):
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        headers = {"origin": "https://a.example", "host": "box.example"}
        request = urllib.request.Request(f"{address}v1/models", headers=headers)
        with pytest.raises(urllib.error.HTTPError, match="401"):
            opener.open(request, timeout=WAIT)
        request.add_header("authorization", "Bearer sesame")
        with opener.open(request, timeout=WAIT) as answer:
            assert json.loads(answer.read())["data"][0]["id"] == "poem"
            assert answer.headers["access-control-allow-origin"] == "https://a.example"


@pytest.mark.slow
def test_an_ignored_ctrl_c_stays_ignored(run_folder: Path) -> None:
    with serving(run_folder, ignoring=True) as (process, _, address):
        process.send_signal(signal.SIGINT)
        assert json.loads(ask(address, "api/models"))["models"]
        assert process.poll() is None
        process.terminate()
        assert process.wait(WAIT) == 128 + signal.SIGTERM


def test_a_port_in_use(char_rnn: Command, run_folder: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = char_rnn("serve", run_folder, "--port", port)
    assert done.status == 1
    assert done.err == f"error: port {port} of 127.0.0.1 is already in use; choose another with --port\n"


def test_a_text_that_the_model_was_not_trained_on(char_rnn: Command, run_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "other.txt").write_text("a text of its own", encoding="utf-8")
    texts = ["--text", tmp_path / "other.txt", "--text", tmp_path / "other.txt"]
    otherwise = " is not the text that poem was trained on; the whole text is searched"
    done = char_rnn("serve", run_folder, *texts, "--host", "256.1.1.1")
    assert done.err.splitlines()[0] == f"other-and-1-more{otherwise}"
    (tmp_path / "other.txt").write_bytes("Zoë".encode("cp1252"))
    done = char_rnn("serve", run_folder, *texts[:2], "--encoding", "cp1252", "--host", "256.1.1.1")
    assert done.err.splitlines()[0] == f"other{otherwise}"


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["none"], 2, "none: no such model file or run folder"),
        (["{poem}"], 1, "not a model file"),
        (["{run}", "--port", "70000"], 2, "--port"),
        (["{run}", "--max-streams", "0"], 2, "--max-streams"),
        (["{run}", "--precision", "float8"], 2, "--precision"),
        (["{run}", "--host", "256.1.1.1"], 1, "no such address"),
        (["{run}", "--api-key", ""], 2, "--api-key: must be printable ASCII characters without spaces, at least one"),
        (["{run}", "--allow-origin", "*"], 2, "--allow-origin '*': must be a scheme and one host, such as https://"),
        (["{run}", "--allow-host", "a:80"], 2, "--allow-host 'a:80': must be a name without scheme and port"),
        (["{run}", "--encoding", "cp1252"], 2, "--encoding needs --text: add it, or leave out --encoding"),
        (["{run}", "--learn-rate", "0.1"], 2, "--learn-rate has no effect without --learn; give both, or neither"),
        (["{run}", "--text", "none.txt"], 2, "none.txt: no such file"),
        (["{run}", "--text", "{empty}"], 1, "empty.txt: the text is empty"),
        (["{run}", "--text", "{latin}"], 1, "give --encoding cp1252"),
    ],
    ids=str,
)
def test_what_cannot_be_served(
    char_rnn: Command, run_folder: Path, poem: Path, tmp_path: Path, arguments: list[str], status: int, words: str
) -> None:
    paths = {"run": run_folder, "poem": poem, "empty": tmp_path / "empty.txt", "latin": tmp_path / "latin.txt"}
    paths["empty"].touch()
    paths["latin"].write_bytes("Zo\u00eb is here".encode("latin-1"))
    assert char_rnn("serve", *(word.format(**paths) for word in arguments)).refused(status, words)


@pytest.mark.parametrize(
    "package", [*(pytest.param(name, marks=pytest.mark.slow) for name in PLAYGROUND[:-1]), "uvicorn"]
)
def test_without_the_extra_the_way_to_it_is_named(run_folder: Path, tmp_path: Path, package: str) -> None:
    script = (
        f"import sys; sys.modules[{package!r}] = None\n"
        f"from char_rnn.cli import main; main(['serve', {str(run_folder)!r}])"
    )
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True, timeout=WAIT)
    assert done.returncode == 1
    assert done.stderr == (
        f"error: the playground needs {package}, which is not installed; run:"
        ' pip install "char-rnn-pytorch[playground]"\n'
    )


@pytest.mark.slow
def test_serving_loads_no_torch(run_folder: Path) -> None:
    script = (
        "import sys\n"
        "from char_rnn.cli.inputs import open_model\n"
        "from char_rnn.playground.server import create_app\n"
        f"create_app({{'m': open_model({str(run_folder)!r})}})\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=WAIT)
    assert done.stdout == "False\n"
