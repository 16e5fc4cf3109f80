"""Sampling from model files and modules: the engine and PyTorch write the same, one text or many."""

from __future__ import annotations

import math
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from generator_helpers import FULL_BYTES, VOCABULARY, lstm, table, uniform

from char_rnn.data.vocabulary import UnknownCharacterError
from char_rnn.generation import text_generator
from char_rnn.generation.engine import Engine
from char_rnn.generation.text_generator import TextGenerator
from char_rnn.model_file import ModelFile
from char_rnn.models import build_model
from char_rnn.sampling.strategies import PredictionError
from char_rnn.utils.config import Config


def saved(settings: dict[str, Any]) -> ModelFile:
    config = Config.model_validate(settings)
    torch.manual_seed(0)
    model = build_model(config.model, VOCABULARY.size, dtype=config.training.parameter_type)
    return ModelFile(config, VOCABULARY, {name: tensor.numpy() for name, tensor in model.state_dict().items()})


GRU: dict[str, Any] = {"model": {"type": "gru", "hidden_size": 8, "num_layers": 1, "reset": "before"}}


def test_from_a_model_file(tmp_path: Path) -> None:
    file = saved(GRU)
    path = file.write(tmp_path / "best.safetensors")
    expected = TextGenerator(Engine(file.config.model, file.tensors), VOCABULARY).generate("ab", 30, seed=1)
    for place in (path, str(path), tmp_path):
        assert TextGenerator.load(place).generate("ab", 30, seed=1) == expected


def test_the_engine_writes_what_the_pytorch_model_writes() -> None:
    file = saved(GRU)
    model = build_model(file.config.model, VOCABULARY.size, file.tensors)
    texts = [TextGenerator.load(file), TextGenerator(model, VOCABULARY)]
    assert len({generator.generate("ab", 300, 1.5, 4, 0.95, seed=2) for generator in texts}) == 1


MAP = {"a": 0, "b": 1, "\n": 2, "é": 3, "c": 4}
IN_BLOCKS: list[tuple[Any, dict[str, Any]]] = [
    (VOCABULARY, {}),
    (VOCABULARY, {"stop": ["abc", "dd\n"], "top_p": 0.9}),
    (VOCABULARY, {"stop_at_newline": True, "final_temperature": 2.0}),
    (VOCABULARY, {"stop": "bbbb", "typical_p": 0.8}),
    (FULL_BYTES, {"stop": ["é", "ab"], "allowed": "abc"}),
    (FULL_BYTES, {"stop": "\ufffd\ufffd"}),
    (FULL_BYTES, {"stop": "\ufffdA", "min_p": 0.01}),
    (MAP, {"stop": ["ab", "cé"], "top_k": 4}),
]


