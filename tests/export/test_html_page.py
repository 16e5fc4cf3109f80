"""An exported page, opened from disk in Chromium."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from export_helpers import PAGES, in_8_bits, made

from char_rnn.export.html_page import Words, joined, page, write_page
from char_rnn.generation.cell_activations import read_activations
from char_rnn.generation.engine import Engine
from char_rnn.generation.tracking_cells import best_cells
from char_rnn.generation.unknown_characters import spelled
from char_rnn.model_file import ModelFile

Opened = Callable[..., Any]
GENERATE = """([prime, length, settings]) => new Promise((fulfil) => {
    let text = "";
    const characters = [];
    const request = {prime, length, temperature: 0, repetition_penalty: 1, repetition_window: 64, ...settings};
    let start;
    charRnnBackend.generate(request, {
        onStart: (value) => (start = value),
        onCharacters: (value) => { text += value.text; characters.push(...value.characters); },
        onDone: (done) => fulfil({start, text, characters, done}),
        onError: ({message}) => fulfil({error: message}),
    });
})"""


@pytest.fixture
def opened(browser: Any, tmp_path: Path) -> Iterator[Opened]:
    """A function that opens a model's page from disk, once it is ready.

    Anything in the console or loaded from elsewhere, and any dialog, fails the test.
    """
    context = browser.new_context(viewport={"width": 1280, "height": 900}, offline=True)
    context.set_default_timeout(20_000)
    complaints: list[str] = []

    def requested(request: Any) -> None:
        if not request.url.startswith(("blob:", "data:")) and request.url != (tmp_path / "model.html").as_uri():
            complaints.append(request.url)

    def open_page(file: ModelFile, words: Words = Words("poem")) -> Any:  # noqa: B008 (frozen)
        write_page(file, tmp_path / "model.html", words)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        page.on("request", requested)
        page.goto((tmp_path / "model.html").as_uri())
        page.get_by_role("button", name="Generate").and_(page.locator(":enabled")).wait_for()
        return page

    yield open_page
    context.close()
    assert complaints == []


def greedy(file: ModelFile, prime: str, length: int) -> str:
    """The greedy text of the engine with the page's weights."""
    streams = Engine(file.config.model, in_8_bits(file.tensors)).begin()
    indices = file.vocabulary.encode(prime).tolist()
    streams.feed(indices[:-1])
    for _ in range(length):
        indices.append(int(streams.step([indices[-1]])[0].argmax()))
    decoder = file.vocabulary.decoder()
    return decoder.decode(indices)[len(prime) :]


def text_of(page: Any) -> str:
    return str(page.locator(".pane .body").text_content())


@pytest.mark.slow
@pytest.mark.parametrize("options", PAGES, ids=str)
def test_the_greedy_text_is_the_engines(opened: Opened, options: dict[str, Any]) -> None:
    file = made(**options, scale=0.9)
    assert opened(file).evaluate(GENERATE, ["a bad cab", 150, {}])["text"] == greedy(file, "a bad cab", 150)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"num_layers": 3, "hidden_size": 33}, marks=pytest.mark.slow),
        {"type": "gru", "reset": "before", "layer_norm": "between", "residual": True, "attention": "all"},
        pytest.param(
            {"type": "lstm", "mogrifier_rounds": 3, "zoneout": 0.1, "embedding_size": 5}, marks=pytest.mark.slow
        ),
    ],
    ids=str,
)
def test_the_greedy_text_through_the_page(opened: Opened, options: dict[str, Any]) -> None:
    file = made(**options, scale=0.9)
    page = opened(file)
    assert page.evaluate("() => new WebAssembly.Module(Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0)) !== null")
    page.fill("#prime", "a bad cab")
    page.fill("#temperature", "0")
    page.fill("#length", "300")
    page.click("#generate")
    page.get_by_text("Wrote 300 characters.").wait_for()
    assert text_of(page) == "a bad cab" + greedy(file, "a bad cab", 300)


