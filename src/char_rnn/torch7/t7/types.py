"""What a Torch7 file holds, as Python objects: tables, objects of Torch classes, functions.

They are compared by identity, as in Lua: two tables are equal only if they are the same table.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


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
