"""Writing with the page: generate, stop, continue, settings, several models, errors."""

from __future__ import annotations

import re
from typing import Any

import pytest
from fake_server import LINES, FakeServer, model

PANE = ".pane"


def generate(page: Any, prime: str = "", length: int | None = None) -> None:
    page.get_by_label("Begin with").fill(prime)
    if length is not None:
        page.get_by_role("spinbutton", name="Length").fill(str(length))
    page.get_by_role("button", name="Generate").click()


def done(page: Any, text: str = "Wrote") -> None:
    page.get_by_role("status").filter(has_text=text).wait_for()


def write_text(page: Any, prime: str = "", length: int | None = None, says: str = "Wrote") -> None:
    """Generate a text, and wait until the page reports its end."""
    generate(page, prime, length)
    done(page, says)


def continue_text(page: Any, length: int) -> None:
    """Continue a text, and wait until it has this length and the page reports its end."""
    page.get_by_role("button", name="Continue").click()
    page.wait_for_function("length => document.querySelector('#position').max == length", arg=length)
    done(page)


def text_of(page: Any, column: int = 0) -> str:
    return page.locator(PANE).nth(column).evaluate("pane => pane.textContent")


def test_generate_shows_the_prime_and_the_text(page: Any, server: FakeServer) -> None:
    write_text(page, "ROMEO:\n", length=100, says="Wrote 100 characters.")
    assert text_of(page) == "ROMEO:\n" + (LINES * 2)[:100]
    assert page.locator(".prime").all_inner_texts() == ["ROMEO:\n"]
    assert page.get_by_text("200 characters/s").is_visible()  # 100 in half a second, after the prime had been read
    body = server.last("generate")
    assert body == {
        "model": "hamlet",
        "states": True,
        "prime": "ROMEO:\n",
        "length": 100,
        "seed": int(page.get_by_label("Seed").input_value()),
        "stop": [],
        "stop_at_newline": False,
        "unknown": "nearest",
        "temperature": 0.8,
        "final_temperature": None,
        "top_k": None,
        "top_p": None,
        "min_p": None,
        "typical_p": None,
        "repetition_penalty": 1,
        "repetition_window": 64,
        "banned": "",
        "allowed": None,
        "alternatives": 10,
        "unit": None,
    }


def test_every_setting_reaches_the_request(page: Any, server: FakeServer) -> None:
    page.get_by_label("Change it over the text").check()
    numbers = {
        "temperature": 0.35,
        "final_temperature": 1.2,
        "top_k": 12,
        "top_p": 0.9,
        "min_p": 0.05,
        "typical_p": 0.8,
        "repetition_penalty": 1.3,
        "repetition_window": 32,
    }
    for name, value in numbers.items():
        page.locator(f"#{name}").fill(str(value))
    page.get_by_text("Characters and stop texts").click()
    page.get_by_label("Allowed characters").fill("abc \\n")
    page.get_by_label("Banned characters").fill("xyz")
    page.get_by_label("Stop texts, one per line").fill("THE END\n\\n\\n")
    page.get_by_label("Stop at the end of the line").check()
    page.get_by_label("Unknown characters in the prime").select_option("skip")
    write_text(page, length=20)
    body = server.last("generate")
    assert {name: body[name] for name in numbers} == numbers
    assert body["allowed"] == "abc \n"
    assert body["banned"] == "xyz"
    assert body["stop"] == ["THE END", "\n\n"]
    assert body["stop_at_newline"] is True
    assert body["unknown"] == "skip"
    page.get_by_role("button", name="Reset").click()
    write_text(page, length=50, says="Wrote 50")
    assert server.last("generate")["top_k"] is None


@pytest.mark.slow
def test_temperature_by_slider_and_number(page: Any, server: FakeServer) -> None:
    slider, number = page.get_by_role("slider", name="Temperature"), page.get_by_role("spinbutton", name="Temperature")
    slider.focus()
    page.keyboard.press("ArrowRight")
    assert number.input_value() == "0.85"
    number.fill("7")
    number.blur()
    assert number.input_value() == slider.input_value() == "2"
    write_text(page, length=20)
    assert server.last("generate")["temperature"] == 2


def test_stop_then_continue(page: Any, server: FakeServer) -> None:
    server.pause = 0.03
    generate(page, "A", length=5000)
    page.locator(PANE).filter(has_text="accounted").wait_for()
    page.get_by_role("button", name="Stop").click()
    done(page, "Stopped after")
    stopped = text_of(page)
    server.pause = 0
    page.get_by_role("spinbutton", name="Length").fill("60")
    page.get_by_role("button", name="Continue").click()
    done(page, "Wrote 60 characters.")
    body = server.last("generate")
    assert body["prime"] == stopped
    assert text_of(page) == stopped + LINES[:60]
    assert body["seed"] == int(page.get_by_label("Seed").input_value()) + 1


