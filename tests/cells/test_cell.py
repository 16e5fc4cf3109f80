"""Cells by their names, and what is said of one that cannot be used."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from model_cases import Own

import char_rnn
from char_rnn.cells import CELLS, GRU, LSTM, Cell, trace
from char_rnn.cli.inspect import command
from char_rnn.model_file import ModelFile
from char_rnn.utils.model_files import ModelFileError

TINY = {
    "model.type": "own",
    "model.hidden_size": 6,
    "training.batch_size": 4,
    "training.seq_length": 10,
    "training.max_steps": 2,
    "device.threads": 1,
}


@pytest.fixture(autouse=True)
def _only_the_cells_of_before() -> Iterator[None]:
    before = dict(CELLS)
    yield
    CELLS.clear()
    CELLS.update(before)


def defined(**attributes: Any) -> type[Cell]:
    """A class, as a program would define it."""
    given = {"name": "mine", "gates": 1, "step": lambda self, x, state, p: state, "__module__": "program"}
    return type("Mine", (Cell,), {**given, **attributes})


def test_a_class_with_a_name_is_known_by_it() -> None:
    assert CELLS["own"] is Own
    first = defined()
    assert CELLS["mine"] is first
    again = defined()  # as a notebook's cell that is run again
    assert CELLS["mine"] is again
    assert type("Base", (Cell,), {}) not in CELLS.values()


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"name": "lstm"}, r"^Mine\.name: 'lstm' is the name of char_rnn\.cells\.lstm\.LSTM; give another$"),
        (
            {"name": "My Cell"},
            r"^Mine: the name 'My Cell' must consist of lower-case letters, digits and _, and begin with a letter$",
        ),
        ({"vectors": {"a.b": 1}}, r"^Mine: the name 'a\.b' must consist of lower-case letters"),
        ({"state": ("h", "memory")}, r"^Mine\.state: memory is the name of another input of exported models$"),
        ({"__init__": lambda self, depth: None}, r"^Mine: depth must have a default; configurations have only a"),
    ],
    ids=["built in", "spelling", "vector", "state", "argument"],
)
def test_a_class_that_cannot_be_named(attributes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        defined(**attributes)
    assert CELLS["lstm"] is LSTM
    assert "mine" not in CELLS


def test_equations_that_do_not_fit() -> None:
    wrong = defined(step=lambda self, x, state, p: (p.weight_ih @ x + p.weight_gh @ state[0],))
    with pytest.raises(ValueError, match=r"^Mine\.step: weight_gh: .*it has weight_ih, weight_hh, bias_ih, bias_hh$"):
        trace(wrong(), 3, 4)
    wrong = defined(gates=2, step=lambda self, x, state, p: (p.weight_ih @ x,))
    with pytest.raises(ValueError, match=r"^Mine\.step: must return h, 4 wide; got 8$"):
        trace(wrong(), 3, 4)


def mine(*arguments: Any, **attributes: Any) -> Cell:
    return defined(**attributes)(*arguments)


with_depth = {"__init__": lambda self, depth=1: setattr(self, "depth", depth)}


@pytest.mark.parametrize(
    ("cell", "options", "message"),
    [
        (lambda: None, {}, r"^cell: got None; give an instance of a cell, such as char_rnn\.cells\.LSTM\(\)$"),
        (lambda: Own, {}, r"^cell: got <class '.*Own'>; give an instance of a cell"),
        (
            type("Loose", (LSTM,), {}),
            {},
            r"^cell: the class Loose is not registered under its name; set Loose\.name, or create Loose\(\) again",
        ),
        (
            partial(mine, 2, **with_depth),
            {},
            r"^cell: a configuration stores only the name mine; use Mine\(\) with its defaults$",
        ),
        (
            partial(mine, [1], **with_depth),
            {},
            r"^cell: Mine's attributes must be hashable \(.*'list'\); use tuples instead of lists$",
        ),
        (partial(mine, name="dropout"), {}, r"^cell: the name dropout is one of the model's attributes; give Mine"),
        (partial(mine, name="blocks"), {}, r"^cell: the name blocks is one of the model's attributes; give Mine"),
        (mine, {"layer_norm": "cell"}, r"^CharModel: model\.layer_norm is cell, but the cell mine has no norm"),
    ],
)
def test_a_model_that_cannot_be_made(cell: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        char_rnn.CharModel(5, 4, 1, cell=cell(), **options)
    assert char_rnn.CharModel(5, 4, 1, cell=GRU("before")).cell == GRU("before")


def test_from_equations_to_a_model_file_and_a_text(tmp_path: Path) -> None:
    (tmp_path / "rose.txt").write_text("The rose is red, the violet blue.\n" * 40)
    run = char_rnn.train(tmp_path / "rose.txt", tmp_path / "run", settings=TINY, callbacks=[])
    file = ModelFile.read(run.folder)
    model = char_rnn.build_model(file.config.model, file.vocabulary.size, file.tensors)
    assert type(model) is char_rnn.CharModel
    assert model.cell == Own()
    assert model.state_dict()["own.share_l1"].shape == (12,)
    assert torch.equal(model.state_dict()["own.share_l1"], torch.from_numpy(file.tensors["own.share_l1"]))
    texts = [
        char_rnn.TextGenerator.load(run.folder).generate("The ", 30, temperature=0),
        char_rnn.TextGenerator(model, file.vocabulary).generate("The ", 30, temperature=0),
    ]
    assert texts[0] == texts[1]
    del CELLS["own"]
    with pytest.raises(
        ModelFileError, match=r"unknown cell 'own' \(known: gru, lstm, m.*, rnn, slstm\); if it is a cell of your"
    ):
        ModelFile.read(run.folder)
    described = CliRunner().invoke(command, [str(run.folder)])
    assert described.exit_code == 0
    assert "layer own with" in described.stdout


def test_vectors_start_as_biases_do() -> None:
    for scheme, largest in (("pytorch", 0.5), ("uniform", 0.08), ("xavier", 0.0), ("orthogonal", 0.0)):
        model = char_rnn.CharModel(5, 4, 1, cell=Own(), layer_norm="cell", initialization=scheme)
        share = model.state_dict()["own.share_l0"]
        assert (0 < share.abs().max() <= largest) if largest else (share == 0).all()
        assert (model.state_dict()["own.gain_l0"] == 1).all()
