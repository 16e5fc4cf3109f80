"""Run folders and model files of 1.0.0 give the numbers and texts that 1.0.0 recorded (see ``record_files.py``)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from record_files import CASES, HERE, measure, run, unpack, write_texts

from char_rnn.cli import main
from char_rnn.models import dropout

FILES = HERE / "files_1.0.0"
RECORDED: dict[str, Any] = json.loads((FILES / "recorded.json").read_text(encoding="utf-8"))


@pytest.fixture
def folder(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The run folder of a case, beside the texts, in the current folder."""
    monkeypatch.chdir(tmp_path)
    write_texts(tmp_path)
    unpack(FILES / request.param, tmp_path / request.param)
    return Path(request.param)


@pytest.mark.parametrize("folder", CASES, indirect=True)
def test_loss_sample_and_resumed_parameters_are_those_of_then(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def kept(like: torch.Tensor, p: float) -> torch.Tensor:  # the masks of 1.0; those of today are others
        return torch.empty_like(like).bernoulli_(1 - p)

    monkeypatch.setattr(dropout, "_kept", kept)
    measured, recorded = measure(folder, CASES[folder.name][0]), RECORDED[folder.name]
    assert measured.keys() == recorded.keys()
    assert measured["eval"] == pytest.approx(recorded["eval"], rel=1e-6)
    assert measured["sample"] == recorded["sample"]
    if "resumed" in recorded:  # on the processor of the recording to the bit; others round differently
        assert measured["resumed"]["norm"] == pytest.approx(recorded["resumed"]["norm"], rel=1e-6)
        np.testing.assert_allclose(measured["resumed"]["some"], recorded["resumed"]["some"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("folder", ["lstm"], indirect=True)
def test_a_run_with_a_removed_setting_writes_but_does_not_resume(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = (folder / "config.yaml").read_text(encoding="utf-8")
    assert "random_segments: false" in settings
    (folder / "config.yaml").write_text(settings.replace("random_segments: false", "random_segments: true"))
    with pytest.raises(SystemExit, match="2"):
        main(["train", "--resume", str(folder)])
    assert "random_segments: was removed in version 1.1; delete it" in capsys.readouterr().err
    assert run("sample", folder, "--length", 60, "--seed", 3, "--quiet") == RECORDED["lstm"]["sample"]


@pytest.mark.parametrize(
    ("folder", "length"), [("large-alphabet", 520), ("init-from", 520), ("names", 6)], indirect=["folder"]
)
def test_an_embedding_keeps_its_length(folder: Path, length: int) -> None:
    everything = json.loads(run("inspect", folder, "--json"))
    assert everything["tensors"]["embedding.weight"] == [len(everything["vocabulary"]["symbols"]), length]
    assert everything["training"]["char_rnn"] == "1.0.0"
