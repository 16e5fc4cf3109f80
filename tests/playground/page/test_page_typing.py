"""What the model expects while a person types: the next characters, and the surprise of the words in their field."""

from __future__ import annotations

from typing import Any

import pytest
from fake_server import FakeServer
from test_page_inside import bars
from test_page_writing import done, text_of, write_text

SHADES = """() => [...document.querySelector("#shades").childNodes]
  .map(node => [node.textContent, node.className ?? ""]).filter(([text]) => text)"""


def type_in(page: Any, text: str) -> None:
    page.get_by_label("Begin with").press_sequentially(text)
    page.locator("#context").filter(has_text=text[-1].replace(" ", "")).wait_for()


def test_bars_and_surprise_while_typing(page: Any, server: FakeServer) -> None:
    type_in(page, "First C")
    page.locator("#bars li:visible").first.wait_for()
    assert server.last("score") == {"model": "hamlet", "text": "First C", "alternatives": 10}
    assert bars(page) == ["“i”, 50%", "“z”, 25%", "byte C3, 2"]
    assert page.locator("#context").text_content() == "First C\u00a0"
    assert page.locator("#bars .drawn").count() == 0
    page.wait_for_function("() => document.querySelector('#shades .s8')")  # 6 of 8 bits
    shades = page.evaluate(SHADES)
    assert shades == [
        ["F", ""], ["i", "s1"], ["r", "s3"], ["s", "s4"], ["t", "s5"], [" ", "s6"], ["C", "s8"], ["\n", ""],
    ]  # fmt: skip
    assert page.get_by_label("Begin with").evaluate("field => field.scrollTop") == 0
    fonts = [page.locator(name).evaluate("node => getComputedStyle(node).font") for name in ("#prime", "#shades")]
    assert fonts[0] == fonts[1]


@pytest.mark.slow
def test_a_bar_adds_its_character(page: Any, server: FakeServer) -> None:
    type_in(page, "First C")
    page.get_by_role("button", name="“z”, 25%. Add it").click()
    field = page.get_by_label("Begin with")
    assert field.input_value() == "First Cz"
    assert field.evaluate("field => field === document.activeElement")
    page.get_by_role("button", name="“t”, 50%. Add it").focus()
    page.keyboard.press("Enter")
    assert field.input_value() == "First Czt"
    page.get_by_role("button", name="“i”, 50%").wait_for()
    page.keyboard.press("Enter")  # the focus stays at the likeliest
    assert field.input_value() == "First Czti"
    page.locator("#bars button[aria-label^='byte C3']").dispatch_event("click")  # its row may be hidden or not
    assert field.input_value() == "First Czti"


@pytest.mark.slow
def test_bars_follow_the_caret(page: Any, server: FakeServer) -> None:
    type_in(page, "First")
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    page.get_by_role("button", name="“r”, 50%").wait_for()
    page.get_by_role("button", name="“z”, 25%. Add it").click()
    assert page.get_by_label("Begin with").input_value() == "Fizrst"


@pytest.mark.slow
def test_the_text_has_the_bars_again(page: Any, server: FakeServer) -> None:
    write_text(page, "A", length=60)
    drawn = bars(page)
    page.get_by_label("Begin with").fill("First C")
    page.get_by_role("button", name="Add it").first.wait_for()
    assert text_of(page).startswith("AFirst")
    page.get_by_role("button", name="Latest").click()
    assert bars(page) == drawn
    page.get_by_label("Begin with").fill("First Ci")
    page.get_by_role("button", name="Add it").first.wait_for()
    page.get_by_role("button", name="Generate").click()
    done(page, "Wrote 60")
    assert bars(page) == drawn


@pytest.mark.slow
def test_an_empty_field_and_a_busy_model(page: Any, server: FakeServer) -> None:
    type_in(page, "First C")
    page.get_by_label("Begin with").fill("")
    page.wait_for_function("() => !document.querySelector('#bars li:not([hidden])')")
    assert page.locator("#bars-hint").is_visible()
    server.refusal = "all streams are in use"
    page.get_by_label("Begin with").fill("First")
    page.wait_for_timeout(400)
    server.refusal = None
    assert page.locator(".trouble:visible").count() == 0
    page.get_by_label("Begin with").fill("First C")
    page.get_by_role("button", name="“i”, 50%").wait_for()


@pytest.mark.slow
def test_a_late_answer_of_another_model_is_asked_again(page: Any, server: FakeServer) -> None:
    held: list[Any] = []
    page.route("**/api/score", lambda route: held.append(route) if not held else route.continue_())
    with page.expect_request("**/api/score"):
        page.get_by_label("Begin with").press_sequentially("First C")
    page.get_by_role("button", name="Add a model").click()
    with page.expect_request("**/api/score") as again:
        held[0].continue_()
    assert again.value.post_data_json["model"] == "macbeth"
    assert page.get_by_role("button", name="Add it").count() == 0


@pytest.mark.slow
def test_a_late_answer_leaves_a_chosen_character(page: Any, server: FakeServer) -> None:
    write_text(page, "A", length=60)
    held: list[Any] = []
    page.route("**/api/score", lambda route: held.append(route) if not held else route.continue_())
    with page.expect_request("**/api/score"):
        page.get_by_label("Begin with").press_sequentially("First C")
    page.locator(".pane").press("ArrowLeft")
    chosen = bars(page)
    with page.expect_response("**/api/score"):
        held[0].continue_()
    page.wait_for_timeout(50)
    assert bars(page) == chosen
    assert page.get_by_role("button", name="Add it").count() == 0
