"""Activations are the states of the model, and a coloured text is the text, whatever its characters."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import numpy as np
import pytest
import torch
from generator_helpers import FULL_BYTES, VOCABULARY, uniform

from char_rnn.data.vocabulary import UnknownCharacterError, Vocabulary
from char_rnn.generation.cell_activations import MOST, CellActivations, ColouredText
from char_rnn.generation.engine import Engine
from char_rnn.generation.text_generator import TextGenerator
from char_rnn.models import CharModel, build_model
from char_rnn.utils.config import ModelConfig


def model_and_engine(vocabulary: Vocabulary = VOCABULARY, **options: Any) -> tuple[CharModel, Engine]:
    config = ModelConfig.model_validate({"hidden_size": 8, "num_layers": 2, "initialization": "uniform", **options})
    torch.manual_seed(3)
    model = build_model(config, vocabulary.size).eval()
    return model, Engine(config, {name: tensor.numpy() for name, tensor in model.state_dict().items()})


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"type": "lstm"}, ["h", "c"]),
        ({"type": "gru"}, ["h"]),
        ({"type": "slstm", "attention": "all", "attention_window": 3, "match_lengths": [1]}, ["h", "c", "n"]),
    ],
)
def test_they_are_the_states_of_the_model(options: dict[str, Any], names: list[str]) -> None:
    model, engine = model_and_engine(**options)
    text, hidden, expected = "abcd\nabca", None, []
    for symbol in VOCABULARY.encode(text).tolist():
        with torch.inference_mode():
            hidden = model(torch.tensor([[symbol]]), hidden)[1]
        parts = hidden if isinstance(hidden, tuple) else (hidden,)
        expected.append([part[:, 0].numpy() for part in parts[: len(names)]])
    for predictor in (model, engine):
        found = TextGenerator(predictor, VOCABULARY).activations(text)
        assert list(found.states) == names
        assert {states.dtype for states in found.states.values()} == {np.dtype(np.float32)}
        for place, name in enumerate(names):
            np.testing.assert_allclose(found[name], [parts[place] for parts in expected], rtol=0, atol=1e-5)
        assert found.output is found["h"]
        assert repr(found) == f"<CellActivations {', '.join(names)}: 9 characters, 2 layers, 8 units>"


def test_a_character_of_several_bytes_has_the_state_after_the_last() -> None:
    generator = TextGenerator(model_and_engine(FULL_BYTES)[1], FULL_BYTES)
    found = generator.activations("aé b")
    assert found.output.shape == (4, 2, 8)
    np.testing.assert_array_equal(found.output[1], generator.activations("aé").output[-1])
    assert not np.array_equal(found.output[0], found.output[1])


def test_unknown_characters_are_an_error_or_treated_as_asked() -> None:
    generator = TextGenerator(model_and_engine()[1], VOCABULARY)
    with pytest.raises(UnknownCharacterError, match="x"):
        generator.activations("abx")
    np.testing.assert_array_equal(
        generator.activations("aBxc", "nearest").output, generator.activations("abc").output[[0, 1, 1, 2]]
    )
    assert generator.activations("").show_best().text == ""


def test_a_part_of_the_state_colours_the_text() -> None:
    found = TextGenerator(model_and_engine()[1], VOCABULARY).activations("abc\nd")
    np.testing.assert_array_equal(found.show(1, 3).values, found["h"][:, 1, 3])
    np.testing.assert_array_equal(found.show(0, -1, "c").values, found["c"][:, 0, 7])
    assert found.show(1, 3, "c").title == "c of layer 1, unit 3"
    with pytest.raises(IndexError):
        found.show(2, 0)
    with pytest.raises(KeyError):
        found.show(0, 0, "gate")


def test_the_shown_cell_tracks_a_feature() -> None:
    text = "ab(cd)\n" * 40
    states = np.random.default_rng(0).normal(size=(len(text), 2, 5)).astype(np.float32)
    states[:, 1, 3] = [character in "(cd" for character in text]
    found = CellActivations(text, {"h": states})
    assert ("brackets", 1, 3) in {(cell.tracks, cell.layer, cell.index) for cell in found.tracking()}
    assert found.show_best().title == "h of layer 1, unit 3, tracks brackets (r = +1.00)"
    assert "tracks brackets" in (found._repr_html_() or "")


HOSTILE = "<b>&amp;\"'\x1b[31m\x00\udc80</pre><script>é\n"


def text_of(html: str) -> str:
    return unescape(re.sub("<[^>]*>", "", html.partition("<pre")[2].partition(">")[2].partition("</pre>")[0]))


@pytest.mark.parametrize("values", [np.zeros(len(HOSTILE)), np.linspace(-1, 3, len(HOSTILE))])
def test_the_text_is_escaped(values: np.ndarray) -> None:
    html = ColouredText(HOSTILE, values, "a <cell>")._repr_html_()
    shown = HOSTILE.replace("\x1b", r"\x1b").replace("\x00", r"\x00").replace("\udc80", r"\x80")
    assert text_of(html) == shown
    assert "<script" not in html
    assert "a &lt;cell&gt;" in html
    html.encode()
    assert re.sub(r"\x1b\[[\d;]*m", "", str(ColouredText(HOSTILE, values))) == shown


def test_blue_is_below_0_and_orange_above() -> None:
    coloured = ColouredText("abcde", np.array([-2, -2, 0, 2, np.nan]), "cell")
    html = coloured._repr_html_()
    assert '<span style="background: rgba(47, 127, 214, 0.65)">ab</span>c<span' in html
    assert "rgba(239, 138, 23, 0.65)" in html
    assert "cell: blue -2, orange +2" in html
    assert "m\x1b[97mab\x1b[48;2;40;40;40m\x1b[97mc\x1b[48;2;" in str(coloured)
    assert repr(coloured) == "<ColouredText cell: 5 characters>"


@pytest.mark.parametrize(("values", "legend"), [([0, 3], "orange +3"), ([-2, 0], "blue -2"), ([0, 0], "all 0")])
def test_the_legend_names_the_colours_that_occur(values: list[int], legend: str) -> None:
    assert f"<small>bits: {legend}</small>" in ColouredText("ab", np.array(values), "bits")._repr_html_()


def test_a_notebook_shows_the_beginning_of_a_long_text() -> None:
    coloured = ColouredText("ab" * MOST, np.tile([-1.0, 1.0], MOST))
    assert len(text_of(coloured._repr_html_())) == MOST
    assert "blue -1, orange +1, the first 20,000 of 40,000 characters" in coloured._repr_html_()
    assert str(coloured).count("a") == MOST


def test_a_generator_shows_its_model_and_a_text() -> None:
    vocabulary = Vocabulary.from_text("<&ab \n")
    generator = TextGenerator(model_and_engine(vocabulary)[1], vocabulary)
    assert repr(generator) == "<TextGenerator: 2-layer lstm with 8 units, 6 characters, float32>"
    html = generator._repr_html_()
    assert html is not None
    assert html.startswith("<b>2-layer lstm with 8 units, 6 characters, float32</b>")
    assert text_of(html) == generator.generate("\n\n", 400, temperature=0.8, seed=1).removeprefix("\n\n")
    assert html == generator._repr_html_()


def test_a_display_does_not_raise() -> None:
    _, engine = model_and_engine()
    generator = TextGenerator(engine, VOCABULARY)
    generator.generate = None  # type: ignore[assignment, method-assign]
    assert generator._repr_html_() is None
    assert CellActivations("abc", {"h": np.zeros((2, 1, 1), np.float32)})._repr_html_() is None
    own = TextGenerator(uniform(), VOCABULARY)  # a model of another class
    assert repr(own) == "<TextGenerator: 1-layer Table with 1 unit, 5 characters, cpu>"
    assert own.activations("abc")["h"].ravel().tolist() == [1, 2, 3]
