"""The page of a run that is training: its losses and samples, and its model, which is replaced by better ones."""

from __future__ import annotations

from typing import Any

import pytest
from fake_server import FakeServer
from test_page_writing import write_text

from char_rnn.playground.schema import TrainingAnswer

ASK = "document.dispatchEvent(new Event('visibilitychange'))"  # instead of a second
HIDE = "Object.defineProperty(document, 'hidden', {configurable: true, get: () => true})"
SHOW = "delete document.hidden"


def progress(step: int, best: int | None, state: str = "running", **changes: Any) -> dict[str, Any]:
    """Return the progress of a run of 1,000 steps whose losses fall from 5 to 2."""
    losses = [(each, 2 + 300 / (each + 100)) for each in range(10, step + 1, 10)]
    val = [(each, 2.1 + 300 / (each + 100)) for each in range(100, step + 1, 100)]
    checkpoint = best and {"step": best, "loss": 2.1 + 300 / (best + 100)}
    answer = {
        "state": state,
        "step": step,
        "total_steps": 1000,
        "epoch": step / 200,
        "seconds": step / 2,
        "seconds_left": (1000 - step) / 2 if state == "running" else None,
        "best": checkpoint,
        "train": losses,
        "val": val,
        "samples": [{"step": each, "text": f"\nA sample at {each}.\n"} for each, _ in val],
        "model": checkpoint,
        "problem": None,
        **changes,
    }
    return TrainingAnswer.model_validate(answer).model_dump()


def opened(page: Any, server: FakeServer, answer: dict[str, Any]) -> None:
    server.runs, server.training = ["hamlet"], answer
    if answer["model"]:
        server.models[0] |= answer["model"]
    page.goto(server.url)
    page.locator("#writes:not(:empty)").wait_for(state="attached")


def samples(page: Any) -> list[str]:
    return [text.strip() for text in page.locator("#samples p").all_text_contents()]


def test_progress_losses_and_samples_and_a_better_model(new_page: Any, server: FakeServer) -> None:
    opened(new_page, server, progress(300, 200))
    new_page.get_by_text("step 300 of 1,000 · epoch 1.50 · 6 min left").wait_for()
    assert new_page.locator("#writes").text_content() == "Writes with step 200, validation 3.100"
    assert samples(new_page) == ["A sample at 300.", "A sample at 200.", "A sample at 100."]
    points = new_page.locator("#training-loss").get_attribute("points").split(",")
    assert len(points) == 30
    assert points[-1].split()[0] == "30"
    assert new_page.locator("#losses").text_content() == "training 2.750validation 2.850step 300"
    server.models[0] |= {"step": 400, "loss": 2.7}
    server.training = progress(400, 400)
    new_page.evaluate(ASK)
    new_page.get_by_text("Better model: step 400, validation 2.700").wait_for()
    new_page.get_by_text("loss 2.700").wait_for()
    assert samples(new_page)[:2] == ["A sample at 400.", "A sample at 300."]
    write_text(new_page, "A", length=20)


@pytest.mark.slow
def test_a_run_without_a_checkpoint_is_waited_for(new_page: Any, server: FakeServer) -> None:
    first, server.models = server.models[0], []
    server.runs, server.training = ["hamlet"], progress(20, None)
    new_page.goto(server.url)
    new_page.get_by_role("status").get_by_text("The page can write after the first evaluation of the run.").wait_for()
    assert new_page.get_by_role("button", name="Generate").is_disabled()
    new_page.locator("#prime").fill("A word, before there is a model")
    server.models = [first | {"step": 100, "loss": 3.6}]
    server.training = progress(100, 100)
    new_page.evaluate(ASK)
    new_page.locator("#generate:enabled").wait_for()
    assert new_page.locator("#prime").input_value() == "A word, before there is a model"
    write_text(new_page, "A", length=20)