@pytest.mark.slow
def test_a_kept_seed_is_used_again(page: Any, server: FakeServer) -> None:
    page.get_by_label("Seed").fill("42")
    page.get_by_label("keep").check()
    write_text(page, length=20)
    assert server.last("generate")["seed"] == 42
    page.get_by_label("keep").uncheck()
    page.get_by_label("Seed").fill("2000000")
    write_text(page, length=50, says="Wrote 50")
    assert server.last("generate")["seed"] < 1_000_000


@pytest.mark.slow
def test_a_long_text_is_continued_from_its_end(page: Any, server: FakeServer) -> None:
    write_text(page, length=1500)
    page.get_by_role("button", name="Continue").click()
    done(page, "Wrote 1,500 characters. The model read only the last 1,000 characters of the earlier text.")
    assert server.last("generate")["prime"] == (LINES * 30)[500:1500]


def test_undo(page: Any, server: FakeServer) -> None:
    back = page.get_by_role("button", name="Undo")
    write_text(page, "A", length=60)
    assert not back.is_visible()  # no earlier text
    page.keyboard.press("Control+Shift+Enter")
    page.wait_for_function("() => document.querySelector('#position').max == 121")
    back.click()
    assert text_of(page) == "A" + LINES[:60]
    assert not back.is_visible()
    page.keyboard.press("Control+Shift+Enter")
    page.wait_for_function("() => document.querySelector('#position').max == 121")
    assert server.last("generate")["prime"] == "A" + LINES[:60]


@pytest.mark.slow
def test_undo_while_the_model_writes(page: Any, server: FakeServer) -> None:
    write_text(page, "A", length=60)
    server.pause = 0.02
    generate(page, "B", length=5000)
    page.locator(PANE).filter(has_text="accounted").wait_for()
    page.get_by_role("button", name="Undo").click()
    page.wait_for_function("() => document.querySelector('#stop').disabled")
    page.wait_for_timeout(200)  # the cancelled stream has ended
    assert page.get_by_role("status").inner_text() == "Restored the previous text."
    assert text_of(page) == "A" + LINES[:60]
    assert page.locator(".meter").inner_text() == "60 characters"
    assert page.locator(".writing").count() == 0


@pytest.mark.slow
def test_generate_repeatedly(page: Any, server: FakeServer) -> None:
    server.pause = 0.01
    generate(page, "A", length=200)
    for _ in range(4):
        page.keyboard.press("Escape")
        page.keyboard.press("Control+Enter")
        page.keyboard.press("Control+Enter")
    done(page, "Wrote 200 characters.")
    assert text_of(page) == "A" + (LINES * 4)[:200]
    assert page.locator(".writing").count() == 0


def test_two_models_side_by_side(page: Any, server: FakeServer) -> None:
    page.get_by_role("button", name="Add a model").click()
    assert page.get_by_label("Model", exact=True).nth(1).input_value() == "macbeth"
    write_text(page, "O", length=40, says="Wrote 80 characters.")
    assert text_of(page, 0) == text_of(page, 1) == "O" + LINES[:40]
    bodies = [body for path, body in server.asked if path == "generate"]
    assert sorted(body["model"] for body in bodies) == ["hamlet", "macbeth"]
    assert bodies[0]["seed"] == bodies[1]["seed"]
    assert page.locator(".rate").all_inner_texts() == ["80 characters/s"] * 2
    page.get_by_role("button", name="Remove this model").first.click()
    assert page.locator(".column").count() == 1
    assert page.get_by_label("Model", exact=True).input_value() == "macbeth"


@pytest.mark.slow
def test_ten_thousand_characters(page: Any, server: FakeServer) -> None:
    server.per_message = 50
    server.limits["length"] = 10_000
    write_text(page, length=10_000, says="Wrote 10,000 characters.")
    assert text_of(page) == (LINES * 200)[:10_000]
    assert page.locator(f"{PANE} span:not(.mark)").count() == 0  # no colours


@pytest.mark.slow
def test_the_end_stays_in_view_while_colours_change(page: Any, server: FakeServer) -> None:
    server.pause, server.per_message = 0.05, 500  # more than one line per frame
    page.get_by_label("a cell").check()
    write_text(page, length=3000)
    gap = page.locator(PANE).evaluate("pane => pane.scrollHeight - pane.scrollTop - pane.clientHeight")
    assert gap < 40
    page.locator(PANE).evaluate("pane => { pane.scrollTop = 100 }")
    page.get_by_label("surprise").check()
    page.locator(".body .s1").first.wait_for()
    assert page.locator(PANE).evaluate("pane => pane.scrollTop") == 100


