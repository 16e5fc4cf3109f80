"""``char-rnn sample``: what is read, how it is drawn, where it ends, how many there are."""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from cli_helpers import Command, Outcome, loaded

from char_rnn import TextGenerator
from char_rnn.data.vocabulary import Vocabulary
from char_rnn.model_file import ModelFile
from char_rnn.models.parameters import parameter_shapes
from char_rnn.utils.config import Config
from char_rnn.utils.config.schema import DataConfig

LETTERS = Vocabulary.from_text("abcdeE\n ")
BYTES = Vocabulary("bytes", range(256))


def made(vocabulary: Vocabulary, path: Path, **generation: object) -> Path:
    config = Config.model_validate({"model": {"hidden_size": 6}, "generation": {"top_p": None, **generation}})
    rng = np.random.default_rng(2)
    shapes = dict(parameter_shapes(config.model, vocabulary.size))
    tensors = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    return ModelFile(config, vocabulary, tensors, {"step": 1}).write(path)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(LETTERS, tmp_path_factory.mktemp("models") / "letters.safetensors")


@pytest.fixture(scope="module")
def generator(path: Path) -> TextGenerator:
    return TextGenerator.load(path)


def test_every_setting_of_the_drawing_is_obeyed(char_rnn: Command, path: Path, generator: TextGenerator) -> None:
    arguments = ["--temperature", 1.5, "--final-temperature", 0.5, "--top-k", 5, "--top-p", 0.9, "--min-p", 0.1]
    arguments += ["--typical-p", 0.8, "--repetition-penalty", 1.3, "--repetition-window", 5, "--ban", "b", "--seed", 1]
    expected = generator.generate(
        "", 200, 1.5, 5, 0.9, final_temperature=0.5, min_p=0.1, typical_p=0.8, repetition_penalty=1.3,
        repetition_window=5, banned="b", seed=1,
    )  # fmt: skip
    done = char_rnn("sample", path, "--length", 200, *arguments, "-q")
    assert (done.status, done.out, done.err) == (0, expected + "\n", "")
    plain = char_rnn("sample", path, "--length", 200, "--seed", 1, "-q").out
    alone = [arguments[place : place + 2] for place in range(0, len(arguments) - 2, 2)]
    alone.remove(["--repetition-window", 5])  # which says nothing without a penalty
    for option in alone:
        assert char_rnn("sample", path, "--length", 200, "--seed", 1, *option, "-q").out != plain, option


def test_only_some_characters(char_rnn: Command, path: Path) -> None:
    assert set(char_rnn("sample", path, "--length", 90, "--only", "aE", "-q").out) == set("aE\n")


def test_what_is_not_given_is_the_models(char_rnn: Command, tmp_path: Path) -> None:
    settings = {"temperature": 2.0, "final_temperature": 0.1, "min_p": 0.02, "typical_p": 0.95, "top_k": 7}
    settings |= {"repetition_penalty": 1.2, "repetition_window": 9, "length": 150, "seed": 3, "prime": "ab"}
    path = made(LETTERS, tmp_path / "m.safetensors", **settings)
    options = {name: value for name, value in settings.items() if name != "prime"}
    assert char_rnn("sample", path, "-q").out == TextGenerator.load(path).generate("ab", **options) + "\n"
    greedy = TextGenerator.load(path).generate(
        "ab", 150, 0, repetition_penalty=1.2, repetition_window=9, seed=3, top_k=7
    )
    assert char_rnn("sample", path, "-sample", 0, "-q").out == greedy + "\n"


def test_several_samples_stand_with_a_line_between_them(
    char_rnn: Command, path: Path, generator: TextGenerator
) -> None:
    arguments = ["--prime", "ab", "--length", 30, "--seed", 5, "--stop-at-newline", "-q"]
    expected = generator.generate_many("ab", 30, num_samples=4, seed=5, stop_at_newline=True)
    assert char_rnn("sample", path, *arguments, "--num-samples", 4).out == "\n---\n".join(expected) + "\n"
    assert char_rnn("sample", path, *arguments).out == expected[0] + "\n"
    hidden = char_rnn("sample", path, *arguments, "--num-samples", 4, "--hide-prime").out
    assert hidden == "\n---\n".join(text.removeprefix("ab") for text in expected) + "\n"


