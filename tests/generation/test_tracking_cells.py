"""Cells that track features, in texts with obvious features."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from char_rnn.generation.tracking_cells import FEATURES, best_cells, correlations

TEXTS = {
    "quotes": [
        ('a "b c" d', "001111000"),
        ("“a” «b»", "1100110"),
        ("it's 'so' o'er", "00000111000000"),
        ('an "open one\n\nand a "new" one', "0" * 20 + "1111" + "0" * 5),
    ],
    "line length": [("ab\n\nc", "12001")],
    "indentation": [("  a b\n\tc\nd", "1222204400")],
    "brackets": [("f(a[1]{)}))(x", "0112212100011"), ("(a\n\nb)", "111000")],
    "word starts": [("a b2, c", "1010001")],
    "capitals": [("A bC É", "100101")],
}


@pytest.mark.parametrize(
    ("name", "text", "expected"), [(name, *case) for name, cases in TEXTS.items() for case in cases]
)
def test_features(name: str, text: str, expected: str) -> None:
    assert FEATURES[name](text).tolist() == [float(digit) for digit in expected]


@given(st.text(alphabet="a \n\"'“”()[]{}\t", max_size=60))
def test_every_feature_has_a_finite_value_for_each_character(text: str) -> None:
    for name, of in FEATURES.items():
        values = of(text)
        assert values.shape == (len(text),), name
        assert np.isfinite(values).all()
        assert (values >= 0).all()


def test_correlations_are_pearsons() -> None:
    rng = np.random.default_rng(0)
    features, activations = rng.normal(size=(3, 200)), rng.normal(size=(200, 4))
    expected = np.corrcoef(features, activations.T)[:3, 3:]
    np.testing.assert_allclose(correlations(features, activations), expected, atol=1e-12)


def test_constant_features_and_cells_have_correlation_0() -> None:
    features, activations = np.array([[0.1] * 50, [1.0, 2.0] * 25]), np.full((50, 2), 0.3)
    assert correlations(features, activations).tolist() == [[0, 0], [0, 0]]


def test_the_planted_cells_are_found() -> None:
    text = 'He said "go on" and left (so).\n  Then "no", he said.\n' * 20
    rng = np.random.default_rng(0)
    activations = rng.normal(size=(len(text), 2, 5))
    activations[:, 1, 3] = 0.8 * FEATURES["quotes"](text) + 0.01 * rng.normal(size=len(text))
    activations[:, 0, 2] = -FEATURES["line length"](text)
    found = best_cells(text, activations, count=2)
    first = {cell.tracks: cell for cell in reversed(found)}
    assert [cell.tracks for cell in found] == [name for name in FEATURES for _ in range(2)]
    assert (first["quotes"].layer, first["quotes"].index) == (1, 3)
    assert first["quotes"].correlation > 0.99
    assert (first["line length"].layer, first["line length"].index) == (0, 2)
    assert first["line length"].correlation == pytest.approx(-1)


def test_several_texts_have_features_of_their_own() -> None:
    texts = ['a "b (c\n', "d e\n" * 10, 'f "g" h'] * 4
    values = np.concatenate([FEATURES["line length"](text) for text in texts])
    activations = np.random.default_rng(0).normal(size=(len(values), 1, 3))
    activations[:, 0, 1] = values
    cell = next(cell for cell in best_cells(texts, activations, 1) if cell.tracks == "line length")
    assert (cell.index, cell.correlation) == (1, pytest.approx(1))
    assert best_cells([], np.zeros((0, 1, 3))) == []


@pytest.mark.parametrize("line_end", ["\r", "\x85", "\u2028"])
def test_other_line_ends(line_end: str) -> None:
    text = 'a "b" (c).\n  d, e\n\n' * 20
    activations = np.random.default_rng(0).normal(size=(len(text), 1, 4))
    assert best_cells(text.replace("\n", line_end), activations) == best_cells(text, activations)


def test_features_that_the_text_lacks_are_omitted() -> None:
    text = "all lower case words of one line " * 4
    names = {cell.tracks for cell in best_cells(text, np.random.default_rng(0).normal(size=(len(text), 1, 3)))}
    assert names == {"line length", "word starts"}
    assert best_cells("", np.zeros((0, 1, 3))) == []


def test_there_must_be_an_activation_for_each_character() -> None:
    with pytest.raises(ValueError, match="one for each of 3 characters; given 2"):
        best_cells("abc", np.zeros((2, 1, 1)))
