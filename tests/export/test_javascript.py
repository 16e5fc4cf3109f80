"""The scripts of an exported page compute the same as their counterparts in Python."""

from __future__ import annotations

import base64
import shutil
from importlib.resources import files
from typing import Any

import numpy as np
import pytest
from export_helpers import IDS, MODELS, in_8_bits, made

from char_rnn.data.vocabulary import UnknownCharacterError, Vocabulary
from char_rnn.export import build_kernel
from char_rnn.export.html_page import joined
from char_rnn.export.packing import pack
from char_rnn.generation.engine import Engine
from char_rnn.generation.generation_state import StopText
from char_rnn.generation.network import Network
from char_rnn.generation.sampler import Sampler, drawable_symbols
from char_rnn.generation.tracking_cells import FEATURES, best_cells
from char_rnn.generation.unknown_characters import nearest_text, spelled
from char_rnn.sampling import strategies
from char_rnn.sampling.options import Strategy

NAMES = """
    Kernel, Network, withNumbers, bytesOf, erf, probabilitiesOf, FILTERS, highest, temperatureAt, draw, Random, Symbols,
    nearestText, StopText, bestCells, howRead, textOf
"""
SYMBOLS = "abcdefghij"


@pytest.fixture(scope="module")
def page(browser: Any) -> Any:
    """An empty page with the exports of all modules."""
    folder = files("char_rnn.export") / "static"
    script = joined({file.name: file.read_text("utf-8") for file in folder.iterdir()}, "worker.js")
    page = browser.new_page()
    page.evaluate(f"() => {{ {script}; Object.assign(globalThis, {{ {NAMES} }}); }}")
    return page


WITHOUT_VECTORS = "const there = WebAssembly; WebAssembly = undefined; try { %s } finally { WebAssembly = there; }"


