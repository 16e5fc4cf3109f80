"""Links that hold a text's models, prime, seed, settings and colours; reload, Back and Forward."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from fake_server import LINES, FakeServer
from test_page_inside import colours
from test_page_writing import continue_text, done, generate, text_of, write_text

LINK = "#model=macbeth&prime=O+%E2%80%9Ctime%E2%80%9D%0A&seed=42&temperature=0.5&length=60&top_k=12&cell=1.5"
WRITTEN = {"model": "macbeth", "prime": "O “time”\n", "seed": 42, "temperature": 0.5, "length": 60, "top_k": 12}


def fields_of(url: str) -> list[tuple[str, str]]:
    return parse_qsl(urlsplit(url).fragment, keep_blank_values=True)


def opened(page: Any, server: FakeServer, link: str) -> Any:
    page.goto(server.url + link)
    page.locator("#generate:enabled").wait_for()
    return page


def test_a_link_writes_its_text(new_page: Any, server: FakeServer) -> None:
    page = opened(new_page, server, LINK)
    done(page, "Wrote 60 characters.")
    asked = server.last("generate")
    assert {name: asked[name] for name in WRITTEN} == WRITTEN
    assert asked["unit"] == {"layer": 1, "index": 5}
    assert text_of(page) == "O “time”\n" + LINES[:60]
    assert "p" in colours(page)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy link").click()
    done(page, "Copied the link to this text.")
    assert page.evaluate("navigator.clipboard.readText()") == page.url == server.url + LINK


@pytest.mark.slow
def test_generate_puts_the_link_into_the_address(page: Any, server: FakeServer) -> None:
    assert page.get_by_role("button", name="Copy link").is_disabled()
    page.get_by_role("button", name="Add a model").click()
    page.get_by_label("Change it over the text").check()
    page.locator("#final_temperature").fill("1.2")
    write_text(page, "Ä & <b>", length=60)
    seed = page.get_by_label("Seed").input_value()
    assert fields_of(page.url) == [
        ("model", "hamlet"), ("model", "macbeth"), ("prime", "Ä & <b>"), ("seed", seed), ("temperature", "0.8"),
        ("final_temperature", "1.2"), ("length", "60"), ("schedule", "true"),
    ]  # fmt: skip
    page.get_by_label("surprise").check()
    page.wait_for_url("**colour=surprise**")
    first = server.last("generate")
    other = page.context.new_page()
    opened(other, server, "#" + urlsplit(page.url).fragment)
    done(other, "Wrote 120 characters.")
    assert other.get_by_label("surprise").is_checked()
    assert server.last("generate") == {**first, "states": False}  # those of the first model are shown
    other.close()


def test_back_and_forward(page: Any, server: FakeServer) -> None:
    write_text(page, "A", length=60, says="Wrote 60")
    continue_text(page, 121)
    first = page.get_by_label("Seed").input_value()
    write_text(page, "B", length=50, says="Wrote 50")
    written = [path for path, _ in server.asked].count("generate")
    page.go_back()
    page.wait_for_function("() => document.querySelector('#position').max == 121")
    assert text_of(page) == "A" + LINES[:60] * 2  # with the continuation
    assert [page.locator(name).input_value() for name in ("#prime", "#seed", "#length")] == ["A", first, "60"]
    page.go_forward()
    page.wait_for_function("() => document.querySelector('#position').max == 51")
    assert page.get_by_label("Begin with").input_value() == "B"
    assert [path for path, _ in server.asked].count("generate") == written  # nothing again
    page.reload()
    page.locator("#generate:enabled").wait_for()
    assert text_of(page) == "B" + LINES[:50]
    page.go_back()
    page.wait_for_function("() => document.querySelector('#position').max == 61")
    done(page, "Wrote 60")
    assert server.last("generate")["seed"] == int(first)


BAD = {
    "no seed": "#model=hamlet&prime=A",
    "no such model": "#model=lear&prime=A&seed=1",
    "no such cell": "#model=hamlet&cell=1.99&prime=A&seed=1",
    "markup": "#model=<img src=x onerror=alert(1)>&prime=A&seed=1",
    "no number": "#model=hamlet&prime=A&seed=1&temperature=hot",
    "no such field": "#model=hamlet&prime=A&seed=1&find-cells=x",
    "not a choice": "#model=hamlet&prime=A&seed=1&unknown=guess",
    "not a colour": "#model=hamlet&prime=A&seed=1&colour=%22%5D",
    "too long": "#model=hamlet&seed=1&prime=" + "A" * 5000,
    "too many": "#" + "model=hamlet&" * 5 + "prime=A&seed=1",
}


@pytest.mark.parametrize("link", BAD.values(), ids=BAD)
@pytest.mark.slow
def test_a_bad_link_is_ignored(new_page: Any, server: FakeServer, link: str) -> None:
    page = opened(new_page, server, link)
    done(page, "This link is incomplete, or this page does not have its model.")
    assert [path for path, _ in server.asked] == ["models"]
    assert page.locator(".trouble:visible, img").count() == 0
    write_text(page, "A", length=60, says="Wrote 60")
    assert dict(fields_of(page.url))["prime"] == "A"
    page.evaluate("link => { location.hash = link }", link)
    done(page, "This link is incomplete")
    assert text_of(page) == "A" + LINES[:60]


@pytest.mark.slow
def test_another_link_in_the_same_page(page: Any, server: FakeServer) -> None:
    page.get_by_role("button", name="Add a model").click()
    write_text(page, "A", length=60, says="Wrote 120")
    page.evaluate("link => { location.hash = link }", LINK)
    done(page, "Wrote 60 characters.")
    assert page.locator(".column").count() == 1
    assert text_of(page) == "O “time”\n" + LINES[:60]
    page.go_back()
    page.wait_for_function("() => document.querySelectorAll('.column').length == 2")
    assert text_of(page, 1) == "A" + LINES[:60]


@pytest.mark.slow
def test_undo_restores_the_link(page: Any, server: FakeServer) -> None:
    write_text(page, "A", length=60, says="Wrote 60")
    first = page.url
    write_text(page, "B", length=50, says="Wrote 50")
    continue_text(page, 101)
    done(page, "Wrote 50")
    second = page.url
    page.get_by_role("button", name="Undo").click()
    assert page.url == second != first
    write_text(page, "C", length=50, says="Wrote 50")
    page.get_by_role("button", name="Undo").click()
    assert page.url == second
    server.refusal = "the model is busy"
    write_text(page, "D", length=50, says="No text was written.")
    assert page.url == second


@pytest.mark.slow
def test_a_link_is_not_lost(page: Any, server: FakeServer) -> None:
    write_text(page, "A", length=60, says="Wrote 60")
    link = page.url
    page.keyboard.press("Control+Home")
    page.locator(".skip").focus()
    page.keyboard.press("Enter")  # to #prime
    page.wait_for_url(link)
    assert page.evaluate("document.activeElement.id") == "prime"
    page.goto(server.url)  # the session's text, and its link
    page.wait_for_url(link)
    assert text_of(page) == "A" + LINES[:60]
    write_text(page, "A" * 900 + "é" * 600, length=50, says="Wrote 50")
    assert page.url == server.url  # too long for a link
    assert page.get_by_role("button", name="Copy link").is_disabled()


@pytest.mark.slow
def test_back_and_branches_while_a_text_is_written(page: Any, server: FakeServer) -> None:
    write_text(page, "A", length=60)
    server.pause = 0.1
    generate(page, "B", length=2000)
    page.locator(".meter:not(:empty)").wait_for()
    page.go_back()
    done(page, "This is an earlier text.")
    assert text_of(page) == "A" + LINES[:60]
    assert page.locator(".meter").inner_text() == "60 characters"
    page.locator("#bars button").nth(1).click()
    page.locator(".branches button").first.click()
    done(page, "This is an earlier text.")
    page.wait_for_timeout(300)  # the report of the stopped text does not come
    done(page, "This is an earlier text.")
