"""The reader on files that Torch7 wrote: every value is the recorded one, in every variant of the format."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from char_rnn.torch7 import Function, T7Error, Table, TorchObject, load
from char_rnn.torch7.t7.reader import loads

TYPES = ("types.t7", "types_ascii.t7", "types_nofunc.t7")


def truth(golden: Path) -> Iterator[tuple[str, str, dict[str, list[float]]]]:
    """Yield each recorded tensor: name, class, and ``size``, ``stride``, ``offset0``, ``values``."""
    for line in (golden / "t7" / "types_truth.txt").read_text().splitlines():
        name, class_name, *fields = line.split("\t")
        split = dict(field.split("=") for field in fields)
        yield (
            name,
            class_name,
            {
                key: [float(word) for word in text.replace(",", " ").split() if word != "nil"]
                for key, text in split.items()
            },
        )


def same(first: Any, second: Any, single: bool = False) -> int:
    """Check that two read values are equal, with the same sharing and cycles; returns the number of tensors.

    Entries whose keys are tables or objects are counted only: their order, which is all that tells them apart, is that
    of the addresses the program happened to have.

    Args:
        first, second: the values.
        single: whether the second's tensors were made single precision.
    """
    twins, pending, count = dict[int, int](), [(first, second)], 0
    while pending:
        one, other = pending.pop()
        assert type(one) is type(other)
        if isinstance(one, (Table, TorchObject, Function)):
            if id(one) in twins:
                assert twins[id(one)] == id(other)
                continue
            twins[id(one)] = id(other)
        if isinstance(one, Table):
            assert len(one) == len(other)
            pending += [(value, other[key]) for key, value in one.items() if isinstance(key, (float, bytes, bool))]
        elif isinstance(one, TorchObject):
            assert (one.class_name, one.version) == (other.class_name, other.version)
            pending.append((one.fields, other.fields))
        elif isinstance(one, Function):
            pending.append((one.upvalues, other.upvalues))
        elif isinstance(one, np.ndarray):
            assert other.dtype == one.dtype or (single and other.dtype == np.float32)
            assert np.array_equal(one.astype(other.dtype), other, equal_nan=one.dtype.kind == "f")
            count += 1
        elif single and isinstance(one, bytes):
            assert one.replace(b"torch.Double", b"torch.Cuda") == other
        else:
            assert repr(one) == repr(other)  # nan is nan here, and 0.0 is not -0.0
    return count


@pytest.mark.parametrize("file", TYPES)
def test_tensors(golden: Path, file: str) -> None:
    table = load(golden / "t7" / file)
    for name, class_name, fields in truth(golden):
        array = table[name]
        if name == "tensor_Long":  # the record is older than the file
            assert array[1, 2] == 9007199254740992
            fields["values"][-1] = 9007199254740992
        code = {"Double": "f8", "Float": "f4", "Byte": "u1", "Char": "i1", "Short": "i2", "Int": "i4", "Long": "i8"}
        assert array.dtype == np.dtype(code[class_name.removeprefix("torch.").removesuffix("Tensor")])
        assert list(array.shape) == (fields["size"] or [0])
        assert array.ravel().tolist() == fields["values"]
        for size, step, stride in zip(fields["size"], array.strides, fields["stride"], strict=False):
            assert size == 1 or step == stride * array.itemsize
        if name.startswith("nc_"):
            offset = array.ctypes.data - table["shared_storage"].ctypes.data
            assert [offset / array.itemsize] == fields["offset0"]


@pytest.mark.parametrize("file", TYPES)
def test_other_types(golden: Path, file: str) -> None:
    table = load(golden / "t7" / file)
    numbers = {"int": 42.0, "frac": -0.1, "big": 1e300, "inf": math.inf, "ninf": -math.inf, "denormal": 5e-324}
    assert {name: table[f"number_{name}"] for name in numbers} == numbers
    assert math.isnan(table["number_nan"])
    assert table["number_negzero"].hex() == "-0x0.0p+0"
    assert (table["bool_true"], table["bool_false"]) == (True, False)
    assert table["string_all_bytes"] == bytes(range(256))
    assert table["string_empty"] == b""
    assert table["string_utf8"] == "naïve café Ωmega".encode()
    assert table["array"].array() == [10, 20, 30, b"four", False]
    assert dict(table["sparse_array"]) == {1: 1, 3: 3, 100: b"hundred"}
    assert dict(table["zero_and_neg_keys"]) == {0: b"zero", 1.5: b"frac", -1: b"minus one"}
    assert (table["bool_keys"][True], table["bool_keys"][False]) == (b"yes", b"no")
    assert len(table["empty_table"]) == 0
    [(key, value)] = table["table_key"].items()
    assert isinstance(key, Table)
    assert value == b"value keyed by a table"
    assert table["cyclic"]["self"] is table["cyclic"]["child"]["parent"] is table["cyclic"]
    assert table["shared_a"] is table["shared_b"]
    assert (table["criterion"].class_name, table["module"].class_name) == ("nn.MSECriterion", "nn.Sequential")
    for name, code in {"Byte": "u1", "Char": "i1", "Short": "i2", "Int": "i4", "Long": "i8", "Float": "f4"}.items():
        assert np.array_equal(table[f"storage_{name}"], np.array([1, 2, 3, 100], code))
        assert table[f"storage_{name}"].dtype == np.dtype(code)
    assert np.array_equal(table["long_storage_size"], [4, 5, 6])
    assert isinstance(table.get("func"), Function) == (file != "types_nofunc.t7")


def test_views_share_their_storage(golden: Path) -> None:
    table = load(golden / "t7" / "types.t7")
    table["shared_storage"][6] = 70
    assert table["nc_base"][1, 2] == table["nc_transposed"][2, 1] == table["nc_select"][1] == 70
    with pytest.raises(ValueError, match="read-only"):
        table["expanded"][0, 0] = 1


def test_small_files(golden: Path) -> None:
    folder = golden / "t7"
    assert load(folder / "top_nil.t7") is None
    assert load(folder / "top_bool.t7") is True
    assert load(folder / "top_number.t7") == 3.5
    assert load(folder / "top_string.t7") == b"a\0b\xff"
    assert np.array_equal(load(folder / "top_tensor.t7"), [1, 2, 3, 4, 5])
    assert np.array_equal(load(folder / "legacy_noversion_tensor.t7"), [1.5, 2.5, 3.5])
    function = load(folder / "legacy_func_tag6.t7")
    assert isinstance(function, Function)
    assert function.upvalues.array() == [5.0]
    same(load(folder / "types.t7"), load(folder / "types_ascii.t7"))


def test_unreferenced(golden: Path) -> None:
    table = load(golden / "t7" / "unreferenced.t7")
    tables = [value for value in table.values() if isinstance(value, Table)]
    assert len({id(value) for value in tables}) == len(tables)


@pytest.mark.parametrize("name", ["lstm", "gru", "rnn"])
def test_ascii_and_binary_checkpoints_are_equal(golden: Path, name: str) -> None:
    [in_ascii] = (golden / name).glob("*.ascii.t7")
    same(load(golden / name / "cv" / in_ascii.name.replace(".ascii", "")), load(in_ascii))


def test_a_gpu_checkpoint_is_the_cpu_one_in_single_precision(golden: Path) -> None:
    [on_gpu] = (golden / "gru").glob("*.cuda.t7")
    on_cpu = golden / "gru" / "cv" / on_gpu.name.replace(".cuda", "")
    assert same(load(on_cpu)["protos"], load(on_gpu)["protos"], single=True) > 50


def test_parameters_are_views_of_one_vector(golden: Path) -> None:
    arrays = np.load(golden / "lstm" / "golden.npz")
    [last] = (golden / "lstm" / "cv").glob("*epoch1.00*")
    graph = load(last)["protos"]["rnn"]
    linears = [module for module in graph["modules"].array() if module.class_name == "nn.Linear"]
    flat = linears[0]["weight"].base
    assert np.array_equal(flat, arrays["params_final"])
    assert all(np.shares_memory(module[name], flat) for module in linears for name in ("weight", "bias"))


def test_every_file_is_read_and_no_part_of_one(golden: Path) -> None:
    files = sorted(golden.rglob("*.t7"))
    assert len(files) > 20
    for file in files:
        load(file)
        data = file.read_bytes()
        for length in {len(data) // 3, len(data) - 2}:
            with pytest.raises(T7Error, match=r"byte \d+"):
                loads(data[:length])


@pytest.mark.slow
@settings(max_examples=3_000, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_damaged_files_are_read_or_refused(golden: Path, data: st.DataObject) -> None:
    files = [file for file in sorted(golden.rglob("*.t7")) if file.stat().st_size < 10_000]
    content = bytearray(data.draw(st.sampled_from(files)).read_bytes())
    changes = st.tuples(st.integers(0, len(content) - 1), st.binary(min_size=1, max_size=8))
    for place, new in data.draw(st.lists(changes, min_size=1, max_size=4)):
        content[place : place + data.draw(st.integers(0, len(new)))] = new
    try:
        loads(bytes(content))
    except T7Error as error:
        assert "\n" not in str(error)
