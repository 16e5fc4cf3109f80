"""The base of recurrent cells, and the graph of a step that is made from their equations.

Dimensions: I input size, H hidden, R rounds of the mogrifier.
"""

from __future__ import annotations

import inspect
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, ClassVar

from char_rnn.cells.language import Matrix, Value, ordered, sigmoid

Shapes = dict[str, tuple[int, ...]]

CELLS: dict[str, type[Cell]] = {}
"""Cells by name: the built-in ones, and those that the importing program defines."""

TAKEN = frozenset({"symbols", "log_probs", "memory"})
"""Names that parts of a state cannot have."""


class Cell(ABC):
    """Base of the cells. Two instances of a class with equal attributes are the same cell.

    Defining a subclass with a `name` adds it to `CELLS`: configurations and model files find it by that name.

    A layer has the parameters ``weight_ih`` (GH, I), ``weight_hh`` (GH, H), ``bias_ih`` and ``bias_hh`` (GH,), with G
    the number of `gates`, and those of `vectors`. A cell that is not `recurrent` has no ``weight_hh`` and ``bias_hh``.
    """

    name: ClassVar[str]
    """Name in configurations and of the layers in the state dict: lower-case letters, digits and underscores."""
    gates: ClassVar[int]
    state: ClassVar[tuple[str, ...]] = ("h",)
    """Parts of the state, each (B, H); the first is the layer's output."""
    recurrent: ClassVar[bool] = True
    """Whether there are products with the state before the step."""
    forget_gate: ClassVar[int | None] = None
    """Number of the gate whose input bias starts at 1 in some initialization schemes; None for none."""
    vectors: ClassVar[Mapping[str, int]] = {}
    """Additional parameters, with their lengths in multiples of H."""
    normalization: ClassVar[Mapping[str, int]] = {}
    """Parameters of layer normalization inside the cell, likewise; empty without it. Gains start at 1, biases at 0."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "name" in vars(cls):
            _register(cls)

    @abstractmethod
    def step(self, x: Value, state: Sequence[Value], p: Any) -> Sequence[Value]:
        """Return the state after a step.

        Args:
            x: Input, (B, I).
            state: Parts of the state before the step, (B, H) each.
            p: Parameters by name: a :class:`Matrix` or a vector; those of layer normalization are None without it.
        """

    def shapes(self, inputs: int, hidden: int, *, normed: bool = False, mogrifier: int = 0) -> Shapes:
        """Return the shapes of a layer's parameters, by name, in the order of the state dict.

        Args:
            inputs: I.
            hidden: H.
            normed: Whether there is layer normalization inside the cell.
            mogrifier: R.
        """
        wide = self.gates * hidden
        shapes: Shapes = {"weight_ih": (wide, inputs), "weight_hh": (wide, hidden)}
        lengths = {"bias_ih": self.gates, "bias_hh": self.gates, **self.vectors}
        lengths.update(self.normalization if normed else {})
        shapes.update((name, (multiple * hidden,)) for name, multiple in lengths.items())
        sides = ((inputs, hidden), (hidden, inputs))
        shapes.update((f"mogrifier_{number}", sides[number % 2]) for number in range(mogrifier))
        return {name: shape for name, shape in shapes.items() if self.recurrent or not name.endswith("_hh")}

    @property
    def _key(self) -> tuple[Any, ...]:
        return type(self), *sorted(vars(self).items())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Cell) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)


def _register(cell: type[Cell]) -> None:
    """Add a cell to `CELLS`; raise ValueError if configurations or exports could not name it or its parts."""
    kind, other = cell.__name__, CELLS.get(cell.name, cell)
    for name in (cell.name, *cell.state, *cell.vectors, *cell.normalization):
        if not re.fullmatch("[a-z][a-z0-9_]*", name):
            rule = "must consist of lower-case letters, digits and _, and begin with a letter"
            raise ValueError(f"{kind}: the name {name!r} {rule}")
    if taken := sorted(TAKEN.intersection(cell.state)):
        raise ValueError(f"{kind}.state: {', '.join(taken)} is the name of another input of exported models")
    if (other.__module__, other.__qualname__) != (cell.__module__, cell.__qualname__):
        raise ValueError(f"{kind}.name: {cell.name!r} is the name of {other.__module__}.{other.__name__}; give another")
    given = inspect.signature(cell).parameters.values()
    if needed := [p.name for p in given if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]:
        raise ValueError(f"{kind}: {', '.join(needed)} must have a default; configurations have only a cell's name")
    CELLS[cell.name] = cell


class _Parameters:
    """The parameters of a layer, for a cell's equations."""

    def __init__(self, cell: Cell, shapes: Shapes) -> None:
        self.__dict__.update(dict.fromkeys(cell.normalization))
        for name, (width, *columns) in shapes.items():
            self.__dict__[name] = Matrix(name, 0, width, *columns) if columns else Value("vector", width, name=name)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"{name}: not a parameter of the cell; it has {', '.join(self.__dict__)}")


@dataclass(frozen=True, eq=False)
class Step:
    """The graph of a cell's step: the names of the parts of the state, and these parts after the step."""

    shapes: Shapes
    hidden: int
    state: tuple[str, ...]
    after: tuple[Value, ...]

    @cached_property
    def values(self) -> list[Value]:
        """All values, each after its inputs."""
        return ordered(self.after)

    @cached_property
    def loop(self) -> Loop:
        """The loop over time, without what is computed for all steps at once."""
        return loop_of(self)


