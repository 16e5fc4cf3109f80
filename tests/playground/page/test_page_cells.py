"""The wall of all cells, the cells that track features, and copied stretches."""

from __future__ import annotations

from typing import Any

import pytest
from fake_server import LINES, FakeServer, activation, model
from test_page_inside import colours
from test_page_writing import continue_text, done, generate, write_text

SIZE = 14  # pixels of a cell of a small model
IS_WARM = """([[x, y], warm]) => {
  const context = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true});
  context.drawImage(document.querySelector("#wall canvas"), -x * devicePixelRatio, -y * devicePixelRatio);
  const [red, , blue] = context.getImageData(0, 0, 1, 1).data;
  return (red > blue) === warm; }"""
SHADES = "nodes => nodes.map(node => node.textContent)"


def asked(server: FakeServer, path: str) -> int:
    return [each for each, _ in server.asked].count(path)


def value(unit: int, index: int) -> str:
    """What the wall says of a cell; its levels have steps of 2 / 127."""
    level = round(activation(unit, index) * 127 / 2)
    return f"{level * 2 / 127:+.2f}".replace("-", "\u2212")


def place(page: Any, layer: int, index: int) -> tuple[int, int]:
    """The centre of a cell on the canvas."""
    across = min(24, int(page.locator("#wall").evaluate("wall => wall.clientWidth")) // SIZE)
    rows = -(-24 // across)
    return (index % across) * SIZE + 7, (index // across + layer * rows) * SIZE + layer * 6 + 7


def hover(page: Any, layer: int, index: int) -> None:
    x, y = place(page, layer, index)
    page.locator("#wall canvas").hover(position={"x": x, "y": y})


def test_the_wall_shows_the_character_that_is_inspected(page: Any, server: FakeServer) -> None:
    write_text(page, "A", length=60)
    assert server.last("generate")["states"] is True
    wall = page.locator("#wall-cell")
    wall.filter(has_text=f"Layer 1, cell 0: {value(0, 60)}").wait_for()
    assert asked(server, "states") == 0  # those of the last character came with it
    page.get_by_role("slider", name="Character").fill("11")
    wall.filter(has_text=f"Layer 1, cell 0: {value(0, 10)}").wait_for()
    assert server.last("states") == {"model": "hamlet", "text": "A" + LINES[:60]}
    page.get_by_role("slider", name="Character").fill("30")
    wall.filter(has_text=f"Layer 1, cell 0: {value(0, 29)}").wait_for()
    assert asked(server, "states") == 1
    for unit in (19, 0):  # 0.9 sin((19 + 29) / 6) is high, and 0.9 sin(29 / 6) low
        page.wait_for_function(IS_WARM, arg=[place(page, 0, unit), activation(unit, 29) > 0])


@pytest.mark.slow
def test_a_cell_under_the_mouse_is_previewed_and_a_click_chooses_it(page: Any, server: FakeServer) -> None:
    write_text(page, "A", length=60)
    hover(page, 0, 7)
    page.locator(".body .p9").first.wait_for()
    assert page.locator(".shade").evaluate_all(SHADES) == ["Coloured by cell 7 of layer 0"]
    assert page.locator("#wall-cell").inner_text().startswith("Layer 0, cell 7: ")
    assert page.get_by_label("nothing").is_checked()
    assert asked(server, "activations") == 0
    page.mouse.move(5, 5)
    page.wait_for_function("() => !document.querySelector('.body .p9')")
    assert colours(page) == "prime"
    hover(page, 0, 7)
    page.mouse.down()
    page.mouse.up()
    assert page.get_by_label("a cell").is_checked()
    assert (page.locator("#layer").input_value(), page.locator("#unit").input_value()) == ("0", "7")
    page.mouse.move(5, 5)
    page.locator(".body .p9").first.wait_for()
    assert server.last("activations")["unit"] == 7
    exact = f"{activation(7, 60):+.2f}".replace("-", "\u2212")
    assert exact != value(7, 60)
    page.locator("#wall-cell").filter(has_text=f"Layer 0, cell 7: {exact}").wait_for()


@pytest.mark.slow
def test_the_wall_by_keyboard(page: Any, server: FakeServer) -> None:
    write_text(page, "A", length=60)
    wall = page.get_by_role("listbox", name="All cells")
    option = wall.get_by_role("option")
    wall.focus()
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    assert option.inner_text().startswith("Layer 1, cell 22: ")
    facts = [option.get_attribute(name) for name in ("aria-posinset", "aria-setsize", "aria-selected")]
    assert facts == ["47", "48", "false"]
    page.locator(".body .p9").first.wait_for()
    page.keyboard.press("Escape")
    assert option.inner_text().startswith("Layer 1, cell 0")
    assert option.get_attribute("aria-selected") == "true"
    page.wait_for_function("() => !document.querySelector('.body .p9')")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    assert (page.locator("#layer").input_value(), page.locator("#unit").input_value()) == ("0", "1")
    page.locator(".body .p9").first.wait_for()
    assert server.last("activations")["unit"] == 1
    assert page.evaluate("document.activeElement.id") == "wall"


@pytest.mark.slow
def test_a_preview_ends_with_its_column(page: Any, server: FakeServer) -> None:
    page.get_by_role("button", name="Add a model").click()
    write_text(page, "A", length=60, says="Wrote 120")
    page.get_by_role("listbox", name="All cells").focus()
    page.keyboard.press("Home")
    page.locator(".pane").last.locator(".p9").first.wait_for()
    page.locator(".pane").first.click()
    page.wait_for_function("() => !document.querySelector('.body .p9')")
    assert page.locator(".shade").evaluate_all(SHADES) == ["", ""]


MOVING = """() => new Promise(fulfil => { const seen = new Set(); const end = performance.now() + 700;
  const canvas = document.querySelector("#wall canvas");
  (function look() { seen.add(canvas.toDataURL()); if (performance.now() < end) requestAnimationFrame(look);
    else fulfil(seen.size) })() })"""


@pytest.mark.slow
@pytest.mark.parametrize("context_options", [{}, {"reduced_motion": "reduce"}], ids=["moving", "reduced"])
def test_the_wall_moves_calmly_while_a_text_is_written(page: Any, server: FakeServer) -> None:
    server.pause, server.per_message = 0.02, 1
    still = "matchMedia('(prefers-reduced-motion: reduce)').matches"
    generate(page, length=100)
    page.locator(".body").filter(has_text="First").wait_for()
    seen = page.evaluate(MOVING)
    assert seen == 1 if page.evaluate(still) else 2 < seen <= 10
    done(page)
    page.locator("#wall-cell").filter(has_text=f"Layer 1, cell 0: {value(0, 99)}").wait_for()


def test_what_a_found_cell_does(page: Any, server: FakeServer) -> None:
    write_text(page, "A", length=100)
    page.get_by_role("button", name="Find cells").click()
    page.locator(".cell").first.wait_for()
    assert page.locator("#found h3").all_inner_texts() == [
        "On inside quotes", "Off inside quotes", "Rises to the end of the line",
    ]  # fmt: skip
    texts = [" ".join(text.split()) for text in page.locator(".cell").all_inner_texts()]
    assert texts == ["1·5 +0.91", "0·2 \u22120.55", "0·7 +0.78"]
    assert "No clear cell (correlation below 0.40): capitals." in page.locator("#found").inner_text()
    bars = page.locator(".strength span").evaluate_all("bars => bars.map(bar => bar.style.transform)")
    assert bars == ["scaleX(0.91)", "scaleX(0.55)", "scaleX(0.78)"]
    page.wait_for_function("() => [...document.querySelectorAll('.cell path')].every(path => path.getAttribute('d'))")
    lines = page.locator(".cell path").evaluate_all(
        "paths => paths.map(path => path.getAttribute('d').split('L').length)"
    )
    assert lines == [80] * 3
    page.locator(".cell").first.hover()
    page.locator(".body .p9").first.wait_for()
    assert page.locator("#wall-cell").inner_text().startswith("Layer 1, cell 5: ")
    page.locator(".cell").last.click()
    assert page.locator("#wall-cell").inner_text().endswith("\nrises to the end of the line")
    assert page.evaluate("document.activeElement.dataset.unit") == "0 7"
    pressed = page.locator(".cell[aria-pressed=true]")
    assert pressed.evaluate_all(SHADES) == page.locator(".cell").last.evaluate_all(SHADES)


@pytest.mark.slow
def test_a_choice_leaves_the_found_cells_in_place(page: Any, server: FakeServer) -> None:
    page.get_by_role("button", name="Find cells").click()
    page.locator(".cell").last.evaluate("chip => window.chip = chip")
    page.get_by_label("Cell", exact=True).fill("3")
    page.keyboard.press("Enter")
    assert page.evaluate("window.chip.isConnected")  # a screen reader would read a new list


@pytest.mark.slow
def test_a_model_gets_its_best_known_cell(page: Any, server: FakeServer) -> None:
    page.get_by_role("button", name="Find cells").click()
    page.locator(".cell").first.wait_for()
    cell = page.get_by_label("Cell", exact=True)
    page.get_by_label("Model", exact=True).select_option("macbeth")
    assert cell.input_value() == "0"
    page.get_by_label("Model", exact=True).select_option("hamlet")
    assert cell.input_value() == "5"
    page.get_by_label("a cell").check()
    write_text(page, "A", length=60)
    assert server.last("generate")["unit"] == {"layer": 1, "index": 5}


@pytest.mark.slow
def test_the_wall_of_another_model_has_no_old_values(new_page: Any, server: FakeServer) -> None:
    server.models = [model("hamlet"), model("macbeth")]
    new_page.goto(server.url)
    new_page.locator("#generate:enabled").wait_for()
    write_text(new_page, "A", length=60)
    wall = new_page.locator("#wall-cell")
    wall.filter(has_text=f"Layer 1, cell 0: {value(0, 60)}").wait_for()
    new_page.route("**/api/states", lambda route: None)
    new_page.get_by_label("Model", exact=True).select_option("macbeth")
    assert wall.inner_text() == "Layer 1, cell 0"


@pytest.mark.slow
def test_search_in_this_text(page: Any, server: FakeServer) -> None:
    button = page.get_by_role("button", name="Search in this text")
    assert button.is_disabled()
    write_text(page, "A", length=30)
    assert button.is_disabled()  # correlations in a short text mean nothing
    continue_text(page, 61)
    button.click()
    page.locator(".cell").first.wait_for()
    assert server.last("models/hamlet/cells") == {"text": "A" + LINES[:30] * 2}
    assert page.locator("#found").get_by_text("Found in the text on the page.").is_visible()
    page.get_by_role("button", name="Find cells").click()
    page.get_by_text("Found in the text").wait_for(state="hidden")
    assert server.last("models/hamlet/cells") == {}


@pytest.mark.slow
def test_a_search_shows_its_progress_and_can_be_cancelled(page: Any, server: FakeServer) -> None:
    server.search = 30
    button = page.get_by_role("button", name="Find cells")
    button.click()
    page.get_by_role("progressbar", name="Searching for cells").wait_for()
    assert button.get_attribute("aria-disabled") == "true"
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("progressbar").wait_for(state="hidden")
    assert button.is_enabled()
    assert page.locator("#found").inner_text() == ""
    server.search = 0
    button.click()
    page.locator(".cell").first.wait_for()


@pytest.fixture
def copying(new_page: Any, server: FakeServer) -> Any:
    """A page whose first model has its training text."""
    server.models = [model("hamlet", copied_from="a play"), model("macbeth", copied_from=None)]
    server.stretches = [[1, 25], [20, 50]]
    new_page.goto(server.url)
    new_page.locator("#generate:enabled").wait_for()
    return new_page


def test_copied_stretches_are_underlined(copying: Any, server: FakeServer) -> None:
    page = copying
    write_text(page, "A", length=60)
    page.get_by_label("copied").check()
    underlined = page.locator(".body .copied")
    underlined.first.wait_for()
    assert server.last("copied") == {"model": "hamlet", "text": "A" + LINES[:60]}
    assert "".join(underlined.all_text_contents()) == LINES[:49]
    assert "underline" in underlined.first.evaluate("node => getComputedStyle(node).textDecorationLine")
    assert page.locator(".shade").inner_text() == "copied 80%"
    assert page.locator("#ends").inner_text() == "Underlined: 20 or more characters that also occur in a play."
    for character, words in (
        (1, "A is not copied"),
        (2, "F is in a copied stretch of 24"),
        (30, f"{LINES[28]} is in a copied stretch of 30"),
    ):
        page.get_by_role("slider", name="Character").fill(str(character))
        page.locator("#reading").filter(has_text=words).wait_for()
    continue_text(page, 121)
    page.wait_for_function("() => document.querySelector('.shade').textContent === 'copied 40%'")
    assert len(server.last("copied")["text"]) == 121


@pytest.mark.slow
def test_a_model_without_its_training_text_has_no_copies(copying: Any, server: FakeServer) -> None:
    copying.get_by_label("copied").check()
    copying.get_by_role("button", name="Add a model").click()
    assert copying.get_by_label("copied").is_checked()
    assert copying.locator("#copied").is_visible()  # the choice holds for the other column
    write_text(copying, "A", length=60)
    copying.locator(".body .copied").first.wait_for()
    assert {body["model"] for path, body in server.asked if path == "copied"} == {"hamlet"}
    copying.get_by_label("surprise").check()
    assert copying.locator("#copied").is_hidden()
    copying.locator(".pane").first.click()
    assert copying.locator("#copied").is_visible()
