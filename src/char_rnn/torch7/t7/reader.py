"""Torch7's files read without Torch7: ``torch.save``'s binary and ascii formats.

A file is one object (:mod:`char_rnn.torch7.t7.objects` has its layout), with no header: neither the format, nor the
byte order, nor the size of a ``long`` is written anywhere. The first four bytes are a type tag from 0 to 8, which tells
the format and the byte order; a ``long`` of 8 bytes is tried first, then one of 4.

Reading runs nothing of the file, and its memory is bounded by the file's size.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from char_rnn.torch7.t7.inputs import AsciiInput, BinaryInput, ByteOrder, Input, LongSize, MalformedError
from char_rnn.torch7.t7.objects import FUNCTION, ObjectReader
from char_rnn.torch7.t7.values import T7Error
from char_rnn.utils.file_kinds import HEAD, not_a_model
from char_rnn.utils.files import read_regular

MAX_BYTES = 8 << 30  # of a file, which is read whole; the largest models of 2015 had less than 1 GB

_ORDERS: tuple[ByteOrder, ...] = ("little", "big")
_LONG_SIZES: tuple[LongSize, ...] = (8, 4)


def load(
    path: str | Path,
    *,
    byte_order: ByteOrder | None = None,
    long_size: LongSize | None = None,
    ascii: bool | None = None,  # noqa: A002 (the format's name in Torch)
) -> Any:
    """Read a file that Torch7 wrote.

    nil is None, numbers are ``float``, strings ``bytes``, tables :class:`Table`, tensors and storages NumPy arrays
    (tensors of one storage share memory), functions :class:`Function`, objects of all other classes
    :class:`TorchObject`. Tensors of a GPU are read as any others.

    Args:
        path: the file.
        byte_order: of the machine that wrote it; None finds out.
        long_size: bytes of its ``long``; None finds out.
        ascii: whether it is in the ascii format; None finds out.

    Raises:
        T7Error: the file is not in this format, or damaged.
        OSError: it cannot be read.
    """
    data = read_regular(path, MAX_BYTES)
    if what := not_a_model(data[:HEAD]):
        raise T7Error(what, 0, source=str(path))
    return _read(data, str(path), byte_order, long_size, ascii)


def loads(
    data: bytes,
    *,
    byte_order: ByteOrder | None = None,
    long_size: LongSize | None = None,
    ascii: bool | None = None,  # noqa: A002 (the format's name in Torch)
) -> Any:
    """Read the bytes of a file, as :func:`load` does.

    Raises:
        T7Error: the bytes are not in this format, or damaged.
    """
    return _read(data, "", byte_order, long_size, ascii)


def plausible_format(head: bytes) -> Literal["little", "big", "ascii"] | None:
    """Return the format that the first four or more bytes of a file speak for, None for no Torch7 file."""
    if head[:1].isdigit() and head[1:2] == b"\n" and head[0] - ord("0") <= FUNCTION:
        return "ascii"
    for order in _ORDERS:
        if len(head) >= 4 and int.from_bytes(head[:4], order) <= FUNCTION:
            return order
    return None


def _read(
    data: bytes,
    source: str,
    byte_order: ByteOrder | None,
    long_size: LongSize | None,
    in_ascii: bool | None,
) -> Any:
    """Read in each way that is possible until one succeeds; else report the failure of the one that got furthest."""
    failures: list[tuple[int, T7Error]] = []
    for way in _ways(data, byte_order, long_size, in_ascii):
        reader = ObjectReader(way)
        try:
            return reader.read()
        except MalformedError as error:
            failures.append((way.position, T7Error(error.reason, error.offset, reader.field, source)))
    if not failures:
        raise T7Error("not a Torch7 file: it does not begin with a type tag (0 to 8)", 0, "", source)
    raise max(failures, key=lambda failure: failure[0])[1]


def _ways(
    data: bytes, byte_order: ByteOrder | None, long_size: LongSize | None, in_ascii: bool | None
) -> Iterator[Input]:
    """Go through the ways in which the bytes may be meant; what is not given is told by the first of them."""
    found = plausible_format(data)
    if in_ascii or (in_ascii is None and found == "ascii"):
        yield AsciiInput(data)
        return
    order = byte_order or (None if found == "ascii" else found)
    if order is not None:
        for size in _LONG_SIZES if long_size is None else (long_size,):
            yield BinaryInput(data, order, size)
