"""?embed: the page in a frame of another page."""

from __future__ import annotations

from typing import Any

import pytest
from fake_server import FakeServer, model
from test_page_writing import text_of

SMALL = {"viewport": {"width": 360, "height": 320}}
CONTROLS = """() => [...document.querySelectorAll("button, input, select, textarea, a, summary")]
  .filter(node => node.checkVisibility()).map(node => node.ariaLabel ?? node.textContent.trim())"""
BACKGROUND = "getComputedStyle(document.body).backgroundColor"
COLOURED = ".body span[class]:not(.prime)"


def cells_of(page: Any) -> Any:
    return page.get_by_label("Colour the text by")


@pytest.mark.parametrize(
    "context_options", [SMALL, {"viewport": {"width": 800, "height": 500}}], ids=["small", "large"]
)
def test_the_text_generate_and_one_cell(new_page: Any, server: FakeServer, context_options: dict[str, Any]) -> None:
    server.models = [model("hamlet", suggested_primes=["First"])]
    page, size = new_page, context_options["viewport"]
    page.goto(f"{server.url}?embed")
    page.locator(".shade").get_by_text("cell").wait_for(state="attached")
    stop = ["Stop"] if size["width"] > 480 else []
    assert page.evaluate(CONTROLS) == ["Generate", *stop, "Colour the text by", "Full page"]
    assert page.evaluate("[document.documentElement.scrollWidth, document.documentElement.scrollHeight]") == [
        size["width"],
        size["height"],
    ]
    pane = page.locator(".pane").bounding_box()
    assert pane["width"] > 0.9 * size["width"]
    assert pane["height"] > 0.7 * size["height"]
    assert text_of(page).startswith("First")
    page.get_by_role("button", name="Generate").click()
    page.get_by_text("Wrote 600 characters.").wait_for()
    assert server.last("generate")["prime"] == "First"
    assert page.locator(COLOURED).count() > 0
    names = cells_of(page).locator("option").all_text_contents()
    assert names == ["no colours", "on inside quotes", "off inside quotes", "rises to the end of the line"]
    cells_of(page).select_option("no colours")
    page.wait_for_function(f"!document.querySelector('{COLOURED}')")
    page.locator(".body").click()  # the inspector stays closed
    assert page.evaluate(CONTROLS) == ["Generate", *stop, "Colour the text by", "Full page"]


def test_the_parameters_of_a_frame(new_page: Any, server: FakeServer) -> None:
    page = new_page
    page.goto(f"{server.url}?embed&prime=We+are&seed=7&cell=1.5&theme=dark&temperature=0.5&length=200")
    page.get_by_text("Wrote 200 characters.").wait_for()
    asked = server.last("generate")
    assert {name: asked[name] for name in ("model", "prime", "seed", "temperature", "unit")} == {
        "model": "hamlet",
        "prime": "We are",
        "seed": 7,
        "temperature": 0.5,
        "unit": {"layer": 1, "index": 5},
    }
    assert [path for path, _ in server.asked].count("generate") == 1
    assert page.evaluate(BACKGROUND) == "rgb(27, 26, 24)"
    assert cells_of(page).evaluate("list => list.selectedOptions[0].textContent") == "cell 5 of layer 1"
    assert cells_of(page).locator("option").all_text_contents() == ["no colours", "cell 5 of layer 1", "find cells"]
    cells_of(page).select_option("find cells")
    cells_of(page).get_by_text("on inside quotes").wait_for(state="attached")
    assert cells_of(page).input_value() == "1.5"
    page.get_by_role("link", name="Full page").evaluate("link => (link.target = '')")
    page.get_by_role("link", name="Full page").click()
    page.get_by_text("Wrote 200 characters.").wait_for()
    assert "embed" not in page.url
    assert page.input_value("#prime") == "We are"
    assert page.input_value("#seed") == "7"
    assert page.input_value("#unit") == "5"


@pytest.mark.slow
def test_a_seed_without_a_cell_gets_the_best_one(new_page: Any, server: FakeServer) -> None:
    new_page.goto(f"{server.url}?embed&seed=3&model=macbeth")
    new_page.locator(COLOURED).first.wait_for()
    assert server.last("generate")["model"] == "macbeth"
    assert cells_of(new_page).input_value() != ""
    new_page.get_by_role("button", name="Generate").click()
    new_page.get_by_text("Wrote 600 characters.").wait_for()
    assert server.last("generate")["seed"] != 3


@pytest.mark.slow
@pytest.mark.parametrize("query", ["cell=7.1", "cell=x", "model=lear&seed=1", "temperature=hot", "seed=one"])
def test_parameters_that_are_not_here(new_page: Any, server: FakeServer, query: str) -> None:
    new_page.goto(f"{server.url}?embed&{query}")
    new_page.get_by_role("alert").get_by_text("The address of this frame").wait_for()
    assert "generate" not in [path for path, _ in server.asked]


@pytest.mark.slow
def test_a_theme_of_the_address(new_page: Any, server: FakeServer) -> None:
    new_page.goto(f"{server.url}?theme=dark")
    new_page.locator("#generate:enabled").wait_for()
    dark = new_page.get_by_role("button", name="Dark")
    assert dark.get_attribute("aria-pressed") == "true"
    assert new_page.evaluate(BACKGROUND) == "rgb(20, 19, 18)"
    dark.click()
    assert new_page.evaluate(BACKGROUND) == "rgb(246, 243, 237)"
    new_page.goto(f"{server.url}?theme=blue")
    assert new_page.evaluate(BACKGROUND) == "rgb(246, 243, 237)"