@pytest.mark.parametrize("options", MODELS, ids=str)
def test_the_network_is_the_engines(page: Any, options: dict[str, Any]) -> None:
    """The numbers with WebAssembly are the engine's within 1e-5, and those without it are the same to the last bit."""
    file = made(**options)
    settings = file.config.model
    network, weights = pack(Network.of(settings, file.tensors, np.float32))
    script = """
        const model = new Network(withNumbers(network, bytesOf(weights)));
        const state = model.begin();
        const logProbs = ids.map((id) => Array.from(model.step(state, id)));
        return {logProbs, h: state.cells.map(([h]) => Array.from(h)), vectors: model.kernel.run !== null};
    """
    found, plain = (
        page.evaluate(f"([network, weights, ids]) => {{ {text} }}", [network, base64.b64encode(weights).decode(), IDS])
        for text in (script, WITHOUT_VECTORS % script)
    )
    streams = Engine(settings, in_8_bits(file.tensors)).begin()
    expected = [streams.step([index])[0] for index in IDS]
    assert found == {**plain, "vectors": True}
    assert plain["vectors"] is False
    np.testing.assert_allclose(found["logProbs"], expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(found["h"], streams.hidden(), rtol=0, atol=1e-5)


def test_products_of_every_shape(page: Any) -> None:
    rng = np.random.default_rng(6)
    shapes = [(1, 1), (3, 15), (16, 16), (17, 17), (2, 100), (40, 33), (1, 64), (64, 1), (7, 5000)]
    matrices = [rng.integers(-127, 128, shape) for shape in shapes]
    matrices[-1][:] = 127  # the largest sums
    scales = [rng.uniform(0.001, 0.1, len(matrix)).astype(np.float32) for matrix in matrices]
    inputs = [rng.normal(size=matrix.shape[1]).astype(np.float32) for matrix in matrices]
    inputs[1] *= np.float32(1e-20)
    inputs[2] *= np.float32(1e10)
    inputs[3][:] = 0
    inputs[-1][:] = np.nextafter(np.float32(2), np.float32(0))
    script = """
        const kernel = new Kernel(given.map(([values]) => ({rows: values.length, columns: values[0].length})));
        const taken = given.map(([values, scales]) =>
            kernel.matrix(values.length, values[0].length, scales, Int8Array.from(values.flat())));
        return [0, 1].map((first) => given.map(([{length}, , x], place) =>
            Array.from(kernel.product(taken[place], Float32Array.from(x), Math.min(first, length - 1), length))));
    """
    given = [
        [matrix.tolist(), scale.tolist(), x.tolist()] for matrix, scale, x in zip(matrices, scales, inputs, strict=True)
    ]
    whole, rest = page.evaluate(f"(given) => {{ {script} }}", given)
    assert [whole, rest] == page.evaluate(f"(given) => {{ {WITHOUT_VECTORS % script} }}", given)
    for matrix, scale, x, all_rows, rows in zip(matrices, scales, inputs, whole, rest, strict=True):
        expected = (matrix * scale[:, None].astype(float)) @ x
        size = np.abs(x).max() * 1e-6
        np.testing.assert_allclose(all_rows, expected, rtol=1e-6, atol=size)
        np.testing.assert_allclose(rows, expected[min(1, len(expected) - 1) :], rtol=1e-6, atol=size)


def test_elementary_functions(page: Any) -> None:
    """Of more numbers than the kernel reads at once, and the same to the last bit without WebAssembly."""
    x = np.concatenate([np.linspace(-12, 12, 2001), np.logspace(-30, 30, 101), -np.logspace(-3, 3, 50), [0.0]])
    script = """
        const kernel = new Kernel([{rows: 1, columns: 1}]);
        const x = Float32Array.from(numbers);
        return ["sigmoid", "tanh"].map((name) => {
            const out = new Float32Array(x.length);
            kernel[name](out, x);
            return Array.from(out);
        });
    """
    found = page.evaluate(f"(numbers) => {{ {script} }}", x.tolist())
    assert found == page.evaluate(f"(numbers) => {{ {WITHOUT_VECTORS % script} }}", x.tolist())
    x = x.astype(np.float32).astype(float)
    np.testing.assert_allclose(found[0], 1 / (1 + np.exp(-np.clip(x, -700, None))), rtol=1e-6, atol=1e-30)
    np.testing.assert_allclose(found[1], np.tanh(x), rtol=1e-6, atol=0)


@pytest.mark.parametrize("value", [float("nan"), float("inf")], ids=str)
def test_products_of_numbers_that_are_not_finite(page: Any, value: float) -> None:
    script = """
        const kernel = new Kernel([{rows: 1, columns: 2}]);
        const matrix = kernel.matrix(1, 2, [1], Int8Array.of(1, 1));
        return Array.from(kernel.product(matrix, Float32Array.of(1, value), 0, 1));
    """
    for text in (script, WITHOUT_VECTORS % script):
        assert np.isnan(page.evaluate(f"(value) => {{ {text} }}", value)).all()


def test_the_kernel_is_built_from_its_sources() -> None:
    assert f"digest {build_kernel.digest()}" in build_kernel.BINARY.read_text("utf-8"), (
        "run python -m char_rnn.export.build_kernel"
    )


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("clang") is None or shutil.which("wasm-ld") is None, reason="needs clang and lld")
def test_a_kernel_that_is_built_anew_does_the_same(page: Any) -> None:
    """Another version of clang may write other instructions, so the numbers are compared."""
    script = """
        const numbers = modules.map((module) => {
            const memory = new WebAssembly.Memory({initial: 1});
            const floats = new Float32Array(memory.buffer);
            const {exports} = new WebAssembly.Instance(new WebAssembly.Module(bytesOf(module)), {env: {memory}});
            for (let index = 0; index < 32; index += 1) floats[index] = Math.sin(index + 1);
            const weights = new Int8Array(memory.buffer, 1024, 224);
            for (let index = 0; index < 224; index += 1) weights[index] = ((index * 37) % 255) - 127;
            floats.fill(0.5, 2048, 2055);
            exports.product(1024, 8192, 0, 512, 4096, 7, 32);
            exports.sigmoid(0, 4160, 8);
            exports.tanh(0, 4288, 8);
            return Array.from(floats.subarray(1024, 1104));
        });
        return numbers;
    """
    held = build_kernel.BINARY.read_text("utf-8").split('"')[1]
    one, other = page.evaluate(f"(modules) => {{ {script} }}", [held, base64.b64encode(build_kernel.binary()).decode()])
    assert one == other
    assert np.count_nonzero(one) == 7 + 32 + 32


def test_the_error_function(page: Any) -> None:
    from math import erf

    values = [-7.0, -4.01, -4.0, -2.5, -1.0, -0.3, 0.0, 1e-9, 0.5, 1.7, 3.99, 5.0]
    found = page.evaluate("(values) => values.map(erf)", values)
    np.testing.assert_allclose(found, [erf(value) for value in values], rtol=0, atol=2e-8)


