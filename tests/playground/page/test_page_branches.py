"""Branches of a text, and the tree that goes between them."""

from __future__ import annotations

from typing import Any

import pytest
from fake_server import LINES, FakeServer
from test_page_writing import continue_text, done, generate, text_of, write_text

TREE = """() => { const tree = list => [...list?.children ?? []].map(item => {
    const label = item.firstChild.textContent + (item.firstChild.ariaCurrent ? "*" : "");
    return item.children[1] ? [label, tree(item.children[1])] : [label] });
  return tree(document.querySelector(".branches ul")) }"""


def tree_of(page: Any) -> Any:
    return page.evaluate(TREE)


def choose(page: Any, at: int, character: str) -> None:
    """Choose another character at a place, counted from 1."""
    page.get_by_role("slider", name="Character").fill(str(at))
    page.get_by_role("button", name=f"“{character}”, ").click()
    page.wait_for_function("length => document.querySelector('#position').max == length", arg=at + 20)
    page.locator("#undo").wait_for()


@pytest.fixture
def branched(page: Any, server: FakeServer) -> Any:
    """A text of 20 characters with a branch at 8, its branch at 15, and one more of the text at 5."""
    write_text(page, "A", length=20, says="Wrote 20")
    choose(page, 8, "o")
    choose(page, 15, "e")
    page.get_by_role("navigation", name="Branches").get_by_role("button", name="first").click()
    choose(page, 5, "h")
    return page


BRANCHED = [["first", [["o", [["e"]]], ["h*"]]]]
TEXTS = {
    "first": "A" + LINES[:20],
    "“o” at character 8": "AFirst o" + LINES[:20],
    "“e” at character 15": "AFirst oFirst e" + LINES[:20],
    "“h” at character 5": "AFirh" + LINES[:20],
}


def test_the_tree_goes_between_the_branches(branched: Any, server: FakeServer) -> None:
    assert tree_of(branched) == BRANCHED
    nav = branched.get_by_role("navigation", name="Branches of the text")
    for name, text in TEXTS.items():
        nav.get_by_role("button", name=name, exact=True).focus()
        branched.keyboard.press("Enter")
        assert text_of(branched) == text
        assert branched.evaluate("document.activeElement.ariaCurrent") == "true"
        assert branched.locator("#position-text").inner_text() == f"{len(text)} of {len(text)}"
    nav.get_by_role("button", name="“o” at character 8").click()
    continue_text(branched, 48)
    assert text_of(branched) == "AFirst o" + LINES[:20] * 2
    assert tree_of(branched) == [["first", [["o*", [["e"]]], ["h"]]]]


@pytest.mark.slow
def test_undo_and_a_new_text(branched: Any, server: FakeServer) -> None:
    branched.get_by_role("button", name="Undo").click()
    assert tree_of(branched) == [["first*", [["o", [["e"]]]]]]
    assert text_of(branched) == TEXTS["first"]
    generate(branched, "B", length=20)
    branched.wait_for_function("() => document.querySelector('.branches').hidden")
    branched.get_by_role("button", name="Undo").click()
    assert tree_of(branched) == [["first*", [["o", [["e"]]]]]]


@pytest.mark.slow
def test_branches_survive_a_reload_and_back(branched: Any, server: FakeServer) -> None:
    branched.reload()
    branched.locator("#generate:enabled").wait_for()
    assert tree_of(branched) == BRANCHED
    generate(branched, "B", length=20)
    branched.wait_for_function("() => document.querySelector('.branches').hidden")
    branched.go_back()
    branched.locator(".branches").wait_for()
    for name, text in TEXTS.items():
        branched.get_by_role("button", name=name, exact=True).click()
        assert text_of(branched) == text


@pytest.mark.slow
def test_another_branch_while_the_model_writes(page: Any, server: FakeServer) -> None:
    write_text(page, "A", length=20, says="Wrote 20")
    server.pause = 0.05
    page.get_by_role("spinbutton", name="Length").fill("5000")
    page.get_by_role("slider", name="Character").fill("8")
    page.get_by_role("button", name="“o”, ").click()
    page.get_by_role("navigation", name="Branches").get_by_role("button", name="first").click()
    page.wait_for_function("() => document.querySelector('#stop').disabled")
    assert text_of(page) == "A" + LINES[:20]
    server.pause = 0
    page.get_by_role("button", name="“o” at character 8").click()
    assert text_of(page).startswith("AFirst o")


@pytest.mark.slow
def test_the_number_of_branches_is_bounded(page: Any, server: FakeServer) -> None:
    write_text(page, "A", length=20, says="Wrote 20")
    for at in range(3, 20):
        choose(page, at, "e")
    assert page.locator(".branches button").count() == 12
    assert page.locator(".branches [aria-current]").inner_text() == "e"
    page.locator(".branches button").first.click()
    assert text_of(page).startswith("AF")


@pytest.mark.slow
def test_a_refused_branch_is_not_opened(page: Any, server: FakeServer) -> None:
    write_text(page, "A", length=20, says="Wrote 20")
    server.refusal = "the model is busy"
    page.get_by_role("slider", name="Character").fill("8")
    page.get_by_role("button", name="“o”, ").click()
    done(page, "No text was written.")
    assert page.locator(".branches").is_hidden()
    assert text_of(page) == "A" + LINES[:20]
