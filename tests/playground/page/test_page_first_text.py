"""The text that the page writes by itself when it opens, and the primes to click."""

from __future__ import annotations

from typing import Any

import pytest
from fake_server import LINES, FakeServer, model
from test_page_writing import done, text_of, write_text

PRIMES = ["First ", "We are\n"]
LONGER = "length => document.querySelector('.body')?.textContent.length > length"


@pytest.fixture
def opened(new_page: Any, server: FakeServer) -> Any:
    """The page of a model that suggests primes."""
    server.models = [model("hamlet", suggested_primes=PRIMES)]
    new_page.goto(server.url)
    new_page.wait_for_function(LONGER, arg=12)
    return new_page


def test_it_writes_by_itself_until_a_key(opened: Any, server: FakeServer) -> None:
    prime = opened.get_by_label("Begin with").input_value()
    assert prime in PRIMES
    body = server.last("generate")
    assert (body["prime"], body["length"]) == (prime, 600)
    assert opened.evaluate("document.activeElement === document.body")
    assert opened.get_by_role("status").inner_text() == "The model writes. A key or a click stops it."
    opened.locator(".body :is(.p5, .n5)").first.wait_for()  # coloured by the cell found
    assert opened.locator("#found .chip[aria-pressed=true]").inner_text().startswith("1·5")
    assert opened.locator("#found").get_attribute("aria-live") == "off"
    opened.keyboard.press("Shift")
    done(opened, "Stopped after")
    stopped = text_of(opened)
    assert (prime + LINES * 10).startswith(stopped)
    assert len(stopped) < 300
    opened.wait_for_timeout(200)
    assert text_of(opened) == stopped
    assert opened.locator(".meter").inner_text() == f"{len(stopped) - len(prime)} characters"
    assert opened.locator("#position-text").inner_text() == f"{len(stopped)} of {len(stopped)}"
    opened.get_by_role("button", name="Continue").click()
    done(opened, "Wrote 600")
    assert text_of(opened) == stopped + LINES * (600 // len(LINES)) + LINES[: 600 % len(LINES)]


@pytest.mark.slow
def test_a_click_on_a_prime_writes_from_it(opened: Any, server: FakeServer) -> None:
    names = opened.get_by_role("group", name="Frequent line beginnings").get_by_role("button")
    assert names.all_inner_texts() == ["First", "We are"]
    names.last.click()
    done(opened, "Wrote 600 characters.")
    assert server.last("generate")["prime"] == "We are\n" == opened.get_by_label("Begin with").input_value()
    assert text_of(opened).startswith("We are\nFirst")


@pytest.mark.slow
def test_typing_is_not_disturbed(opened: Any, server: FakeServer) -> None:
    field = opened.get_by_label("Begin with")
    field.focus()
    opened.keyboard.press("Control+a")
    opened.keyboard.type("My words")
    assert field.input_value() == "My words"
    opened.keyboard.press("Control+Enter")
    done(opened, "Wrote 600")
    assert text_of(opened).startswith("My wordsFirst")
    assert opened.locator(".slow").count() == 0


@pytest.mark.slow
@pytest.mark.parametrize("context_options", [{"reduced_motion": "reduce"}], ids=["reduced"])
def test_reduced_motion_shows_the_text_at_once(new_page: Any, server: FakeServer) -> None:
    server.models = [model("hamlet", suggested_primes=PRIMES)]
    new_page.goto(server.url)
    done(new_page, "Wrote 600 characters.")
    assert len(text_of(new_page)) > 600


@pytest.mark.slow
def test_a_restored_text_stays(opened: Any, server: FakeServer) -> None:
    opened.keyboard.press("Escape")
    write_text(opened, "A", length=60, says="Wrote 60")
    asked = len(server.asked)
    opened.reload()
    opened.locator("#generate:enabled").wait_for()
    opened.wait_for_timeout(100)
    assert text_of(opened) == "A" + LINES[:60]
    assert [path for path, _ in server.asked[asked:] if path == "generate"] == []


@pytest.mark.slow
def test_a_model_without_primes_begins_a_line(new_page: Any, server: FakeServer) -> None:
    server.models = [model("old", suggested_primes=[])]
    new_page.goto(server.url)
    new_page.wait_for_function(LONGER, arg=3)
    assert server.last("generate")["prime"] == "\n"
    assert new_page.locator("#primes button").count() == 0


@pytest.mark.slow
def test_the_best_cell_is_not_chosen_for_another_model(new_page: Any, server: FakeServer) -> None:
    server.models = [model("hamlet", suggested_primes=PRIMES), model("macbeth", suggested_primes=PRIMES)]
    server.search = 1
    new_page.goto(server.url)
    new_page.wait_for_function(LONGER, arg=12)
    with new_page.expect_response("**/cells"):
        new_page.get_by_label("Model", exact=True).select_option("macbeth")
    new_page.locator("#find-cells:enabled").wait_for()
    assert new_page.get_by_label("nothing").is_checked()