@pytest.mark.parametrize("kind", ["characters", "bytes"])
def test_text_in_every_script(opened: Opened, kind: str) -> None:
    text = "aé漢𝔘😀\u202e\n"
    symbols = text if kind == "characters" else "".join(map(chr, sorted(set(text.encode()))))
    file = made(symbols=symbols, kind=kind, scale=2.0)
    page = opened(file)
    for seed in range(3):
        done = page.evaluate(GENERATE, [text, 60, {"seed": seed, "temperature": 1, "alternatives": 3}])
        assert done["start"]["prime"] == text
        assert len(done["characters"]) == 60
        for entry in done["characters"]:
            listed, drawn = dict(entry["alternatives"]), entry.get("symbol", entry["text"])
            assert listed.get(drawn, entry["probability"]) == entry["probability"]
            assert drawn in listed or entry["probability"] <= min(listed.values(), default=1)
        assert 0 < done["done"]["writing_seconds"] <= done["done"]["seconds"]
        if kind == "characters":
            assert set(done["text"]) <= set(text)
        assert "".join(entry["text"] for entry in done["characters"]) == done["text"]
    assert page.evaluate(GENERATE, [text, 40, {}])["text"] == greedy(file, text, 40)
    scores = page.evaluate("(text) => charRnnBackend.score({text})", text)["log_probs"]
    streams = Engine(file.config.model, in_8_bits(file.tensors)).begin()
    log_probs = np.full(file.vocabulary.size, -np.log(file.vocabulary.size))
    for character, score in zip(text, scores, strict=True):
        total = 0.0
        for index in file.vocabulary.encode(character).tolist():
            total += log_probs[index]
            log_probs = streams.step([index])[0]
        assert abs(score - total) < 1e-4


def test_seeds_stops_and_activations(opened: Opened) -> None:
    file = made(scale=0.5, attention="all")
    page = opened(file)
    settings = {"seed": 7, "temperature": 1.2, "top_p": 0.95}
    first, again = (page.evaluate(GENERATE, ["abc", 200, settings]) for _ in range(2))
    assert first["text"] == again["text"]
    assert first["done"]["reason"] == "length"
    assert page.evaluate(GENERATE, ["abc", 200, {**settings, "seed": 8}])["text"] != first["text"]
    stop = first["text"][50:53]
    cut = page.evaluate(GENERATE, ["abc", 200, {**settings, "stop": [stop]}])
    assert cut["text"] == first["text"][: first["text"].index(stop)]
    assert cut["done"] == {**cut["done"], "reason": "stop", "characters": len(cut["text"])}
    lit = page.evaluate(GENERATE, ["abc", 200, {**settings, "unit": {"layer": 1, "index": 2}}])
    assert lit["text"] == first["text"]
    whole = "abc" + first["text"]
    streams = Engine(file.config.model, in_8_bits(file.tensors)).begin()
    expected = []
    for index in file.vocabulary.encode(whole):
        streams.feed([index])
        expected.append(streams.hidden()[1, 2])
    shown = lit["start"]["activations"] + [entry["activation"] for entry in lit["characters"]]
    np.testing.assert_allclose(shown, expected, rtol=0, atol=1e-5)
    asked = page.evaluate("(text) => charRnnBackend.activations({text, layer: 1, unit: 2})", whole)
    np.testing.assert_allclose(asked["activations"], expected, rtol=0, atol=1e-5)
    scored = page.evaluate("(text) => charRnnBackend.score({text, alternatives: 3})", whole + "a")
    after = np.exp(streams.step(file.vocabulary.encode("a"))[0])
    likeliest = [(file.vocabulary.labels[index], after[index]) for index in np.argsort(-after)[:3]]
    assert [text for text, _ in scored["next"]] == [text for text, _ in likeliest]
    np.testing.assert_allclose([share for _, share in scored["next"]], [share for _, share in likeliest], atol=1e-5)
    assert page.evaluate("charRnnBackend.score({text: '', alternatives: 3})")["next"] == []
    assert page.evaluate(GENERATE, ["", 5, {"allowed": "a"}])["text"] == "aaaaa"
    assert "does not know “X”" in page.evaluate(GENERATE, ["X", 5, {"unknown": "error"}])["error"]
    assert page.evaluate(GENERATE, ["XÀ", 5, {"unknown": "nearest"}])["start"]["prime"] == "a"


