"""The inspector: probabilities, cells and surprise as colours."""

from __future__ import annotations

from typing import Any

import pytest
from fake_server import LINES, FakeServer
from test_page_writing import continue_text, done, generate, text_of, write_text


def bars(page: Any) -> list[str]:
    return [item.split(".")[0] for item in page.locator("#bars li:visible button").evaluate_all(LABELS)]


TEXTS = "nodes => nodes.map(node => node.textContent)"
LABELS = "buttons => buttons.map(button => button.getAttribute('aria-label'))"


def colours(page: Any, column: int = 0) -> str:
    """Classes of the coloured spans, in order."""
    spans = page.locator(".pane").nth(column).locator(".body span")
    return spans.evaluate_all("spans => spans.map(span => span.className).join(' ')")


def test_bars_of_the_latest_character_and_of_others(page: Any, server: FakeServer) -> None:
    write_text(page, length=60)
    assert bars(page)[0] == f"“{LINES[59]}”, 50%, drawn"
    assert len(bars(page)) == 10
    slider = page.get_by_role("slider", name="Character")
    slider.fill("15")
    assert bars(page)[0] == "new line, 50%, drawn"
    slider.focus()
    page.keyboard.press("ArrowLeft")
    assert bars(page)[0] == "“:”, 50%, drawn"
    assert slider.get_attribute("aria-valuetext") == "14 of 60: “:”, 50%"
    page.get_by_role("button", name="Latest").click()
    assert slider.input_value() == "60"


@pytest.mark.slow
def test_a_character_under_the_mouse(page: Any, server: FakeServer) -> None:
    write_text(page, length=60)
    place = page.evaluate("""() => {
      const range = document.createRange(), node = document.querySelector(".body").firstChild.firstChild;
      range.setStart(node, 6); range.setEnd(node, 7);
      const {left, top, width, height} = range.getBoundingClientRect();
      return [left + width / 2, top + height / 2] }""")
    page.mouse.move(*place)
    page.get_by_text("Character 7 of 60").wait_for()
    assert bars(page)[0] == "“C”, 50%, drawn"
    page.mouse.click(*place)
    page.mouse.move(5, 5)
    page.get_by_text("Character 7 of 60").wait_for()
    assert page.locator(".mark").is_visible()


def test_choose_another_character(page: Any, server: FakeServer) -> None:
    write_text(page, "A", length=60)
    page.get_by_role("slider", name="Character").fill("8")
    page.get_by_role("button", name="“o”, 2.0%. Choose it").click()
    page.wait_for_function("() => document.querySelector('#position').max == 68")
    assert server.last("generate")["prime"] == "AFirst o"
    assert text_of(page) == "AFirst o" + LINES[:60]


def test_choose_a_cell_and_see_its_colours(page: Any, server: FakeServer) -> None:
    write_text(page, "“O”", length=60)
    assert colours(page) == "prime"
    page.get_by_role("button", name="Find cells").click()
    page.get_by_title("Layer 1, cell 5: on inside quotes, correlation 0.91").click()
    page.locator(".body .p9").first.wait_for()
    assert server.last("activations") == {"model": "hamlet", "text": "“O”" + LINES[:60], "layer": 1, "unit": 5}
    assert colours(page).startswith("prime p7 prime p8 p9 p8")  # 0.9 sin(5/6), sin(6/6), ...
    assert page.get_by_label("a cell").is_checked()
    assert page.locator("#ends").inner_text().split() == ["−1", "0", "+1"]
    page.get_by_role("slider", name="Character").fill("1")
    assert page.locator("#reading").inner_text() == "Cell 5 of layer 1: +0.67 at “"
    assert page.locator(".cell[aria-pressed=true]").count() == 1
    page.get_by_label("nothing").check()
    assert colours(page) == "prime"
    assert page.locator(".cell[aria-pressed=true]").count() == 0


@pytest.mark.slow
def test_a_new_text_is_coloured_while_it_is_written(page: Any, server: FakeServer) -> None:
    page.get_by_label("Layer", exact=True).select_option("0")
    page.get_by_label("Cell", exact=True).fill("3")
    page.keyboard.press("Enter")
    write_text(page, "A", length=60)
    assert server.last("generate")["unit"] == {"layer": 0, "index": 3}
    assert [path for path, _ in server.asked].count("activations") == 0
    assert colours(page).startswith("prime p4 p6 p7")
    page.get_by_label("nothing").check()
    assert colours(page) == "prime"


def test_colour_by_surprise(page: Any, server: FakeServer) -> None:
    write_text(page, "ABCD", length=60)
    page.get_by_label("surprise").check()
    page.locator(".body .prime.s4").first.wait_for()
    assert server.last("score") == {"model": "hamlet", "text": "ABCD"}  # the others are known
    assert colours(page) == "prime prime s1 prime s3 prime s4 s1"  # 0, 1, 2, 3 bits of 8, and 1 of what was drawn


@pytest.mark.slow
def test_surprise_belongs_to_the_chosen_model(page: Any, server: FakeServer) -> None:
    write_text(page, "ABCD", length=60)
    page.get_by_label("surprise").check()
    page.locator(".body .prime.s4").first.wait_for()
    page.get_by_label("Model", exact=True).select_option("macbeth")
    page.locator(".body .s10").first.wait_for()  # 8 bits: of what was drawn, too
    assert server.last("score") == {"model": "macbeth", "text": "ABCD" + LINES[:60]}
    page.get_by_role("slider", name="Character").fill("9")
    assert page.locator("#reading").inner_text() == "8.0 bits at t"


