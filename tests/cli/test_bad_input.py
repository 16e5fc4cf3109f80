"""Whatever is wrong with what a user gives: one line that says what, where and how to mend it, and the exit status.

2: the command line or the configuration is to be mended. 1: any other failure.
"""

from __future__ import annotations

import gzip
import os
import re
import shlex
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_helpers import SMALL, TEXT, Command

Make = Callable[[Path, Path, Path], list[object]]


def file(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def train(*arguments: object) -> list[object]:
    return ["train", *arguments, *SMALL, "--set", "training.max_steps=2"]


def command(line: str) -> Make:
    """A command line in which POEM and RUN are the text and a run; the current folder is new."""
    return lambda tmp, poem, run: [{"POEM": poem, "RUN": run}.get(word, word) for word in shlex.split(line)]


def set_(assignment: str) -> Make:
    return command(f"train POEM --out run --set {assignment}")


def yaml(content: str | bytes) -> Make:
    return lambda tmp, poem, run: ["config", "check", file(tmp / "my.yaml", content)]


def text(content: str | bytes, *arguments: object) -> Make:
    return lambda tmp, poem, run: [*train(file(tmp / "text.txt", content), "--out", tmp / "run"), *arguments]


def model(content: bytes, name: str = "m.safetensors") -> Make:
    return lambda tmp, poem, run: ["sample", file(tmp / name, content)]


def damaged(edit: Callable[[bytes], bytes]) -> Make:
    """A real model file, changed."""
    return lambda tmp, poem, run: [
        "inspect",
        file(tmp / "m.safetensors", edit((run / "best.safetensors").read_bytes())),
    ]


def resumed(change: Callable[[Path], object], *arguments: object) -> Make:
    """A copy of the run, changed, to be resumed."""

    def make(tmp: Path, poem: Path, run: Path) -> list[object]:
        shutil.copytree(run, tmp / "run")
        change(tmp / "run")
        return ["train", "--resume", tmp / "run", *arguments]

    return make


def unchanged(_: Path) -> None:
    pass


def of_later_version(data: bytes) -> bytes:
    return data.replace(b'"format_version":"1"', b'"format_version":"9"')


def nonempty_bomb() -> bytes:
    """YAML aliases that would unfold to 9^9 strings."""
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]" for a, b in zip("abcdefgh", "bcdefghi", strict=True)]
    return "\n".join(lines).encode()


def pipe(path: Path) -> Path:
    """A pipe that nobody writes to, in the place of what is there."""
    if not hasattr(os, "mkfifo"):
        pytest.skip("needs the pipes of POSIX")
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    return path


def device(path: Path) -> Path:
    """A link to a device without an end, in the place of what is there."""
    if not Path("/dev/zero").exists():
        pytest.skip("needs the devices of POSIX")
    path.unlink(missing_ok=True)
    path.symlink_to("/dev/zero")
    return path


STATE = "training_state.safetensors"