@pytest.mark.parametrize("source", ["file", "-"])
def test_the_prime_may_be_a_file(
    char_rnn: Command, path: Path, tmp_path: Path, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "prime.txt"
    file.write_bytes(b"ab c\n")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"ab c\n")))
    arguments = ["--length", 20, "--seed", 1, "-q"]
    expected = char_rnn("sample", path, "--prime", "ab c\n", *arguments).out
    given = char_rnn("sample", path, "--prime-file", file if source == "file" else "-", "--hide-prime", *arguments).out
    assert "ab c\n" + given == expected


def test_a_prime_file_of_any_bytes_for_a_model_of_bytes(char_rnn: Command, tmp_path: Path) -> None:
    path, file = made(BYTES, tmp_path / "m.safetensors"), tmp_path / "prime"
    file.write_bytes(b"\xff\xfe\r\n")
    done = char_rnn("sample", path, "--prime-file", file, "--length", 3, "--only", "z", "-q")
    assert (done.status, done.err) == (0, "")
    done = char_rnn("sample", path, "--prime-file", file, "--length", 3, "--only", "z", "-q", "--hide-prime")
    assert done.out == "zzz\n"


def test_a_prime_file_is_read_as_the_training_text_was(char_rnn: Command, tmp_path: Path) -> None:
    path, file = tmp_path / "m.safetensors", tmp_path / "prime.txt"
    letters = Vocabulary.from_text("ab‘é\n ")
    config = ModelFile.read(made(letters, path)).config.model_copy(update={"data": DataConfig(encoding="cp1252")})
    ModelFile(config, letters, ModelFile.read(path).tensors, {}).write(path)

    def sample(content: bytes, *more: str) -> Outcome:
        file.write_bytes(content)
        return char_rnn("sample", path, "--prime-file", file, "--length", 4, "--seed", 1, "-q", *more)

    expected = char_rnn("sample", path, "--prime", "‘é", "--length", 4, "--seed", 1, "-q").out
    assert sample(b"\x91\xe9").out == expected
    assert sample("‘é".encode(), "--encoding", "utf-8").out == expected
    assert sample("‘é".encode("utf-8-sig"), "--encoding", "utf-8").out == expected
    assert sample("‘é".encode("utf-16"), "--encoding", "utf-16").out == expected
    refused = sample(b"a\x81", "--encoding", "cp1252")
    assert (refused.status, refused.err) == (
        1,
        f"error: {file}: not cp1252 (byte 0x81 at offset 1); give its encoding, such as --encoding cp1252 or utf-16\n",
    )
    assert "encoding 'utf-99': unknown" in sample(b"", "--encoding", "utf-99").err
    lenient = sample(b"\x91\x81\xe9", "--unknown", "skip", "--hide-prime")
    assert lenient.out == sample(b"\x91\xe9", "--hide-prime").out


@pytest.mark.parametrize(
    ("characters", "prime"), [("abc\r", "\r"), ("abc\u2028", "\u2028"), ("ab, ", ""), ("abc\n", "\n")]
)
def test_a_models_own_prime_never_fails(char_rnn: Command, tmp_path: Path, characters: str, prime: str) -> None:
    path = made(Vocabulary.from_text(characters), tmp_path / "m.safetensors", prime="\n", length=9, seed=2)
    done = char_rnn("sample", path)
    assert done.out == TextGenerator.load(path).generate(prime, 9, seed=2) + "\n"
    said = f"generation.prime '\\n' is not in the vocabulary: beginning with {prime!r} instead"
    assert (said in done.err) == (prime != "\n")
    (tmp_path / "text.txt").write_bytes((characters * 200).encode())
    assert char_rnn("novelty", path, tmp_path / "text.txt", "--num-samples", 1, "--length", 40).status == 0
    given = char_rnn("sample", path, "--prime", "\n")
    assert given.status == (0 if prime == "\n" else 2)
    line = char_rnn("sample", path, "--prime", "a", "--length", 200, "--stop-at-newline")
    assert len(line.out.splitlines()) == 1
    assert ("--stop-at-newline has no effect: the vocabulary has no line end" in line.err) == (not prime)