@pytest.mark.slow
def test_colours_stay_aligned_after_substitutions(page: Any, server: FakeServer) -> None:
    page.get_by_label("a cell").check()
    write_text(page, "A", length=60)
    server.skipped = "s"
    continue_text(page, 121)
    page.locator("#reading").filter(has_text="Cell").wait_for()
    page.get_by_role("slider", name="Character").fill("3")
    assert page.locator("#reading").inner_text() == "Cell 0 of layer 1: +0.29 at i"  # 0.9 sin(2/6)


@pytest.mark.slow
def test_a_prime_is_coloured_before_writing(page: Any, server: FakeServer) -> None:
    page.get_by_label("Begin with").fill("To be, or not to be")
    page.get_by_label("a cell").check()
    page.locator(".body .p9").first.wait_for()
    assert text_of(page) == "To be, or not to be"
    assert server.last("activations")["text"] == "To be, or not to be"
    page.get_by_label("Begin with").fill("That is the question")
    page.get_by_label("surprise").check()
    page.locator(".body .s9").first.wait_for()
    assert text_of(page) == "That is the question"


@pytest.mark.slow
def test_each_model_has_its_own_cell(page: Any, server: FakeServer) -> None:
    page.get_by_role("button", name="Add a model").click()
    write_text(page, "A", length=60)
    page.get_by_label("Cell", exact=True).fill("99")
    page.keyboard.press("Enter")
    assert page.get_by_label("Cell", exact=True).input_value() == "7"  # macbeth has eight
    page.locator(".pane").first.click()
    page.get_by_label("Cell", exact=True).fill("20")
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.querySelectorAll('.body .p9').length > 1")
    asked = {(body["model"], body["unit"]) for path, body in server.asked if path == "activations"}
    assert {("macbeth", 7), ("hamlet", 20)} <= asked
    assert page.locator("#whose").inner_text() == "hamlet"
    shades = page.locator(".shade")
    assert shades.evaluate_all(TEXTS) == ["Coloured by cell 20 of layer 1", "Coloured by cell 7 of layer 1"]
    page.get_by_label("surprise").check()
    assert shades.evaluate_all(TEXTS) == ["Coloured by surprise"] * 2


CONTRAST = """chip => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true});
  const luminance = colour => {
    canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map(v => v / 255)
      .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b };
  const back = luminance(getComputedStyle(chip).backgroundColor);
  return Math.min(...[chip, chip.querySelector("small")].map(node => {
    const [low, high] = [back, luminance(getComputedStyle(node).color)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05) })) }"""


@pytest.mark.slow
@pytest.mark.parametrize("context_options", [{"color_scheme": "light"}, {"color_scheme": "dark"}], ids=str)
def test_chips_are_readable_under_the_mouse(page: Any, server: FakeServer) -> None:
    page.get_by_role("button", name="Find cells").click()
    chips = page.locator(".cell")
    chips.first.click()
    assert chips.first.get_attribute("aria-pressed") == "true"
    for chip in (chips.first, chips.last):
        chip.hover()
        assert chip.evaluate(CONTRAST) >= 4.5


@pytest.mark.slow
def test_the_layout_is_stable(page: Any, server: FakeServer) -> None:
    def places() -> list[Any]:
        return [page.locator(name).bounding_box() for name in ("#position", "#layer", "#find-cells")]

    before = places()
    write_text(page, length=60)
    server.rare = True
    write_text(page, length=50, says="Wrote 50")
    assert len(bars(page)) == 11
    page.get_by_label("a cell").check()
    page.locator("#reading").filter(has_text="Cell").wait_for()
    assert places() == before


@pytest.mark.slow
def test_disabled_controls_keep_the_focus(page: Any, server: FakeServer) -> None:
    def focused() -> str:
        return str(page.evaluate("document.activeElement.id || document.activeElement.className"))

    server.pause = 0.02
    generate(page, "A", length=5000)
    page.locator(".pane").filter(has_text="accounted").wait_for()
    page.get_by_role("button", name="Stop").click()
    done(page, "Stopped after")
    assert focused() == "stop"
    assert page.get_by_role("button", name="Stop").get_attribute("aria-disabled") == "true"
    server.pause = 0
    page.get_by_role("spinbutton", name="Length").fill("60")
    page.get_by_role("button", name="Continue").click()
    done(page, "Wrote 60")
    assert focused() == "continue"
    assert page.locator("#continue:enabled:not([aria-disabled])").count() == 1
    page.get_by_role("button", name="Find cells").click()
    page.locator(".cell").first.wait_for()
    assert focused() == "chip cell"
    assert page.evaluate("document.activeElement.title").startswith("Layer 1, cell 5")


@pytest.mark.slow
def test_a_refusal_of_colours_goes_with_the_next_ones(page: Any, server: FakeServer) -> None:
    write_text(page, "A", length=60)
    server.refusal = "The server is busy."
    page.get_by_label("a cell").check()
    trouble = page.locator(".column .trouble")
    trouble.filter(has_text="busy").wait_for()
    server.refusal = None
    page.get_by_label("Cell", exact=True).fill("5")
    page.keyboard.press("Enter")
    trouble.wait_for(state="hidden")


@pytest.mark.slow
def test_signs_have_room_below_the_line(page: Any, server: FakeServer) -> None:
    write_text(page, "A", length=60)
    ratio = "sign => sign.clientHeight / parseFloat(getComputedStyle(sign).fontSize)"
    assert page.locator(".sign").first.evaluate(ratio) > 1.4  # an underscore would be cut off
