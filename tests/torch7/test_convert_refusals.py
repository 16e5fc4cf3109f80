"""Files that are no checkpoints of char-rnn, or damaged, are refused in one line, and cost no more than they are."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_checkpoints import checkpoint, flat_vector, made, network, options, record, simple_checkpoint
from t7_writer import dump

from char_rnn.torch7.checkpoints import read_model
from char_rnn.torch7.checkpoints.char_rnn import read_checkpoint
from char_rnn.torch7.checkpoints.fields import CheckpointFormatError
from char_rnn.torch7.t7.values import Function, T7Error, Table, TorchObject, fill

SIZES = (5, 3, 2)
SYMBOLS = [b"\n", b" ", b"a", b"\xc3", b"\xff"]


def lstm(flat: np.ndarray | None = None) -> TorchObject:
    return network("lstm", SIZES, flat_vector("lstm", SIZES) if flat is None else flat).network()


def modules(net: TorchObject) -> list[TorchObject | None]:
    return [node["data"].get("module") for node in net["forwardnodes"].array()]


def linears(net: TorchObject) -> list[TorchObject]:
    return [module for module in modules(net) if module is not None and module.class_name == "nn.Linear"]


def with_two_swapped(cell: str) -> TorchObject:
    """A graph whose first two Linears run in the other order."""
    net = network(cell, SIZES, flat_vector(cell, SIZES)).network()
    nodes = net["forwardnodes"].array()
    first, second = [modules(net).index(linear) for linear in linears(net)[:2]]
    nodes[first], nodes[second] = nodes[second], nodes[first]
    return made("nn.gModule", forwardnodes=Table.of(nodes))


def with_module(name: str, **entries: Any) -> TorchObject:
    steps = network("lstm", SIZES, flat_vector("lstm", SIZES))
    steps.add(name, 0, **entries)
    return steps.network()


def linked(nodes: int, listed: int = 1) -> TorchObject:
    """A graph of so many nodes, each listed so often, that have one list of children: all of them."""
    children = Table()
    records = [made("nngraph.Node", data=record(), children=children) for _ in range(nodes)] * listed
    fill(children, [part for pair in enumerate(records, 1) for part in pair])
    return made("nn.gModule", forwardnodes=Table.of(records))


def first_release() -> Table:
    parts = {name: made("nn.Sequential") for name in ("embed", "lstm", "softmax")}
    return record(protos=record(**parts), opt=options(), vocab=Table.of({b"a": 1.0}))


def expanded() -> np.ndarray:
    return np.broadcast_to(np.zeros(1), (1 << 40,))


REFUSED: list[tuple[Table, str]] = [
    (first_release(), r"first release of char-rnn \(May 2015\)"),
    (record(protos=7.0), "protos is a number, not a table"),
    (record(protos=record(rnn=7.0)), "protos.rnn is a number, not a torch object"),
    (record(protos=record(rnn=TorchObject("nn.gModule", 1, 7.0))), "protos.rnn is a nn.gModule, not a torch object"),
    (record(protos=record(rnn=made("nn.Sequential"))), "protos.rnn is a nn.Sequential, not the nn.gModule"),
    (record(protos=record(rnn=made("nn.gModule"))), "has no field 'forwardnodes'"),
    (checkpoint(with_module("nn.CMul", weight=np.ones(3)), SYMBOLS), "has a module 'nn.CMul', which no model"),
    (checkpoint(with_module("nn.Linear"), SYMBOLS), "has 6 x nn.Linear, where a 2-layer lstm has 5"),
    (checkpoint(with_module("nn.CAddTable"), SYMBOLS), "has 5 x nn.CAddTable, where a 2-layer lstm has 4"),
    (checkpoint(with_module("nn.Dropout", p=0.5), SYMBOLS), "has 1 x nn.Dropout for 2 layers"),
    (checkpoint(made("nn.gModule", forwardnodes=Table()), SYMBOLS), "has no recurrent layers"),
    (checkpoint(linked(2), SYMBOLS), "has a node twice, or two nodes share a list"),
    (checkpoint(linked(1, 2), SYMBOLS), "has a node twice, or two nodes share a list"),
    (checkpoint(with_two_swapped("lstm"), SYMBOLS), "number 1 is used as h2h, where the lstm of char-rnn has i2h"),
    (checkpoint(with_two_swapped("gru"), SYMBOLS), "used as update h2h, where the gru of char-rnn has update i2h"),
    (checkpoint(lstm(), SYMBOLS[:4]), "vocab does not number 5 symbols from 1 to 5"),
    (checkpoint(lstm(), SYMBOLS, vocab=None), "has no field 'vocab'"),
    (checkpoint(lstm(), SYMBOLS, vocab=Table.of(dict.fromkeys(SYMBOLS, 1.0))), "vocab does not number 5 symbols"),
    (checkpoint(lstm(), SYMBOLS, vocab=Table.of(dict.fromkeys(SYMBOLS, b"1"))), "vocab does not number 5 symbols"),
    (checkpoint(lstm(), [b"a", b"bc", b"d", b"e", b"f"]), "neither bytes nor characters"),
    (checkpoint(lstm(), [b"a", b"\xff\xfe", b"d", b"e", b"f"]), "neither bytes nor characters"),
    (
        checkpoint(network("rnn", SIZES, flat_vector("rnn", SIZES), {"p": 1.0}).network(), SYMBOLS),
        "p is 1.0, not a prob",
    ),
]


@pytest.mark.parametrize(("top", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_what_is_no_model_of_char_rnn_is_refused_in_one_line(top: Table, message: str) -> None:
    with pytest.raises(CheckpointFormatError, match=message) as caught:
        read_checkpoint(top)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("weight", None, r"nn.Linear number 2 has no field 'weight'"),
        ("weight", np.zeros((12, 4)), r"h2h_1 has a weight of shape \(12, 4\), where the lstm .* has \(12, 3\)"),
        ("weight", np.zeros(36), "number 2.weight is a tensor of float64, shape .36,., not a matrix"),
        ("weight", np.zeros((12, 3), np.int64), "weight is a tensor of int64"),
        ("weight", np.zeros((12, 3), np.float32), "mixes precisions"),
        ("weight", np.zeros((0, 3)), "does not hold that many numbers"),
        ("weight", np.broadcast_to(np.zeros(3), (12, 3)), "does not hold that many numbers"),
        ("weight", np.lib.stride_tricks.as_strided(np.zeros(14), (12, 3), (8, 8)), "does not hold that many numbers"),
        ("bias", expanded(), "does not hold that many numbers"),
        ("bias", Function(), "bias is a function, not a vector"),
    ],
)
def test_a_parameter_that_does_not_fit_is_named(field: str, value: object, message: str) -> None:
    net = lstm()
    linear = linears(net)[1]
    kept = {name.decode(): part for name, part in linear.fields.items()}
    linear.fields = record(**{**kept, field: value})
    with pytest.raises(CheckpointFormatError, match=message):
        read_checkpoint(checkpoint(net, SYMBOLS))


@pytest.mark.parametrize("dtype", ["float64", "float16"])
def test_parameters_that_share_memory_are_refused(dtype: str) -> None:
    """Else a file of many layers with one weight would become many times its size."""
    net = lstm(flat_vector("lstm", SIZES, dtype))
    first, second = [part for part in linears(net) if part["weight"].shape == (12, 3)][:2]
    second.fields = record(weight=first["weight"], bias=second["bias"])
    with pytest.raises(CheckpointFormatError, match="two of its parameters share memory"):
        read_checkpoint(checkpoint(net, SYMBOLS))


def containers(value: object, depth: int = 0) -> Iterator[Table | TorchObject]:
    """All tables and objects inside a value, not deeper than a graph of this size goes."""
    if isinstance(value, TorchObject):
        yield value
        yield from containers(value.fields, depth + 1)
    elif isinstance(value, Table) and depth < 14:
        yield value
        for inner in value.values():
            yield from containers(inner, depth + 1)


JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.floats(),
    st.binary(max_size=3),
    st.builds(Table),
    st.builds(Function),
    st.builds(lambda name: TorchObject(name, 1, Table()), st.sampled_from(["nn.Linear", "nn.Tanh", "x" * 999])),
    st.sampled_from([np.zeros((2, 2)), np.zeros(3, np.uint8), np.zeros(0), np.float64(2) * np.ones((12, 5))]),
)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_any_changed_checkpoint_is_refused_or_read(data: st.DataObject) -> None:
    top = simple_checkpoint(data.draw(st.sampled_from(["lstm", "gru", "rnn"])))
    found = list({id(part): part for part in containers(top)}.values())
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.sampled_from(range(len(found))))
        part = found[place]
        if isinstance(part, TorchObject):
            part.fields = data.draw(JUNK)
        elif len(part):
            keys = list(part)
            changed = data.draw(st.sampled_from(range(len(keys))))
            entries = [(key, data.draw(JUNK) if n == changed else part[key]) for n, key in enumerate(keys)]
            fill(part, [value for entry in entries for value in entry])
            part._places = None
    try:
        file = read_checkpoint(top)
    except CheckpointFormatError as error:
        assert "\n" not in str(error)
        assert len(str(error)) < 300
    else:
        assert np.isfinite(sum(float(np.sum(tensor)) for tensor in file.tensors.values()))
        assert not math.isnan(file.config.training.learning_rate)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_any_changed_file_is_refused_or_read(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("changed") / "lm.t7"
    content = bytearray(dump(simple_checkpoint(data.draw(st.sampled_from(["lstm", "gru", "rnn"])))))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        read_model(path)
    except (T7Error, CheckpointFormatError) as error:
        assert "\n" not in str(error)
        assert str(path) in str(error)
