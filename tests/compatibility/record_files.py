"""Files of an earlier version, which the tests of this folder open, and what that version computes from them.

In a checkout of this version, where OLD is a checkout of the earlier one with its kernels built:

    PYTHONPATH=OLD/src python tests/compatibility/record_files.py

It writes ``files_VERSION/``: a run folder for each case, stopped half way, and ``recorded.json``: the earlier version's
loss, sample and parameters after ``--resume``.
"""

from __future__ import annotations

import contextlib
import io
import json
import lzma
import os
import signal
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from char_rnn.cli import main
from char_rnn.model_file import ModelFile
from char_rnn.utils.model_files import read_tensors

HERE = Path(__file__).parent
LARGE_ALPHABET = "".join(chr(0x4E00 + index) for index in range(520))
TEXTS = {
    "poem.txt": "The rose is red, the violet blue; the honey's sweet, and so are you.\n" * 12,
    "café.txt": "Un café crème, s'il vous plaît — déjà prêt?\n" * 16,
    "names.txt": "Anna\nBertha\nClara\nDora\nEmma\nFrieda\nGreta\nHanna\n" * 12,
    "large.txt": LARGE_ALPHABET * 2,
    "few.txt": LARGE_ALPHABET[:12] * 40,
}
STEPS, STOP = 16, 8
STATE = "training_state.safetensors"
COMMON = (
    "model.hidden_size=6",
    "training.batch_size=2",
    "training.seq_length=8",
    f"training.max_steps={STEPS}",
    "training.eval_interval=4",
    "data.train_frac=0.8",
    "data.val_frac=0.1",
    "logging.log_interval=1",
    "logging.save_interval=100",
    "logging.tensorboard=false",
    "logging.sample_length=0",
    "device.preferred=cpu",
    "device.auto_detect=false",
    "device.threads=1",
)
GRU = (
    "type=gru", "reset=before", "layer_norm=cell", "residual=true", "attention=top", "attention_heads=2",
    "attention_window=8", "embedding_size=6",
)  # fmt: skip
SGD = ("optimizer=sgd", "momentum=0", "weight_decay=0")
ONE_LAYER = ("model.num_layers=1",)
CASES: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {  # text, options, settings
    "lstm": ("poem.txt", (), ()),
    "gru-options": ("poem.txt", (), (*(f"model.{option}" for option in GRU), "training.averaging=ema")),
    "bytes": ("café.txt", ("--vocabulary", "bytes"), ("model.type=rnn", "model.embedding_size=6", *ONE_LAYER)),
    "names": ("names.txt", ("--recipe", "names"), ("training.minutes=null", "model.embedding_size=6")),
    "torch7": ("poem.txt", ("--torch7",), ()),
    "large-alphabet": ("large.txt", (), ("model.type=rnn", *ONE_LAYER, *(f"training.{option}" for option in SGD))),
    "init-from": ("few.txt", ("--init-from", "large-alphabet"), tuple(f"training.{option}" for option in SGD)),
}
"""Texts and settings; ``init-from`` starts from the model of ``large-alphabet``."""


def write_texts(folder: Path) -> None:
    """Write the texts that the runs are trained on."""
    for name, text in TEXTS.items():
        (folder / name).write_bytes(text.encode())


def measure(folder: Path, text: str) -> dict[str, Any]:
    """Return what this version makes of a run folder; resumes it last, if it was stopped."""
    before = {"eval": evaluate(folder, text), "sample": run("sample", folder, "--length", 60, "--seed", 3, "--quiet")}
    if not (folder / STATE).exists():
        return before
    run("train", text, "--resume", folder, "--quiet")
    last = next(path for path in (folder / "last.safetensors", *sorted(folder.glob("lm_*"))[-1:]) if path.exists())
    tensors, _ = read_tensors(last)
    flat = np.concatenate([np.asarray(tensors[name], np.float64).ravel() for name in sorted(tensors)])
    return {**before, "resumed": {"norm": float(np.linalg.norm(flat)), "some": flat[:: len(flat) // 50].tolist()}}


def evaluate(folder: Path, text: str) -> float:
    """Return the loss of a run folder's model on a whole text."""
    figures = json.loads(run("eval", folder, text, "--split", "all", "--json", "--quiet"))
    return next(float(value) for name, value in figures.items() if name.startswith("nats_per_"))


def run(*arguments: object) -> str:
    """Run the command line in this process; return its output."""
    with contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO(), "utf-8")) as out:
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as stop:
            assert stop.code in {0, 130}, (arguments, stop.code)
        out.flush()
        return out.buffer.getvalue().decode()


def train_half(name: str) -> None:
    """Train a case as far as its middle, where a Ctrl-C stops it."""
    from char_rnn.training.callbacks import MetricsWriter

    text, options, settings = CASES[name]
    append = MetricsWriter.on_record

    def stopping(writer: MetricsWriter, record: Any) -> None:
        append(writer, record)
        if record["step"] == STOP and record["split"] == "train":
            os.kill(os.getpid(), signal.SIGINT)

    common = [setting for setting in COMMON if "init-from" not in name or "model." not in setting]
    given = [word for setting in (*common, *settings) for word in ("--set", setting)]
    with mock.patch.object(MetricsWriter, "on_record", stopping):
        run("train", text, *options, *given, "--out", name, "--seed", 7, "--quiet")


def coarsen(path: Path) -> None:
    """Round the embedding of a model to multiples of 6, mostly 0, so that the file compresses well."""
    model = ModelFile.read(path)
    name = "embedding.weight"
    rounded = np.round(model.tensors[name] / np.float32(6)) * np.float32(6) + np.float32(0)  # no -0
    replace(model, tensors={**model.tensors, name: rounded}).write(path)


def record() -> None:
    """Make every case and record it."""
    from char_rnn import __version__

    target = HERE / f"files_{__version__}"
    recorded: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as work, contextlib.chdir(work):
        os.environ["CHAR_RNN_DATA_DIR"] = str(Path(work) / "data")
        write_texts(Path())
        for name, (text, *_) in CASES.items():
            train_half(name)
            if name == "large-alphabet":
                coarsen(Path(name) / "best.safetensors")
                for other in ("last.safetensors", STATE):
                    (Path(name) / other).unlink()
            keep(Path(name), target / name)
            recorded[name] = measure(Path(name), text)
    (target / "recorded.json").write_text(json.dumps(recorded, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def keep(folder: Path, target: Path) -> None:
    """Copy a run folder, large files compressed."""
    target.mkdir(parents=True, exist_ok=True)
    for file in folder.iterdir():
        content = file.read_bytes()
        if file.name == "config.yaml":
            content = content.replace(str(Path.cwd()).encode(), b"/texts")
        if len(content) > 200_000:
            (target / f"{file.name}.xz").write_bytes(lzma.compress(content))
        else:
            (target / file.name).write_bytes(content)


def unpack(folder: Path, target: Path) -> None:
    """Undo `keep`."""
    target.mkdir()
    for file in folder.iterdir():
        content = file.read_bytes()
        packed = file.suffix == ".xz"
        (target / (file.stem if packed else file.name)).write_bytes(lzma.decompress(content) if packed else content)


if __name__ == "__main__":
    record()