CASES: dict[str, tuple[Make, int, str]] = {
    # the command line
    "no such command": (command("trian"), 2, r"No such command 'trian'"),
    "no such option": (command("train --learning-rate 1"), 2, r"No such option:? '?--learning-rate"),
    "a missing argument": (command("sample"), 2, r"Missing argument 'MODEL'"),
    "minutes that are no number": (command("train --minutes soon"), 2, r"'soon' is not a valid float"),
    "negative minutes": (set_("training.minutes=-1"), 2, r"--set training\.minutes=-1: must be a number more than 0"),
    "resume and out": (command("train --resume RUN --out new"), 2, r"leave out --out"),
    "a device that does not exist": (command("train --device tpu"), 2, r"'tpu' is not one of"),
    "a device that is not here": (
        command("sample RUN --device cuda"),
        1,
        r"device cuda: is not available \(this machine has cpu\); choose another",
    ),
    # the configuration
    "an unknown key": (set_("training.learning_rte=1"), 2, r"--set training\.learning_rte.*did you mean learning_rate"),
    "an unknown section": (set_("trainig.seed=1"), 2, r"--set trainig\.seed.*did you mean training"),
    "a value of the wrong type": (set_("training.batch_size=many"), 2, r"training\.batch_size.*whole number.*'?many"),
    "a value out of range": (set_("model.dropout=1.5"), 2, r"model\.dropout.*1\.5"),
    "a value that is none of the choices": (set_("model.type=transformer"), 2, r"model\.type.*gru.*lstm.*rnn"),
    "no value": (set_("training.seed"), 2, r"--set training\.seed.*="),
    "true for a number": (set_("training.seed=true"), 2, r"training\.seed.*true"),
    "fractions above 1": (
        command("train POEM --set data.train_frac=0.9 --set data.val_frac=0.2"),
        2,
        r"train_frac.*0\.9.*val_frac.*0\.2",
    ),
    "an unknown recipe": (command("train --recipe quikstart"), 2, r"quikstart.*quickstart"),
    "a missing config": (command("train --config no.yaml"), 2, r"no\.yaml"),
    "a config with a wrong key": (yaml("model:\n  size: 3\n"), 2, r"my\.yaml:2: model\.size"),
    "a config with a wrong type": (yaml("training:\n\n  seq_length: [1]\n"), 2, r"my\.yaml:3: training\.seq_length"),
    "a config that is no YAML": (yaml("model: [1,\n"), 2, r"my\.yaml:\d+"),
    "a config that is a list": (yaml("- 1\n- 2\n"), 2, r"my\.yaml:1"),
    "a config with a key twice": (yaml("model:\n  type: gru\n  type: rnn\n"), 2, r"my\.yaml:3: model\.type"),
    "a config that would run code": (yaml("model: !!python/object/apply:os.system [ls]\n"), 2, r"my\.yaml:1"),
    "a config that unfolds without end": (yaml(nonempty_bomb()), 2, r"my\.yaml:"),
    "a config in another encoding": (yaml("model:\n  type: é".encode("latin-1")), 2, r"my\.yaml.*UTF-8"),
    "a config that is a folder": (command("config check ."), 2, r"folder|directory"),
    # the text
    "a missing text": (command("train no.txt"), 2, r"no\.txt"),
    "an empty text": (text(""), 1, r"text\.txt.*empty"),
    "a text too small to train on": (text("abc"), 1, r"train split has 2 characters; one batch needs 41"),
    "bad UTF-8": (text(b"a" * 1000 + b"caf\xe9 " * 100), 1, r"text\.txt.*1003.*--encoding.*--vocabulary bytes"),
    "an unknown encoding": (text(TEXT, "--encoding", "klingon"), 2, r"klingon"),
    "a truncated gzip": (
        lambda tmp, *_: train(file(tmp / "t.gz", gzip.compress(TEXT.encode())[:-9])),
        1,
        r"t\.gz.*the compressed data ends early",
    ),
    "gzip cut short": (lambda tmp, *_: train(file(tmp / "t", b"\x1f\x8b\x08plain text")), 1, r"t: .* ends early; get"),
    "a document": (lambda tmp, *_: train(file(tmp / "t.txt", "%PDF-1.4")), 1, r"t\.txt: a PDF document, not plain"),
    "a file of Torch7 as a text": (
        text(b"\4\0\0\0\1\0\0\0\3\0\0\0V 1"),
        1,
        r"text\.txt: a file of Torch7, not plain text; give",
    ),
    "a file that is not there among several": (command("train POEM no.txt"), 2, r"no\.txt: no such"),
    "a separator that cannot be encoded": (
        command("train POEM . --separator ☃ --encoding ascii"),
        1,
        r"separator '☃': cannot be written in ascii",
    ),
    "an empty folder": (command("train ."), 1, r"no text file"),
    "an unknown data set": (command("train tinyshakespear"), 2, r"tinyshakespear.*tinyshakespeare"),
    "a split without characters": (
        lambda tmp, poem, run: ["eval", run, file(tmp / "tiny.txt", "rose"), "--split", "val"],
        1,
        r"the val split has 0 characters.*--split all",
    ),
    "a text with characters the model lacks": (
        lambda tmp, poem, run: ["eval", run, file(tmp / "other.txt", "The r€se")],
        2,
        r"€.*U\+20AC.*5",
    ),
    # where to write
    "a folder that holds a run": (command("train POEM --out RUN"), 1, r"contains a run already.*--resume"),
    "a run folder under a file": (
        lambda tmp, poem, run: train(poem, "--out", file(tmp / "file", "x") / "run"),
        1,
        r"(not a directory|file exists)",
    ),
    # models
    "a missing model": (command("sample no.safetensors"), 2, r"no\.safetensors: no such model"),
    "a folder without a model": (command("sample ."), 2, r"no model in this folder"),
    "a folder of checkpoints": (
        lambda tmp, *_: ["sample", file(tmp / "cv" / "lm_1.t7", "").parent],
        2,
        r"; it has 1 checkpoint: give one, such as \S*lm_1\.t7",
    ),
    "a JSON file as a model": (model(b'{"a": 1}'), 1, r"m\.safetensors: a JSON file, not a model; give the \.t7 or"),
    "arrays as a model": (model(b"PK\3\4" + 26 * b"\0" + b"a.npy"), 1, r"a NumPy archive \(\.npz\), not a model"),
    "a text as a model": (command("sample POEM"), 1, r"poem\.txt: not a model file"),
    "a web page as a model": (model(b"<!DOCTYPE html><html>"), 1, r"m\.safetensors: an HTML page, not a model"),
    "a pointer as an old model": (
        lambda tmp, poem, run: ["sample", file(tmp / "m.t7", b"version https://git-lfs.github.com/spec/v1\n")],
        1,
        r"m\.t7: .*a Git LFS pointer, not the file itself",
    ),
    "an empty model": (model(b""), 1, r"m\.safetensors: not a model file"),
    "a model that promises too much": (model(struct.pack("<Q", 2**62) + b"{}"), 1, r"m\.safetensors: not a model"),
    "a pickle as a model": (model(b"\x80\x04\x95\x0b\x00\x00\x00"), 1, r"m\.safetensors: not a model file"),
    "a model cut short": (damaged(lambda data: data[:-7]), 1, r"not a model file, or cut short"),
    "a model of a later version": (damaged(of_later_version), 1, r"written by a later char-rnn.*update char-rnn"),
    "a model of another program": (
        damaged(lambda data: data.replace(b'"format":"char-rnn"', b'"format":"char-xyz"')),
        1,
        r"not one of char-rnn",
    ),
    "a training state as a model": (
        lambda tmp, poem, run: ["sample", run / STATE],
        1,
        r"not one of char-rnn",
    ),
    # sampling
    "a prime the model has never seen": (
        command("sample RUN --prime 'The r€se'"),
        2,
        r"€.*U\+20AC.*give --unknown skip to leave it out, or --unknown nearest",
    ),
    "a negative temperature": (command("sample RUN --temperature -1"), 2, r"'--temperature' / '-temperature': -1"),
    "top-p above 1": (command("sample RUN --top-p 1.5"), 2, r"'--top-p': 1\.5"),
    "top-k of 0": (command("sample RUN --top-k 0"), 2, r"'--top-k': 0"),
    "a negative length": (command("sample RUN --length -1"), 2, r"'--length' / '-length': -1"),
    "an empty stop text": (command("sample RUN --stop ''"), 2, r"--stop"),
    # resuming
    "a run of standard input, resumed without it": (
        resumed(lambda run: file(run / "config.yaml", "data: {data_dir: '-'}")),
        2,
        r"char-rnn train - --resume .* < TEXT",
    ),
    "another architecture for a model to start from": (
        command("train POEM --init-from RUN --set model.hidden_size=9"),
        2,
        r"--init-from uses the architecture of the model",
    ),
    "new symbols without a model": (
        command("train POEM --grow-vocabulary"),
        2,
        r"--grow-vocabulary adds symbols to a model: give the model with --init-from",
    ),
    "new symbols for a run that is resumed": (
        command("train --resume RUN --grow-vocabulary"),
        2,
        r"--resume uses the settings of the run: leave out .*--grow-vocabulary",
    ),
    "new symbols as in 2015": (
        command("train POEM --torch7 --init-from RUN --grow-vocabulary"),
        2,
        r"--grow-vocabulary needs training\.trainer=modern",
    ),
    "a text with new symbols without the option": (
        lambda tmp, poem, run: ["train", file(tmp / "text", "r€se".encode()), "--init-from", run],
        2,
        r"text: unknown character '€' \(U\+20AC\) at position 1: .*add it with --grow-vocabulary",
    ),
    "a text to evaluate with new symbols": (
        lambda tmp, poem, run: ["eval", run, file(tmp / "text", "r€se".encode())],
        2,
        r"text: unknown character '€' \(U\+20AC\) at position 1: .*give --unknown skip",
    ),
    "a text to evaluate without a known symbol": (
        lambda tmp, poem, run: ["eval", run, file(tmp / "text", "€€".encode()), "--unknown", "skip", "--quiet"],
        1,
        r"nothing",
    ),
    "nothing to resume": (command("train --resume ."), 1, r"nothing to resume here"),
    "a state cut short": (
        resumed(lambda run: file(run / STATE, (run / STATE).read_bytes()[:-5])),
        1,
        r"training_state\.safetensors: not a model file, or cut short",
    ),
    "a model for a state": (
        resumed(lambda run: shutil.copy(run / "best.safetensors", run / STATE)),
        1,
        r"not a training state",
    ),
    "a state of a later version": (
        resumed(lambda run: file(run / STATE, of_later_version((run / STATE).read_bytes()))),
        1,
        r"later char-rnn",
    ),
    "a run read in another way": (
        resumed(unchanged, "--set", "training.seq_length=5"),
        1,
        r"was trained with training\.seq_length 10, not 5",
    ),
    "a state of another architecture": (
        resumed(unchanged, "--set", "model.hidden_size=9"),
        1,
        r"was trained with model\.hidden_size 8, not 9",
    ),
    "a run whose text has moved": (
        resumed(unchanged, "--set", "data.data_dir=elsewhere.txt"),
        2,
        r"elsewhere\.txt: no such file .*; if the text has moved, give its new path with --resume",
    ),
    "a run whose text has changed": (
        lambda tmp, poem, run: [
            "train",
            file(tmp / "other.txt", TEXT + "!" * 50),
            *resumed(unchanged)(tmp, poem, run)[1:],
        ],
        1,
        r"the run was trained on another text.*--init-from",
    ),
    # what is no regular file
    "a pipe as a model": (lambda tmp, *_: ["sample", pipe(tmp / "m")], 1, r"m: a pipe, not a regular file"),
    "a device as a model": (lambda tmp, *_: ["inspect", device(tmp / "m")], 1, r"m: a device, not a regular file"),
    "a device as a .t7 model": (lambda tmp, *_: ["sample", device(tmp / "m.t7")], 1, r"m\.t7: a device, not a"),
    "a pipe in a run, as its model": (
        lambda tmp, *_: ["sample", pipe(tmp / "best.safetensors").parent],
        1,
        r"best\.safetensors: a pipe",
    ),
    "a device as a prime": (
        lambda tmp, _, run: ["sample", run, "--prime-file", device(tmp / "prime.txt")],
        1,
        r"prime\.txt: a device, not a regular file",
    ),
    "a pipe as a text to judge": (
        lambda tmp, poem, run: ["novelty", run, poem, "--text", pipe(tmp / "t.txt"), "--quiet"],
        1,
        r"t\.txt: cannot be read \(a pipe, not a regular file\)",
    ),
    "a pipe as a configuration": (lambda tmp, *_: ["config", "check", pipe(tmp / "c.yaml")], 2, r"c\.yaml: .*a pipe"),
    "a device for a run's configuration": (
        resumed(lambda run: device(run / "config.yaml")),
        2,
        r"config\.yaml: cannot be read: a device, not a regular file",
    ),
    "a pipe for a run's records": (
        resumed(lambda run: pipe(run / "metrics.jsonl"), "--quiet"),
        1,
        r"metrics\.jsonl: a pipe",
    ),
    "a device for a run's records": (
        resumed(lambda run: device(run / "metrics.jsonl"), "--quiet"),
        1,
        r"metrics\.jsonl: a device, not a regular file",
    ),
    "a pipe for a run's state": (resumed(lambda run: pipe(run / STATE)), 1, r"training_state\.safetensors: a pipe"),
    "a pipe for a sweep": (
        lambda tmp, *_: ["sweep", "--resume", pipe(tmp / "sweep.json").parent],
        1,
        r"sweep\.json: a pipe, not a regular file",
    ),
    "a run whose configuration is damaged": (
        resumed(lambda run: file(run / "config.yaml", "model: {typ: lstm}")),
        2,
        r"config\.yaml:1: model\.typ",
    ),
}