STRATEGIES: list[dict[str, Any]] = [
    {},
    {"temperature": 0.5},
    {"temperature": 0.0},
    {"temperature": 1e-9},
    {"top_k": 3},
    {"top_k": 30},
    {"top_p": 0.6},
    {"top_p": 1.0},
    {"min_p": 0.2},
    {"typical_p": 0.4},
    {"repetition_penalty": 1.7},
    {"repetition_penalty": 0.5, "temperature": 1.3},
    {"banned": "abz"},
    {"allowed": "cdgz", "banned": "d"},
    {"banned": "a", "repetition_penalty": 1.3, "temperature": 0.8, "top_k": 6, "top_p": 0.9, "min_p": 0.05,
     "typical_p": 0.8},
]  # fmt: skip


@pytest.mark.parametrize("settings", STRATEGIES, ids=str)
def test_the_strategies(page: Any, settings: dict[str, Any]) -> None:
    rng, strategy = np.random.default_rng(3), Strategy(**settings)
    rows = rng.normal(size=(20, len(SYMBOLS))) * 2
    rows[0] = 0  # all equal
    rows[1, 4:] = -100
    rows -= np.log(np.exp(rows).sum(1, keepdims=True))
    recent = [1, 4, 4, 9]
    vocabulary = Vocabulary.from_text(SYMBOLS)
    sampler = Sampler(strategy, vocabulary)
    weights = [sampler.weights(row, strategy.temperature, [recent]) for row in rows]
    found = page.evaluate(
        """([rows, strategy, recent, vocabulary]) => {
            const kept = new Symbols(vocabulary).kept(strategy.allowed, strategy.banned);
            return rows.map((row) => Array.from(probabilitiesOf(row, strategy, recent, kept)));
        }""",
        [rows.tolist(), {**Strategy().__dict__, **settings}, recent, vocabulary.to_dict()],
    )
    np.testing.assert_allclose(found, [each / each.sum() for each in weights], rtol=0, atol=1e-12)


def test_a_page_has_every_filter(page: Any) -> None:
    assert page.evaluate("() => Object.keys(FILTERS)") == list(strategies.FILTERS)


def test_the_highest_are_the_first_of_all_in_order(page: Any) -> None:
    rng = np.random.default_rng(5)
    for values in ([], [2.0], [1.0, 3.0, 3.0, 2.0, 3.0], rng.integers(0, 9, 60).tolist(), [-1.0, -2.0, -1.0]):
        for count in (0, 1, 2, 5, 70):
            expected = np.argsort(-np.array(values), kind="stable")[:count].tolist()
            assert page.evaluate("([values, count]) => highest(values, count)", [values, count]) == expected


def test_the_schedule_of_temperatures(page: Any) -> None:
    for first, last, length in ((0.5, 1.5, 9), (1.0, None, 5), (2.0, 0.0, 1), (0.7, 0.7, 3)):
        strategy = Strategy(first, last)
        found = page.evaluate(
            "([strategy, length]) => Array.from({length}, (_, place) => temperatureAt(strategy, place, length))",
            [{"temperature": first, "final_temperature": last}, length],
        )
        np.testing.assert_allclose(found, [strategy.temperature_at(place, length) for place in range(length)])


def test_drawing_by_a_uniform_number(page: Any) -> None:
    weights = [0.0, 0.25, 0.0, 0.5, 0.25, 0.0]
    numbers = [0.0, 0.1, 0.2499999, 0.25, 0.5, 0.75, 0.999, 1 - 2**-53]
    found = page.evaluate("([weights, numbers]) => numbers.map((number) => draw(weights, number))", [weights, numbers])
    assert found == [strategies.draw(np.array(weights), number) for number in numbers]
    assert page.evaluate("() => draw([0.1, 0.2, 0.7, 0], 1)") == 2  # a product that rounds up to the sum


def test_random_numbers_are_uniform_and_repeat(page: Any) -> None:
    found = page.evaluate(
        """() => [0, 1, 2 ** 32 + 1, 2 ** 52 - 1].map((seed) => {
            const random = new Random(seed);
            return Array.from({length: 20000}, () => random.uniform());
        })"""
    )
    for numbers in map(np.array, found):
        assert ((numbers >= 0) & (numbers < 1)).all()
        counts = np.histogram(numbers, 20, (0, 1))[0]
        assert ((counts - 1000) ** 2 / 1000).sum() < 50  # chi-square with 19 degrees of freedom, p = 1e-4
        assert abs(np.corrcoef(numbers[1:], numbers[:-1])[0, 1]) < 0.03
    assert len({tuple(numbers[:3]) for numbers in found}) == 4
    again = page.evaluate("() => { const random = new Random(1); return [random.uniform(), random.uniform()]; }")
    assert again == found[1][:2]