def test_escapes(char_rnn: Command, path: Path, generator: TextGenerator) -> None:
    arguments = ["--length", 60, "--seed", 5, "-q"]
    expected = generator.generate("a\nb", 60, seed=5, stop="e\n", banned="c\n")
    escaped = ["--prime", r"a\nb", "--stop", r"\u0065\n", "--ban", r"c\n"]
    assert char_rnn("sample", path, "--escapes", *escaped, *arguments).out == expected + "\n"
    for text, word in ((r"a\q", r"'\\q'"), ("a\\", r"'\\'"), (r"\u12", r"'\\u'"), (r"\ud800", r"'\\ud800'")):
        assert char_rnn("sample", path, "--escapes", "--stop", text).refused(2, f"{word} is not an escape")


def test_a_stop_text_that_cannot_appear_is_named(char_rnn: Command, path: Path) -> None:
    done = char_rnn("sample", path, "--length", 3, "--stop", r"\n", "--stop", "xa", "--stop", "a")
    lines = done.err.splitlines()[1:]
    assert lines == [
        r"--stop '\n' never appears: the vocabulary lacks '\'; give --escapes to read \n as a line end",
        "--stop 'xa' never appears: the vocabulary lacks 'x'",
    ]


def test_the_first_of_several_stop_texts_ends_it(char_rnn: Command, path: Path) -> None:
    whole = char_rnn("sample", path, "--length", 300, "--seed", 5, "--ban", "\n", "-q").out
    stops = [whole[40:43], whole[90:93]]
    words = [word for stop in stops for word in ("--stop", stop)]
    shown = char_rnn("sample", path, "--length", 300, "--seed", 5, "--ban", "\n", "-q", *words).out
    ends = [whole.index(stop) for stop in stops]
    assert shown == whole[: min(ends)] + "\n"
    kept = char_rnn("sample", path, "--length", 300, "--seed", 5, "--ban", "\n", "-q", *words, "--keep-stop").out
    assert kept == whole[: min(ends) + 3] + "\n"


def test_unknown_characters_become_the_nearest(char_rnn: Command, path: Path, caplog: pytest.LogCaptureFixture) -> None:
    arguments = ["--length", 9, "--seed", 1, "--hide-prime", "-q"]
    done = char_rnn("sample", path, "--prime", "ÁbÉx", "--unknown", "nearest", *arguments)
    assert done.out == char_rnn("sample", path, "--prime", "abE", *arguments).out
    assert caplog.messages == ["prime text: read 'Á' as 'a', 'É' as 'E'; skipped unknown characters: 'x'"]


def test_beams(char_rnn: Command, path: Path, generator: TextGenerator) -> None:
    found = generator.beam_search("ab", 12, 5, banned="d")
    arguments = ["--prime", "ab", "--length", 12, "--beam", 5, "--ban", "d"]
    assert char_rnn("sample", path, *arguments, "-q").out == f"ab{found[0].text}\n"
    done = char_rnn("sample", path, *arguments, "--num-samples", 2, "--hide-prime")
    assert done.out == f"{found[0].text}\n---\n{found[1].text}\n"
    assert f"{found[0].log_probability:.2f} nats" in done.err