@pytest.fixture(autouse=True)
def _only_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("char_rnn.utils.device.DeviceManager.available", staticmethod(lambda: ["cpu"]))


@pytest.mark.parametrize("case", CASES)
def test_one_line_and_the_right_status(
    char_rnn: Command, poem: Path, run_folder: Path, tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make, status, message = CASES[case]
    done = char_rnn(*make(tmp_path, poem, run_folder))
    assert done.refused(status)
    assert re.search(message, done.err), done.err


def test_a_failed_command_loses_nothing(char_rnn: Command, poem: Path, run_folder: Path) -> None:
    before = {path: path.read_bytes() for path in run_folder.iterdir() if path.is_file()}
    assert char_rnn("train", poem, "--out", run_folder).status == 1
    assert {path: path.read_bytes() for path in run_folder.iterdir() if path.is_file()} == before


def test_a_folder_that_another_process_has_is_left_alone(char_rnn: Command, poem: Path, run_folder: Path) -> None:
    """A second training, one that resumes, and a sweep: one line that names the process."""
    program = "import sys, pathlib, char_rnn.utils.locking as locking\n"
    program += "for name in sys.argv[1:]: locking.acquire(pathlib.Path(name))\nprint(flush=True)\ninput()"
    begun, sweep = run_folder.with_name("begun"), run_folder.with_name("sweep")
    shutil.copytree(run_folder, begun), sweep.mkdir()
    command = [sys.executable, "-c", program, str(begun), str(sweep)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        before = {path: path.read_bytes() for path in begun.iterdir() if path.is_file()}
        for words in (
            train(poem, "--out", begun),
            ["train", "--resume", begun],
            ["sweep", "quickstart", poem, "--out", sweep, "--grid", "training.seed=1,2"],
        ):
            done = char_rnn(*words)
            assert done.status == 1
            assert re.fullmatch(rf"error: .*: process {other.pid} on \S+ is using this folder; .*\n", done.err)
        assert {path: path.read_bytes() for path in begun.iterdir() if path.is_file()} == before
        assert char_rnn("runs", begun).out.strip().endswith("running")
        early = "import sys\nfrom char_rnn.cli import main\ntry: main()\nfinally: print('torch' in sys.modules)"
        refused = [sys.executable, "-c", early, "train", "--resume", begun]
        done = subprocess.run(refused, capture_output=True, check=False)
        assert (done.returncode, done.stdout.strip()) == (1, b"False"), done.stderr
        other.communicate(b"\n")
    assert char_rnn("runs", begun).out.strip().endswith("finished")
    assert list(sweep.iterdir()) == []


def test_debug_shows_the_traceback(tmp_path: Path, poem: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from char_rnn.cli import main
    from char_rnn.utils.model_files import ModelFileError

    with pytest.raises(ModelFileError):
        main(["sample", str(poem), "--debug"])
    with pytest.raises(ModelFileError):
        main(["--debug", "sample", str(poem)])


def test_an_unforeseen_error_is_one_line_too(
    char_rnn: Command, run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(path: Path) -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr("char_rnn.utils.model_files.find_model", broken)
    done = char_rnn("inspect", run_folder)
    assert (done.status, done.err) == (
        1,
        "error: ZeroDivisionError: by zero (a mistake in char-rnn; --debug shows where)\n",
    )


def test_a_model_too_large_for_memory_names_the_keys_that_make_it_smaller(
    char_rnn: Command, poem: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An embedding of 65,536 units and as many symbols, say: the allocator's own message stands for it."""

    def too_large(*arguments: object, **options: object) -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr("torch.nn.Embedding.__init__", too_large)
    done = char_rnn("train", poem)
    assert (done.status, done.err.count("\n")) == (1, 1)
    for key in ("training.batch_size", "training.seq_length", "model.hidden_size", "model.embedding_size", "bytes"):
        assert key in done.err


def test_offline_names_the_ways_round(char_rnn: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError("network is unreachable")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    done = char_rnn("train", "tinyshakespeare")
    assert done.status == 1
    assert re.search(r"tinyshakespeare.*CHAR_RNN_DATA_DIR.*python-stdlib", done.err), done.err
    assert done.err.count("\n") == 1
