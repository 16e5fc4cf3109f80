"""What a Torch7 file holds, as Python objects: tables, objects of Torch classes, functions.

They are compared by identity, as in Lua: two tables are equal only if they are the same table.


Torch's tensors and storages as NumPy arrays.

A storage is ``long`` count and the elements; it becomes an array of its own, shape (count,), in the machine's byte
order. A tensor is ``int`` dimensions, ``long`` sizes, ``long`` strides (in elements), ``long`` offset (from 1), and its
storage; it becomes a view of the storage's array, so tensors that share a storage share memory. A stride of 0
repeats an element: a small file may describe an array that would not fit the memory when copied.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from char_rnn.torch7.t7.inputs import ELEMENTS, Array, Input, MalformedError


class T7Error(ValueError):
    """A file that is not in Torch7's format, or damaged.

    Attributes:
        reason: what is wrong.
        offset: the byte of the file where it was noticed.
        field: which value was being read, such as ``protos.rnn.modules[3].weight``; empty for the outermost.
    """

    def __init__(self, reason: str, offset: int, field: str = "", source: str = "") -> None:
        self.reason = reason
        self.offset = offset
        self.field = field
        place = f"byte {offset}" + (f", in {field}" if field else "")
        super().__init__(f"{source}: {place}: {reason}" if source else f"{place}: {reason}")


class Table(Mapping[Any, Any]):
    """A Lua table, read-only, in the file's order.

    Keys are as in Lua: numbers by value, strings (``bytes``) by content, booleans apart from numbers, everything else
    by identity. A ``str`` finds the string of its UTF-8 bytes. A key that occurs twice has its last value, and one
    whose value is nil is not there.

    Args:
        items: keys and values in turn.
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
        """Return the values of the keys 1, 2, ..., up to the first that is missing."""
        places, values = self._index(), list[Any]()
        while (place := places.get(len(values) + 1)) is not None:
            values.append(self._items[place + 1])
        return values

    def _index(self) -> dict[Any, int]:
        """Return the place of every key, made when it is first asked for: most tables of a checkpoint never are."""
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
        class_name: such as ``nn.Linear``.
        version: of the class; 0 in files older than versions.
        fields: what it wrote: a :class:`Table` for every class that does not write itself.
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
        """Return a field, or ``default`` where there is none."""
        return self.fields.get(key, default) if isinstance(self.fields, Table) else default

    def __repr__(self) -> str:
        return f"<{self.class_name}>"


@dataclass(eq=False, repr=False, slots=True)
class Function:
    """A Lua function. Its bytecode was skipped; what it had captured is kept.

    Attributes:
        upvalues: the table of captured variables.
    """

    upvalues: Any = None

    def __repr__(self) -> str:
        return "<function>"


def fill(container: Table | TorchObject | Function, values: list[Any]) -> None:
    """Give an object the values that were read for it, once they all are; a table takes keys and values in turn."""
    if isinstance(container, Table):
        container._items = tuple(values)
    elif isinstance(container, TorchObject):
        [container.fields] = values
    else:
        [container.upvalues] = values


class _Same:
    """A key that is equal to itself alone, around what Python cannot hash."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


_FALSE, _TRUE = object(), object()


def _comparable(key: Any) -> Any:
    """Return what stands for a Lua key in a dict, where True would be equal to 1."""
    if isinstance(key, str):
        return key.encode("utf-8", "surrogateescape")
    if isinstance(key, (bool, np.bool_)):
        return _TRUE if key else _FALSE
    return _Same(key) if isinstance(key, np.ndarray) else key


_CLASS = re.compile(r"torch\.(Cuda|Cl)?([A-Z][a-z]+)?(Tensor|Storage)")
_MOST_DIMENSIONS = 32  # of an array in NumPy 1
_MOST_BYTES = (1 << 63) - 1


class Storage(NamedTuple):
    """A storage and what a tensor must be to use it.

    Attributes:
        kind: the class's name without its ending, such as ``torch.Double``.
        array: the elements, shape (count,).
    """

    kind: str
    array: Array


class TensorClass(NamedTuple):
    """What a tensor's or storage's class name says.

    Attributes:
        kind: the class's name without its ending; a tensor and its storage have the same.
        element: one of :data:`ELEMENTS`.
        is_storage: whether the class is a storage.
    """

    kind: str
    element: str
    is_storage: bool


class Geometry(NamedTuple):
    """How a tensor lies on its storage, in elements.

    Attributes:
        sizes: of the dimensions; none for a tensor that was never filled.
        strides: one for each dimension.
        offset: place of the first element, from 0.
    """

    sizes: list[int]
    strides: list[int]
    offset: int


def tensor_class(class_name: str) -> TensorClass | None:
    """Take a class name apart; None if it is no tensor or storage of a known element type.

    A GPU's plain ``torch.CudaTensor`` and ``torch.ClTensor`` are of float; other types are named behind the device.
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


def read_geometry(source: Input) -> Geometry:
    """Read the body of a tensor up to its storage."""
    start = source.position
    dimensions = source.integer("the number of dimensions")
    if not 0 <= dimensions <= _MOST_DIMENSIONS:
        raise MalformedError(f"a tensor of {dimensions} dimensions; at most {_MOST_DIMENSIONS} are read", start)
    sizes = source.longs(dimensions, "the tensor's sizes")
    strides = source.longs(dimensions, "the tensor's strides")
    [offset] = source.longs(1, "the tensor's offset")
    if min(sizes + strides, default=0) < 0:
        raise MalformedError(f"a tensor with a negative size or stride (sizes {sizes}, strides {strides})", start)
    return Geometry(sizes, strides, offset - 1)


def view(found: TensorClass, geometry: Geometry, storage: Storage | None, offset: int) -> Array:
    """Return a tensor's array on its storage's.

    An array that repeats elements (stride 0) is read-only.

    Args:
        found: the tensor's class.
        geometry: how it lies there.
        storage: None for nil.
        offset: byte of the file to name in errors.

    Raises:
        MalformedError: the storage has another type, or the tensor reaches outside it.
    """
    dtype = np.dtype(ELEMENTS[found.element])
    if storage is not None and storage.kind != found.kind:
        raise MalformedError(f"a {found.kind}Tensor on a {storage.kind}Storage", offset)
    if math.prod(max(size, 1) for size in geometry.sizes) * dtype.itemsize > _MOST_BYTES:
        raise MalformedError(f"a tensor of sizes {geometry.sizes}, more than a computer can count", offset)
    if math.prod(geometry.sizes or [0]) == 0:
        return np.empty(geometry.sizes or 0, dtype)
    available = 0 if storage is None else len(storage.array)
    steps = [stride if size > 1 else 0 for size, stride in zip(geometry.sizes, geometry.strides, strict=True)]
    last = geometry.offset + sum((size - 1) * step for size, step in zip(geometry.sizes, steps, strict=True))
    if storage is None or geometry.offset < 0 or last >= available:
        raise MalformedError(
            f"a tensor over elements {geometry.offset + 1} to {last + 1} of a storage that has {available}", offset
        )
    size = dtype.itemsize
    strides = [step * size for step in steps]
    array: Array = np.ndarray(geometry.sizes, dtype, storage.array, geometry.offset * size, strides)
    if any(step == 0 and length > 1 for step, length in zip(steps, geometry.sizes, strict=True)):
        array.flags.writeable = False
    return array
