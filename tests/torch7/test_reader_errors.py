"""Files that Torch7 never wrote: each is refused in one line with the byte and the field where it went wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from t7_writer import FORMATS, LuaFunction, Pairs, Storage, Tensor, Writer, dump

from char_rnn.torch7 import T7Error, TorchObject, load
from char_rnn.torch7.t7.reader import loads

every_format = pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS)
only_one_size = pytest.mark.parametrize("form", [FORMATS["big 64"], FORMATS["ascii"]], ids=["binary", "ascii"])
Build = Callable[[Writer], Writer]


def tensor(sizes: list[int], strides: list[int], offset: int, storage: Any, kind: str) -> Build:
    return lambda writer: writer.write(Tensor(storage, tuple(sizes), tuple(strides), offset, kind))


ones = Storage(np.ones(6))
MALFORMED: dict[str, tuple[Build, str]] = {
    "unknown tag": (lambda w: w.ints(3, 1, 1).write("a").ints(9), "type tag 9 is not one of Torch7's"),
    "negative tag": (lambda w: w.ints(3, 1, 1).write("a").ints(-1), "type tag -1 is not one"),
    "boolean": (lambda w: w.ints(5, 2), "a boolean is 2"),
    "negative string": (lambda w: w.ints(2, -1), "a string has a negative size"),
    "long string": (lambda w: w.ints(2, 2**31 - 1).raw(b"abc"), "a string needs 2147483647 bytes, but"),
    "negative table": (lambda w: w.ints(3, 1, -1), "a table of -1 entries"),
    "large table": (lambda w: w.ints(3, 1, 2**31 - 1, 0, 0), "a table of 2147483647 entries, but only"),
    "nil as key": (lambda w: w.ints(3, 1, 1, 0).write("value"), "a table's key is nil"),
    "nan as key": (lambda w: w.ints(3, 1, 1).write(float("nan")).write("value"), "a table's key is not a number"),
    "index of nothing": (lambda w: w.ints(3, 5, 0), "invalid object number 5 after 0 objects"),
    "index zero": (lambda w: w.ints(3, 0, 0), "invalid object number 0 after 0 objects"),
    "negative index": (lambda w: w.ints(4, -7, 0), "invalid object number -7 after 0 objects"),
    "table as object": (
        lambda w: w.ints(3, 1, 1).write("a").ints(4, 1),
        "is not of the type of this reference",
    ),
    "table as function": (
        lambda w: w.ints(3, 1, 1).write("a").ints(8, 1),
        "is not of the type of this reference",
    ),
    "tensor as table": (lambda w: w.write(TorchObject("C", 1, [ones])).ints(0), "the object ends here"),
    "function": (lambda w: w.ints(8, 1).string(b"").ints(0), "bytecode is not Lua's"),
    "function of text": (lambda w: w.ints(6).string(b"return 'something'").ints(0), "bytecode is not Lua's"),
    "no class": (lambda w: w.ints(4, 1).class_name("").ints(0), "'' is not a class's name"),
    "class of two lines": (lambda w: w.ints(4, 1).class_name("a\nb").ints(0), r"'a\\nb' is not a class's name"),
    "long class": (lambda w: w.ints(4, 1).class_name("a" * 101).ints(0), "'a{100}' is not a class's name"),
    "element type": (
        lambda w: w.ints(4, 1).class_name("torch.QuaternionTensor"),
        "torch.QuaternionTensor has an unknown element type",
    ),
    "dimensions": (lambda w: w.ints(4, 1).class_name("torch.IntTensor").ints(33), "a tensor of 33 dimensions"),
    "negative dimensions": (lambda w: w.ints(4, 1).class_name("torch.IntTensor").ints(-1), "a tensor of -1 dim"),
    "negative size": (tensor([-2, -3], [3, 1], 1, ones, "Double"), "a negative size or stride"),
    "negative stride": (tensor([6], [-1], 6, ones, "Double"), "a negative size or stride"),
    "outside": (tensor([2, 3], [3, 1], 2, ones, "Double"), "elements 2 to 7 of a storage that has 6"),
    "before": (tensor([2, 3], [3, 1], 0, ones, "Double"), "elements 0 to 5 of a storage that has 6"),
    "on nothing": (tensor([2], [1], 1, None, "Double"), "elements 1 to 2 of a storage that has 0"),
    "on an empty": (
        tensor([2], [0], 1, Storage(np.empty(0)), "Double"),
        "elements 1 to 1 of a storage that has 0",
    ),
    "other type": (tensor([2], [1], 1, ones, "Float"), "a torch.FloatTensor on a torch.DoubleStorage"),
    "other device": (tensor([2], [1], 1, Storage(np.ones(2, "f4")), "Cuda"), "a torch.CudaTensor on a"),
    "storage is a table": (tensor([2], [1], 1, [], "Double"), "a tensor's storage has type tag 3"),
    "storage is a tensor": (
        lambda w: w.ints(4, 1).class_name("torch.IntTensor").ints(0).longs(1).ints(4, 2).class_name("torch.IntTensor"),
        "a tensor's storage is a torch.IntTensor",
    ),
    "storage is itself": (
        lambda w: w.ints(4, 1).class_name("torch.IntTensor").ints(0).longs(1).ints(4, 1),
        "a tensor's storage refers to an object that is not a storage",
    ),
    "storage is the table": (
        lambda w: w.ints(3, 1, 1).write("a").ints(4, 2).class_name("torch.IntTensor").ints(0).longs(1).ints(4, 1),
        "a tensor's storage refers to an object that is not a storage",
    ),
    "storage is negative": (
        lambda w: w.ints(4, 1).class_name("torch.IntStorage").longs(-1),
        "the storage has a negative size",
    ),
    "storage is too long": (
        lambda w: w.ints(4, 1).class_name("torch.IntStorage").longs(2**30).numbers("i", 1, 2, 3),
        "the storage needs .* bytes, but",
    ),
    "more behind": (lambda w: w.write("a").write("b"), "the object ends here, but"),
}


@only_one_size
@pytest.mark.parametrize("name", MALFORMED)
def test_refused_with_its_reason(form: dict[str, Any], name: str) -> None:
    build, reason = MALFORMED[name]
    data = bytes(build(Writer(**form)).data)
    with pytest.raises(T7Error, match=reason) as caught:
        loads(data, **form)
    assert "\n" not in str(caught.value)
    assert 0 <= caught.value.offset <= len(data)
    with pytest.raises(T7Error):
        loads(data)


@pytest.mark.parametrize(
    ("sizes", "strides"),
    [((2**62, 2**62), (0, 0)), ((2**40, 2**40, 0), (0, 0, 0)), ((2**62,), (0,)), ((2**62, 2), (2**62, 2**62))],
)
def test_sizes_beyond_counting(sizes: tuple[int, ...], strides: tuple[int, ...]) -> None:
    with pytest.raises(T7Error, match=r"too large for any computer|of a storage that has 6"):
        loads(dump(Tensor(ones, sizes, strides)))


SAMPLE = {
    "protos": TorchObject(
        "nn.gModule", 1, {"modules": [1.5, TorchObject("nn.Linear", 1, {"weight": np.ones((2, 3))})]}
    ),
    "f": LuaFunction(8, [1.0]),
    "yes": Pairs([(True, "a"), ("a b", "end")]),
}


@every_format
def test_every_truncation_is_refused(form: dict[str, Any]) -> None:
    data = dump(SAMPLE, **form)
    last = len(data) - (data[-1:] == b"\n")  # the last newline may be missing
    for length in range(last):
        with pytest.raises(T7Error, match=r"byte \d+"):
            loads(data[:length])
    loads(data[:last])


def test_the_message_names_file_byte_and_field(tmp_path: Path) -> None:
    writer = Writer().ints(3, 1, 1).write("protos").ints(4, 2).class_name("nn.gModule").ints(3, 3, 1).write("modules")
    writer.ints(3, 4, 2).write(1.0).write(True).write(2.0).ints(4, 5).class_name("nn.Linear").ints(3, 6, 1)
    writer.write("weight").ints(5, 3).ints(0, 0, 0)
    path = tmp_path / "a.t7"
    path.write_bytes(writer.data)
    with pytest.raises(T7Error) as caught:
        load(path)
    assert caught.value.offset == len(writer.data) - 16
    assert caught.value.field == "protos.modules[2].weight"
    assert caught.value.reason == "a boolean is 3, not 0 or 1"
    assert (
        str(caught.value) == f"{path}: byte {caught.value.offset}, in protos.modules[2].weight: {caught.value.reason}"
    )


def field_of(build: Build) -> str:
    with pytest.raises(T7Error) as caught:
        loads(bytes(build(Writer()).ints(99, 0, 0, 0, 0, 0, 0, 0).data))
    return caught.value.field


def test_the_names_of_fields() -> None:
    assert field_of(lambda w: w) == ""
    assert field_of(lambda w: w.ints(3, 1, 1)) == "<key 1>"
    assert field_of(lambda w: w.ints(3, 1, 2).write("a").write(5)) == "<key 2>"
    assert field_of(lambda w: w.ints(3, 1, 1).write("a").ints(3, 2, 1).write(-1.5)) == "a[-1.5]"
    assert field_of(lambda w: w.ints(3, 1, 1).write("no name\n")) == "['no name\\n']"
    assert field_of(lambda w: w.ints(3, 1, 1).write("\0" * 40)) == r"['" + r"\x00" * 9 + r"\x0...]"
    assert field_of(lambda w: w.ints(3, 1, 1).write(True)) == "[true]"
    assert field_of(lambda w: w.ints(3, 1, 1).ints(3, 2, 0)) == "[<Table>]"
    assert field_of(lambda w: w.ints(3, 1, 1).write("a").ints(8, 2).string(LuaFunction().bytecode)) == (
        "a.<captured variables>"
    )


def test_the_field_of_a_deep_file_is_short() -> None:
    def deep(writer: Writer) -> Writer:
        for index in range(1, 5001):
            writer.ints(3, index, 1).write(float(index))
        return writer

    assert field_of(deep) == "[1][2][3][4][5][6][7][8] ... [4997][4998][4999][5000]"


def test_the_reading_that_got_furthest_is_reported() -> None:
    data = dump({"a": np.ones(3), "b": np.ones(2)}, long_size=4)
    with pytest.raises(T7Error, match="cut short") as caught:
        loads(data[:-3])
    assert caught.value.field == "b"


@pytest.mark.parametrize("data", [b"\0\0", b"hello, world", b"PK\3\4rest", b'{"a": 1}', b"\x93NUMPY"])
def test_what_is_no_torch7_file(data: bytes) -> None:
    with pytest.raises(T7Error, match=r"byte 0: not a Torch7 file: it does not begin with a type tag"):
        loads(data)


def test_an_empty_file() -> None:
    with pytest.raises(T7Error, match=r"^byte 0: the file is empty$"):
        loads(b"")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"1\n1_0\n", "a number is b'1_0', not a number"),
        (b"1\n12.5", "a number is a line too long or cut short"),
        (b"1\n", "a number needs 2 bytes, but 0 are left"),
        (b"1\n\n\n", "a number has 0 numbers in its line, not 1"),
        (b"1\n1 2\n", "a number has 2 numbers in its line, not 1"),
        (b"1\n0x10\n", "not a number"),
        (b"1\n" + b"1" * 5000 + b"\n", "a number is a line too long or cut short"),
        (b"3\n99999999999\n", "which does not fit in 32 bits"),
        (b"3\n1e2\n", "an object's index is b'1e2', not a number"),
        (b"4\n1\n17\ntorch.ShortTensor\n1\n99999999999999999999\n", "does not fit in 64 bits"),
    ],
)
def test_lines_of_ascii(line: bytes, reason: str) -> None:
    with pytest.raises(T7Error, match=reason):
        loads(line)


@pytest.mark.parametrize(
    ("kind", "line", "reason"),
    [
        ("Short", b"3\n1 2 40000\n", "does not fit in 16 bits"),
        ("Int", b"3\n1 2 3000000000\n", "does not fit in 32 bits"),
        ("Int", b"3\n1 2 10000000000000000000\n", "does not fit in 64 bits"),
        ("Int", b"3\n1 2\n3\n", "the storage has 2 numbers in its line, not 3"),
        ("Int", b"3\n1 2 3 4\n", "the storage has more than 3 numbers in its line"),
        ("Int", b"3\n1 2 34", "the file ends in the storage"),
        ("Int", b"3\n1 2 x\n", "the storage is b'x', not a number"),
        ("Int", b"3\n1 2 3.5\n", "the storage is b'3.5', not a number"),
        ("Double", b"3\n1 2 1_0\n", "the storage is b'1_0', not a number"),
        ("Double", b"1\n" + b"7" * 100_000 + b"\n", "not a number"),
        ("Int", b"9\n1 2 3\n", "the storage needs 18 bytes, but 6 are left"),
    ],
)
def test_lines_of_elements(kind: str, line: bytes, reason: str) -> None:
    name = f"torch.{kind}Storage".encode()
    with pytest.raises(T7Error, match=reason):
        loads(b"4\n1\n%d\n%s\n" % (len(name), name) + line)


def test_a_float_too_large_for_its_type_is_infinite() -> None:
    array = loads(b"4\n1\n18\ntorch.FloatStorage\n2\n1e300 -1e300\n")
    assert np.array_equal(array, np.array([np.inf, -np.inf], "f4"))


def test_what_was_given_is_not_found_out() -> None:
    for given in ({"byte_order": "big"}, {"ascii": True}):
        with pytest.raises(T7Error, match="byte 0"):
            loads(dump(SAMPLE), **given)
    with pytest.raises(T7Error):
        loads(dump(SAMPLE, ascii=True), ascii=False)
    with pytest.raises(T7Error):
        loads(dump(SAMPLE), long_size=4)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "none.t7")
