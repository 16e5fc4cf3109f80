"""Named data sets: texts that `char-rnn train NAME` finds without a path."""

import hashlib
import os
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from warnings import catch_warnings

from char_rnn.data import DataError

Progress = Callable[[str, int, int | None], None]
"""Called with the name of the stage, the bytes done, and the bytes in all (None if unknown)."""

STDLIB = "python-stdlib"
STDLIB_TESTS = frozenset({"test", "tests", "idle_test"})
STDLIB_TABLES = frozenset({"encodings", "pydoc_data"})  # generated: a model learns columns of numbers from them
STDLIB_SKIPPED = STDLIB_TESTS | STDLIB_TABLES | {"site-packages", "dist-packages", "__pycache__"}


@dataclass(frozen=True)
class Download:
    """A text to download: its address, description, size in bytes and SHA-256."""

    url: str
    description: str
    size: int
    sha256: str


DOWNLOADS: dict[str, Download] = {
    "tinyshakespeare": Download(
        url="https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
        description="plays by Shakespeare, the text of the 2015 article; downloaded on first use",
        size=1_115_394,
        sha256="86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
    )
}

NAMES: tuple[str, ...] = (STDLIB, *DOWNLOADS)


@dataclass(frozen=True)
class DatasetInfo:
    """A named data set.

    Attributes:
        name: Name on the command line.
        description: Description in one line.
        size: Size in bytes, or None if unknown.
        path: Its file or folder, or None if it is not on this machine yet.
    """

    name: str
    description: str
    size: int | None
    path: Path | None


def data_root() -> Path:
    """Return the folder for data sets and caches: `CHAR_RNN_DATA_DIR`, or the platform's folder for caches."""
    if chosen := os.environ.get("CHAR_RNN_DATA_DIR"):
        return Path(chosen)
    with catch_warnings(action="ignore"):  # tqdm, which pooch imports, warns in a notebook without ipywidgets
        import pooch

    return Path(pooch.os_cache("char-rnn"))


def list_datasets() -> list[DatasetInfo]:
    """List the named data sets, without downloading any."""
    size = sum(path.stat().st_size for path in stdlib_files())
    description = "source code of this Python's standard library; needs no download"
    infos = [DatasetInfo(STDLIB, description, size or None, stdlib_folder() if size else None)]
    for name, download in DOWNLOADS.items():
        path = download_path(name)
        here = path.is_file() and path.stat().st_size == download.size
        infos.append(DatasetInfo(name, download.description, download.size, path if here else None))
    return infos


def stdlib_folder() -> Path:
    """Return the folder of this Python's standard library."""
    return Path(sysconfig.get_paths()["stdlib"])


def stdlib_files() -> Iterator[Path]:
    """Yield the standard library's `*.py` files, without tests and tables, in the order of their relative paths."""
    root = stdlib_folder()
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name not in STDLIB_SKIPPED]
        found += [Path(folder, name) for name in names if name.endswith(".py")]
    yield from sorted(found, key=lambda path: path.relative_to(root).as_posix())


def download_path(name: str) -> Path:
    """Return the path of a downloaded data set, whether it exists or not."""
    return data_root() / name / "input.txt"


def fetch(name: str, progress: Progress | None = None) -> Path:
    """Return the file of a data set of `DOWNLOADS`, downloaded if it is missing or incomplete.

    Raises:
        DataError: The download failed; the message names the alternatives.
    """
    path, download = download_path(name), DOWNLOADS[name]
    try:
        complete = path.is_file() and path.stat().st_size == download.size
        if not complete or hashlib.sha256(path.read_bytes()).hexdigest() != download.sha256:
            _retrieve(path, download, progress)
    except (OSError, ValueError) as error:
        response = getattr(error, "response", None)
        if response is not None:
            response.close()  # else the connection stays open until it is collected
        raise DataError(
            f"{name}: cannot be downloaded from {download.url} ({_reason(error)}); give the path of a text "
            f"instead, put the file at {path} (CHAR_RNN_DATA_DIR/{name}/input.txt), or use {STDLIB}, "
            "which needs no network"
        ) from None
    return path


def _retrieve(path: Path, download: Download, progress: Progress | None) -> None:
    """Download to a temporary file beside the path, check the hash, rename."""
    import pooch

    pooch.get_logger().setLevel("WARNING")
    meter = _Meter(progress) if progress else False
    downloader = pooch.HTTPDownloader(progressbar=meter, timeout=30)
    known_hash = f"sha256:{download.sha256}"
    pooch.retrieve(download.url, known_hash=known_hash, fname=path.name, path=path.parent, downloader=downloader)


def _reason(error: Exception) -> str:
    """Return in a few words why a download failed."""
    response = getattr(error, "response", None)
    if response is not None:
        return f"the server answered {response.status_code}"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}"
    if type(error) is ValueError and "hash" in str(error):
        return "the downloaded file has the wrong SHA-256"
    reasons = {
        "ConnectionError": "no connection",
        "ConnectTimeout": "no answer",
        "ReadTimeout": "no answer",
        "ChunkedEncodingError": "the download was interrupted",
        "SSLError": "no trusted connection",
        "ProxyError": "no connection through the proxy",
    }
    return reasons.get(type(error).__name__, f"{type(error).__name__}: {error}".splitlines()[0])


class _Meter:
    """Pooch's interface for progress bars (a subset of tqdm's), on a `Progress` callback."""

    def __init__(self, progress: Progress) -> None:
        self.total = 0
        self._done = 0
        self._progress = progress

    def update(self, size: int) -> None:
        self._done = min(self._done + size, self.total) if self.total else self._done + size
        self._progress("downloading", self._done, self.total or None)

    def reset(self) -> None:
        self._done = 0

    def close(self) -> None:
        pass