@lru_cache(maxsize=256, typed=True)  # for zoneout, 1.0 is not True
def trace(
    cell: Cell,
    inputs: int,
    hidden: int,
    *,
    normed: bool = False,
    mogrifier: int = 0,
    zoneout: float | bool | tuple[float, ...] = False,
) -> Step:
    """Make the graph of a step; see :meth:`Cell.shapes` for its sizes.

    In the rounds of the mogrifier, x and h gate each other before the step (Melis et al. 2020, arXiv 1909.01792).
    `zoneout` is how far the state moves from its old value to the cell's new one (Krueger et al. 2017, arXiv
    1606.01305): an ``update`` for each part (True), or a number, for all parts or each; False for no zoneout.

    Raises:
        ValueError: The equations fail, have wrong widths, or do not return the state that the cell names.
    """
    shapes = cell.shapes(inputs, hidden, normed=normed, mogrifier=mogrifier)
    parameters = _Parameters(cell, shapes)
    x, before = Value("x", inputs), tuple(Value("state", hidden, name=name) for name in cell.state)
    h = before[0]
    for number in range(mogrifier):
        matrix = getattr(parameters, f"mogrifier_{number}")
        if number % 2 == 0:
            x = 2.0 * sigmoid(matrix @ h) * x
        else:
            h = 2.0 * sigmoid(matrix @ x) * h
    try:
        made = cell.step(x, (h, *before[1:]), parameters)
    except Exception as error:
        raise ValueError(f"{type(cell).__name__}.step: {error}") from error
    after = (made,) if isinstance(made, Value) else tuple(made)
    if [value.width for value in after] != [hidden] * len(before):
        widths = ", ".join(str(value.width) for value in after) or "nothing"
        raise ValueError(
            f"{type(cell).__name__}.step: must return {' and '.join(cell.state)}, {hidden} wide; got {widths}"
        )
    if x not in ordered(after):
        raise ValueError(f"{type(cell).__name__}.step: its result does not depend on the input x")
    if zoneout is not False:
        how = zoneout if isinstance(zoneout, tuple) else (zoneout,) * len(before)
        after = tuple(map(_zoned, before, after, how))
    return Step(shapes, hidden, cell.state, after)


def _zoned(old: Value, new: Value, zoneout: float | bool) -> Value:
    update = Value("update", old.width, name=old.name) if zoneout is True else zoneout
    return old + (new - old) * update


@dataclass(frozen=True, eq=False)
class Loop:
    """The part of a step that depends on the previous step; the rest is computed for all steps at once.

    Attributes:
        sequences: Values that depend on the input, given for every step, (T, B, width).
        constants: Values that depend only on parameters, the same at every step, (width,).
        states: Parts of the state before the step.
        updates: Updates of zoneout for the same parts; none without zoneout, or if it is a number.
        matrices: Names of the matrices in the loop's products.
        after: Parts of the state after the step.
        values: Values that the loop computes, each after its inputs.
        before: Values computed before the loop, likewise.
    """

    sequences: tuple[Value, ...]
    constants: tuple[Value, ...]
    states: tuple[Value, ...]
    updates: tuple[Value, ...]
    matrices: tuple[str, ...]
    after: tuple[Value, ...]
    values: tuple[Value, ...]
    before: tuple[Value, ...]


@lru_cache(maxsize=1024)
def loop_of(step: Step, given: str = "all") -> Loop:
    """Separate what depends on the state from what does not; return the same object for the same arguments.

    `given` are the values independent of the state that are computed before the loop: "all"; "products" of the
    input, and all that depends only on parameters; or "input", only the latter.
    """
    kinds: dict[Value, frozenset[str]] = {}
    for value in step.values:
        own = {value.op} & {"x", "state", "update"}
        kinds[value] = frozenset(own).union(*(kinds[each] for each in value.inputs))
    of_loop = {"state", "update"} if given == "all" else {"state", "update", "x"}

    def is_before(value: Value) -> bool:
        return value.op == "x" or (given == "products" and value.op == "product" and kinds[value] == {"x"})

    inside = {value: None for value in step.values if kinds[value] & of_loop and not is_before(value)}
    used = dict.fromkeys([*(each for value in inside for each in value.inputs), *step.after])
    # Slices of given values belong to the loop, so that the gradient of the whole value is computed there at once.
    inside.update((value, None) for value in used if value.op in ("number", "slice"))
    used.update((each, None) for value in inside for each in value.inputs)
    outside = [value for value in used if value not in inside]
    found = {(value.op, value.name): value for value in inside}
    states = [found.get(("state", name), Value("state", step.hidden, name=name)) for name in step.state]
    computed = [value for value in ordered(inside, outside) if value.op not in ("state", "update")]
    return Loop(
        sequences=tuple(value for value in outside if "x" in kinds[value]),
        constants=tuple(value for value in outside if "x" not in kinds[value]),
        states=tuple(states),
        updates=tuple(value for value in inside if value.op == "update"),
        matrices=tuple(dict.fromkeys(value.name for value in computed if value.op == "product")),
        after=step.after,
        values=tuple(computed),
        before=tuple(ordered(outside)),
    )
