"""Equations that do not fit together are refused in one line, and cells are compared by what they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from char_rnn.cells import GRU, LSTM, RNN, Cell, Value, concatenate, derive, normalize, rows, split, tanh, trace

MISTAKES: dict[str, tuple[Callable[[Value, Value, Any], Any], str]] = {
    "widths": (lambda x, h, p: (x + h,), "Wrong.step: add: the values are 3 and 4 wide; they must be equally wide"),
    "columns": (
        lambda x, h, p: (p.weight_hh @ x,),
        "Wrong.step: weight_hh: has 4 columns, but the value is 3 wide",
    ),
    "too wide": (lambda x, h, p: (concatenate(h, h),), "Wrong.step: must return h, 4 wide; got 8"),
    "too many": (lambda x, h, p: (h, h), "Wrong.step: must return h, 4 wide; got 4, 4"),
    "nothing": (lambda x, h, p: (), "Wrong.step: must return h, 4 wide; got nothing"),
    "no input": (lambda x, h, p: (p.weight_hh @ h,), "Wrong.step: its result does not depend on the input x"),
    "uneven": (lambda x, h, p: split(h, 2, 1), "Wrong.step: split: 4 rows cannot be cut into 3 equal parts"),
    "too many arguments": (
        lambda x, h, p: normalize(x, p.bias_ih, p.bias_hh, h),  # type: ignore[call-arg]
        "Wrong.step: normalize() takes from 2 to 3 positional arguments but 4 were given",
    ),
    "outside": (lambda x, h, p: (rows(h, 2, 6),), "Wrong.step: rows 2 to 6: there are 4 rows"),
}


class Wrong(Cell):
    """Its equations are given."""

    gates = 1

    def __init__(self, equations: Callable[[Value, Value, Any], Any]) -> None:
        self.equations = equations

    def step(self, x: Value, state: Sequence[Value], p: Any) -> Sequence[Value]:
        result: Sequence[Value] = self.equations(x, state[0], p)
        return result


@pytest.mark.parametrize("mistake", MISTAKES)
def test_equations_that_do_not_fit_are_refused(mistake: str) -> None:
    equations, message = MISTAKES[mistake]
    with pytest.raises(ValueError) as error:  # noqa: PT011
        trace(Wrong(equations), 3, 4)
    assert str(error.value) == message


def test_a_parameter_that_there_is_not_is_named() -> None:
    message = r"^Wrong\.step: weight_hx: not a parameter of the cell; it has weight_ih, weight_hh, bias_ih, bias_hh$"
    with pytest.raises(ValueError, match=message):
        trace(Wrong(lambda x, h, p: p.weight_hx @ x), 3, 4)


def test_a_state_of_one_part_may_be_returned_by_itself() -> None:
    step = trace(Wrong(lambda x, h, p: tanh(p.weight_ih @ x)), 3, 4)
    assert [value.width for value in step.after] == [4]


def test_cells_are_equal_if_their_class_and_attributes_are() -> None:
    assert GRU("before") == GRU("before") != GRU("after")
    assert len({LSTM(), LSTM(), RNN(), GRU("after"), GRU("before")}) == 4
    assert trace(GRU("before"), 3, 4) is trace(GRU("before"), 3, 4)
    assert trace(LSTM(), 3, 4, zoneout=1.0) is not trace(LSTM(), 3, 4, zoneout=True)


def test_what_does_not_depend_on_the_state_is_computed_before_the_loop() -> None:
    loop = trace(LSTM(), 3, 4, normed=True).loop
    assert {value.name for value in loop.values if value.op == "product"} == {"weight_hh"}
    assert [value.width for value in loop.sequences] == [16]
    assert [value.name for value in loop.constants] == ["gain_hh", "gain_c", "bias_c"]
    assert loop.matrices == ("weight_hh",)


def test_a_state_that_is_not_read_has_no_gradient_from_the_step() -> None:
    loop = trace(Wrong(lambda x, h, p: (tanh(p.weight_ih @ x),)), 3, 4).loop
    assert derive(loop).of_states == (None,)
    assert not derive(loop).kept


def test_the_way_back_stays_the_same_while_the_loop_lives() -> None:
    loops = [trace(RNN(), 1, hidden).loop for hidden in range(1, 300)]
    ways = [derive(loop) for loop in loops]
    assert all(derive(loop) is way for loop, way in zip(loops, ways, strict=True))


def test_without_a_gain_nothing_is_normalized() -> None:
    value = Value("x", 3)
    assert normalize(value, None) is value