def test_copy(page: Any, server: FakeServer) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    write_text(page, "A", length=60)
    page.get_by_role("button", name="Copy", exact=True).click()
    done(page, "Copied 61 characters.")
    assert page.evaluate("navigator.clipboard.readText()") == "A" + LINES[:60]


def test_substitutions_are_shown(page: Any, server: FakeServer) -> None:
    server.read = {"normal_form": "NFC", "substitutions": [["é", "e"], ["漢", ""]]}
    write_text(page, "é", length=20)
    assert page.locator(".note").inner_text() == ("Converted to the Unicode form NFC. é replaced by e, 漢 skipped.")
    server.read = {}
    write_text(page, "e", length=50, says="Wrote 50")
    assert not page.locator(".note").is_visible()


@pytest.mark.slow
def test_an_error_while_writing_is_shown(page: Any, server: FakeServer) -> None:
    server.breaks_after = 40
    generate(page)
    assert page.get_by_role("alert").filter(has_text="lost its way").inner_text().endswith("Lower the temperature.")
    assert text_of(page) == LINES[:40]
    done(page, "Failed after 40 characters.")
    server.breaks_after = None
    write_text(page, length=60, says="Wrote 60")
    assert page.get_by_role("alert").filter(has_text="lost its way").count() == 0


def test_a_refusal_is_shown(page: Any, server: FakeServer) -> None:
    write_text(page, "A", length=60)
    server.refusal = "prime: this model has never seen 'é'; choose another way with such characters"
    generate(page, "é")
    page.get_by_role("alert").filter(has_text="never seen").wait_for()
    assert page.get_by_role("status").inner_text() == "No text was written."
    page.get_by_role("slider", name="Character").fill("8")
    page.get_by_role("button", name="“o”, 2.0%. Choose it").click()
    done(page, "No text was written.")
    server.refusal, server.breaks_after = None, 0
    page.get_by_role("button", name="Continue").click()
    page.get_by_role("alert").filter(has_text="lost its way").wait_for()
    assert text_of(page) == "A" + LINES[:60]  # the old text stays until a new one begins
    assert not page.get_by_role("button", name="Undo").is_visible()


@pytest.mark.slow
def test_an_unreachable_server(new_page: Any, server: FakeServer) -> None:
    new_page.route(re.compile("/api/models"), lambda route: route.abort())
    new_page.goto(server.url)
    alert = new_page.get_by_role("alert").filter(has_text="does not answer")
    alert.wait_for()
    new_page.unroute(re.compile("/api/models"))
    alert.get_by_role("button", name="Try again").click()
    write_text(new_page, length=60)


@pytest.mark.slow
@pytest.mark.parametrize("text", ["naïve 🙂 \u4e2d", "a < b & c"])
def test_any_writing_system(new_page: Any, server: FakeServer, text: str) -> None:
    server.models = [model("one")]
    new_page.goto(server.url)
    write_text(new_page, text, length=60)
    assert text_of(new_page).startswith(text + "First")


@pytest.mark.slow
def test_another_backend_replaces_the_server(new_page: Any, server: FakeServer) -> None:
    new_page.add_init_script("""window.charRnnBackend = {
      async models() { return {models: [{name: "own", cell: "gru", hidden_size: 4, num_layers: 1, parameters: 9,
        symbols: ["a", "b"], data: null, loss: null, precision: "int8"}],
        limits: {length: 100, streams: 2, prime: 100, body: 1000}} },
      async generate(request, {onStart, onCharacters, onDone}) {
        onStart({prime: request.prime});
        onCharacters({text: "ab", characters: [{text: "a", probability: 0.5, alternatives: [["a", 0.5]]},
          {text: "b", probability: 0.5, alternatives: [["b", 0.5]]}]});
        onDone({reason: "length", characters: 2, seconds: 1});
      },
      async activations({text}) { return {activations: [...text].map(() => 0.5)} },
      async cells() { return {cells: []} },
      async score({text}) { return {log_probs: [...text].map(() => -1)} }}""")
    new_page.goto(server.url)
    write_text(new_page, "b", says="Wrote 2 characters.")
    assert text_of(new_page) == "bab"
    assert server.asked == []


@pytest.mark.slow
def test_the_page_begins_at_the_temperature_of_the_model(new_page: Any, server: FakeServer) -> None:
    server.models[0]["temperature"] = 0.6
    new_page.goto(server.url)
    write_text(new_page, length=60)
    assert server.last("generate")["temperature"] == 0.6
    new_page.locator("#temperature").fill("1.2")
    new_page.get_by_role("button", name="Reset").click()
    assert new_page.locator("#temperature").input_value() == "0.6"
