"""The page and the server together."""

from __future__ import annotations

from typing import Any

import pytest
from playground_helpers import Serving, characters_of, eventually
from playground_helpers import text_of as written
from test_page_inside import bars, colours
from test_page_writing import continue_text, done, generate, text_of, write_text


@pytest.fixture
def page(new_page: Any, served: Serving) -> Any:
    new_page.goto(f"http://127.0.0.1:{served.port}/")
    new_page.locator("#generate:enabled").wait_for()
    new_page.keyboard.press("Escape")  # stop the text that the page writes by itself
    return new_page


def test_the_text_is_the_server_s(page: Any, served: Serving) -> None:
    page.get_by_label("Seed").fill("11")
    page.get_by_label("keep").check()
    write_text(page, "abc", length=300, says="Wrote 300 characters.")
    events = served.generate(prime="abc", length=300, seed=11, temperature=1.0)
    assert text_of(page) == "abc" + written(events)
    other = page.context.new_page()
    other.goto(page.url)  # its link
    done(other, "Wrote 300 characters.")
    assert text_of(other) == "abc" + written(events)
    other.close()
    assert len(bars(page)) == 10
    continue_text(page, 603)


def test_stop_ends_the_text_at_the_server(page: Any, served: Serving) -> None:
    page.get_by_role("button", name="Add a model").click()
    generate(page, length=10000)
    page.locator(".pane").first.filter(has_text="a").wait_for()
    page.keyboard.press("Escape")
    done(page, "Stopped after")
    eventually(served.is_idle)


def test_cells_and_surprise(page: Any) -> None:
    write_text(page, "a 'b' c\n", length=300)
    page.locator(".cell").first.click()
    page.locator(".body [class*=p]:not(.prime), .body [class*=n]").first.wait_for()
    page.get_by_label("surprise").check()
    page.locator(".body .s3").first.wait_for()
    assert "prime s" in colours(page)


@pytest.mark.slow
def test_the_wall_and_copied_stretches(page: Any, served: Serving) -> None:
    prime = 'a "bad" cafe, a "bad" face.'
    write_text(page, prime, length=60)
    page.get_by_label("Layer", exact=True).select_option("1")
    page.get_by_label("Cell", exact=True).fill("0")
    page.keyboard.press("Enter")
    page.get_by_label("copied").check()
    page.locator(".body .copied").first.wait_for()
    assert page.locator(".body .copied").all_text_contents()[0].startswith(prime)
    page.get_by_role("slider", name="Character").fill("5")
    value = served.post("/api/activations", model="one", text=prime[:5], layer=1, unit=0).json()["activations"][-1]
    level = f"{round(value * 127) / 127:+.2f}".replace("-", "\u2212")
    page.locator("#wall-cell").filter(has_text=f"Layer 1, cell 0: {level}").wait_for()


@pytest.mark.slow
def test_bytes_that_are_not_characters(page: Any, served: Serving) -> None:
    page.get_by_label("Model", exact=True).select_option("bytes")
    page.get_by_label("a cell").check()
    page.get_by_label("Seed").fill("11")  # some seeds write control characters, which are shown by their numbers
    page.get_by_label("keep").check()
    write_text(page, "é🙂z", length=200)
    page.locator("#reading").filter(has_text="Cell 0 of layer 0").wait_for()
    text = text_of(page)
    assert text.startswith("é🙂z")
    values = served.post("/api/activations", model="bytes", text=text, layer=0, unit=0).json()["activations"]
    for place in (1, 2, 3):
        page.get_by_role("slider", name="Byte").fill(str(place))
        value = f"{values[place - 1]:+.2f}".replace("-", "−")
        page.locator("#reading").filter(has_text=f"{value} at {text[place - 1]}").wait_for()
    assert page.locator(".rate").inner_text().endswith(" bytes/s")
    settings = {"prime": "é🙂z", "length": 200, "model": "bytes", "alternatives": 10, "temperature": 1.0}
    written = characters_of(served.generate(seed=int(page.get_by_label("Seed").input_value()), **settings))
    for place, byte in enumerate(written[:30], 4):
        page.get_by_role("slider", name="Byte").fill(str(place))
        name = byte.get("symbol", byte["text"]).replace("\\x", "byte ")
        assert page.locator("#bars .drawn:visible").count() == 1
        if name.startswith("byte "):
            assert page.locator("#bars .drawn:visible button").get_attribute("aria-label").startswith(f"{name}, ")
            assert page.locator("#bars .drawn:visible .sign").inner_text() == f"⟨{name[-2:]}⟩"
            whole = byte["text"].strip("\ufffd")
            assert page.locator("#context strong").inner_text() == (whole or f"⟨{name[-2:]}⟩")
        assert not {"…", "\ufffd"} & set(page.locator("#context").inner_text())


@pytest.mark.slow
def test_a_refusal_says_what_to_do(page: Any) -> None:
    page.get_by_text("Characters and stop texts").click()
    page.get_by_label("Unknown characters in the prime").select_option("error")
    generate(page, "Z")
    alert = page.get_by_role("alert").filter(has_text="Z")
    alert.wait_for()
    assert alert.inner_text().startswith("prime: ")