@pytest.mark.slow
def test_cells_are_found_again_after_a_text_by_a_better_model(new_page: Any, server: FakeServer) -> None:
    opened(new_page, server, progress(300, 200))
    new_page.get_by_role("button", name="Find cells").click()
    new_page.locator(".chip").first.wait_for()
    server.models[0] |= {"step": 400, "loss": 2.7}
    server.training = progress(400, 400)
    new_page.evaluate(ASK)
    new_page.get_by_text("Better model").wait_for()

    def searches() -> int:
        return sum(path == "models/hamlet/cells" for path, _ in server.asked)

    assert searches() == 1
    assert new_page.locator(".chip").first.is_visible()
    for _ in range(2):
        write_text(new_page, "A", length=20)
    new_page.wait_for_timeout(300)
    assert searches() == 2


@pytest.mark.slow
def test_the_losses_are_read_by_mouse_and_keyboard(new_page: Any, server: FakeServer) -> None:
    opened(new_page, server, progress(500, 500))
    slider = new_page.get_by_role("slider", name="Losses at a step")
    slider.focus()
    slider.press("Home")
    assert new_page.locator("#losses").text_content() == "training 4.727validation 3.600step 100"
    for _ in range(20):
        slider.press("ArrowRight")
    words = "training 3.000validation 3.100step 200"
    assert new_page.locator("#losses").text_content() == words
    assert "training 3.000" in slider.evaluate("slider => slider.ariaValueText")
    new_page.evaluate(ASK)
    assert new_page.locator("#losses").text_content() == words
    slider.evaluate("slider => slider.blur()")
    assert new_page.locator("#losses").text_content() == "training 2.500validation 2.600step 500"
    box = new_page.locator("#plot").bounding_box()
    new_page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 9)
    assert new_page.locator("#losses").text_content() == "training 2.750validation 2.850step 300"


@pytest.mark.slow
def test_a_finished_run_is_an_ordinary_model_with_a_curve(new_page: Any, server: FakeServer) -> None:
    opened(new_page, server, progress(1000, 900, "finished"))
    new_page.get_by_text("finished after 1,000 steps · best at step 900, validation 2.400").wait_for()
    assert not new_page.locator("#plot").is_visible()
    new_page.get_by_text("Training", exact=True).click()
    assert new_page.locator("#plot").is_visible()
    new_page.get_by_label("Model", exact=True).select_option("macbeth")  # not a run
    assert not new_page.locator("#training").is_visible()


@pytest.mark.slow
def test_nothing_is_asked_while_the_page_is_hidden(new_page: Any, server: FakeServer) -> None:
    opened(new_page, server, progress(300, 200))
    new_page.evaluate(HIDE)
    new_page.wait_for_timeout(1600)
    asked = len(server.asked)
    new_page.wait_for_timeout(3200)
    assert len(server.asked) == asked
    server.training = progress(400, 200)
    new_page.evaluate(f"{SHOW}; {ASK}")
    new_page.get_by_text("step 400 of 1,000").wait_for()


@pytest.mark.slow
def test_a_problem_and_a_server_that_has_ended_are_told(new_page: Any, server: FakeServer) -> None:
    opened(new_page, server, progress(300, 200, problem="best.safetensors: cut short"))
    told = new_page.locator("#writes")
    assert told.text_content() == "best.safetensors: cut short. Writes with step 200, validation 3.100"
    new_page.route("**/training", lambda route: route.abort())
    new_page.evaluate(ASK)
    new_page.get_by_text("The server does not answer. Is `char-rnn serve` still running?").wait_for()
    new_page.unroute("**/training")
    server.training = progress(400, 200)
    new_page.evaluate(ASK)
    new_page.get_by_text("step 400 of 1,000").wait_for()
    assert told.text_content() == "Writes with step 200, validation 3.100"


@pytest.mark.slow
def test_without_runs_there_is_no_panel(page: Any) -> None:
    assert not page.locator("#training").is_visible()