def test_the_same_text_without_webassembly(opened: Opened, browser: Any, tmp_path: Path) -> None:
    file = made(scale=0.5, hidden_size=40)
    settings = {"seed": 7, "temperature": 0.9}
    new = opened(file)
    assert new.workers[0].evaluate("network.kernel.run !== null")
    policy, whole = " 'wasm-unsafe-eval'", page(file, Words("poem"))
    assert policy in whole
    (tmp_path / "old.html").write_text(whole.replace(policy, ""), "utf-8")
    old = browser.new_page()
    old.goto((tmp_path / "old.html").as_uri())
    old.locator("#generate:enabled").wait_for()
    assert old.workers[0].evaluate("network.kernel.run === null")
    text, old_text = (each.evaluate(GENERATE, ["abc", 500, settings])["text"] for each in (new, old))
    old.close()
    assert old_text == text


LEVELS = """async ({text}) => { const {values, ...rest} = await charRnnBackend.states({text});
    return {values: [...values], ...rest}; }"""


def hidden(file: ModelFile, text: str) -> np.ndarray:
    """h (T, L, H) after each character, by the engine with the page's weights."""
    engine = Engine(file.config.model, in_8_bits(file.tensors))
    return read_activations(engine, text, spelled(file.vocabulary, text)).output


def test_the_states_of_all_cells(opened: Opened) -> None:
    file = made(scale=0.5)
    page = opened(file)
    shown = page.evaluate(GENERATE, ["abc", 60, {"seed": 7, "temperature": 1, "states": True}])
    text = "abc" + shown["text"]
    expected = hidden(file, text)
    sent = {place: each["states"] for place, each in enumerate(shown["characters"], 3) if "states" in each}
    assert {len(text) - 1} <= set(sent)
    for place, each in sent.items():
        np.testing.assert_allclose(np.array(each["values"]).reshape(2, 6) / 127, expected[place], rtol=0, atol=0.005)
    for part in (text, text[:20], text[:10] + "f" + text[10:], text[:10] + "fa" + text[10:]):
        found = page.evaluate(LEVELS, {"text": part})
        assert (found["characters"], found["scale"]) == (len(part), 1)
        levels = np.array(found["values"]).reshape(-1, 2, 6) / 127
        np.testing.assert_allclose(levels, hidden(file, part), rtol=0, atol=0.005)
    going_on = page.evaluate(GENERATE, [text, 40, {}])
    assert going_on["text"] == greedy(file, text, 40)
    assert page.evaluate(LEVELS, {"text": ""}) == {"characters": 0, "scale": 1, "values": []}


def test_cells_of_a_text_and_the_progress(opened: Opened) -> None:
    page = opened(made(scale=0.5))
    text = "a bad\n fed, face\n" * 20
    found = page.evaluate(
        """async (text) => { const shares = [];
        const {cells} = await charRnnBackend.cells("poem", {text, onProgress: (share) => shares.push(share)});
        const own = await charRnnBackend.cells("poem");
        const search = new AbortController();
        const cancelled = charRnnBackend.cells("poem", {signal: search.signal}).catch(({name}) => name);
        search.abort();
        return {cells, shares, own: own.cells, cancelled: await cancelled,
                after: (await charRnnBackend.cells("poem", {text})).cells}; }""",
        text,
    )
    expected = best_cells(text, hidden(made(scale=0.5), text))
    assert [(each["tracks"], each["layer"], each["index"]) for each in found["cells"]] == [
        (each.tracks, each.layer, each.index) for each in expected
    ]
    assert found["shares"] == sorted(found["shares"])
    assert found["shares"][-1] == 1
    assert found["own"]
    assert found["cancelled"] == "AbortError"
    assert found["after"] == found["cells"]


