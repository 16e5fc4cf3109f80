"""The page on a phone, in dark mode, by keyboard, for screen readers; and its files."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Any

import pytest
from fake_server import LINES, FakeServer
from test_page_writing import continue_text, done, generate, text_of, write_text

STATIC = files("char_rnn.playground") / "static"
SCRIPTS = {path.name: path.read_text("utf-8") for path in STATIC.iterdir() if path.name.endswith(".js")}
PHONE = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True}
UNNAMED = """() => [...document.querySelectorAll("button, input, select, textarea, [tabindex='0']")]
  .filter(node => !(node.labels?.length || node.textContent.trim() && node.matches("button")
    || node.hasAttribute("aria-label"))).map(node => node.outerHTML)"""
BACKGROUND = "getComputedStyle(document.body).backgroundColor"


@pytest.mark.parametrize("context_options", [PHONE], ids=["360px"])
def test_no_sideways_scrolling_on_a_phone(page: Any, server: FakeServer) -> None:
    page.get_by_role("button", name="Add a model").tap()
    write_text(page, "A" * 200, length=60)
    page.get_by_text("Characters and stop texts").tap()
    page.get_by_role("button", name="Inspect").tap()
    page.get_by_role("button", name="Find cells").tap()
    page.get_by_label("surprise").check()
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    for _ in range(2):
        write_text(page, "A", length=20)
    page.get_by_role("button", name="Undo").wait_for()
    assert page.locator(".news .row").evaluate("row => row.scrollWidth - row.clientWidth") == 0
    for name in ("Generate", "Stop", "Continue", "Inspect"):
        box = page.get_by_role("button", name=name).bounding_box()
        assert 0 <= box["x"] <= box["x"] + box["width"] <= 360
        assert box["y"] + box["height"] <= 740  # in reach at any scroll position


GAP = "pane => pane.scrollHeight - pane.scrollTop - pane.clientHeight"
LANDSCAPE = {**PHONE, "viewport": {"width": 844, "height": 390}}


@pytest.mark.slow
@pytest.mark.parametrize("context_options", [PHONE, LANDSCAPE], ids=["portrait", "landscape"])
def test_text_bars_and_cells_are_visible_together(page: Any, server: FakeServer) -> None:
    wide, high = page.viewport_size["width"], page.viewport_size["height"]
    assert page.locator(".pane").bounding_box()["y"] < (high / 2 if high > wide else high / 3)
    write_text(page, "A", length=600)
    page.get_by_role("button", name="Continue").tap()
    toggle = page.get_by_role("button", name="Inspect")
    toggle.tap()
    page.locator("#undo").wait_for()
    done(page)
    assert page.locator("#write").evaluate("box => box.scrollWidth - box.clientWidth") == 0  # no button is cut off
    page.wait_for_function(f"({GAP})(document.querySelector('.pane')) < 40")  # the end of the text stays in view
    toggle.tap()
    assert not page.get_by_role("complementary", name="Inspector").is_visible()
    page.touchscreen.tap(
        *page.evaluate("""() => { const range = document.createRange();
      range.selectNodeContents(document.querySelector(".body").lastChild.lastChild);
      const {left, bottom} = [...range.getClientRects()].at(-3); return [left + 4, bottom - 8] }""")
    )
    sheet = page.get_by_role("complementary", name="Inspector").bounding_box()
    assert toggle.get_attribute("aria-expanded") == "true"
    for name in ("#bars li", ".mark", ".column select"):
        box = page.locator(name).first.bounding_box()
        assert min(box["x"], box["y"], wide - box["x"] - box["width"], high - box["y"] - box["height"]) >= 0, name
    mark = page.locator(".mark").bounding_box()
    assert mark["y"] + mark["height"] <= sheet["y"] or mark["x"] + mark["width"] <= sheet["x"]  # not behind it
    page.get_by_role("button", name="Find cells").tap()
    page.locator(".cell").first.tap()
    assert page.evaluate("document.documentElement.scrollWidth") == wide
    page.keyboard.press("Escape")
    assert toggle.get_attribute("aria-expanded") == "false"
    assert page.evaluate("document.activeElement.id") == "inspect"


@pytest.mark.parametrize("context_options", [{"color_scheme": "dark"}], ids=["dark"])
def test_dark_follows_the_system_until_a_person_chooses(page: Any, server: FakeServer) -> None:
    dark = page.evaluate(BACKGROUND)
    button = page.get_by_role("button", name="Dark")
    assert button.get_attribute("aria-pressed") == "true"
    button.click()
    light = page.evaluate(BACKGROUND)
    assert button.get_attribute("aria-pressed") == "false"
    page.reload()
    assert page.evaluate(BACKGROUND) == light
    page.get_by_role("button", name="Dark").click()
    assert page.evaluate(BACKGROUND) == dark
    red, green, blue = map(int, re.findall(r"\d+", dark))
    assert max(red, green, blue) < 60


@pytest.mark.slow
def test_code_is_set_in_a_fixed_width(new_page: Any, server: FakeServer) -> None:
    server.models[1]["symbols"] = ["{", "}", "_", "="]
    new_page.goto(server.url)
    new_page.get_by_role("button", name="Add a model").click()
    fonts = new_page.locator(".body").evaluate_all("bodies => bodies.map(body => getComputedStyle(body).fontFamily)")
    assert "monospace" not in fonts[0]
    assert "monospace" in fonts[1]


@pytest.mark.slow
def test_typeface_is_remembered(page: Any, server: FakeServer) -> None:
    assert page.get_by_label("Book").is_checked()
    page.get_by_label("Code").check()
    page.reload()
    page.locator("#generate:enabled").wait_for()
    assert page.get_by_label("Code").is_checked()


def test_a_reload_loses_nothing(page: Any, server: FakeServer) -> None:
    page.get_by_role("button", name="Add a model").click()
    page.get_by_label("Change it over the text").check()
    page.locator("#final_temperature").fill("1.2")
    page.get_by_text("Characters and stop texts").click()
    page.get_by_label("Banned characters").fill("xyz")
    page.get_by_label("Seed").fill("42")
    page.get_by_label("keep").check()
    write_text(page, "é\n", length=60)
    asked = server.last("generate")
    continue_text(page, 122)
    page.get_by_label("surprise").check()
    page.reload()
    page.locator(".body .s1").first.wait_for(state="attached")
    assert [text_of(page, column) for column in (0, 1)] == ["é\n" + LINES[:60] * 2] * 2
    assert [page.get_by_label("Model", exact=True).nth(at).input_value() for at in (0, 1)] == ["hamlet", "macbeth"]
    assert page.locator("#bars li:visible").count() == 10
    continue_text(page, 182)
    assert server.last("generate")["seed"] == 44  # 43 has been used
    page.get_by_role("button", name="Generate").click()
    page.wait_for_function("() => document.querySelector('#position').max == 62")
    done(page)
    assert {**server.last("generate"), "model": asked["model"], "states": asked["states"]} == asked
    assert (asked["prime"], asked["final_temperature"], asked["banned"], asked["seed"]) == ("é\n", 1.2, "xyz", 42)


@pytest.mark.slow
def test_a_page_without_storage(new_page: Any, server: FakeServer) -> None:
    new_page.add_init_script("""for (const name of ["localStorage", "sessionStorage"])
      Object.defineProperty(window, name, {get() { throw new DOMException("no", "SecurityError") }})""")
    for _ in range(2):
        new_page.goto(server.url)
        write_text(new_page, "A", length=60)
    assert text_of(new_page) == "A" + LINES[:60]


def test_by_keyboard_alone(page: Any, server: FakeServer) -> None:
    server.pause = 0.02
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # the skip link
    page.keyboard.type("Hi")
    page.keyboard.press("Control+Enter")
    page.locator(".pane").filter(has_text="accounted").wait_for()
    page.keyboard.press("Escape")
    done(page, "Stopped after")
    server.pause = 0
    for _ in range(2):  # Generate, and past Stop, which is off
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "continue"
    page.keyboard.press("Enter")
    done(page, "Wrote 600 characters.")
    for _ in range(9):  # seed, keep, undo, link, temperatures, add, model, copy, the text
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Text by hamlet"
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    length = len(text_of(page))
    assert page.locator("#position-text").inner_text() == f"{length - 3} of {length}"
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"


def test_everything_has_a_name_and_the_status_is_polite(page: Any, server: FakeServer) -> None:
    page.get_by_role("button", name="Add a model").click()
    write_text(page, length=60)
    page.get_by_role("button", name="Find cells").click()
    page.locator(".cell").first.wait_for()
    assert page.evaluate(UNNAMED) == []
    assert page.get_by_role("status").count() == 1
    assert page.locator(":is([aria-live], [role=status], [role=alert]) .pane").count() == 0  # not each character


@pytest.mark.slow
@pytest.mark.parametrize("context_options", [{"reduced_motion": "reduce"}], ids=["reduced"])
def test_reduced_motion(page: Any, server: FakeServer) -> None:
    server.pause = 0.05
    generate(page, length=5000)
    page.locator(".pane").filter(has_text=LINES[:10]).wait_for()
    assert page.evaluate("document.getAnimations().length") == 0
    page.keyboard.press("Escape")
    done(page, "Stopped after")


def test_scripts_can_be_joined_into_one() -> None:
    names: list[str] = []
    for name, script in SCRIPTS.items():
        imports = re.findall(r"^import .*", script, re.M)
        joined = re.compile(r'import \{ [\w, ]+ \} from "\./(\w+\.js)";')
        assert all(joined.fullmatch(line) and joined.fullmatch(line)[1] in SCRIPTS for line in imports), name
        assert re.findall(r"export (?!(async )?function|class|const)", script) == [], name
        names += re.findall(r"^(?:export )?(?:async )?(?:function\*?|class|const|let) (\w+)", script, re.M)
    assert sorted(names) == sorted(set(names))


def test_the_page_loads_nothing_from_other_hosts() -> None:
    page = (STATIC / "index.html").read_text("utf-8") + (STATIC / "style.css").read_text("utf-8")
    assert re.findall(r"https?://|//\w|url\(|@import| style=| on\w+=|<script>", page) == []
