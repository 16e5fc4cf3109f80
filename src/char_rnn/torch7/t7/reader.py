"""Opens a ``.t7`` file without Torch7: ``torch.save``'s binary and ascii formats.

A file is one object (:mod:`char_rnn.torch7.t7.objects` has the layout) without a header: the format, the byte order and
the size of a ``long`` are not stored. The first four bytes are a type tag from 0 to 8, which reveals the format and the
byte order; a ``long`` of 8 bytes is tried first, then one of 4.

Reading runs nothing of the file, and its memory is bounded by the file's size.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from char_rnn.torch7.t7.inputs import AsciiInput, BinaryInput, ByteOrder, Input, LongSize, MalformedError
from char_rnn.torch7.t7.objects import FUNCTION, ObjectReader
from char_rnn.torch7.t7.values import T7Error
from char_rnn.utils.files import HEAD, not_a_model, read_regular

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

    nil becomes None, numbers ``float``, strings ``bytes``, tables :class:`Table`, tensors and storages NumPy arrays
    (tensors on one storage share memory), functions :class:`Function`, objects of all other classes
    :class:`TorchObject`. A GPU's tensors are read like any others.

    Args:
        path: The file.
        byte_order: Byte order of the machine that wrote it (default: detect).
        long_size: Bytes of its ``long`` (default: detect).
        ascii: Whether it is in the ascii format (default: detect).

    Raises:
        T7Error: The file is not in this format, or is damaged.
        OSError: It cannot be read.
    """
    data = read_regular(path, MAX_BYTES)
    if what := not_a_model(data[:HEAD]):
        raise T7Error(what, 0, source=str(path))
    return loads(data, byte_order=byte_order, long_size=long_size, ascii=ascii, source=str(path))


def loads(
    data: bytes,
    *,
    byte_order: ByteOrder | None = None,
    long_size: LongSize | None = None,
    ascii: bool | None = None,  # noqa: A002 (the format's name in Torch)
    source: str = "",
) -> Any:
    """Read the bytes of a file, as :func:`load` does; errors name ``source``.

    Raises:
        T7Error: The bytes are not in this format, or are damaged.
    """
    failures: list[tuple[int, T7Error]] = []
    for candidate in _candidates(data, byte_order, long_size, ascii):
        reader = ObjectReader(candidate)
        try:
            return reader.read()
        except MalformedError as error:
            failures.append((candidate.position, T7Error(error.reason, error.offset, reader.field, source)))
    if not failures:
        raise T7Error("not a Torch7 file: it does not begin with a type tag (0 to 8)", 0, "", source)
    raise max(failures, key=lambda failure: failure[0])[1]  # of the format that fits longest


def plausible_format(head: bytes) -> Literal["little", "big", "ascii"] | None:
    """Return the format that a file's first four or more bytes suggest; None if it is not a Torch7 file."""
    if head[:1].isdigit() and head[1:2] == b"\n" and head[0] - ord("0") <= FUNCTION:
        return "ascii"
    for order in _ORDERS:
        if len(head) >= 4 and int.from_bytes(head[:4], order) <= FUNCTION:
            return order
    return None


def _candidates(
    data: bytes, byte_order: ByteOrder | None, long_size: LongSize | None, in_ascii: bool | None
) -> Iterator[Input]:
    """Yield the inputs that the bytes may be."""
    found = plausible_format(data)
    if in_ascii or (in_ascii is None and found == "ascii"):
        yield AsciiInput(data)
        return
    order = byte_order or (None if found == "ascii" else found)
    if order is not None:
        for size in _LONG_SIZES if long_size is None else (long_size,):
            yield BinaryInput(data, order, size)
