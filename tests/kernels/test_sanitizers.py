"""The kernels' tests, with the compiler's sanitizers looking for errors of memory, arithmetic and threads."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from char_rnn import kernels
from char_rnn.kernels import build

ROOT = Path(__file__).parents[2]
LEVEL = next((each for each in build.LEVELS.get(build.architecture(), {}) if kernels._runs(each)), None)
TESTED = (
    "kernels/test_training_kernels.py",
    "generation/test_engine_edges.py",
    "generation/test_sampler.py",
    "ops/test_kernel_loop.py",
    "ops/test_output_loss.py",
    "training/test_optimizers.py",
)


def runtime(name: str) -> str | None:
    """The path of a library of the compiler; None where it has none."""
    if shutil.which("cc") is None:
        return None
    done = subprocess.run(["cc", f"-print-file-name={name}"], capture_output=True, text=True, check=True)
    return done.stdout.strip() if "/" in done.stdout else None


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        LEVEL is None or platform.system() != "Linux", reason="no kernels for this processor, or no Linux"
    ),
    pytest.mark.skipif(runtime("libtsan.so") is None, reason="the compiler has no sanitizers"),
]


def compile_with(sanitizers: str, folder: Path) -> None:
    """Copy the package to a folder, its kernels for this processor compiled with sanitizers, every warning an error."""
    package = folder / "char_rnn"
    shutil.copytree(ROOT / "src" / "char_rnn", package, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    # Without optimization: with it, a sanitizer's checks of the unrolled products take minutes to compile.
    options = (
        build._OPTIONS.replace("-O3", "-O0 -g -Werror").split() + build.LEVELS[build.architecture()][str(LEVEL)].split()
    )
    options += [f"-fsanitize={sanitizers}", "-fno-sanitize-recover=all", f'-DKERNELS_SOURCES="{build.digest()}"']
    sources = map(str, sorted((package / "kernels").glob("*.c")))
    library = package / "kernels" / f"kernels-{LEVEL}.so"
    subprocess.run(["cc", *options, *sources, "-lm", "-lpthread", "-o", str(library)], check=True, timeout=300)


def run(folder: Path, libraries: list[str], *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    preloaded = " ".join(str(runtime(library)) for library in libraries)
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    paths = os.pathsep.join([str(folder), str(Path(__file__).parent)])
    return subprocess.run(
        command,
        env=os.environ | threads | {"PYTHONPATH": paths, "LD_PRELOAD": preloaded} | environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def test_memory_and_arithmetic(tmp_path: Path) -> None:
    compile_with("address,undefined", tmp_path)
    tests = [str(ROOT / "tests" / path) for path in TESTED]
    options = ["-q", "-p", "no:cacheprovider", "-W", "ignore", "--rootdir", str(ROOT)]
    libraries = ["libasan.so", "libstdc++.so"]  # what PyTorch throws is to be seen by the sanitizer
    done = run(tmp_path, libraries, sys.executable, "-m", "pytest", *options, *tests, ASAN_OPTIONS="detect_leaks=0")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert " passed" in done.stdout
    assert "no kernels" not in done.stdout  # the reason that tests were skipped


def test_threads(tmp_path: Path) -> None:
    compile_with("thread", tmp_path)
    pool = tmp_path / "threads.so"
    source = Path(__file__).with_name("threads.c")
    subprocess.run(["cc", "-g", "-fPIC", "-shared", "-fsanitize=thread", str(source), "-o", str(pool)], check=True)
    script = str(Path(__file__).with_name("run_threads.py"))
    command = ["setarch", "-R", sys.executable, script, str(pool)]  # it wants addresses that are not random
    done = run(tmp_path, ["libtsan.so"], *command)
    expected = str(tmp_path / "char_rnn" / "kernels" / f"kernels-{LEVEL}.so")
    assert (done.returncode, done.stdout) == (0, f"{expected}\n"), done.stderr[-4000:]
    assert "data race" in run(tmp_path, ["libtsan.so"], *command, "race").stderr