@pytest.mark.parametrize(("symbols", "options"), IN_BLOCKS, ids=str)
def test_in_blocks_it_is_the_same_text(symbols: Any, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    config = Config.model_validate({"model": {"hidden_size": 8, "num_layers": 1}}).model
    torch.manual_seed(0)
    tensors = build_model(config, len(symbols)).state_dict()
    generator = TextGenerator(Engine(config, {name: one.numpy() for name, one in tensors.items()}), symbols)
    pieces = [list(generator.stream("a", 1500, seed=seed, **options)) for seed in range(4)]
    texts = ["".join(of_a_seed) for of_a_seed in pieces]
    assert texts == [generator.generate("a", 1500, seed=seed, **options) for seed in range(4)]
    monkeypatch.setattr("char_rnn.generation.kernel_engine.KernelSteps.writer", lambda *_: None)
    assert texts == [generator.generate("a", 1500, seed=seed, **options) for seed in range(4)]


def test_text_before_predictions_gone_bad_is_given_out() -> None:
    file = saved(GRU)
    file.tensors["embedding.weight"][VOCABULARY.encode("d")] = math.nan
    stream, text = TextGenerator.load(file).stream("a", 1000, seed=1), ""
    with pytest.raises(PredictionError, match="contain NaN"):
        for piece in stream:
            text += piece
    assert len(text) > 2
    assert text.index("d") == len(text) - 1


def test_from_a_model_in_memory_in_its_own_precision() -> None:
    file = saved({"model": {"hidden_size": 8}, "training": {"precision": "float64"}})
    model = TextGenerator.load(file).model
    assert isinstance(model, Engine)
    assert model.precision == "float64"
    other = TextGenerator.load(file, precision="float32").model
    assert isinstance(other, Engine)
    assert other.precision == "float32"


def test_a_precision_that_is_none() -> None:
    with pytest.raises(ValueError, match=r"^precision: must be one of float64, .*; given 'int4'$"):
        TextGenerator.load(saved(GRU), precision="int4")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^precision: must be float32 or float64 on the device cuda; given 'int8'$"):
        TextGenerator.load(saved(GRU), "cuda", "int8")
    file = saved(GRU)
    with pytest.raises(ValueError, match=r"^device: an engine computes on the CPU; given 'cuda'$"):
        TextGenerator(Engine(file.config.model, file.tensors), VOCABULARY, device="cuda")


@pytest.mark.parametrize("prime", ["abc", ""])
@pytest.mark.parametrize(
    "options",
    [{}, {"top_p": 0.8}, {"repetition_penalty": 1.5, "min_p": 0.05}, {"stop": "ab", "final_temperature": 0.1}],
)
def test_sample_k_is_the_same_however_many_there_are(
    prime: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = TextGenerator.load(saved(GRU))
    texts = generator.generate_many(prime, 60, num_samples=9, seed=3, **options)
    assert texts[0] == generator.generate(prime, 60, seed=3, **options)
    assert generator.generate_many(prime, 60, num_samples=2, seed=3, **options) == texts[:2]
    monkeypatch.setattr(text_generator, "_TOGETHER", 4)
    assert generator.generate_many(prime, 60, num_samples=9, seed=3, **options) == texts
    assert len(set(texts)) == 9
    assert all(text.startswith(prime) for text in texts)


def test_many_samples_warn_once_of_what_they_skip(caplog: pytest.LogCaptureFixture) -> None:
    generator = TextGenerator.load(saved(GRU))
    texts = generator.generate_many("axb", 5, num_samples=3, seed=1, unknown="skip")
    assert texts[0] == generator.generate("axb", 5, seed=1, unknown="skip")
    assert caplog.messages == ["prime text: skipped unknown characters: 'x'"] * 2
    with pytest.raises(UnknownCharacterError):
        generator.generate_many("axb", 5, num_samples=3)


def test_many_samples_of_a_module() -> None:
    generator = TextGenerator(lstm(), VOCABULARY)
    texts = generator.generate_many("ab", 20, num_samples=3, seed=4)
    assert texts == [generator.generate_many("ab", 20, num_samples=k + 1, seed=4)[k] for k in range(3)]
    assert texts[0] == generator.generate("ab", 20, seed=4)


def test_many_samples_without_a_seed_or_a_length() -> None:
    generator = TextGenerator.load(saved(GRU))
    assert len(set(generator.generate_many("a", 40, num_samples=4))) == 4
    assert generator.generate_many("a", 40, num_samples=2) != generator.generate_many("a", 40, num_samples=2)
    assert generator.generate_many("ab", 0, num_samples=2) == ["ab", "ab"]
    for count in (0, 1.5, 10**7):
        with pytest.raises(
            ValueError, match=rf"^num_samples: must be a whole number from 1 to 1,000,000; given {count}"
        ):
            generator.generate_many("a", 4, num_samples=count)  # type: ignore[arg-type]


def test_beams_of_engine_and_module_agree() -> None:
    file = saved(GRU)
    module = TextGenerator(build_model(file.config.model, VOCABULARY.size, file.tensors), VOCABULARY)
    found, expected = (one.beam_search("ab", 12, 3, banned="d") for one in (TextGenerator.load(file), module))
    assert [text.text for text in found] == [text.text for text in expected]
    assert [text.log_probability for text in found] == pytest.approx(
        [text.log_probability for text in expected], abs=1e-4
    )


def test_the_further_settings_are_those_of_a_strategy() -> None:
    generator = TextGenerator(uniform(), VOCABULARY)
    assert set(generator.generate("a", 100, banned="b", seed=1)) == set("acd\n")
    assert set(generator.generate("", 100, allowed="ab", seed=1)) == set("ab")
    assert generator.generate("É", 1, 0, unknown="nearest", allowed="b") == "Éb"
    with pytest.raises(TypeError, match=r"^colour: not an option of generate"):
        generator.generate("a", 3, colour=1)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match=r"^min_p: must be a number more than 0 .*; given 2$"):
        generator.stream("a", 3, min_p=2)


@pytest.mark.slow
def test_sampling_loads_no_torch(tmp_path: Path) -> None:
    path = saved(GRU).write(tmp_path / "m.safetensors")
    write = "char_rnn.TextGenerator.load(sys.argv[1]).generate('ab', 5)"
    script = f"import sys, char_rnn; {write}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_large_draws_follow_the_model() -> None:
    model = table(torch.tensor([[0.5, 0.3, 0.2]]).log().repeat(3, 1))
    text = TextGenerator(model, {"a": 0, "b": 1, "c": 2}).generate("a", 3000, seed=11)[1:]
    counts = Counter(text)
    expected = {"a": 1500, "b": 900, "c": 600}
    assert sum((counts[c] - number) ** 2 / number for c, number in expected.items()) < 13.8  # p = 0.001
