"""The switch "Learn from my words": which words are sent, and how they are taken back."""

from __future__ import annotations

from typing import Any

import pytest
from fake_server import FakeServer, model
from test_page_writing import done, generate, write_text


@pytest.fixture
def page(new_page: Any, server: FakeServer) -> Any:
    server.models = [model("hamlet", learns=True)]
    new_page.goto(server.url)
    new_page.locator("#generate:enabled").wait_for()
    return new_page


def learned(server: FakeServer, path: str = "generate") -> Any:
    return server.last(path).get("learn")


def write(page: Any, words: str) -> None:
    write_text(page, words, length=40, says="Wrote 40 characters.")


@pytest.mark.slow
def test_nothing_is_learned_without_the_switch(page: Any, server: FakeServer) -> None:
    write(page, "my words")
    assert learned(server) is None
    assert page.locator("#learned").inner_text() == ""
    assert not page.get_by_role("button", name="Forget").is_visible()


@pytest.mark.slow
def test_a_server_that_does_not_learn_has_no_switch(new_page: Any, server: FakeServer) -> None:
    new_page.goto(server.url)
    new_page.locator("#generate:enabled").wait_for()
    assert not new_page.locator("#learning").is_visible()


def test_words_are_learned_taken_back_and_forgotten(page: Any, server: FakeServer) -> None:
    page.get_by_label("Learn from my words").check()
    write(page, "my words")
    assert learned(server) == ["my words"]
    assert page.locator("#learned").inner_text() == "learned 8 characters"
    write(page, "my words go on")
    assert learned(server) == ["my words go on"]
    write(page, "others")
    assert learned(server) == ["my words go on", "others"]
    page.get_by_role("button", name="Continue").click()
    done(page, "Wrote 40 characters.")
    assert learned(server) == ["my words go on", "others"]
    page.get_by_role("button", name="Undo").click()
    assert page.locator("#learned").inner_text() == "learned 20 characters"
    page.get_by_label("Learn from my words").uncheck()
    write(page, "unheard")
    assert learned(server) is None
    page.get_by_label("Learn from my words").check()
    page.get_by_role("button", name="Forget").click()
    write(page, "new words")
    assert learned(server) == ["new words"]


@pytest.mark.slow
def test_undo_does_not_bring_back_forgotten_words(page: Any, server: FakeServer) -> None:
    page.get_by_label("Learn from my words").check()
    write(page, "first")
    write(page, "second")
    page.get_by_role("button", name="Forget").click()
    page.get_by_role("button", name="Undo").click()
    assert page.locator("#learned").inner_text() == ""
    page.get_by_role("button", name="Continue").click()
    done(page, "Wrote 40 characters.")
    assert learned(server) is None


@pytest.mark.slow
def test_the_status_line_says_that_a_copy_learns(page: Any) -> None:
    page.evaluate("""() => {
        window.said = [];
        const status = document.querySelector("#status");
        new MutationObserver(() => window.said.push(status.textContent)).observe(status, { childList: true });
    }""")
    page.get_by_label("Learn from my words").check()
    write(page, "my words")
    assert page.evaluate("said") == ["Learning from your words …", "Writing …", "Wrote 40 characters."]
    page.get_by_role("button", name="Continue").click()
    page.wait_for_function("() => said.length === 5")
    assert page.evaluate("said.slice(3)") == ["Writing …", "Wrote 40 characters."]


@pytest.mark.slow
def test_bytes_models_learn_characters(page: Any, server: FakeServer) -> None:
    server.models = [model("hamlet", learns=True, symbols=["a", "\\xC3"])]
    page.reload()
    page.locator("#generate:enabled").wait_for()
    page.get_by_label("Learn from my words").check()
    generate(page, "déjà", length=40)
    page.get_by_text("learned 4 characters").wait_for()


@pytest.mark.slow
def test_undo_takes_back_what_was_learned(page: Any, server: FakeServer) -> None:
    page.get_by_label("Learn from my words").check()
    write(page, "first")
    write(page, "second")
    assert learned(server) == ["first", "second"]
    page.get_by_role("button", name="Undo").click()
    assert page.locator("#learned").inner_text() == "learned 5 characters"
    server.refusal = "No room."
    generate(page, "third", length=40)
    page.get_by_text("No room.").wait_for()
    page.wait_for_function("() => document.querySelector('#learned').textContent === 'learned 5 characters'")


@pytest.mark.slow
def test_the_latest_words_are_learned_at_the_limit(page: Any, server: FakeServer) -> None:
    page.get_by_label("Learn from my words").check()
    for words in ("a" * 400, "b" * 500, "c" * 300):
        write(page, words)
    assert learned(server) == ["b" * 500, "c" * 300]
    write(page, "d" * 1200)
    assert learned(server) == ["d" * 1000]


@pytest.mark.slow
def test_words_of_a_button_are_not_learned(page: Any, server: FakeServer) -> None:
    server.models = [model("hamlet", learns=True, suggested_primes=["To be"])]
    page.reload()
    page.locator("#generate:enabled").wait_for()
    page.keyboard.press("Escape")
    page.get_by_label("Learn from my words").check()
    page.get_by_role("button", name="To be").click()
    done(page)
    assert server.last("generate")["prime"] == "To be"
    assert learned(server) is None


@pytest.mark.slow
def test_a_reload_keeps_the_words(page: Any, server: FakeServer) -> None:
    page.get_by_label("Learn from my words").check()
    write(page, "my words")
    page.reload()
    page.get_by_text("learned 8 characters").wait_for()
    page.get_by_role("button", name="Continue").click()
    done(page, "Wrote")
    assert learned(server) == ["my words"]
    page.get_by_label("surprise").check()
    page.locator(".body .s3").first.wait_for()
    assert learned(server, "score") == ["my words"]
