"""Text generation, with models whose predictions are known and with the real ones."""

from __future__ import annotations

import math
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from char_rnn.data.vocabulary import UnknownCharacterError, Vocabulary
from char_rnn.generation import module, sampler
from char_rnn.generation.engine import Engine
from char_rnn.generation.sampler import TextGenerator
from char_rnn.generation.strategies import probabilities
from char_rnn.model_file import ModelFile
from char_rnn.models import CharGRU, CharLSTM, CharRNN, build_model
from char_rnn.utils.config import Config

VOCABULARY = Vocabulary.from_text("abcd\n")
FULL_BYTES = Vocabulary("bytes", range(256))


class Table(nn.Module):
    """A bigram model: row i of ``logits`` (V, V) predicts what follows symbol i. Its state counts symbols seen."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)
        self.vocab_size = len(logits)
        self.seen: list[list[int]] = []
        self.modes: list[bool] = []

    def init_hidden(self, batch_size: int, device: torch.device | str | None = None) -> Tensor:
        self.seen = []
        return torch.zeros(1, batch_size, 1)

    def forward(self, x: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        assert torch.is_inference_mode_enabled()
        assert int(hidden) == sum(len(row) for row in self.seen)
        self.seen.append(x[0].tolist())
        self.modes.append(self.training)
        return torch.log_softmax(self.logits[x], dim=-1), hidden + x.shape[1]


def table(logits: Tensor) -> Any:
    return Table(logits)


def uniform(vocabulary: Vocabulary = VOCABULARY) -> Any:
    return table(torch.zeros(vocabulary.size, vocabulary.size))


def cycle(vocabulary: Vocabulary = VOCABULARY) -> Any:
    """Predicts, almost surely, the next symbol of the vocabulary."""
    return table(torch.eye(vocabulary.size).roll(1, dims=1) * 100)


def lstm(vocabulary: Vocabulary = VOCABULARY, dropout: float = 0.0) -> CharLSTM:
    torch.manual_seed(1)
    return CharLSTM(vocabulary.size, 16, 2, dropout, initialization="uniform")


def test_the_prime_is_continued() -> None:
    assert TextGenerator(cycle(), VOCABULARY).generate("ab", 6, seed=0) == "abcd\nabc"


def test_the_whole_prime_runs_through_the_model_once() -> None:
    model = cycle()
    TextGenerator(model, VOCABULARY).generate("abca", 3, seed=0)
    assert model.seen == [[1, 2, 3], [1], [2], [3]]


def test_long_primes_run_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CHUNK", 3)
    model = cycle()
    assert TextGenerator(model, VOCABULARY).generate("aaaaaab", 1) == "aaaaaabc"
    assert [len(row) for row in model.seen] == [3, 3, 1]


@pytest.mark.parametrize("model_type", [CharLSTM, CharGRU, CharRNN])
def test_each_step_is_drawn_from_the_models_own_prediction(model_type: type[CharLSTM]) -> None:
    torch.manual_seed(2)
    model = model_type(VOCABULARY.size, 12, 2, 0.3)
    text = TextGenerator(model, VOCABULARY).generate("abc", 40, 0.9, 4, 0.9, seed=7)
    ids = torch.from_numpy(VOCABULARY.encode(text).astype(np.int64))
    log_probs, _ = model.eval()(ids[None, :-1])
    rng = np.random.default_rng(7)
    for place in range(3, len(ids)):
        weights = probabilities(log_probs[0, place - 1].double().detach().numpy(), 0.9, 4, 0.9)
        drawn = int(np.searchsorted(np.cumsum(weights), rng.random(), side="right"))
        assert drawn == ids[place]


def test_an_empty_prime_starts_from_the_uniform_distribution() -> None:
    generator = TextGenerator(cycle(), VOCABULARY)
    counts = Counter(generator.generate("", 1, top_k=1, seed=seed) for seed in range(1000))
    assert set(counts) == set("abcd\n")
    assert sum((number - 200) ** 2 / 200 for number in counts.values()) < 18.5  # p = 0.001
    model = cycle()
    first, second = TextGenerator(model, VOCABULARY).generate("", 2, seed=3)
    assert model.seen == [VOCABULARY.encode(first).tolist()]
    assert second == "\nabcd\n"["\nabcd".index(first) + 1]


def test_greedy_needs_no_seed() -> None:
    generator = TextGenerator(lstm(), VOCABULARY)
    assert generator.generate("", 30, 0) == generator.generate("", 30, 0)
    assert generator.generate("", 1, 0) == "\n"
    assert TextGenerator(uniform(), VOCABULARY).generate("d", 3, 0) == "d\n\n\n"


def test_seeds_repeat() -> None:
    generator = TextGenerator(lstm(), VOCABULARY)
    texts = [generator.generate("a", 50, seed=seed) for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]
    assert generator.generate("a", 50) != generator.generate("a", 50)


def test_the_stream_is_the_text_piece_by_piece() -> None:
    generator = TextGenerator(lstm(), VOCABULARY)
    pieces = list(generator.stream("ab", 20, seed=4))
    assert pieces[0] == "ab"
    assert [len(piece) for piece in pieces[1:]] == [1] * 20
    assert "".join(pieces) == generator.generate("ab", 20, seed=4)
    assert "" not in list(generator.stream("", 5, seed=4))


def test_length_zero_is_the_prime_alone() -> None:
    model = cycle()
    assert TextGenerator(model, VOCABULARY).generate("ab", 0) == "ab"
    assert TextGenerator(model, VOCABULARY).generate("", 0) == ""
    assert model.seen == []


def test_a_stop_text_ends_before_itself() -> None:
    generator = TextGenerator(cycle(), VOCABULARY)
    assert generator.generate("a", 100, stop="\na") == "abcd"
    assert list(generator.stream("a", 100, stop="\na")) == ["a", "b", "c", "d"]
    assert generator.generate("abcd\na", 3, stop="a") == "abcd\nabcd"
    assert generator.generate("a", 4, stop="\nab") == "abcd\n"


def test_the_model_is_left_in_the_mode_it_was_in() -> None:
    model = lstm(dropout=0.5)
    model.get_submodule("embedding").eval()
    modes = [module.training for module in model.modules()]
    generator = TextGenerator(model, VOCABULARY)
    text = generator.generate("a", 20, seed=1)
    assert [module.training for module in model.modules()] == modes
    model.eval()
    assert generator.generate("a", 20, seed=1) == text
    assert not model.training


def test_training_may_go_on_between_two_pieces() -> None:
    model = cycle()
    for _ in TextGenerator(model, VOCABULARY).stream("a", 3):
        assert model.training
        assert not torch.is_inference_mode_enabled()
        model.logits.sum().backward()
    assert model.modes == [False] * 3


def test_a_failing_model_is_left_in_its_mode() -> None:
    model = lstm()
    with pytest.raises(ValueError, match="given -1"):
        TextGenerator(model, VOCABULARY).generate("a", 3, -1)
    with torch.no_grad():
        model.output_proj.bias.fill_(math.nan)
    with pytest.raises(ValueError, match=r"^logits: hold NaN, which no symbol can be drawn from; has the model's"):
        TextGenerator(model, VOCABULARY).generate("a", 3)
    assert model.training


def test_unknown_characters_of_the_prime_are_an_error() -> None:
    with pytest.raises(UnknownCharacterError, match=r"'x' \(U\+0078\) at position 1"):
        TextGenerator(cycle(), VOCABULARY).generate("axb")


def test_unknown_characters_of_the_prime_can_be_skipped(caplog: pytest.LogCaptureFixture) -> None:
    model = cycle()
    assert TextGenerator(model, VOCABULARY).generate("axbé", 2, unknown="skip") == "axbécd"
    assert model.seen[:2] == [[1], [2]]
    assert caplog.messages == ["prime text: skipped what the vocabulary has not: 'x' 'é'"]


def test_a_prime_of_unknown_characters_alone_is_an_empty_one() -> None:
    text = TextGenerator(cycle(), VOCABULARY).generate("xyz", 1, 0, unknown="skip")
    assert text == "xyz\n"


def test_the_specifications_call() -> None:
    chars = {"z": 0, "y": 1, "x": 2}
    model = table(torch.eye(3).roll(1, dims=1) * 100)
    generator = TextGenerator(model, chars, {0: "z", 1: "y", 2: "x"}, torch.device("cpu"))
    assert generator.generate(prime_text="z", length=4, temperature=1.0, top_k=None, top_p=None) == "zyxzy"
    with pytest.raises(UnknownCharacterError, match="'a'"):
        generator.generate("za")


def test_a_byte_model_never_shows_part_of_a_character() -> None:
    text = "é€😀"
    data = text.encode()
    logits = torch.zeros(256, 256)
    for first, second in pairwise(data):
        logits[first, second] += 100
    # 0x82 ends the second character and 0x80 is inside the third: the bigrams of these three are all distinct.
    generator = TextGenerator(table(logits), FULL_BYTES)
    assert list(generator.stream("é", len(data) - 2, 0)) == ["é", "€", "😀"]
    assert generator.generate("é", len(data) - 3, 0) == "é€"
    assert generator.generate("é", 1, 0) == "é"


def test_length_counts_bytes_for_a_byte_model() -> None:
    logits = torch.zeros(256, 256)
    logits[:, ord("a")] = 100
    assert TextGenerator(table(logits), FULL_BYTES).generate("€", 5) == "€aaaaa"


def test_a_byte_model_that_writes_no_utf8_still_writes() -> None:
    logits = torch.full((256, 256), -100.0)
    logits[:, 0xFF] = 100
    assert TextGenerator(table(logits), FULL_BYTES).generate("a", 2) == "a\ufffd\ufffd"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"length": -1}, "length: must be a whole number, 0 or more; given -1"),
        ({"length": 1.5}, "length: .*; given 1.5"),
        ({"length": True}, "length: .*; given True"),
        ({"temperature": -1}, "temperature: .*; given -1"),
        ({"top_k": 0}, "top_k: .*; given 0"),
        ({"top_p": 0.0}, "top_p: .*; given 0.0"),
        ({"seed": -1}, "seed: must be a whole number, 0 or more, or None for a new one; given -1"),
        ({"seed": 1.0}, "seed: .*; given 1.0"),
        ({"stop": ""}, "stop: must be a text of at least one character, or None to go on to the full length"),
        ({"unknown": "drop"}, "unknown: must be error, skip or nearest; given 'drop'"),
    ],
)
def test_bad_arguments_raise_before_the_first_piece(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        TextGenerator(cycle(), VOCABULARY).stream("a", **options)


def test_a_vocabulary_of_another_model_is_an_error() -> None:
    message = r"^vocabulary: has 6 symbols, but the model was made for 5; use the one it was trained with$"
    with pytest.raises(ValueError, match=message):
        TextGenerator(cycle(), Vocabulary.from_text("abcdef"))


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
    monkeypatch.setattr(sampler, "_TOGETHER", 4)
    assert generator.generate_many(prime, 60, num_samples=9, seed=3, **options) == texts
    assert len(set(texts)) == 9
    assert all(text.startswith(prime) for text in texts)


def test_many_samples_warn_once_of_what_they_skip(caplog: pytest.LogCaptureFixture) -> None:
    generator = TextGenerator.load(saved(GRU))
    texts = generator.generate_many("axb", 5, num_samples=3, seed=1, unknown="skip")
    assert texts[0] == generator.generate("axb", 5, seed=1, unknown="skip")
    assert caplog.messages == ["prime text: skipped what the vocabulary has not: 'x'"] * 2
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
    with pytest.raises(TypeError, match="'colour'"):
        generator.generate("a", 3, colour=1)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match=r"^min_p: must be a number more than 0 .*; given 2$"):
        generator.stream("a", 3, min_p=2)


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
