"""Tensors and storages in Torch7 files: every element type, views of shared memory, empty and expanded ones."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from t7_writer import FORMATS, Storage, Tensor, dump

from char_rnn.torch7.t7.reader import loads

every_format = pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS)
INTEGERS = {"Byte": "u1", "Char": "i1", "Short": "i2", "Int": "i4", "Long": "i8"}
FLOATS = {"Half": "f2", "Float": "f4", "Double": "f8"}


@every_format
@pytest.mark.parametrize(("kind", "code"), [*INTEGERS.items(), *FLOATS.items()])
def test_elements(form: dict[str, Any], kind: str, code: str) -> None:
    values = [0, 1, 100, 10, 32, 127, 3]  # 10 and 32 are a newline and a space where elements are characters
    if kind in FLOATS:
        values += [0.1, math.inf, -math.inf, math.nan, -0.0]
    elif kind == "Byte":
        values += [255, 128]
    else:
        limits = np.iinfo("i4" if kind == "Long" else code)
        values += [limits.min, limits.max]
    stored = np.array(values, code)
    tensor = Tensor(Storage(stored), (2, 3), (3, 1), 2)
    table = loads(dump([stored, tensor, tensor.storage], **form))
    whole, part, storage = table.array()
    for array in (whole, part, storage):
        assert array.dtype == np.dtype(code)
        assert array.dtype.isnative
        assert array.flags.aligned
    assert whole.tobytes() == storage.tobytes() == stored.tobytes()
    assert part.tobytes() == stored[1:7].tobytes()
    assert part.shape == (2, 3)
    part[1, 2] = 9
    assert storage[6] == 9
    assert whole[6] == 3


@pytest.mark.parametrize("form", [FORMATS["little 64"], FORMATS["big 64"], FORMATS["ascii"]])
def test_long_of_64_bits(form: dict[str, Any]) -> None:
    values = np.array([2**63 - 1, -(2**63), 2**53 + 1])
    assert np.array_equal(loads(dump(values, **form)), values)


@pytest.mark.parametrize(
    ("kind", "code"),
    [("Cuda", "f4"), ("Cl", "f4"), ("CudaHalf", "f2"), ("CudaDouble", "f8"), ("CudaByte", "u1"), ("CudaLong", "i8")],
)
@every_format
def test_tensors_of_a_gpu(form: dict[str, Any], kind: str, code: str) -> None:
    elements = np.arange(6).astype(code)
    array = loads(dump(Tensor(Storage(elements, kind), (3, 2), (2, 1)), **form))
    assert array.dtype == np.dtype(code)
    assert np.array_equal(array, elements.reshape(3, 2))


@every_format
def test_views_of_one_storage(form: dict[str, Any]) -> None:
    storage = Storage(np.arange(1.0, 13))
    shapes = {
        "base": ((3, 4), (4, 1), 1),
        "transposed": ((4, 3), (1, 4), 1),
        "narrow": ((3, 2), (4, 1), 2),
        "column": ((3,), (4,), 3),
        "expanded": ((2, 3), (0, 4), 4),
        "one": ((1, 1), (999, 0), 12),
    }
    table = loads(dump({name: Tensor(storage, *shape) for name, shape in shapes.items()}, **form))
    base = np.arange(1.0, 13).reshape(3, 4)
    assert np.array_equal(table["base"], base)
    assert np.array_equal(table["transposed"], base.T)
    assert np.array_equal(table["narrow"], base[:, 1:3])
    assert np.array_equal(table["column"], [3, 7, 11])
    assert np.array_equal(table["expanded"], [[4, 8, 12], [4, 8, 12]])
    assert np.array_equal(table["one"], [[12]])
    table["base"][2, 3] = 50
    assert table["expanded"][1, 2] == table["one"][0, 0] == table["transposed"][3, 2] == 50
    with pytest.raises(ValueError, match="read-only"):
        table["expanded"][0, 0] = 1


@every_format
def test_empty_tensors(form: dict[str, Any]) -> None:
    empty = [
        Tensor(None, (), (), 1, "Float"),
        Tensor(Storage(np.empty(0, "f4")), (), ()),
        Tensor(Storage(np.ones(3, "f4")), (), ()),
        Tensor(None, (2, 0, 3), (3, 3, 1), 1, "Float"),
    ]
    read = loads(dump(empty, **form)).array()
    assert [array.shape for array in read] == [(0,), (0,), (0,), (2, 0, 3)]
    assert {array.dtype for array in read} == {np.dtype("f4")}


def test_a_small_file_may_describe_a_huge_view() -> None:
    array = loads(dump(Tensor(Storage(np.array([5.0])), (2**20, 2**20), (0, 0))))
    assert array.shape == (2**20, 2**20)
    assert array[-1, -1] == 5


def test_long_ascii_lines_in_blocks() -> None:
    values = np.random.default_rng(3).standard_normal(30_000)
    assert np.array_equal(loads(dump(values, ascii=True)), values)
