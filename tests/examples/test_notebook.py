"""``examples/first-model.ipynb`` is stored with its outputs, and runs in a real kernel, which can be interrupted."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).resolve().parents[2] / "examples" / "first-model.ipynb"
CELLS = [cell for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
INTERRUPTED = """
import os, signal, threading, time
from pathlib import Path

def interrupt():
    records = Path("runs/long/metrics.jsonl")
    while not records.exists() or not records.stat().st_size:
        time.sleep(0.1)
    os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=interrupt).start()
long = char_rnn.train(text=text, folder="runs/long", recipe="tiny", minutes=9, settings={"logging.log_interval": 1})
assert long.result.stopped
again = char_rnn.train(text=text, resume="runs/long", minutes=0.01, callbacks=[])
assert again.result.step >= long.result.step and not again.result.stopped
long
"""


def outputs_of(cell: Any, kind: str) -> list[str]:
    """The outputs of a cell of a MIME type, or its printed text."""
    found = (
        output["text"] if output["output_type"] == "stream" else output["data"].get(kind, "")
        for output in cell["outputs"]
        if (output["output_type"] == "stream") == (kind == "stream")
    )
    return ["".join(text) for text in found if text]


def check_outputs(cells: list[Any]) -> None:
    """Check that every cell has the output that the text promises, once."""
    train, write, track, surprise, own, run, export = cells[1:8]
    assert [sorted(output["data"]) for output in train["outputs"]] == [["text/plain"], ["image/png", "text/plain"]]
    assert re.search(r"^finished after [\d,]+ steps, [\d.]+ minutes$", outputs_of(train, "text/plain")[0], re.MULTILINE)
    samples = re.findall("--- temperature (.*) ---\n    def __init__", "".join(outputs_of(write, "stream")))
    assert samples == ["0.3", "0.7", "1.0"]
    assert "tracks brackets: correlation" in "".join(outputs_of(track, "stream"))
    for cell, colour in (track, ""), (surprise, "239, 138, 23, "):  # a cell may be negative throughout, surprise is not
        assert f'<span style="background: rgba({colour}' in outputs_of(cell, "text/html")[0]
    assert "bits per character" in outputs_of(surprise, "stream")[0]
    assert "".join(outputs_of(own, "stream"))
    assert "write more: <code>char_rnn.TextGenerator.load(" in outputs_of(run, "text/html")[0]
    assert "wrote my-model.html" in outputs_of(export, "stream")[0]


def test_the_stored_outputs_are_those_of_a_whole_small_run() -> None:
    assert NOTEBOOK.stat().st_size < 200_000
    assert [cell["execution_count"] for cell in CELLS] == list(range(1, len(CELLS) + 1))
    check_outputs(CELLS)
    assert not re.search(r"(/home|/root|/tmp|site-packages|Warning)", NOTEBOOK.read_text(encoding="utf-8"))


@pytest.mark.slow
def test_it_runs_and_an_interrupted_training_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ipykernel", reason="pip install nbclient ipykernel")
    nbclient = pytest.importorskip("nbclient", reason="pip install nbclient ipykernel")
    nbformat = pytest.importorskip("nbformat")
    monkeypatch.chdir(tmp_path)
    notebook = nbformat.read(NOTEBOOK, 4)
    notebook.cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for cell in notebook.cells:
        cell.source = re.sub(r"minutes=[\d.]+", "minutes=0.02", cell.source)
    notebook.cells.append(nbformat.v4.new_code_cell(INTERRUPTED))
    done = nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    check_outputs(done.cells)
    text, curve = done.cells[-1].outputs[:2]
    assert re.search(r"^stopped after [1-9][\d,]* steps", text["data"]["text/plain"])
    assert curve["data"]["image/png"]
    assert "continue: <code>char_rnn.train(text=..., resume=" in outputs_of(done.cells[-1], "text/html")[0]
