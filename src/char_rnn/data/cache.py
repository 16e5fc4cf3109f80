"""The cache of prepared corpora: encoded once, mapped into memory ever after.

A folder with three kinds of files, each written to a temporary name and renamed, so that several processes may
prepare the same corpus at once (they write the same content), and none ever sees a part:

    <key>.ids             the indices, the vocabulary's smallest unsigned integer type, little-endian
    <key>.json            the vocabulary, the number of indices, and a CRC-32 over key, vocabulary and indices
    source-<hash>.json    the content hash of a source, as long as its files have not changed

The key is a hash of the text's content, encoding and vocabulary: a changed text has another one. The size and the
CRC-32 are checked at each opening; where one is wrong, the text is prepared again. Version 1.0 left the vocabulary out
of the CRC-32: what it prepared is prepared again, once.
"""

import atexit
import contextlib
import errno
import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from char_rnn.data.errors import DataError
from char_rnn.data.mapped import PageReleaser, open_ids
from char_rnn.data.vocabulary import Indices, Vocabulary
from char_rnn.utils.files import read_regular

FORMAT = 1
MAX_JSON = 64 << 20  # bytes; the largest vocabulary there can be takes a tenth of it
SETTLED_NS = 2 * 10**9  # a file changed later than this before reading might change again within its clock's tick
BLOCK = 4 << 20  # bytes written or checked at once
ABANDONED_S = 24 * 3600  # age in seconds at which a temporary file is taken for a killed process's
TEMPORARY = ".tmp-"
FULL_DISK = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))

logger = logging.getLogger("char_rnn")


@dataclass(frozen=True, eq=False)
class Entry:
    """A prepared text: its indices, mapped, shape (N,), and its vocabulary."""

    ids: Indices
    vocabulary: Vocabulary


class Cache:
    """A folder of prepared corpora.

    Args:
        folder: Made when something is written. If it cannot be written to, a temporary folder serves for this
            process, with a warning.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self, key: str) -> Entry | None:
        """Give what is stored, or None if it is not there or damaged."""
        try:
            facts = _read_json(self._facts(key))
            vocabulary = Vocabulary.from_dict(facts["vocabulary"])
            ids = open_ids(self._ids(key), vocabulary.dtype.newbyteorder("<"), _count(facts["length"]))
            sound = self._ids(key).stat().st_size == ids.nbytes and _checksum(key, vocabulary, ids) == facts["crc32"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return Entry(ids, vocabulary) if sound else None

    def store(self, key: str, vocabulary: Vocabulary, pieces: Iterator[Indices]) -> Entry:
        """Write indices, in pieces, each of the vocabulary's type, and map them.

        Raises:
            DataError: If the disk is full.
        """
        _sweep(self.folder)
        temporary, length, checksum = self._write(key, vocabulary, pieces)
        with _removed_on_error(temporary):
            facts = {"vocabulary": vocabulary.to_dict(), "length": length, "crc32": checksum}
            try:
                temporary.replace(self._ids(key))
            except PermissionError:  # Windows, where another process has the same content mapped already
                if entry := self.load(key):
                    temporary.unlink()
                    return entry
                raise
        self._write_json(self._facts(key), facts)
        return Entry(open_ids(self._ids(key), vocabulary.dtype.newbyteorder("<"), length), vocabulary)

    def recall(self, source: str, fingerprint: str) -> str | None:
        """Give the content hash of a source if its fingerprint is the remembered one."""
        try:
            facts = _read_json(self._memo(source))
            return str(facts["sha256"]) if facts["fingerprint"] == fingerprint else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def remember(self, source: str, fingerprint: str, sha256: str) -> None:
        """Note the content hash of a source; without success if the folder cannot be written to."""
        with contextlib.suppress(OSError, DataError):
            self._write_json(self._memo(source), {"fingerprint": fingerprint, "sha256": sha256})

    def temporary_file(self) -> contextlib.AbstractContextManager[tuple[Path, BinaryIO]]:
        """Open a new file for writing in the folder (or in the temporary one); it is removed on an error.

        Raises:
            DataError: If the disk is full.
        """
        return _temporary_file(self.writable_folder())

    def writable_folder(self) -> Path:
        """Give the folder, made if need be; a temporary one, with a warning, if it takes no files."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(prefix=TEMPORARY, dir=self.folder):
                pass
        except OSError as error:
            logger.warning(
                "%s: cannot be written to (%s); the text is prepared in a temporary folder, for this run alone",
                self.folder,
                error.strerror,
            )
            self.folder = Path(tempfile.mkdtemp(prefix="char-rnn-"))
            atexit.register(shutil.rmtree, self.folder, ignore_errors=True)
        return self.folder

    def _ids(self, key: str) -> Path:
        return self.folder / f"{key}.ids"

    def _facts(self, key: str) -> Path:
        return self.folder / f"{key}.json"

    def _memo(self, source: str) -> Path:
        return self.folder / f"source-{hashlib.sha256(source.encode('utf-8', 'surrogateescape')).hexdigest()[:32]}.json"

    def _write(self, key: str, vocabulary: Vocabulary, pieces: Iterator[Indices]) -> tuple[Path, int, int]:
        """Write behind the encoding, block by block: a disk slower than the processor then costs no time twice."""
        length, checksum = 0, _description_checksum(key, vocabulary)
        with _temporary_file(self.writable_folder()) as (path, file), ThreadPoolExecutor(1) as writer:
            written: Future[None] | None = None
            for block in _blocks(pieces, vocabulary.dtype.newbyteorder("<")):
                if written is not None:
                    written.result()
                written = writer.submit(_write_whole, file, block)
                checksum = zlib.crc32(block, checksum)
                length += len(block) // vocabulary.dtype.itemsize
            if written is not None:
                written.result()
        return path, length, checksum

    def _write_json(self, path: Path, facts: dict[str, Any]) -> None:
        with _temporary_file(self.folder) as (temporary, file):
            file.write(json.dumps(facts).encode())
        with _removed_on_error(temporary):
            temporary.replace(path)