STRANGE = "“Zoë’s…”\tçÇßſ𝔘é—\u00a0Ⅷ \r漢ı\ud83d\ude00"


@pytest.mark.parametrize(
    "known", ['abcdefghijklmnopqrstuvwxyz "\n', "ABCDEZOSU'-.", "é“”…ß", "𝔘漢VIII8", "sStThHfFiI 1234/,"]
)
def test_replacements_of_unknown_characters(page: Any, known: str) -> None:
    text = STRANGE.encode("utf-16", "surrogatepass").decode("utf-16") + "".join(map(chr, range(0x20, 0x250)))
    vocabulary = Vocabulary.from_text(known)
    expected = [nearest_text(each, lambda piece: set(piece) <= set(known)) for each in text]
    found = page.evaluate(
        """([text, vocabulary]) => {
            const symbols = new Symbols(vocabulary);
            return Array.from(text, (each) => nearestText(each, (piece) => symbols.encode(piece) !== null));
        }""",
        [text, vocabulary.to_dict()],
    )
    assert dict(zip(text, found, strict=True)) == dict(zip(text, expected, strict=True))


@pytest.mark.parametrize("kind", ["characters", "bytes"])
def test_symbols(page: Any, kind: Any) -> None:
    text = "a\n<é漢𝔘\u202e\x00\ufeff"
    vocabulary = Vocabulary.from_text(text, kind)
    found = page.evaluate(
        """([vocabulary, text]) => {
            const symbols = new Symbols(vocabulary);
            const indices = symbols.encode(text);
            const skipped = symbols.encode(textOf(symbols.spell("bab", "skip")));
            return [indices, symbols.decode(indices), symbols.encode(text + "b"), skipped];
        }""",
        [vocabulary.to_dict(), text],
    )
    assert found == [vocabulary.encode(text).tolist(), text, None, vocabulary.encode("a").tolist()]


@pytest.mark.parametrize("unknown", ["error", "skip", "nearest"])
@pytest.mark.parametrize(
    ("known", "kind"),
    [
        ("abé\n 한", "characters"),
        ("ae\u0301\r\u1112\u1161\u11ab", "characters"),
        ("ab\u2028\r\n", "characters"),
        ("ab, ", "characters"),
        ("aé\n", "bytes"),
        ("ae\u0301\r", "bytes"),
    ],
)
def test_texts_are_read_alike(page: Any, known: str, kind: Any, unknown: Any) -> None:
    vocabulary, rng = Vocabulary.from_text(known, kind), np.random.default_rng(8)
    letters = [*"aAbeé’…漢한\n\r\u2028", "\r\n", "e\u0301", "\u1112\u1161\u11ab", "\u0323"]
    texts = ["".join(rng.choice(letters, rng.integers(0, 9))) for _ in range(150)]
    texts += [known, "e\u0301한" + "\u0301\u0323" * 40, "e\u0301", "é", "\u1112\u1161\u11ab", "한"]
    expected: list[Any] = []
    for text in texts:
        try:
            spelling = spelled(vocabulary, text, unknown)
        except UnknownCharacterError:
            expected.append(None)
            continue
        facts = {"normal_form": spelling.form, "substitutions": [list(pair) for pair in spelling.substitutions.items()]}
        ends = spelling.ends.tolist() if unknown == "nearest" else None
        expected.append([spelling.indices.tolist(), ends, {name: value for name, value in facts.items() if value}])
    found = page.evaluate(
        """([vocabulary, texts, unknown]) => {
            const symbols = new Symbols(vocabulary);
            const ends = (text) => {
                let end = 0;
                return symbols.spelled(text).map((indices) => (end += indices.length));
            };
            return texts.map((text) => {
                try {
                    const read = symbols.spell(text, unknown);
                    const indices = symbols.encode(textOf(read));
                    return [indices, unknown === "nearest" ? ends(text) : null, howRead(read)];
                } catch (error) {
                    if (!error.message.startsWith("The model does not know")) throw error;
                    return null;
                }
            });
        }""",
        [vocabulary.to_dict(), texts, unknown],
    )
    assert dict(zip(texts, found, strict=True)) == dict(zip(texts, expected, strict=True))


