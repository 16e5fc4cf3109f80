"""The objects of a Torch7 file.

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
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np

from char_rnn.torch7.t7.inputs import Input, MalformedError
from char_rnn.torch7.t7.values import (
    Function,
    Storage,
    Table,
    TorchObject,
    fill,
    read_storage,
    read_tensor,
    tensor_class,
)

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
            raise MalformedError(f"object {index} comes after {len(self._known)} objects", start)
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


_IDENTIFIER = re.compile(rb"[A-Za-z_]\w*")
_FIRST, _LAST = 8, 4  # steps shown of a path longer than both
_LONGEST_KEY = 40


def field_path(values: Sequence[Any], starts: Sequence[int]) -> str:
    """Return the path of the value being read, such as ``protos.rnn.modules[3].weight``.

    Args:
        values: Values read so far: each unfinished object, followed by its own values.
        starts: Where in ``values`` the outermost value, and then the own values of each unfinished object, begin.
    """

    def steps(levels: Sequence[int]) -> str:
        ends = [starts[level + 1] - 1 if level + 1 < len(starts) else len(values) for level in levels]
        joined = (_step(values, starts[level], end) for level, end in zip(levels, ends, strict=True))
        return "".join(joined).removeprefix(".")

    levels = range(1, len(starts))  # a file may nest very deep: make no list of them all
    if len(levels) <= _FIRST + _LAST:
        return steps(levels)
    return f"{steps(levels[:_FIRST])} ... {steps(levels[-_LAST:])}"


def _step(values: Sequence[Any], start: int, end: int) -> str:
    """Return one object's step of the path: the field that is being read."""
    container, count = values[start - 1], end - start
    if isinstance(container, Function):
        return ".<captured variables>"
    if not isinstance(container, Table):
        return ""
    if count % 2 == 0:
        return f".<key {count // 2 + 1}>"
    key = values[end - 1]
    if isinstance(key, bool):
        return f"[{str(key).lower()}]"
    if isinstance(key, float):
        return f"[{key:.15g}]"
    if isinstance(key, bytes):
        text = key[:_LONGEST_KEY].decode("utf-8", "backslashreplace")
        return f".{text}" if _IDENTIFIER.fullmatch(key) else f"[{text!r}]"
    return f"[<{type(key).__name__}>]"
