"""The kernels: compiled where there is a compiler, chosen by what the processor can do, done without otherwise."""

from __future__ import annotations

import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest

from char_rnn import kernels
from char_rnn.kernels import build, load

ROOT = Path(__file__).parents[2]
SOURCES = list((ROOT / "src" / "char_rnn" / "kernels").glob("*.[ch]"))
needs_compiler = pytest.mark.skipif(
    shutil.which("cc") is None or not build.LEVELS.get(build.architecture()),
    reason="no C compiler, or no kernels for this architecture",
)


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the sources, to be compiled there."""
    for source in SOURCES:
        shutil.copy(source, tmp_path)
    monkeypatch.setattr(build, "FOLDER", tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where every level is compiled; a copy of the installed libraries where they are complete and current."""
    folder = tmp_path_factory.mktemp("built")
    levels = build.LEVELS[build.architecture()]
    installed = [build.library(level) for level in levels]
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("CHAR_RNN_KERNELS", raising=False)
        is_current = all(path.exists() for path in installed) and load.__wrapped__() is not None
        for file in [*SOURCES, *(installed if is_current else [])]:
            shutil.copy(file, folder)
        patch.setattr(build, "FOLDER", folder)
        if not is_current:
            compile_all()
    return folder


def compile_all() -> None:
    """Compile every level in the folder of the sources."""
    assert build.build() == [build.library(level) for level in build.LEVELS[build.architecture()]]


@needs_compiler
@pytest.mark.slow
def test_every_level_is_compiled_and_says_its_version(elsewhere: Path) -> None:
    compile_all()
    levels = build.LEVELS[build.architecture()]
    assert sorted(path.name for path in elsewhere.glob("*.so")) == sorted(f"kernels-{level}.so" for level in levels)
    assert not list(elsewhere.glob("*.tmp"))
    loaded = load.__wrapped__()
    assert loaded is None or Path(loaded._name).parent == elsewhere


def test_without_a_compiler_there_are_none(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CC", str(elsewhere / "no-compiler"))
    assert build.build() == []
    assert load.__wrapped__() is None
    if build.LEVELS.get(build.architecture()):
        assert "no C compiler" in capsys.readouterr().err


@needs_compiler
def test_what_does_not_compile_is_said_and_left_out(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for level in build.LEVELS[build.architecture()]:
        build.library(level).write_bytes(b"of an earlier build")
    for source in elsewhere.glob("*.c"):
        source.write_text("not C\n")
    assert build.build() == []
    assert "not built for" in capsys.readouterr().err
    assert not [*elsewhere.glob("*.tmp"), *elsewhere.glob("*.so")]


@needs_compiler
def test_a_library_of_other_sources_is_not_used(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = shutil.copytree(built, tmp_path / "copy")
    monkeypatch.setattr(build, "FOLDER", folder)
    if load.__wrapped__() is None:
        pytest.skip("this processor runs no level")
    assert not caplog.messages
    header = folder / "decode.h"
    header.write_text(header.read_text() + "/* another layout */\n")
    assert load.__wrapped__() is None
    assert "not used, it was built from other sources; run python -m char_rnn.kernels.build" in caplog.messages[0]
    for source in (*folder.glob("*.c"), *folder.glob("*.h")):
        source.unlink()
    assert load.__wrapped__() is not None  # where there is nothing to compare with


def test_a_library_that_is_none_is_not_used(elsewhere: Path) -> None:
    for level in build.LEVELS.get(build.architecture(), {}):
        build.library(level).write_bytes(b"\x7fELF, but no more")
    assert load.__wrapped__() is None


@needs_compiler
def test_a_library_of_something_else_is_not_used(elsewhere: Path) -> None:
    for source in elsewhere.glob("*.c"):
        source.write_text(f"int of_{source.stem} = 0;\n")
    assert build.build()
    assert load.__wrapped__() is None


@pytest.mark.parametrize("wanted", ["avx-512", "OFF", "0"])
def test_a_level_there_is_not_is_said(
    wanted: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CHAR_RNN_KERNELS", wanted)
    assert load.__wrapped__() is None
    assert caplog.messages[0].startswith(f"CHAR_RNN_KERNELS={wanted}: must be off, or a built level")


@needs_compiler
def test_the_best_level_that_the_processor_runs(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHAR_RNN_KERNELS", raising=False)
    monkeypatch.setattr(build, "FOLDER", built)
    loaded: list[str] = []
    digest = str(build.digest())

    class Library:
        kernels_sources = Mock(return_value=digest.encode())

        def __init__(self, name: str) -> None:
            loaded.append(Path(name).name)

        def __getattr__(self, name: str) -> Mock:
            return Mock()

    monkeypatch.setattr(kernels.ctypes, "CDLL", Library)
    everything = frozenset(" ".join(kernels._NEEDED.values()).split())
    monkeypatch.setattr(kernels, "processor_features", lambda: everything)
    load.__wrapped__()
    if build.architecture() == "x86_64":
        monkeypatch.setattr(kernels, "processor_features", lambda: frozenset(kernels._NEEDED["avx2"].split()))
        load.__wrapped__()
        monkeypatch.setattr(kernels, "processor_features", frozenset)
        assert load.__wrapped__() is None
        assert loaded == ["kernels-avx512.so", "kernels-avx2.so"]


@pytest.mark.parametrize(
    ("wanted", "found", "features", "expected"),
    [
        ("off", (), "", "CHAR_RNN_KERNELS=off"),
        ("", (), "", "kernels not built: no C compiler at installation"),
        ("", ("avx512", "avx2"), "avx2", "no kernels for this processor, which lacks avx512 and avx2"),
        ("", ("avx2",), kernels._AVX2, "kernels built from other sources: run python -m char_rnn.kernels.build"),
    ],
)
def test_why_there_are_none(
    wanted: str, found: tuple[str, ...], features: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHAR_RNN_KERNELS", wanted)
    monkeypatch.setattr(kernels, "architecture", lambda: "x86_64")
    monkeypatch.setattr(build, "FOLDER", tmp_path)
    for level in found:
        build.library(level).touch()
    monkeypatch.setattr(kernels, "processor_features", lambda: frozenset(features.split()))
    assert kernels.why_none() == expected
    monkeypatch.setattr(kernels, "architecture", lambda: "sparc")
    assert kernels.why_none() == (expected if wanted else "no kernels for sparc")


@pytest.mark.parametrize(("feature", "fast"), [("avx512_bf16", True), ("bf16", True), ("avx512f", False)])
def test_which_processors_multiply_bfloat16(feature: str, fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "processor_features", lambda: frozenset({"fma", feature}))
    assert kernels.multiplies_bfloat16() == fast


def test_they_can_be_turned_off() -> None:
    script = "from char_rnn.kernels import load; print(load())"
    environment = {"CHAR_RNN_KERNELS": "off", "PATH": "", "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "None\n"


def test_the_builder_needs_nothing_of_the_package() -> None:
    """The build runs it where the package's own requirements are not installed."""
    assert callable(runpy.run_path(str(ROOT / "src" / "char_rnn" / "kernels" / "build.py"))["build"])
