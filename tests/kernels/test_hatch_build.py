"""The build's own step: what libraries a wheel has, and what machines it says it is for."""

from __future__ import annotations

import os
import shutil
import zipfile
from pathlib import Path

import pytest

from char_rnn.kernels import build

hatchling = pytest.importorskip("hatchling.build", reason="hatchling is not installed")
ROOT = Path(__file__).parents[2]
LEVELS = build.LEVELS.get(build.architecture(), {})


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a wheel is built of, with a library that is left over from elsewhere."""
    for name in ("pyproject.toml", "README.md", "LICENSE", "hatch_build.py"):
        shutil.copy(ROOT / name, tmp_path)
    package = tmp_path / "src" / "char_rnn"
    shutil.copytree(ROOT / "src" / "char_rnn" / "kernels", package / "kernels")
    shutil.copy(ROOT / "src" / "char_rnn" / "_version.py", package)
    (package / "kernels" / "kernels-elsewhere.so").write_bytes(b"of another machine")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def wheel() -> tuple[str, set[str]]:
    """Its name, and the names of the libraries in it."""
    name = hatchling.build_wheel("dist")
    with zipfile.ZipFile(Path("dist") / name) as archive:
        return name, {Path(path).name for path in archive.namelist() if path.endswith(".so")}


def test_without_a_compiler_it_is_for_every_machine(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", str(project / "no-compiler"))
    name, libraries = wheel()
    assert name.endswith("-py3-none-any.whl")
    assert libraries == set()


@pytest.mark.skipif(os.name != "posix" or not LEVELS, reason="no kernels for this system")
def test_what_was_compiled_is_in_it_and_nothing_else(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = project / "compiler"
    compiler.write_text('#!/bin/sh\nfor output; do :; done\necho made > "$output"\n')
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", str(compiler))
    name, libraries = wheel()
    assert "-py3-none-" in name
    assert not name.endswith("-any.whl")
    assert libraries == {f"kernels-{level}.so" for level in LEVELS}
