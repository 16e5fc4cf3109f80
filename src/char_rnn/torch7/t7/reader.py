"""Opens a ``.t7`` file without Torch7: ``torch.save``'s binary and ascii formats.

A file is one object without a header: the format, the byte order and the size of a ``long`` are not stored. The first
four bytes are a type tag from 0 to 8, which reveals the format and the byte order; a ``long`` of 8 bytes is tried
first, then one of 4.

Every object is an ``int`` tag and a body:

    0 nil         nothing
    1 number      double
    2 string      int length, characters
    3 table       int index; at its first occurrence int count, then that many keys and values (objects)
    4 object      int index; at its first occurrence a string "V n" (the class's version; missing in old files),
                  a string (the class's name), and what the class writes: one object, except for tensors and storages
    5 boolean     int 0 or 1
    6 function    string (bytecode), object (captured variables); the oldest form
    7, 8 function int index; at its first occurrence as 6

An index counts the tables, objects and functions of the file from 1; a repeated index refers to the same one. Cycles
are common, and graphs nest hundreds of levels deep, so the reader does not recurse. It has its own stack with a frame
for each unfinished object, and one list of the values read so far, from which each frame takes its own when complete.

Reading runs nothing of the file, and its memory is bounded by the file's size.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from char_rnn.torch7.t7.inputs import AsciiInput, BinaryInput, ByteOrder, Input, LongSize, MalformedError
from char_rnn.torch7.t7.values import (
    Function,
    Storage,
    T7Error,
    Table,
    TorchObject,
    field_path,
    fill,
    read_storage,
    read_tensor,
    tensor_class,
)
from char_rnn.utils.files import HEAD, not_a_model, read_regular

MAX_BYTES = 8 << 30  # of a file, which is read whole; the largest models of 2015 had less than 1 GB

_ORDERS: tuple[ByteOrder, ...] = ("little", "big")
_LONG_SIZES: tuple[LongSize, ...] = (8, 4)

NIL, NUMBER, STRING, TABLE, OBJECT, BOOLEAN, OLDEST_FUNCTION, OLD_FUNCTION, FUNCTION = range(9)
_VERSION = re.compile(rb"V (\d{1,9})")
_TENSOR_LIKE = re.compile(r"torch\.\w*(Tensor|Storage)")
_LONGEST_NAME = 100  # characters of a class's name
_SHORTEST_BYTECODE = 12  # bytes; Lua's header alone
_REFERABLE: dict[int, tuple[type, ...]] = {
    TABLE: (Table,),
    OBJECT: (TorchObject, Storage, np.ndarray),
    OLD_FUNCTION: (Function,),
    FUNCTION: (Function,),
}


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
    if plausible_format(data) is None and (what := not_a_model(data[:HEAD])):
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
    if not data:
        raise T7Error("the file is empty", 0, "", source)
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


class ObjectReader:
    """Reads one object, with everything it holds, from an input at its beginning to its end."""

    def __init__(self, source: Input) -> None:
        self._source = source
        self._known: list[Any] = []  # by index - 1: a table, object, function, storage or tensor
        self._values: list[Any] = []
        # Frames: where an object's own values begin in the list (right after the object itself), and their number.
        self._starts = array("q", [0])
        self._wanted = array("q", [1])

    def read(self) -> Any:
        """Return the object.

        Raises:
            MalformedError: Something is not as Torch7 writes it; :attr:`field` then says where.
        """
        while True:
            while len(self._values) - self._starts[-1] == self._wanted[-1]:
                if len(self._starts) == 1:
                    self._source.finish()
                    return self._values[0]
                self._close()
            self._read_value()

    @property
    def field(self) -> str:
        """Path of the value being read."""
        return field_path(self._values, self._starts)

    def _open(self, container: Table | TorchObject | Function, wanted: int) -> None:
        """Begin an object that has ``wanted`` values of its own."""
        self._values.append(container)
        self._starts.append(len(self._values))
        self._wanted.append(wanted)

    def _close(self) -> None:
        """Fill the innermost object with its values."""
        start = self._starts.pop()
        self._wanted.pop()
        fill(self._values[start - 1], self._values[start:])
        del self._values[start:]

    def _read_value(self) -> None:
        """Read a value, or the beginning of one that has values of its own."""
        source, start = self._source, self._source.position
        tag = source.integer("a type tag")
        if tag == NUMBER:
            self._append(source.double("a number"), start)
        elif tag == STRING:
            self._append(self._string("a string"), start)
        elif tag == NIL:
            self._append(None, start)
        elif tag == BOOLEAN:
            self._append(self._boolean(), start)
        elif tag == OLDEST_FUNCTION:
            self._open_function()
        elif tag in _REFERABLE:
            self._read_indexed(tag)
        else:
            raise MalformedError(f"type tag {tag} is not one of Torch7's (0 to 8)", start)

    def _append(self, value: Any, start: int) -> None:
        """Add a value without values of its own."""
        if (value is None or value != value) and self._is_key():  # only NaN differs from itself
            raise MalformedError(f"a table's key is {'nil' if value is None else 'not a number'}", start)
        self._values.append(value)

    def _is_key(self) -> bool:
        start = self._starts[-1]
        return start > 0 and isinstance(self._values[start - 1], Table) and (len(self._values) - start) % 2 == 0

    def _read_indexed(self, tag: int) -> None:
        """Read a table, object or function, or a reference to one."""
        start = self._source.position
        index = self._index()
        if index is not None:
            value = self._known[index]
            if not isinstance(value, _REFERABLE[tag]):
                raise MalformedError(f"object {index + 1} is not of the type of this reference (tag {tag})", start)
            self._values.append(value.array if isinstance(value, Storage) else value)
        elif tag == TABLE:
            self._open_table()
        elif tag == OBJECT:
            self._read_object()
        else:
            self._known.append(self._open_function())

    def _index(self) -> int | None:
        """Read an index; return its place in the known objects, or None for a new one."""
        start = self._source.position
        index = self._source.integer("an object's index")
        if not 1 <= index <= len(self._known) + 1:
            raise MalformedError(f"invalid object number {index} after {len(self._known)} objects", start)
        return index - 1 if index <= len(self._known) else None

    def _open_table(self) -> None:
        source, start = self._source, self._source.position
        count = source.integer("a table's size")
        if not 0 <= count * source.smallest_pair <= source.left:
            raise MalformedError(f"a table of {count} entries, but only {source.left} bytes follow", start)
        table = Table()
        self._known.append(table)
        self._open(table, 2 * count)

    def _open_function(self) -> Function:
        start = self._source.position
        bytecode = self._string("a function's bytecode")
        if len(bytecode) < _SHORTEST_BYTECODE or not bytecode.startswith(b"\x1bL"):
            raise MalformedError("a function's bytecode is not Lua's", start)
        function = Function()
        self._open(function, 1)
        return function

    def _read_object(self) -> None:
        start = self._source.position
        class_name, version = self._class()
        found = tensor_class(class_name)
        if found is None:
            if _TENSOR_LIKE.fullmatch(class_name):
                raise MalformedError(f"{class_name} has an unknown element type", start)
            new = TorchObject(class_name, version)
            self._known.append(new)
            self._open(new, 1)
        elif found.is_storage:
            self._known.append(read_storage(self._source, found))
            self._values.append(self._known[-1].array)
        else:
            place = len(self._known)
            self._known.append(None)  # the tensor's storage has the next index
            self._known[place] = read_tensor(self._source, found, self._storage)
            self._values.append(self._known[place])

    def _class(self) -> tuple[str, int]:
        """Read a class's name and version."""
        start = self._source.position
        first = self._string("a class's name")
        version = _VERSION.fullmatch(first)
        name = (first if version is None else self._string("a class's name")).decode("utf-8", "replace")
        if not (0 < len(name) <= _LONGEST_NAME and name.isprintable()):
            raise MalformedError(f"{name[:_LONGEST_NAME]!r} is not a class's name", start)
        return name, int(version[1]) if version else 0

    def _storage(self) -> Storage | None:
        """Read a tensor's storage."""
        source, start = self._source, self._source.position
        tag = source.integer("the type tag of a tensor's storage")
        if tag == NIL:
            return None
        if tag != OBJECT:
            raise MalformedError(f"a tensor's storage has type tag {tag}, not {OBJECT}", start)
        index = self._index()
        if index is None:
            class_name, _ = self._class()
            found = tensor_class(class_name)
            if found is None or not found.is_storage:
                raise MalformedError(f"a tensor's storage is a {class_name}", start)
            self._known.append(read_storage(source, found))
        storage = self._known[-1 if index is None else index]
        if not isinstance(storage, Storage):
            raise MalformedError("a tensor's storage refers to an object that is not a storage", start)
        return storage

    def _string(self, name: str) -> bytes:
        return self._source.raw(self._source.integer(f"the length of {name}"), name)

    def _boolean(self) -> bool:
        start = self._source.position
        value = self._source.integer("a boolean")
        if value not in (0, 1):
            raise MalformedError(f"a boolean is {value}, not 0 or 1", start)
        return value == 1
