"""The Torch7 reader on files written here: every type, in every format, shared and cyclic, old and new."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from t7_writer import FORMATS, LuaFunction, Pairs, Writer, dump

from char_rnn.torch7 import Function, Table, TorchObject, load
from char_rnn.torch7.t7.reader import loads, plausible_format

every_format = pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS)


def plain(value: Any) -> Any:
    """A read value without cycles as comparable Python objects: tables as lists of pairs."""
    if isinstance(value, Table):
        return [(plain(key), plain(item)) for key, item in value.items()]
    return (repr(value), type(value))  # nan is nan here, and 0.0 is not -0.0


def expected(value: Any) -> Any:
    if isinstance(value, Pairs):
        return [(expected(key), expected(item)) for key, item in value]
    if isinstance(value, list):
        return expected(Pairs((float(place), item) for place, item in enumerate(value, 1)))
    return (repr(value), type(value))


numbers = st.floats(allow_nan=False) | st.integers(-(2**53), 2**53).map(float)
scalars = st.booleans() | numbers | st.binary(max_size=40)
values = st.recursive(
    st.none() | scalars | st.just(math.nan),
    lambda inner: (
        st.lists(inner.filter(lambda value: value is not None), max_size=5)
        | st.lists(
            st.tuples(scalars, inner.filter(lambda value: value is not None)),
            max_size=5,
            unique_by=lambda pair: (isinstance(pair[0], bool), pair[0]),
        ).map(Pairs)
    ),
    max_leaves=20,
)


@given(values, st.sampled_from(list(FORMATS.values())))
def test_round_trip(value: Any, form: dict[str, Any]) -> None:
    read = loads(dump(value, **form))
    assert plain(read) == expected(value)


@every_format
def test_scalars(form: dict[str, Any]) -> None:
    strings = [b"", b"\n", b"\n\n7\n", bytes(range(256)), "naïve 🌹".encode()]
    reals = [0.1, -0.0, 1e300, 5e-324, math.inf, -math.inf, 2.0**53 + 2, 3.0]
    table = loads(dump(Pairs([(1, strings), (2, reals), (3, [True, False]), (4, math.nan)]), **form))
    assert table[1].array() == strings
    assert [value.hex() for value in table[2].array()] == [value.hex() for value in reals]
    assert table[3].array() == [True, False]
    assert all(isinstance(value, bool) for value in table[3].values())
    assert math.isnan(table[4])


def test_keys_are_compared_as_in_lua() -> None:
    inner, array = {}, np.arange(3.0)
    pairs = Pairs([(True, "yes"), (1, "one"), (b"1", "text"), (inner, "table"), (array, "tensor"), (1.5, "half")])
    pairs += [("name", "string"), (False, "no"), (0, "zero")]
    table = loads(dump(pairs))
    keys = list(table)
    assert keys[:3] == [True, 1.0, b"1"]
    assert keys[5:] == [1.5, b"name", False, 0.0]
    assert isinstance(keys[0], bool)
    assert isinstance(keys[1], float)
    assert isinstance(keys[3], Table)
    assert [table[key] for key in keys] == [value.encode() for _, value in pairs]
    assert table["name"] == table[b"name"] == b"string"
    assert table[True] == table[np.bool_(True)] == b"yes"
    assert table[1] == table[np.float64(1)] == b"one"
    assert table.get(2) is None
    assert table.get("nothing", 7) == 7
    assert "name" in table
    assert Table() not in table
    assert np.arange(3.0) not in table
    assert len(table) == 9
    with pytest.raises(KeyError, match="nothing"):
        table["nothing"]


def test_a_key_twice_has_its_last_value_and_nil_is_no_entry() -> None:
    table = loads(dump(Pairs([("a", 1), ("b", None), ("a", 2), ("c", 3)])))
    assert dict(table) == {b"a": 2.0, b"c": 3.0}


def test_array_ends_at_the_first_gap() -> None:
    table = loads(dump(Pairs([(3, "c"), (1, "a"), (5, "e"), (2, "b"), ("n", 3)])))
    assert table.array() == [b"a", b"b", b"c"]
    assert Table().array() == []


def test_tables_made_in_python() -> None:
    assert Table.of(["a", "b"]).array() == ["a", "b"]
    table = Table.of({b"x": 1.0, 2.0: Table()})
    assert table["x"] == 1.0
    assert list(table) == [b"x", 2.0]
    assert repr(table) == "<Table of 2>"
    assert table != Table.of({b"x": 1.0, 2.0: Table()})


@every_format
def test_objects_keep_class_version_and_fields(form: dict[str, Any]) -> None:
    linear = TorchObject("nn.LookupTable", 4, {"weight": np.eye(2), "train": False})
    odd = TorchObject("my.Class", 1, 7.0)
    first, again, other = loads(dump([linear, linear, odd], **form)).array()
    assert first is again
    assert (first.class_name, first.version) == ("nn.LookupTable", 4)
    assert np.array_equal(first["weight"], np.eye(2))
    assert first.get("train") is False
    assert first.get("bias") is None
    assert "weight" in first
    assert repr(first) == "<nn.LookupTable>"
    assert other.fields == 7.0
    assert other.get("weight", 1) == 1
    assert "weight" not in other
    with pytest.raises(KeyError, match="weight"):
        other["weight"]


@every_format
def test_files_older_than_versions(form: dict[str, Any]) -> None:
    table = loads(dump([TorchObject("nn.Tanh", 1, {"a": 1}), np.arange(3.0)], versions=False, **form))
    assert (table[1].class_name, table[1].version) == ("nn.Tanh", 0)
    assert np.array_equal(table[2], [0, 1, 2])


def test_a_class_whose_name_only_looks_like_a_version() -> None:
    data = Writer().ints(4, 1).string(b"V of Victory").ints(0).data
    assert loads(bytes(data)).class_name == "V of Victory"


@every_format
def test_sharing_and_cycles(form: dict[str, Any]) -> None:
    node: dict[Any, Any] = {"name": "node"}
    node["self"] = node
    holder = TorchObject("nngraph.Node", 1, {"data": node})
    node["holder"] = holder
    function = LuaFunction(8)
    function.upvalues = [{"name": "up", "value": function}]
    table = loads(dump([node, holder, function, function, node], **form))
    assert table[1] is table[5] is table[1]["self"] is table[2]["data"]
    assert table[1]["holder"] is table[2]
    assert table[3] is table[4] is table[3].upvalues[1]["value"]


def test_unshared_objects_are_read_apart() -> None:
    shared = {"a": 1}
    table = loads(dump([shared, shared], shared=False))
    assert table[1] is not table[2]
    assert table[1]["a"] == table[2]["a"] == 1.0


@every_format
@pytest.mark.parametrize("tag", [6, 7, 8])
def test_functions_are_skipped(form: dict[str, Any], tag: int) -> None:
    table = loads(dump([LuaFunction(tag, [5.0]), "behind"], **form))
    assert isinstance(table[1], Function)
    assert table[1].upvalues.array() == [5.0]
    assert repr(table[1]) == "<function>"
    assert table[2] == b"behind"


@pytest.mark.parametrize("form", [FORMATS["little 64"], FORMATS["ascii"]])
def test_depth_is_no_limit(form: dict[str, Any]) -> None:
    value: Any = "bottom"
    for level in range(9_000):
        value = [value] if level % 3 else TorchObject("nn.Container", 1, {"inner": value})
    read = loads(dump(value, **form))
    while read != b"bottom":
        read = read["inner"] if isinstance(read, TorchObject) else read[1]


@every_format
def test_the_format_is_found_or_given(form: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "a.t7"
    path.write_bytes(dump({"weight": np.arange(6.0).reshape(2, 3)}, **form))
    given = {"ascii": False, **form}
    for read in (load(path), load(str(path), **given)):
        assert np.array_equal(read["weight"], [[0, 1, 2], [3, 4, 5]])


def test_plausible_format() -> None:
    assert plausible_format(dump(1.5)) == "little"
    assert plausible_format(dump(1.5, byte_order="big")) == "big"
    assert plausible_format(dump(None)) == "little"
    assert plausible_format(dump(1.5, ascii=True)) == "ascii"
    for head in (b"", b"\0\0\0", b"9\n1\n", b"PK\3\4", b"12\n1", b'{"a"', b"\x88\0\0\0\0\0\0\0{"):
        assert plausible_format(head) is None


def test_an_ascii_file_may_end_in_space() -> None:
    assert loads(dump(2.5, ascii=True) + b" \n\n") == 2.5
    assert loads(dump("text", ascii=True)[:-1]) == b"text"


@pytest.mark.slow
def test_reading_needs_no_torch() -> None:
    program = "import sys, char_rnn.torch7 as t; t.load, t.Table; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