@pytest.mark.parametrize("precision", ["float32", "float64", "bfloat16", "int8"])
def test_precisions(char_rnn: Command, path: Path, precision: str) -> None:
    expected = TextGenerator.load(path, precision=precision).generate("", 50, seed=1)  # type: ignore[arg-type]
    done = char_rnn("sample", path, "--length", 50, "--seed", 1, "--precision", precision, "-q")
    assert done.out == expected + "\n"


def test_each_line_of_a_file_is_a_prime(
    char_rnn: Command, path: Path, generator: TextGenerator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    primes = tmp_path / "primes.txt"
    primes.write_bytes(b"abc\n\n  e\r\nE\rabcabcabc\n\n")
    lines = ["abc", "  e", "E", "abcabcabc"]
    expected = [generator.generate(line, 40, seed=5) for line in lines]
    arguments = ["--prime-file", primes, "--prime-each-line", "--length", 40, "--seed", 5]
    done = char_rnn("sample", path, *arguments)
    assert done.out == "\n---\n".join(expected) + "\n"
    assert done.err.startswith(f"{path}: ")
    hidden = [text.removeprefix(line) for text, line in zip(expected, lines, strict=True)]
    assert char_rnn("sample", path, *arguments, "-q", "--hide-prime").out == "\n---\n".join(hidden) + "\n"
    many = generator.generate_many(lines, 40, num_samples=3, seed=5)
    assert char_rnn("sample", path, *arguments, "-q", "--num-samples", 3).out == "\n---\n".join(many) + "\n"
    monkeypatch.setattr("char_rnn.cli.sample_texts._TOGETHER", 4)
    assert char_rnn("sample", path, *arguments, "-q", "--num-samples", 3).out == "\n---\n".join(many) + "\n"
    best = [generator.beam_search(line, 5, 2)[0].text for line in lines]
    beams = char_rnn("sample", path, *arguments[:3], "--length", 5, "--beam", 2, "--hide-prime", "-q").out
    assert beams == "\n---\n".join(best) + "\n"


def test_lines_of_primes_that_the_model_does_not_know(
    char_rnn: Command, path: Path, generator: TextGenerator, tmp_path: Path
) -> None:
    primes = tmp_path / "primes.txt"
    arguments = ["--prime-file", primes, "--prime-each-line", "--length", 9, "--seed", 5, "-q"]
    primes.write_text("abc\n\na\\u0062\\n\nÉ\n", encoding="utf-8")
    message = f"{primes}, line 3: unknown character '\\\\' (U+005C) at position 1"
    assert char_rnn("sample", path, *arguments).refused(2, message)
    done = char_rnn("sample", path, *arguments, "--escapes")
    assert f"{primes}, line 4: unknown character 'É'" in done.err
    written = char_rnn("sample", path, *arguments, "--escapes", "--unknown", "nearest").out
    expected = [generator.generate(line, 9, seed=5, unknown="nearest") for line in ("abc", "ab\n", "É")]
    assert written == "\n---\n".join(expected) + "\n"
    primes.write_text("abc\na\\x\n")
    done = char_rnn("sample", path, *arguments, "--escapes")
    assert done.refused(2, f"{primes}, line 2: '\\\\x' is not an escape")
    primes.write_text("\n\r\n")
    assert char_rnn("sample", path, *arguments).refused(2, f"error: {primes}: no lines to continue; all are empty")


def test_texts_as_lines_of_json(char_rnn: Command, path: Path, generator: TextGenerator, tmp_path: Path) -> None:
    primes = tmp_path / "primes.txt"
    primes.write_text("ab\ncd\n")
    arguments = ["--prime-file", primes, "--prime-each-line", "--length", 20, "--seed", 5, "--num-samples", 2]
    lines = list(map(json.loads, char_rnn("sample", path, *arguments, "--json", "-q").out.splitlines()))
    assert [(line["sample"], line["prime"]) for line in lines] == [(0, "ab"), (1, "ab"), (2, "cd"), (3, "cd")]
    written = [line["prime"] + line["text"] for line in lines]
    assert written == generator.generate_many(["ab", "cd"], 20, num_samples=2, seed=5)
    assert len(char_rnn("sample", path, "--json", "--length", 5, "-q").out.splitlines()) == 1


def test_log_probabilities_as_lines_of_json(char_rnn: Command, path: Path, generator: TextGenerator) -> None:
    arguments = ["--prime", "ab", "--length", 30, "--seed", 5, "--stop", "e", "--keep-stop", "-q"]
    done = char_rnn("sample", path, *arguments, "--logprobs", "--alternatives", 2)
    lines = list(map(json.loads, done.out.splitlines()))
    scored = list(generator.stream_scored("ab", 30, seed=5, stop="e", keep_stop=True, alternatives=2))
    assert lines[1] == {
        "text": "b",
        "logprob": round(scored[1].log_probability, 6),
        "alternatives": {label: round(value, 6) for label, value in scored[1].alternatives.items()},
        "prime": True,
    }
    assert list(lines[1]["alternatives"].values()) == sorted(lines[1]["alternatives"].values(), reverse=True)
    assert "alternatives" not in lines[0]
    assert "".join(line["text"] for line in lines) + "\n" == char_rnn("sample", path, *arguments).out
    assert [line["logprob"] for line in lines] == [round(each.log_probability, 6) for each in scored]
    hidden = char_rnn("sample", path, *arguments, "--logprobs", "--hide-prime").out
    assert all("prime" not in line for line in map(json.loads, hidden.splitlines()))


def test_log_probabilities_of_several_texts(
    char_rnn: Command, path: Path, generator: TextGenerator, tmp_path: Path
) -> None:
    primes = tmp_path / "primes.txt"
    primes.write_text("ab\ncd\n")
    arguments = ["--prime-file", primes, "--prime-each-line", "--length", 20, "--seed", 5, "--num-samples", 2]
    texts = [""] * 4
    for line in map(json.loads, char_rnn("sample", path, *arguments, "--logprobs", "-q").out.splitlines()):
        texts[line["sample"]] += line["text"]
    assert texts == generator.generate_many(["ab", "cd"], 20, num_samples=2, seed=5)


def test_log_probabilities_of_bytes(char_rnn: Command, tmp_path: Path) -> None:
    path = made(BYTES, tmp_path / "bytes.safetensors")
    shown = char_rnn("sample", path, "--prime", "é", "--length", 0, "--logprobs", "-q").out
    first, second = map(json.loads, shown.splitlines())
    assert (first["text"], first["symbol"]) == ("", "\\xC3")
    assert (second["text"], second["symbol"]) == ("é", "\\xA9")


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--prime", "a", "--prime-file", "x"], 2, r"--prime and --prime-file both give the text to continue"),
        (["--prime-file", "no-such-file.txt"], 2, r"no-such-file\.txt: no such file"),
        (["--prime-file", "."], 2, r"\.: is a directory"),
        (["--num-samples", "0"], 2, r"'--num-samples': 0"),
        (["--min-p", "0"], 2, r"'--min-p': 0"),
        (["--typical-p", "1.5"], 2, r"'--typical-p': 1\.5"),
        (["--repetition-penalty", "0"], 2, r"'--repetition-penalty': 0"),
        (["--repetition-penalty", "nan"], 2, r"repetition_penalty: must be a number more than 0 .*; given nan"),
        (["--temperature", "nan"], 2, r"temperature: must be a number, 0 or more; given nan"),
        (["--repetition-window", "0"], 2, r"'--repetition-window': 0"),
        (["--repetition-window", "9" * 30], 2, r"'--repetition-window': 9+ is not in the range"),
        (["--ban", "abcdeE\n "], 2, r"banned and allowed leave no character of the model's vocabulary to draw"),
        (["--only", ""], 2, r"--only: must be a text of at least one character"),
        (["--only", "xyz"], 2, r"banned and allowed leave no character"),
        (["--stop", "a", "--stop", ""], 2, r"--stop: must be a text of at least one character"),
        (["--keep-stop"], 2, r"--keep-stop needs a stop text: add --stop or --stop-at-newline"),
        (["--prime-each-line"], 2, r"--prime-each-line needs a file with primes: add --prime-file FILE"),
        (["--prime", "a", "--prime-each-line"], 2, r"--prime-each-line needs a file with primes"),
        (["--alternatives", "3"], 2, r"--alternatives needs --logprobs: add it, or leave out --alternatives"),
        (["--logprobs", "--alternatives", "0"], 2, r"'--alternatives': 0"),
        (["--logprobs", "--beam", "3"], 2, r"--logprobs: not supported with --beam; leave out one of them"),
        (["--logprobs", "--temperature", "nan"], 2, r"temperature: must be a number, 0 or more; given nan"),
        (["--logprobs", "--json"], 2, r"--json: not supported with --logprobs; leave out one of them"),
        (["--torch7", "--json"], 2, r"--json: not supported with --rng torch7"),
        (["--torch7", "--logprobs"], 2, r"--logprobs: not supported with --rng torch7"),
        (["--beam", "0"], 2, r"'--beam': 0"),
        (["--beam", "3", "--top-k", "5"], 2, r"--top-k: --beam does not sample; leave out one of them"),
        (["--beam", "3", "--seed", "1"], 2, r"--seed: --beam does not sample"),
        (["--beam", "3", "--num-samples", "4"], 2, r"--num-samples: --beam 3 finds 3 texts at most"),
        (["--precision", "int4"], 2, r"'int4' is not one of"),
        (["--unknown", "drop"], 2, r"'drop' is not one of"),
        (["--prime", "aé"], 2, r"unknown character 'é' \(U\+00E9\) at position 1"),
        (["--torch7", "--min-p", "0.5"], 2, r"--min-p: not supported with --rng torch7"),
        (["--torch7", "--hide-prime"], 2, r"--hide-prime: not supported with --rng torch7"),
        (["--rng", "torch-rnn", "--unknown", "nearest"], 2, r"--unknown nearest: not supported with --rng torch-rnn"),
    ],
)
def test_bad_input(char_rnn: Command, path: Path, arguments: list[str], status: int, message: str) -> None:
    done = char_rnn("sample", path, *arguments)
    assert done.refused(status)
    assert re.search(message, done.err), done.err


