"""The contents of a Torch7 file as Python values: tables, objects of Torch classes, functions, tensors and storages.

Tables, objects and functions are compared by identity, as in Lua: two tables are equal only if they are the same table.

A storage is ``long`` count and the elements; it becomes an array of its own, shape (count,), in this machine's byte
order. A tensor is ``int`` dimensions, ``long`` sizes, ``long`` strides (in elements), ``long`` offset (from 1), and its
storage; it becomes a view of the storage's array, so tensors that share a storage share memory. A stride of 0 repeats
an element, so a small file may describe an array that would not fit in memory when copied.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from char_rnn.torch7.t7.inputs import ELEMENTS, Array, Input, MalformedError


class T7Error(ValueError):
    """A file that is not in Torch7's format, or is damaged.

    Attributes:
        reason: What is wrong.
        offset: Byte of the file where the error was found.
        field: Path of the value being read, such as ``protos.rnn.modules[3].weight``; empty for the outermost.
    """

    def __init__(self, reason: str, offset: int, field: str = "", source: str = "") -> None:
        self.reason = reason
        self.offset = offset
        self.field = field
        place = f"byte {offset}" + (f", in {field}" if field else "")
        super().__init__(f"{source}: {place}: {reason}" if source else f"{place}: {reason}")


class Table(Mapping[Any, Any]):
    """A Lua table, read-only, in the file's order.

    Keys are as in Lua: numbers by value, strings (``bytes``) by content, booleans distinct from numbers, everything
    else by identity. A ``str`` finds the string of its UTF-8 bytes. The last value of a repeated key counts, and a key
    whose value is nil does not exist.

    Args:
        items: Keys and values, alternating.
    """

    __slots__ = ("_items", "_places")

    def __init__(self, items: Iterable[Any] = ()) -> None:
        self._items = tuple(items)
        self._places: dict[Any, int] | None = None

    @classmethod
    def of(cls, values: Mapping[Any, Any] | Iterable[Any]) -> Table:
        """Return the table of a mapping, or of values with the keys 1, 2, ..."""
        pairs = values.items() if isinstance(values, Mapping) else enumerate(values, 1)
        return cls(part for pair in pairs for part in pair)

    def __getitem__(self, key: Any) -> Any:
        return self._items[self._index()[_comparable(key)] + 1]

    def __iter__(self) -> Iterator[Any]:
        return (self._items[place] for place in self._index().values())

    def __len__(self) -> int:
        return len(self._index())

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        return f"<Table of {len(self)}>"

    def array(self) -> list[Any]:
        """Return the values of the keys 1, 2, ..., up to the first missing one."""
        places, values = self._index(), list[Any]()
        while (place := places.get(len(values) + 1)) is not None:
            values.append(self._items[place + 1])
        return values

    def _index(self) -> dict[Any, int]:
        """Return the place of every key. Made on first use: most tables of a checkpoint are never looked into."""
        if self._places is None:
            keys, values = self._items[::2], self._items[1::2]
            self._places = {
                _comparable(key): 2 * place
                for place, (key, value) in enumerate(zip(keys, values, strict=True))
                if value is not None
            }
        return self._places


@dataclass(eq=False, repr=False, slots=True)
class TorchObject:
    """An object of a Torch class other than tensors and storages.

    Attributes:
        class_name: Name such as ``nn.Linear``.
        version: Version of the class; 0 in files older than versions.
        fields: The object's fields: a :class:`Table` for every class without a format of its own.
    """

    class_name: str
    version: int
    fields: Any = None

    def __getitem__(self, key: Any) -> Any:
        if not isinstance(self.fields, Table):
            raise KeyError(key)
        return self.fields[key]

    def __contains__(self, key: Any) -> bool:
        return isinstance(self.fields, Table) and key in self.fields

    def get(self, key: Any, default: Any = None) -> Any:
        """Return a field, or ``default`` if there is none."""
        return self.fields.get(key, default) if isinstance(self.fields, Table) else default

    def __repr__(self) -> str:
        return f"<{self.class_name}>"


@dataclass(eq=False, repr=False, slots=True)
class Function:
    """A Lua function. The reader skips its bytecode.

    Attributes:
        upvalues: Table of captured variables.
    """

    upvalues: Any = None

    def __repr__(self) -> str:
        return "<function>"


def fill(container: Table | TorchObject | Function, values: list[Any]) -> None:
    """Set the contents of an object once all are read; those of a table are keys and values, alternating."""
    if isinstance(container, Table):
        container._items = tuple(values)
    elif isinstance(container, TorchObject):
        [container.fields] = values
    else:
        [container.upvalues] = values


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
        if _IDENTIFIER.fullmatch(key):
            return f".{text}"
        return f"[{text!r}]" if len(repr(text)) <= _LONGEST_KEY else f"[{repr(text)[:_LONGEST_KEY]}...]"
    return f"[<{type(key).__name__}>]"


_FALSE, _TRUE, _ARRAY = object(), object(), object()


def _comparable(key: Any) -> Any:
    """Return the dict key of a Lua key; in a dict, True would equal 1."""
    if isinstance(key, str):
        return key.encode("utf-8", "surrogateescape")
    if isinstance(key, (bool, np.bool_)):
        return _TRUE if key else _FALSE
    return (_ARRAY, id(key)) if isinstance(key, np.ndarray) else key  # NumPy compares arrays by value


_CLASS = re.compile(r"torch\.(Cuda|Cl)?([A-Z][a-z]+)?(Tensor|Storage)")
_MOST_DIMENSIONS = 32  # of an array in NumPy 1
_MOST_BYTES = (1 << 63) - 1


class Storage(NamedTuple):
    """A storage: its class name without the ending, such as ``torch.Double``, and its elements, shape (count,)."""

    kind: str
    array: Array


class TensorClass(NamedTuple):
    """The parts of a class name: without its ending (the same for a tensor and its storage), and the element type."""

    kind: str
    element: str
    is_storage: bool


def tensor_class(class_name: str) -> TensorClass | None:
    """Split a class name; None unless it is a tensor or storage of a known element type.

    A GPU's plain ``torch.CudaTensor`` and ``torch.ClTensor`` hold floats; other types follow the device's name.
    """
    match = _CLASS.fullmatch(class_name)
    if match is None:
        return None
    device, element, ending = match.groups()
    if element is None and device is not None:
        element = "Float"
    if element not in ELEMENTS:
        return None
    return TensorClass(class_name.removesuffix(ending), element, ending == "Storage")


def read_storage(source: Input, found: TensorClass) -> Storage:
    """Read the body of a storage."""
    [count] = source.longs(1, "the storage's size")
    return Storage(found.kind, source.array(found.element, count, "the storage"))


def read_tensor(source: Input, found: TensorClass, storage_of: Callable[[], Storage | None]) -> Array:
    """Read the body of a tensor as a view of its storage's array; read-only if it repeats elements (stride 0).

    `storage_of` reads the storage, which follows; it returns None for nil.

    Raises:
        MalformedError: The storage has another type, or the tensor reaches outside it.
    """
    start = source.position
    dimensions = source.integer("the number of dimensions")
    if not 0 <= dimensions <= _MOST_DIMENSIONS:
        raise MalformedError(f"a tensor of {dimensions} dimensions; the limit is {_MOST_DIMENSIONS}", start)
    sizes = source.longs(dimensions, "the tensor's sizes")
    strides = source.longs(dimensions, "the tensor's strides")
    [first] = source.longs(1, "the tensor's offset")
    if min(sizes + strides, default=0) < 0:
        raise MalformedError(f"a tensor with a negative size or stride (sizes {sizes}, strides {strides})", start)
    storage = storage_of()
    if storage is not None and storage.kind != found.kind:
        raise MalformedError(f"a {found.kind}Tensor on a {storage.kind}Storage", start)
    dtype = np.dtype(ELEMENTS[found.element])
    if math.prod(max(size, 1) for size in sizes) * dtype.itemsize > _MOST_BYTES:
        raise MalformedError(f"a tensor of sizes {sizes}, too large for any computer", start)
    if math.prod(sizes or [0]) == 0:  # no sizes: a tensor that was never filled
        return np.empty(sizes or 0, dtype)
    steps = [stride if size > 1 else 0 for size, stride in zip(sizes, strides, strict=True)]
    last = first + sum((size - 1) * step for size, step in zip(sizes, steps, strict=True))
    available = 0 if storage is None else len(storage.array)
    if storage is None or first < 1 or last > available:
        raise MalformedError(f"a tensor over elements {first} to {last} of a storage that has {available}", start)
    byte_strides = [step * dtype.itemsize for step in steps]
    array: Array = np.ndarray(sizes, dtype, storage.array, (first - 1) * dtype.itemsize, byte_strides)
    if any(step == 0 and size > 1 for step, size in zip(steps, sizes, strict=True)):
        array.flags.writeable = False
    return array
