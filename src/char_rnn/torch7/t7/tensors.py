"""Torch's tensors and storages as NumPy arrays.

A storage is ``long`` count and the elements; it becomes an array of its own, shape (count,), in the machine's byte
order. A tensor is ``int`` dimensions, ``long`` sizes, ``long`` strides (in elements), ``long`` offset (from 1), and its
storage; it becomes a view of the storage's array, so tensors that share a storage share memory. A stride of 0
repeats an element: a small file may describe an array that would not fit the memory when copied.
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple

import numpy as np

from char_rnn.torch7.t7.input import ELEMENTS, Array, Input, MalformedError

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
