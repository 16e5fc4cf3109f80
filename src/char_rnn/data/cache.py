"""The cache of prepared texts, which are encoded once and then mapped into memory.

A folder with three kinds of files, each written under a temporary name and renamed. So several processes may prepare
the same text at once (they write the same content), and none sees a partial file:

    <key>.ids             the indices, in the vocabulary's smallest unsigned integer type, little-endian
    <key>.json            the vocabulary, the number of indices, and a CRC-32 over key, vocabulary and indices
    source-<hash>.json    the content hash of a source, valid while its files do not change

The key is a hash of the text's content, encoding and vocabulary: a changed text has another key. Size and CRC-32 are
checked at each opening; on a difference, the text is prepared again. Version 1.0 computed the CRC-32 without the
vocabulary: its entries are prepared again, once.
"""

import atexit
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
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from char_rnn.data import DataError
from char_rnn.data.mapped import PageReleaser, open_ids
from char_rnn.data.vocabulary import Indices, Vocabulary
from char_rnn.utils.files import read_regular

FORMAT = 1
MAX_JSON = 64 << 20  # bytes; the largest possible vocabulary takes a tenth of it
SETTLED_NS = 2 * 10**9  # a file changed less than this before reading may change again within its clock's resolution
BLOCK = 4 << 20  # bytes written or checked at once
ABANDONED_S = 24 * 3600  # age in seconds from which on a temporary file is taken for that of a killed process
TEMPORARY = ".tmp-"
FULL_DISK = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
DAMAGED = (OSError, ValueError, KeyError, TypeError, RecursionError)  # a file that is missing, or not what was written

logger = logging.getLogger("char_rnn")


@dataclass(frozen=True, eq=False)
class Entry:
    """A prepared text: its mapped indices, shape (N,), and its vocabulary."""

    ids: Indices
    vocabulary: Vocabulary


class Cache:
    """A folder of prepared texts.

    Args:
        folder: Created on the first write. If it is not writable, a temporary folder replaces it for this process, with
            a warning.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self, key: str) -> Entry | None:
        """Return an entry, or None if it is missing or damaged."""
        try:
            metadata = json.loads(read_regular(self._metadata(key), MAX_JSON))
            vocabulary = Vocabulary.from_dict(metadata["vocabulary"])
            length = metadata["length"]
            if type(length) is not int or length < 1:
                return None
            ids = open_ids(self._ids(key), vocabulary.dtype.newbyteorder("<"), length)
            sound = self._ids(key).stat().st_size == ids.nbytes and _checksum(key, vocabulary, ids) == metadata["crc32"]
        except DAMAGED:
            return None
        return Entry(ids, vocabulary) if sound else None

    def store(self, key: str, vocabulary: Vocabulary, pieces: Iterator[Indices]) -> Entry:
        """Write indices, given in pieces of the vocabulary's type, and map them.

        Writing runs in parallel to encoding, so that a slow disk does not add to the time.

        Raises:
            DataError: The disk is full.
        """
        _remove_abandoned(self.folder)
        dtype = vocabulary.dtype.newbyteorder("<")
        length, checksum = 0, _description_checksum(key, vocabulary)
        try:
            with self.temporary_file() as (temporary, file):
                with ThreadPoolExecutor(1) as writer:
                    written = writer.submit(file.write, b"")
                    for block in _blocks(pieces, dtype):
                        written.result()
                        written = writer.submit(file.write, block)
                        checksum = zlib.crc32(block, checksum)
                        length += len(block) // dtype.itemsize
                    written.result()
                file.close()
                temporary.replace(self._ids(key))
        except PermissionError:  # Windows, if another process has mapped the same content
            if entry := self.load(key):
                return entry
            raise
        metadata = {"vocabulary": vocabulary.to_dict(), "length": length, "crc32": checksum}
        self._write_json(self._metadata(key), metadata)
        return Entry(open_ids(self._ids(key), dtype, length), vocabulary)

    def recall(self, source: str, fingerprint: str) -> str | None:
        """Return the content hash of a source if its fingerprint is the remembered one."""
        try:
            memo = json.loads(read_regular(self._memo(source), MAX_JSON))
            return str(memo["sha256"]) if memo["fingerprint"] == fingerprint else None
        except DAMAGED:
            return None

    def remember(self, source: str, fingerprint: str, sha256: str) -> None:
        """Store the content hash of a source, unless the folder is not writable."""
        with suppress(OSError, DataError):
            self._write_json(self._memo(source), {"fingerprint": fingerprint, "sha256": sha256})

    def temporary_file(self) -> AbstractContextManager[tuple[Path, BinaryIO]]:
        """Open a new file for writing in the folder; it is removed on an error.

        Raises:
            DataError: The disk is full.
        """
        return _temporary_file(self.writable_folder())

    def writable_folder(self) -> Path:
        """Return the folder, created if needed; if it is not writable, a temporary one, with a warning."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(prefix=TEMPORARY, dir=self.folder):
                pass
        except OSError as error:
            words = "%s: not writable (%s); the text is prepared in a temporary folder, for this run only"
            logger.warning(words, self.folder, error.strerror)
            self.folder = Path(tempfile.mkdtemp(prefix="char-rnn-"))
            atexit.register(shutil.rmtree, self.folder, ignore_errors=True)
        return self.folder

    def _ids(self, key: str) -> Path:
        return self.folder / f"{key}.ids"

    def _metadata(self, key: str) -> Path:
        return self.folder / f"{key}.json"

    def _memo(self, source: str) -> Path:
        return self.folder / f"source-{hashlib.sha256(source.encode('utf-8', 'surrogateescape')).hexdigest()[:32]}.json"

    def _write_json(self, path: Path, content: dict[str, Any]) -> None:
        with _temporary_file(self.folder) as (temporary, file):
            file.write(json.dumps(content).encode())
            file.close()
            temporary.replace(path)


def is_settled(newest_ns: int, started_ns: int) -> bool:
    """Return whether files were last changed so long before reading that a later change will show in their times."""
    return newest_ns < started_ns - SETTLED_NS


@contextmanager
def _temporary_file(folder: Path) -> Iterator[tuple[Path, BinaryIO]]:
    handle, name = tempfile.mkstemp(prefix=TEMPORARY, dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            yield Path(name), file
    except BaseException as error:
        Path(name).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in FULL_DISK:
            raise DataError(f"{folder}: the disk is full; make room, or set data.cache_dir") from None
        raise


def _blocks(pieces: Iterator[Indices], dtype: np.dtype[Any]) -> Iterator[bytes]:
    """Join small pieces into large blocks."""
    held, size = [], 0
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


def _remove_abandoned(folder: Path) -> None:
    """Remove the temporary files of killed processes."""
    for path in folder.glob(f"{TEMPORARY}*"):
        with suppress(OSError):
            if path.stat().st_mtime < time.time() - ABANDONED_S:
                path.unlink()
