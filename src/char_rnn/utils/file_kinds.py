"""What a file is, by its first bytes.

Magic numbers: those of file(1). A tar archive has its own at offset 257; an Office document is a zip archive with
members of certain names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

HEAD = 512  # bytes at a file's beginning that show what it is
GZIP, BZIP2, XZ, ZIP = "gzip", "bzip2", "xz", "zip"


class Foreign(NamedTuple):
    """A file that is neither text nor a model.

    Attributes:
        what: What it is, such as "a PDF document".
        advice: What to do with it.
    """

    what: str
    advice: str


_COMPRESSED = {
    GZIP: rb"\x1f\x8b\x08",
    BZIP2: rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)",
    XZ: rb"\xfd7zXZ\0",
    ZIP: rb"PK(?:\x03\x04|\x05\x06)",
}
_AS_TEXT = "save it as plain text (UTF-8) and give that file"
_UNPACK = "unpack it and give the text file, or the folder"
_FOREIGN = {
    rb"%PDF-": Foreign("a PDF document", "extract its text (pdftotext does that) and give that file"),
    rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": Foreign("an Office document (.doc, .xls, .ppt)", _AS_TEXT),
    rb"(?s:.{257})ustar": Foreign("a tar archive", _UNPACK),
    rb"7z\xbc\xaf\x27\x1c": Foreign("a 7-Zip archive", _UNPACK),
    rb"Rar!\x1a\x07": Foreign("a RAR archive", _UNPACK),
    rb"\{\\rtf1": Foreign("an RTF document", _AS_TEXT),
    rb"\x28\xb5\x2f\xfd": Foreign("a Zstandard file", "decompress it (zstd -d) and give the text file"),
    rb"version https://git-lfs\.github\.com/spec/": Foreign(
        "a Git LFS pointer, not the file itself", "run `git lfs pull` in its repository, or download the file"
    ),
}
_PICKLE = rb"PK\x03\x04(?s:.{26})[^/]{1,255}/data\.pkl"
_CHECKPOINT = Foreign("a checkpoint of torch.save", "it is not opened, because loading one can run code")
_PAGE = Foreign("an HTML page", "download the file itself, not the page that shows it")
_MEMBERS = {
    "word/": Foreign("a Word document (.docx)", _AS_TEXT),
    "xl/": Foreign("an Excel workbook (.xlsx)", _AS_TEXT),
    "ppt/": Foreign("a PowerPoint presentation (.pptx)", _AS_TEXT),
    "META-INF/container.xml": Foreign("an EPUB book", _AS_TEXT),
    "META-INF/manifest.xml": Foreign("an OpenDocument file (.odt)", _AS_TEXT),
    "META-INF/MANIFEST.MF": Foreign("a Java archive (.jar)", _UNPACK),
}


def compression(head: bytes) -> str | None:
    """Return how a file that begins so is compressed: ``GZIP``, ``BZIP2``, ``XZ``, ``ZIP``, or None."""
    return next((name for name, magic in _COMPRESSED.items() if re.match(magic, head)), None)


def find_foreign(head: bytes) -> Foreign | None:
    """Return what a file that begins so is, if it cannot be a plain text; None for what may be one."""
    return next((foreign for magic, foreign in _FOREIGN.items() if re.match(magic, head)), None)


def find_document(members: Iterable[str]) -> Foreign | None:
    """Return which document a zip archive with these members is; None for an ordinary archive."""
    names = tuple(members)
    return next((kind for prefix, kind in _MEMBERS.items() if any(name.startswith(prefix) for name in names)), None)


def not_a_model(head: bytes) -> str:
    """Return what a file that begins so is and what to do, for a message; empty if that is not known."""
    if re.match(rb"\s*(?:<!doctype html|<html)", head.removeprefix(b"\xef\xbb\xbf"), re.IGNORECASE):
        foreign: Foreign | None = _PAGE
    elif re.match(_PICKLE, head):
        foreign = _CHECKPOINT
    elif packed := compression(head):
        foreign = Foreign(f"a {packed} file", "unpack it and give the model in it")
    else:
        foreign = find_foreign(head)
    return f"{foreign.what}, not a model; {foreign.advice}" if foreign else ""