def test_a_continuation_equals_a_new_reading(opened: Opened) -> None:
    file = made(scale=0.9, attention="top", attention_window=4)
    page = opened(file)
    begun = page.evaluate(GENERATE, ["abc", 40, {}])["text"]
    assert page.evaluate(GENERATE, ["abc" + begun, 40, {}])["text"] == greedy(file, "abc" + begun, 40)
    assert page.evaluate(GENERATE, ["abc" + begun[:20] + "f", 40, {}])["text"] == greedy(
        file, "abc" + begun[:20] + "f", 40
    )


def test_a_person_at_the_page(opened: Opened) -> None:
    page = opened(made(hidden_size=24, scale=0.4))
    page.fill("#length", "1000000")  # still running when it is stopped
    page.click("#generate")
    page.locator(".pane .body").get_by_text(re.compile(".{40}", re.DOTALL)).first.wait_for()
    page.click("#stop")
    page.get_by_text("Stopped after").wait_for()
    assert 40 <= len(text_of(page)) < 1_000_000
    page.fill("#length", "120")
    page.fill("#temperature", "0")
    page.fill("#prime", "abc")
    page.click("#generate")
    page.get_by_text("Wrote 120 characters.").wait_for()
    cold = text_of(page)
    page.click("#generate")
    page.get_by_text("Wrote 120 characters.").wait_for()
    assert text_of(page) == cold
    page.fill("#temperature", "2")
    page.click("#generate")
    page.get_by_text("Wrote 120 characters.").wait_for()
    assert text_of(page) != cold
    page.get_by_role("radio", name="a cell").check()
    page.fill("#unit", "5")
    page.locator("#unit").blur()
    page.locator(".pane .body span[class*='p']").first.wait_for()
    assert page.locator("#bars li").first.is_visible()
    page.locator("#found").get_by_text(re.compile("Word starts|No cell", re.IGNORECASE)).first.wait_for()
    assert not page.locator("#add").is_visible()
    page.fill("#prime", "abcü漢")
    page.click("#generate")
    page.get_by_text("Wrote 120 characters.").wait_for()
    assert page.locator(".note").inner_text() == "ü skipped, 漢 skipped."
    page.reload()
    page.get_by_role("button", name="Generate").and_(page.locator(":enabled")).wait_for()
    assert page.input_value("#prime") == "abcü漢"
    assert len(text_of(page)) == 123


@pytest.mark.slow
def test_the_page_writes_by_itself_and_can_be_gone_on_with(opened: Opened) -> None:
    file = made(hidden_size=24, scale=0.4)
    file.config.generation.suggested_primes = ["abc", "cab"]
    page = opened(file)
    page.wait_for_function("() => document.querySelector('.body').textContent.length > 10")
    assert page.input_value("#prime") in ("abc", "cab")
    page.keyboard.press("Escape")
    page.fill("#length", "60")
    page.get_by_role("button", name="cab").click()
    page.get_by_text("Wrote 60 characters.").wait_for()
    first = text_of(page)
    assert first.startswith("cab")
    page.fill("#prime", "cabc")
    page.get_by_role("button", name="Add it").first.click()
    page.get_by_role("slider", name="Character").fill("9")
    page.get_by_role("button", name="Choose it instead").nth(3).click()
    page.get_by_role("navigation", name="Branches").get_by_role("button", name="first").click()
    assert text_of(page) == first
    page.get_by_role("button", name="Four temperatures").click()
    page.get_by_text("Wrote 240 characters.").wait_for()
    page.get_by_role("button", name="Four temperatures").click()
    assert text_of(page) == first
    other = page.context.new_page()  # without the session of the first
    other.goto(page.url)
    other.get_by_text("Wrote 60 characters.").wait_for()
    assert text_of(other) == first


@pytest.mark.slow
def test_an_empty_field_begins_with_the_models_prime(opened: Opened) -> None:
    file = made(scale=0.4)
    file.config.generation.prime = "abc"
    page = opened(file)
    page.keyboard.press("Escape")  # the text that the page writes by itself
    page.fill("#length", "20")
    page.fill("#prime", "")
    page.get_by_role("button", name="Generate").click()
    page.get_by_text("Wrote 20 characters.").wait_for()
    assert text_of(page).startswith("abc")
    assert len(text_of(page)) == 23


