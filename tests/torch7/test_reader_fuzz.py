"""Damaged files: whatever is changed in one, it is read or refused, in memory that its size bounds."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from t7_writer import FORMATS, LuaFunction, Pairs, Storage, Tensor, Writer, dump

from char_rnn.torch7 import Function, T7Error, Table, TorchObject
from char_rnn.torch7.t7.reader import loads

ALLOWED = 10  # times the file's size
FLOOR = 64 << 10  # bytes that reading takes however small the file


def sample() -> Any:
    """Return a small checkpoint with a bit of everything."""
    storage = Storage(np.arange(30.0))
    linear = TorchObject(
        "nn.Linear", 1, {"weight": Tensor(storage, (4, 5), (5, 1)), "bias": Tensor(storage, (5,), (1,), 21)}
    )
    half = Tensor(Storage(np.ones(4, "f2"), "CudaHalf"), (2, 2), (0, 1))
    node: dict[Any, Any] = {"data": {"module": linear}, "size": Storage(np.array([4, 5]))}
    node["children"] = Pairs([(node, 1), (True, linear)])
    bytes_ = np.frombuffer(bytes(range(40)), np.uint8)
    return {
        "protos": {"rnn": TorchObject("nn.gModule", 2, {"modules": [linear, linear], "fg": node})},
        "opt": {"rnn_size": 24, "model": "lstm", "on": True, "f": LuaFunction(7, [1]), "g": LuaFunction(6, {})},
        "values": [bytes_, half, np.arange(6).reshape(2, 3), Tensor(None, (), (), 1, "Float"), np.ones(3, "i2")],
    }


SAMPLES = [dump(sample(), **form) for form in FORMATS.values()] + [dump(sample(), versions=False)]
INTERESTING = [0, 1, -1, 2, 3, 4, 6, 8, 127, 255, 2**15, 2**31 - 1, -(2**31), 2**24]


def replace(data: bytearray, place: int, new: bytes) -> None:
    data[place : place + len(new)] = new


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Draw a sample with a few changes: bits, integers, words, parts lost, copied or swapped, the end cut off."""
    data = bytearray(draw(st.sampled_from(SAMPLES)))
    for _ in range(draw(st.integers(1, 4))):
        if not data:
            break
        place = draw(st.integers(0, len(data) - 1))
        length = draw(st.integers(1, 40))
        other = draw(st.integers(0, len(data) - 1))
        match draw(st.integers(0, 7)):
            case 0:
                data[place] ^= 1 << (length % 8)
            case 1:
                data[place] = length
            case 2:
                number = draw(st.sampled_from(INTERESTING) | st.integers(-(2**31), 2**31 - 1))
                replace(data, place, number.to_bytes(4, draw(st.sampled_from(["little", "big"])), signed=True))
            case 3:
                replace(data, place, b"\n%d\n" % draw(st.sampled_from(INTERESTING)))
            case 4:
                del data[place : place + length]
            case 5:
                data[other:other] = data[place : place + length]
            case 6:
                replace(data, place, data[other : other + length])
            case _:
                del data[max(place, 1) :]
    return bytes(data)


def check(data: bytes) -> bool:
    """Read or refuse ``data`` within the memory it may take; returns whether it was read."""
    attempt(data)  # what Python and NumPy keep from a first time is not the file's doing
    tracemalloc.start()
    try:
        value = attempt(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    if isinstance(value, T7Error):
        assert "\n" not in str(value)
        assert 0 <= value.offset <= len(data)
    assert peak <= ALLOWED * len(data) + FLOOR
    walk(value)
    return value is not None and not isinstance(value, T7Error)


def attempt(data: bytes) -> Any:
    try:
        return loads(data)
    except T7Error as error:
        return error


def walk(value: Any) -> None:
    """Touch all that a read value consists of."""
    seen, pending = set[int](), [value]
    while pending:
        value = pending.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, Table):
            assert len(value) == len(list(value))
            pending += [part for pair in value.items() for part in pair]
            pending += value.array()
        elif isinstance(value, TorchObject):
            pending.append(value.fields)
        elif isinstance(value, Function):
            pending.append(value.upvalues)
        elif isinstance(value, np.ndarray) and value.size:
            value[(0,) * value.ndim], value[(-1,) * value.ndim]


def test_the_samples_are_read() -> None:
    assert all(check(data) for data in SAMPLES)


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(damaged())
def test_damaged_files(data: bytes) -> None:
    check(data)


@pytest.mark.slow
@settings(max_examples=12_000, suppress_health_check=list(HealthCheck))
@given(damaged())
def test_many_damaged_files(data: bytes) -> None:
    check(data)


@settings(max_examples=100)
@given(st.sampled_from([b"", b"\4\0\0\0\1\0\0\0", b"3\n1\n", b"4\n1\n3\nV 1\n"]), st.binary(max_size=200))
def test_any_bytes(head: bytes, rest: bytes) -> None:
    check(head + rest)


COUNT = 2_000


def repeated(outer: bytes, inner: bytes, end: bytes = b"") -> bytes:
    """Return a file of many pieces; ``%d`` in a piece stands for the next index."""
    return outer + b"".join(inner % (number + 2) if b"%d" in inner else inner for number in range(COUNT)) + end


def binary(*parts: int | bytes) -> bytes:
    return b"".join(part if isinstance(part, bytes) else Writer().ints(part).data for part in parts)


TABLE = b"3\n1\n%d\n" % COUNT
WORST = {
    "one-entry tables in each other": repeated(b"3\n1\n1\n5\n1\n", b"3\n%d\n1\n5\n1\n", b"0\n"),
    "objects in each other": repeated(b"4\n1\n1\nx\n", b"4\n%d\n1\nx\n", b"0\n"),
    "functions in each other": repeated(b"", b"6\n12\n\x1bLJ\2........", b"0\n"),
    "numbers": repeated(TABLE, b"1\n1\n1\n2\n"),
    "numbers of two digits": repeated(TABLE, b"1\n10\n1\n20\n"),
    "strings": repeated(TABLE, b"2\n2\nab\n2\n2\nef\n"),
    "tables as keys": repeated(TABLE, b"3\n%d\n0\n5\n1\n"),
    "one-entry tables": repeated(TABLE, b"5\n1\n3\n%d\n1\n5\n1\n5\n1\n"),
    "objects": repeated(TABLE, b"4\n%d\n2\nxy\n0\n5\n1\n"),
    "storages": repeated(TABLE, b"5\n1\n4\n%d\n16\ntorch.IntStorage\n0\n"),
    "tensors": repeated(TABLE, b"5\n1\n4\n%d\n15\ntorch.IntTensor\n0\n1\n0\n"),
    "small integers": b"4\n1\n18\ntorch.ShortStorage\n%d\n%s\n" % (COUNT, b" ".join([b"7"] * COUNT)),
    "small floats": b"4\n1\n18\ntorch.FloatStorage\n%d\n%s\n" % (COUNT, b" ".join([b"7"] * COUNT)),
    "binary one-entry tables in each other": b"".join(binary(3, index, 1, 5, 1) for index in range(1, COUNT)),
    "binary objects in each other": b"".join(binary(4, index, 1, b"x") for index in range(1, COUNT)),
    "binary tables as keys": binary(3, 1, COUNT) + b"".join(binary(3, index + 2, 0, 5, 1) for index in range(COUNT)),
}


@pytest.mark.parametrize("name", WORST)
def test_files_made_to_take_the_most_memory(name: str) -> None:
    assert check(WORST[name]) or name.startswith("binary")
