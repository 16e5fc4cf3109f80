"""The model in the package."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from char_rnn import TextGenerator
from char_rnn.cli import main
from char_rnn.model_file import ModelFile
from char_rnn.models.parameters import check_finite, check_tensors
from char_rnn.utils.model_files import DEMO_FILE, find_model

MOST_BYTES = 1_500_000


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_it_is_small_and_whole() -> None:
    assert find_model("demo") == DEMO_FILE
    assert DEMO_FILE.stat().st_size <= MOST_BYTES
    file = ModelFile.read("demo")
    assert file.in_8_bits
    check_tensors(file.config.model, file.vocabulary.size, file.tensors)
    check_finite(file.tensors)
    assert file.training["data"] == "python-stdlib"
    assert file.training["best_val_loss"] < 1.05


def test_it_has_primes_to_suggest_and_writes_python() -> None:
    file = ModelFile.read("demo")
    assert file.summary()["suggested_primes"] == ["class ", "import ", "def ", "from "]
    texts = TextGenerator.load("demo").generate_many(["def ", "class "], 2000, temperature=0.6, seed=1)
    for text in texts:
        assert all(word in text for word in ("def ", "self.", "return ", "\n    "))


def test_the_license_of_what_it_learned_from_is_beside_it() -> None:
    text = DEMO_FILE.with_name("LICENSE.txt").read_text("utf-8")
    assert "PSF License Agreement" in text
    assert ModelFile.read("demo").training["python"] in text


def test_the_wheel_and_the_sdist_have_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hatchling = pytest.importorskip("hatchling.build", reason="hatchling is not installed")
    root, package = DEMO_FILE.parents[3], Path("src/char_rnn")
    if not (root / "pyproject.toml").exists():
        pytest.skip("the package is not in a checkout")
    for name in ("pyproject.toml", "README.md", "LICENSE", "hatch_build.py"):
        shutil.copy(root / name, tmp_path)
    for name in ("demo", "kernels"):
        shutil.copytree(root / package / name, tmp_path / package / name)
    shutil.copy(root / package / "_version.py", package)
    monkeypatch.setenv("CC", str(tmp_path / "no-compiler"))
    with zipfile.ZipFile(Path("dist") / hatchling.build_wheel("dist")) as wheel:
        assert {"char_rnn/demo/demo.safetensors", "char_rnn/demo/LICENSE.txt"} <= set(wheel.namelist())
    with tarfile.open(Path("dist") / hatchling.build_sdist("dist")) as sdist:
        names = [name.partition("/")[2] for name in sdist.getnames()]
    assert {"src/char_rnn/demo/demo.safetensors", "src/char_rnn/demo/LICENSE.txt"} <= set(names)


def test_the_first_text_needs_no_pytorch() -> None:
    script = """
import sys
from char_rnn.cli import main
try:
    main(["sample", "demo", "--length", "200", "--seed", "1"])
finally:
    assert "torch" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr.startswith("demo: 2-layer lstm with 320 units, trained on python-stdlib, validation loss")
    assert len(done.stdout) > 200


def test_inspect_tells_how_to_train_it_again(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["inspect", "demo", "--json"])
    facts = json.loads(capsys.readouterr().out)
    assert facts["command"].startswith("char-rnn train python-stdlib --recipe laptop --set ")
    assert " --set model.hidden_size=320 " in facts["command"]
    assert "training.horizons" in facts["command"]
    assert "training.minutes=null" in facts["command"]
    assert {"torch", "python", "threads"} <= facts["training"].keys()
