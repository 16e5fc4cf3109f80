"""A text, and files of it."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

from char_rnn.data.corpus import Corpus

TEXT = "Zwölf Boxkämpfer\r\njagen Viktor\x00 quer 日本 👩‍👧 e\u0301\n"


def text_of(corpus: Corpus) -> str:
    return corpus.vocabulary.decode(corpus.ids)


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def age(path: Path) -> None:
    """Let a file seem to have been written long ago (its inode still changes now)."""
    os.utime(path, ns=(10**18, 10**18))


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return a zip archive of some members."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()