@pytest.mark.parametrize("blobs", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["blob", "data"])
def test_in_a_sandboxed_frame_of_a_blog(browser: Any, blobs: bool) -> None:
    context = browser.new_context()
    context.set_default_timeout(20_000)
    frame = '<!doctype html><iframe sandbox="allow-scripts" src="/model.html" width="900" height="900"></iframe>'
    pages = {"http://blog.test/": frame, "http://blog.test/model.html": page(made(scale=0.4), Words("poem"))}
    context.route(
        "http://blog.test/*", lambda route: route.fulfill(body=pages[route.request.url], content_type="text/html")
    )
    if not blobs:
        context.add_init_script("URL.createObjectURL = () => { throw new DOMException('no', 'SecurityError') }")
    blog = context.new_page()
    complaints: list[str] = []
    blog.on("console", lambda message: complaints.append(message.text))
    blog.on("pageerror", lambda error: complaints.append(str(error)))
    blog.goto("http://blog.test/")
    inside = blog.frame_locator("iframe")
    inside.locator("#generate:enabled").wait_for()
    assert blog.frames[1].evaluate("origin") == "null"
    inside.locator("#prime").fill("abc")
    inside.get_by_role("button", name="Generate").click()
    inside.get_by_text("Wrote 600 characters.").wait_for()
    assert len(inside.locator(".pane .body").text_content()) == 603
    inside.locator("#seed").press("Enter")
    inside.get_by_role("button", name="Undo").wait_for()
    inside.locator("#found p").first.wait_for()
    context.close()
    assert complaints == []


@pytest.mark.slow
def test_embedded_in_a_page_of_another_origin(browser: Any) -> None:
    address = "http://models.test/poem.html?embed&prime=abc&seed=3&cell=1.2&theme=light"
    frame = f'<!doctype html><iframe sandbox="allow-scripts allow-popups" src="{address}" width="360" height="320">'
    pages = {"http://blog.test/": frame, "http://models.test/poem.html": page(made(scale=0.4), Words("poem"))}
    context = browser.new_context()
    context.set_default_timeout(20_000)
    context.route(
        "**/*", lambda route: route.fulfill(body=pages[route.request.url.partition("?")[0]], content_type="text/html")
    )
    blog = context.new_page()
    complaints: list[str] = []
    blog.on("console", lambda message: complaints.append(message.text))
    blog.on("pageerror", lambda error: complaints.append(str(error)))
    blog.goto("http://blog.test/")
    inside, frame = blog.frame_locator("iframe"), blog.frames[1]
    inside.get_by_text("Wrote 600 characters.").wait_for()
    text = inside.locator(".body").text_content()
    assert frame.evaluate("[origin, innerWidth, document.documentElement.scrollWidth]") == ["null", 360, 360]
    inside.locator(".body span[class*='p']").first.wait_for()
    with context.expect_page() as opening:
        inside.get_by_role("link", name="Full page").click()
    opening.value.get_by_text("Wrote 600 characters.").wait_for()
    assert opening.value.locator(".body").text_content() == text
    assert opening.value.get_by_label("Seed").is_visible()
    context.close()
    assert complaints == []


HOSTILE = "</script><img src=x onerror=alert(1)>\"'&<!--{{${`\u2028\x00\ud800"


def test_titles_and_texts_are_never_markup(opened: Opened) -> None:
    symbols = "".join(dict.fromkeys("</script>\"'&`${}\\\u2028\x00a"))
    file = made(symbols=symbols, training={"data": HOSTILE, "best_val_loss": float("nan")})
    words = Words(HOSTILE, HOSTILE, HOSTILE)
    page = opened(file, words)
    shown = HOSTILE.replace("\u2028", "\ufffd").replace("\x00", "\ufffd").replace("\ud800", "\ufffd")
    assert page.title() == shown
    assert page.locator("h1").text_content() == page.locator(".tagline").text_content() == shown
    assert page.locator(".card dd").first.text_content() == shown.rpartition("/")[2]
    assert page.locator("img").count() == 0
    page.fill("#prime", "</script>")
    page.click("#generate")
    page.get_by_text("Wrote 600 characters.").wait_for()
    assert text_of(page).startswith("</script>")


