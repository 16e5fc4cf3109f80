"""The page under axe-core, the accessibility checks that browsers' audits run; and the weight of the page."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from typing import Any

import pytest
from fake_server import FakeServer, model
from test_page_training import opened, progress
from test_page_writing import done, write_text

from char_rnn.utils.page_files import page_files

AXE = "axe-core@4.14.1"
DESKTOP = {"viewport": {"width": 1280, "height": 860}}
PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
LOOKS = {
    f"{size}-{scheme}": {**viewport, "color_scheme": scheme}
    for size, viewport in {"desktop": DESKTOP, "phone": PHONE}.items()
    for scheme in ("light", "dark")
}
FOUND = """async () => (await axe.run(document, {resultTypes: ["violations"]})).violations.map(({id, nodes}) =>
  `${id}: ${nodes.map(({target, any}) => `${target} ${any.map(each => each.message)}`).join("; ")}`)"""


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The script of axe-core."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("needs npm, to download axe-core")
    folder = tmp_path_factory.mktemp("axe")
    packed = subprocess.run([npm, "pack", AXE], cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    if packed.returncode:
        pytest.skip(f"npm cannot download {AXE}: {packed.stderr.strip()[-200:]}")
    with tarfile.open(next(folder.glob("*.tgz"))) as archive:
        script = archive.extractfile("package/axe.min.js")
        assert script is not None
        return script.read().decode()


def check(page: Any, axe: str) -> None:
    page.evaluate("() => Promise.all(document.getAnimations().map(each => each.finished.catch(() => null)))")
    page.evaluate(axe)
    assert page.evaluate(FOUND) == []


@pytest.mark.slow
@pytest.mark.parametrize("context_options", LOOKS.values(), ids=LOOKS)
def test_no_accessibility_violation(page: Any, server: FakeServer, axe: str) -> None:
    check(page, axe)
    page.get_by_role("button", name="Add a model").click()
    write_text(page, "A", length=600)
    page.get_by_text("Characters and stop texts").click()
    check(page, axe)
    if page.viewport_size["width"] < 500:
        page.get_by_role("button", name="Inspect").click()
    page.get_by_role("button", name="Find cells").click()
    page.locator(".cell").first.click()
    check(page, axe)
    page.get_by_label("surprise").check()
    check(page, axe)


@pytest.mark.slow
@pytest.mark.parametrize("context_options", LOOKS.values(), ids=LOOKS)
def test_no_accessibility_violation_in_a_living_page(new_page: Any, server: FakeServer, axe: str) -> None:
    server.models = [model("hamlet", suggested_primes=["First ", "We are\n"])]
    new_page.goto(server.url)
    new_page.locator(".slow .body :is(.p5, .n5)").first.wait_for()
    check(new_page, axe)
    new_page.get_by_label("Begin with").fill("First Citizen")
    new_page.locator("#shades .s8").first.wait_for()
    check(new_page, axe)
    write_text(new_page, "A", length=20, says="Wrote 20")
    if new_page.viewport_size["width"] < 500:
        new_page.get_by_role("button", name="Inspect").click()
    new_page.locator("#position").fill("8")
    new_page.locator("#bars li:not(.drawn) button").first.evaluate("button => button.click()")
    new_page.get_by_role("navigation", name="Branches").wait_for()
    check(new_page, axe)
    new_page.get_by_role("button", name="Four temperatures").click()
    done(new_page, "Wrote 80")
    check(new_page, axe)


@pytest.mark.slow
@pytest.mark.parametrize("context_options", LOOKS.values(), ids=LOOKS)
def test_no_accessibility_violation_while_a_run_trains(new_page: Any, server: FakeServer, axe: str) -> None:
    opened(new_page, server, progress(300, 200))
    check(new_page, axe)
    new_page.get_by_role("slider", name="Losses at a step").focus()
    check(new_page, axe)


@pytest.mark.slow
@pytest.mark.parametrize("context_options", LOOKS.values(), ids=LOOKS)
def test_no_accessibility_violation_in_a_frame(new_page: Any, server: FakeServer, axe: str) -> None:
    new_page.goto(f"{server.url}?embed&seed=1")
    new_page.locator(".body :is(.p5, .n5)").first.wait_for()
    check(new_page, axe)


def test_the_page_is_light() -> None:
    """Both kinds of page together, without a model, take less than 200 kB."""
    texts = [text for package in ("playground", "export") for text in page_files(f"char_rnn.{package}").values()]
    assert sum(len(text.encode()) for text in texts) < 200_000