@pytest.mark.parametrize("known", ["ab\r\n", "ab\r", "ab\x85", "ab\u2029", "ab, ", "aé", "ae\u0301"])
@pytest.mark.parametrize("kind", ["characters", "bytes"])
def test_stop_texts_and_characters_are_those_of_the_vocabulary(page: Any, known: str, kind: Any) -> None:
    vocabulary = Vocabulary.from_text(known, kind)
    stops = ["é", "e\u0301", "b", "漢"]
    found = page.evaluate(
        """([vocabulary, stops]) => {
            const symbols = new Symbols(vocabulary);
            return [...stops.map((stop) => symbols.canonical(stop)), ...symbols.lineEnds()];
        }""",
        [vocabulary.to_dict(), stops],
    )
    assert found == list(StopText(stops, True, vocabulary).stops)
    if kind == "characters":
        drawable = drawable_symbols(Strategy(banned="e\u0301"), vocabulary).tolist()
        assert page.evaluate("(given) => new Symbols(given).kept(null, 'e\u0301')", vocabulary.to_dict()) == drawable


def test_invalid_utf8(page: Any) -> None:
    vocabulary = Vocabulary("bytes", range(256))
    rng = np.random.default_rng(1)
    texts = [rng.choice([0x41, 0xC3, 0xA9, 0xE6, 0xBC, 0xA2, 0xF0, 0x9D, 0x94, 0xFF, 0x80], 40) for _ in range(50)]
    for text in texts:
        decoder = vocabulary.decoder()
        pieces = [decoder.decode([int(each)]) for each in text]
        found = page.evaluate(
            """([vocabulary, text]) => {
                const decoder = new Symbols(vocabulary).decoder();
                return text.map((each) => decoder.decode(each));
            }""",
            [vocabulary.to_dict(), text.tolist()],
        )
        assert found == pieces


def test_error_messages(page: Any) -> None:
    def refused(expression: str) -> str:
        vocabulary = Vocabulary.from_text("aé", "bytes").to_dict()
        script = f"(given) => {{ try {{ {expression} }} catch (error) {{ return error.message; }} }}"
        return str(page.evaluate(script, vocabulary))

    assert refused("new Symbols(given).spell('ab', 'error')").startswith("The model does not know “b”.")
    assert refused("new Symbols(given).kept(null, 'é')").startswith(
        "“é” is 2 bytes, but this model writes single bytes."
    )
    assert refused("new Symbols(given).kept('b', '')").startswith("No character is left to draw.")
    assert refused("new Symbols(given).kept('a', 'a')").startswith("No character is left to draw.")


@pytest.mark.parametrize("keep", [False, True])
def test_stop_texts(page: Any, keep: bool) -> None:
    rng = np.random.default_rng(2)
    for _ in range(60):
        stops = ["".join(rng.choice(list("ab\n"), rng.integers(1, 4))) for _ in range(rng.integers(0, 4))]
        pieces = ["".join(rng.choice(list("ab\n"), rng.integers(0, 3))) for _ in range(12)]
        stop = StopText(stops, keep=keep)
        expected = []
        for piece in pieces:
            expected.append(stop.feed(piece))
            if stop.found:
                break
        found = page.evaluate(
            """([stops, pieces, keep]) => {
                const stop = new StopText(stops, keep);
                return [pieces.map((piece) => stop.feed(piece)), stop.found, stop.rest()];
            }""",
            [stops, pieces[: len(expected)], keep],
        )
        assert found == [expected, stop.found, stop.rest()]


@pytest.mark.parametrize("line_end", ["\n", "\r", "\u2028"])
def test_cells_that_track_features(page: Any, line_end: str) -> None:
    text = "(the [patricians] good)\n\n  \"What\"  they 'say' is\n\t“not\nSo”, é𝔘Á A1 «x»\n" * 3
    text = text.replace("\n", line_end)
    rng = np.random.default_rng(4)
    activations = rng.normal(size=(len(text), 2, 5)).astype(np.float32)
    for place, name in enumerate(("brackets", "indentation", "quotes", "line length")):
        activations[:, place % 2, place] += FEATURES[name](text)
    expected = best_cells(text, activations)
    found = page.evaluate(
        "([text, values]) => bestCells([...text], values, 5)", [text, activations.reshape(-1, 10).tolist()]
    )
    assert [(cell["tracks"], cell["layer"], cell["index"]) for cell in found] == [
        (cell.tracks, cell.layer, cell.index) for cell in expected
    ]
    np.testing.assert_allclose([cell["correlation"] for cell in found], [cell.correlation for cell in expected])
    assert len(found) == 18
    assert page.evaluate("() => bestCells([...'aaaa'], [[1], [2], [3], [4]], 1)") == []