def test_what_is_in_the_file(tmp_path: Path) -> None:
    file = made(hidden_size=128, training={"data": "a poem", "best_val_loss": 1.25})
    text = page(file, Words("poem", "My poem", "Sweet."))
    assert "<h1>My poem</h1>" in text
    assert "<dd>a poem</dd>" in text
    assert "2 × 128 LSTM, " in text
    assert "1.250 nats per character" in text
    assert not re.findall(r'(?:src|href|action)="(?!data:|#)', text)
    assert "https://" not in text
    assert "serverBackend(base" not in text
    weights = sum(tensor.size for tensor in file.tensors.values())
    frame = len(page(made(hidden_size=1, num_layers=1), Words("poem")).encode())
    assert frame < 200_000
    assert len(text.encode()) < frame + weights * 4 / 3 * 1.1
    write_page(file, tmp_path / "poem.html", Words("poem", "My poem", "Sweet."))
    assert (tmp_path / "poem.html").read_bytes() == text.encode()


@pytest.mark.parametrize("data", ["/home/me/poems", "data/poems/", r"C:\Texts\poems", "poems"])
def test_paths_are_not_in_the_file(data: str) -> None:
    text = page(made(training={"data": data}), Words("poem"))
    assert "<dd>poems</dd>" in text
    assert '"data":"poems"' in text


def test_the_suggested_primes_are_in_the_file() -> None:
    file = made()
    file.config.generation.suggested_primes = ["Once upon ", "</script>"]
    assert r'"suggested_primes":["Once upon ","\u003c/script>"]' in page(file, Words("poem"))


def test_a_changed_playground_page(monkeypatch: pytest.MonkeyPatch) -> None:
    from char_rnn.export import html_page

    def texts(package: str) -> dict[str, str]:
        found = there(package)
        return {**found, "index.html": "<p></p>"} if "index.html" in found else found

    there = html_page.page_files
    monkeypatch.setattr(html_page, "page_files", texts)
    with pytest.raises(ValueError, match=r"^the playground's page: contains '<meta charset"):
        page(made(), Words("poem"))


def test_imports_come_first_and_once() -> None:
    modules = {
        "a.js": 'import { b } from "./b.js";\nimport { c, d } from "./c.js";\nb(c);\n',
        "b.js": 'import { c } from "./c.js";\nexport const b = c;\n',
        "c.js": "export function c() {}\nexport async function d() {}\n// export nothing\n",
        "unused.js": "export const e = 1;\n",
    }
    assert joined(modules, "a.js") == (
        "function c() {}\nasync function d() {}\n// export nothing\n\nconst b = c;\n\nb(c);\n"
    )


def test_imports_of_other_files_are_dropped() -> None:
    assert joined({"a.js": 'import { b } from "./b.js";\nwindow.b ?? b();\n'}, "a.js") == "window.b ?? b();\n"


@pytest.mark.parametrize(
    "line",
    ['import * as b from "./b.js";', "export default 1;", "export { a };", 'import {\n  b,\n} from "b.js";'],
)
def test_modules_that_cannot_be_joined(line: str) -> None:
    with pytest.raises(ValueError, match=r"^modules that a\.js imports: cannot be joined at '(import|export)"):
        joined({"a.js": f"{line}\n"}, "a.js")


@pytest.mark.parametrize("package", ["playground", "export"])
def test_no_two_modules_declare_the_same_name(package: str) -> None:
    folder = files(f"char_rnn.{package}") / "static"
    texts = [path.read_text("utf-8") for path in folder.iterdir() if path.name.endswith(".js")]
    declared = re.compile(r"^(?:export )?(?:const|let|class|(?:async )?function) (\w+)", re.MULTILINE)
    names = Counter(name for text in texts for name in declared.findall(text))
    assert len(names) > 30
    assert [name for name, count in names.items() if count > 1] == []
