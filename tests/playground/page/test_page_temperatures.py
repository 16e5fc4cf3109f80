"""One seed at four temperatures, side by side."""

from __future__ import annotations

from typing import Any

import pytest
from fake_server import LINES, FakeServer
from test_page_looks import PHONE
from test_page_writing import continue_text, done, generate, text_of, write_text


def asked_of(server: FakeServer) -> list[dict[str, Any]]:
    return [body for path, body in server.asked if path == "generate"]


def test_four_temperatures(page: Any, server: FakeServer) -> None:
    write_text(page, "A", length=60, says="Wrote 60")
    page.get_by_label("a cell").check()
    page.wait_for_url("**cell=1.0")
    link, first = page.url, {**server.last("generate"), "unit": {"layer": 1, "index": 0}}
    button = page.get_by_role("button", name="Four temperatures")
    button.focus()
    page.keyboard.press("Enter")
    done(page, "Wrote 240 characters.")
    bodies = asked_of(server)[1:]
    assert page.get_by_role("button", name="Undo").is_hidden()
    assert sorted(body["temperature"] for body in bodies) == [0.4, 0.8, 1, 1.3]
    assert all({**body, "temperature": 0.8, "states": True} == first for body in bodies)
    assert [text_of(page, at) for at in range(4)] == ["A" + LINES[:60]] * 4
    names = [pane.get_attribute("aria-label") for pane in page.locator(".pane").all()]
    assert names == [f"Text at temperature {each}" for each in ("0.4", "0.8", "1", "1.3")]
    assert button.get_attribute("aria-pressed") == "true"
    assert page.get_by_role("button", name="Add a model").is_disabled()
    page.get_by_role("button", name="Continue").click()
    done(page, "Wrote 240 characters.")
    assert page.get_by_role("button", name="Undo").is_visible()
    assert page.url == link
    button.click()
    assert page.locator(".column").count() == 1
    assert text_of(page) == "A" + LINES[:60]
    assert button.get_attribute("aria-pressed") == "false"
    continue_text(page, 121)
    assert server.last("generate")["seed"] == first["seed"] + 1
    assert server.last("generate")["temperature"] == 0.8


@pytest.mark.slow
def test_keep_one(page: Any, server: FakeServer) -> None:
    page.get_by_label("Change it over the text").check()
    write_text(page, "A", length=60, says="Wrote 60")
    seed = server.last("generate")["seed"]
    page.get_by_role("button", name="Four temperatures").click()
    done(page, "Wrote 240")
    page.get_by_role("button", name="Keep").nth(3).click()
    done(page, "Wrote 60 characters.")
    body = server.last("generate")
    assert (body["temperature"], body["final_temperature"], body["seed"], body["prime"]) == (1.3, None, seed, "A")
    assert f"seed={seed}&temperature=1.3" in page.url
    assert page.evaluate("document.activeElement.id") == "temperatures"
    assert page.locator(".column").count() == 1
    page.get_by_role("button", name="Undo").click()
    assert text_of(page) == "A" + LINES[:60]


@pytest.mark.slow
def test_leaving_by_reload_and_back(page: Any, server: FakeServer) -> None:
    write_text(page, "A", length=60, says="Wrote 60")
    write_text(page, "B", length=50, says="Wrote 50")
    page.get_by_role("button", name="Four temperatures").click()
    done(page, "Wrote 200")
    page.reload()
    page.locator("#generate:enabled").wait_for()
    assert page.locator(".column").count() == 1
    assert text_of(page) == "B" + LINES[:50]
    page.get_by_role("button", name="Four temperatures").click()
    done(page, "Wrote 200")
    page.go_back()
    done(page, "Wrote 60")
    assert page.locator(".column").count() == 1
    assert text_of(page) == "A" + LINES[:60]


@pytest.mark.slow
def test_stop_while_four_are_written(page: Any, server: FakeServer) -> None:
    server.pause = 0.03
    generate(page, "A", length=5000)
    page.locator(".pane").filter(has_text="accounted").wait_for()
    page.get_by_role("button", name="Four temperatures").click()
    page.locator(".pane").nth(3).filter(has_text="accounted").wait_for()
    page.get_by_role("button", name="Four temperatures").click()
    page.wait_for_function("() => document.querySelector('#stop').disabled")
    assert page.locator(".writing, .waiting").count() == 0
    assert text_of(page).startswith("AFirst")


@pytest.mark.slow
@pytest.mark.parametrize("context_options", [PHONE], ids=["360px"])
def test_a_phone_swipes_between_them(page: Any, server: FakeServer) -> None:
    page.get_by_role("button", name="Four temperatures").tap()
    done(page, "Wrote 2,400")
    boxes = [page.locator(".column").nth(at).bounding_box() for at in range(4)]
    assert all(box["y"] == boxes[0]["y"] and box["width"] < 330 for box in boxes)
    assert boxes[3]["x"] > 360
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    page.locator(".pane").nth(3).focus()
    page.wait_for_function("() => document.querySelectorAll('.column')[3].getBoundingClientRect().right <= 360")


@pytest.mark.slow
def test_a_server_with_fewer_streams(new_page: Any, server: FakeServer) -> None:
    server.limits["streams"] = 2
    new_page.goto(server.url)
    new_page.locator("#generate:enabled").wait_for()
    assert new_page.get_by_role("button", name="Four temperatures").is_hidden()


@pytest.mark.slow
def test_the_status_is_not_of_texts_that_were_left(page: Any, server: FakeServer) -> None:
    write_text(page, "A", length=60)
    server.pause = 0.1
    button = page.get_by_role("button", name="Four temperatures")
    page.get_by_role("spinbutton", name="Length").fill("2000")
    button.click()
    done(page, "Writing 4 texts")
    button.click()
    page.wait_for_timeout(300)
    assert page.get_by_role("status").inner_text() == "This is an earlier text."