def test_characters_of_several_bytes_cannot_be_banned(char_rnn: Command, tmp_path: Path) -> None:
    done = char_rnn("sample", made(BYTES, tmp_path / "m.safetensors"), "--ban", "é")
    assert done.refused(2, "banned: 'é' is 2 bytes, and this model writes byte by byte")


@pytest.mark.parametrize("arguments", [[], ["--num-samples", 2], ["--beam", 2]])
def test_a_model_that_has_diverged(char_rnn: Command, path: Path, tmp_path: Path, arguments: list[str]) -> None:
    file = ModelFile.read(path)
    file.tensors = {**file.tensors, "output_proj.bias": np.full(LETTERS.size, np.nan, np.float32)}
    model = file.write(tmp_path / "m.safetensors")
    done = char_rnn("sample", model, "--prime", "ab", *arguments, "-q")
    assert done.status == 1
    assert done.err == "error: logits: contain NaN, so no symbol can be drawn; has the model's training diverged?\n"
    scored = char_rnn("sample", model, "--logprobs", "--length", 0, "--prime", "abc", "-q")
    assert (scored.status, scored.err) == (1, done.err)
    assert [json.loads(line)["text"] for line in scored.out.splitlines()] == ["a"]


def test_it_loads_neither_torch_nor_what_draws_pictures(path: Path) -> None:
    heavy = ["torch", "matplotlib", "rich.console", "tensorboard", "yaml", "prompt_toolkit", "starlette"]
    assert loaded(heavy, "sample", path, "--length", 5, "-q") == []