@contextlib.contextmanager
def _temporary_file(folder: Path) -> Iterator[tuple[Path, BinaryIO]]:
    handle, name = tempfile.mkstemp(prefix=TEMPORARY, dir=folder)
    with _removed_on_error(Path(name)), os.fdopen(handle, "wb", buffering=0) as file:
        try:
            yield Path(name), file
        except OSError as error:
            if error.errno not in FULL_DISK:
                raise
            raise DataError(f"{folder}: the disk is full; make room, or set data.cache_dir") from None


def _write_whole(file: BinaryIO, block: bytes) -> None:
    """Write all of a block; a single write may take just a part (before a disk is full, say)."""
    rest = memoryview(block)
    while rest:
        rest = rest[file.write(rest) :]


def _blocks(pieces: Iterator[Indices], dtype: np.dtype[Any]) -> Iterator[bytes]:
    """Join small pieces to large blocks."""
    held: list[bytes] = []
    size = 0
    for piece in pieces:
        held.append(piece.astype(dtype, copy=False).tobytes())
        size += len(held[-1])
        if size >= BLOCK:
            yield b"".join(held)
            held, size = [], 0
    if held:
        yield b"".join(held)


def _description_checksum(key: str, vocabulary: Vocabulary) -> int:
    return zlib.crc32(repr((key, vocabulary.kind, vocabulary.symbols)).encode())


def _checksum(key: str, vocabulary: Vocabulary, ids: "np.memmap[Any, Any]") -> int:
    releaser = PageReleaser(ids)
    checksum = _description_checksum(key, vocabulary)
    for start in range(0, len(ids), BLOCK // ids.itemsize):
        block = ids[start : start + BLOCK // ids.itemsize]
        checksum = zlib.crc32(block.data, checksum)
        releaser.touched_in_order(block.nbytes)
    return checksum


def is_settled(newest_ns: int, started_ns: int) -> bool:
    """Say whether files were last changed so long before reading that a later change will show in their times."""
    return newest_ns < started_ns - SETTLED_NS


def _sweep(folder: Path) -> None:
    """Remove what killed processes have left."""
    for path in folder.glob(f"{TEMPORARY}*"):
        with contextlib.suppress(OSError):
            if path.stat().st_mtime < time.time() - ABANDONED_S:
                path.unlink()


@contextlib.contextmanager
def _removed_on_error(path: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _read_json(path: Path) -> dict[str, Any]:
    try:
        facts = json.loads(read_regular(path, MAX_JSON))
    except RecursionError:
        raise ValueError(f"{path}: nested too deep") from None
    if not isinstance(facts, dict):
        raise TypeError(f"{path}: not an object")
    return facts


def _count(value: object) -> int:
    if type(value) is not int or value < 1:
        raise ValueError("not a count")
    return value
