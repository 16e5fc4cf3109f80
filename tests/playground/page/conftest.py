"""The playground's page in Chromium: fixtures, and checks that apply to every test."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from fake_server import FakeServer


REFUSED = re.compile(r"responded with a status of (400|401|422|429)|net::ERR_FAILED")
DESKTOP = {"width": 1280, "height": 860}


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeServer]:
    from fake_server import FakeServer, serving

    server = FakeServer()
    with serving(server.app()) as server.url:
        yield server


@pytest.fixture
def server(fake: FakeServer) -> FakeServer:
    """The module's server, reset."""
    vars(fake).update(vars(type(fake)(url=fake.url)))
    return fake


@pytest.fixture
def context_options() -> dict[str, Any]:
    """Options of the browser's context, for tests to override or parametrize."""
    return {}


@pytest.fixture(scope="module")
def desktop(browser: Any) -> Iterator[Any]:
    """The default context; its cache makes the tests faster."""
    context = browser.new_context(viewport=DESKTOP)
    yield context
    context.close()


@pytest.fixture
def new_page(browser: Any, desktop: Any, context_options: dict[str, Any]) -> Iterator[Any]:
    """A blank page that fails the test on an error in the console or a request to another host."""
    context = browser.new_context(**{"viewport": DESKTOP, **context_options}) if context_options else desktop
    context.set_default_timeout(10_000)
    page = context.new_page()
    complaints: list[str] = []
    hosts: set[str] = set()
    page.on("console", lambda message: _is_complaint(message) and complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: hosts.add(request.url.split("/")[2]))
    page.complaints = complaints
    yield page
    if context_options:
        context.close()
    else:
        page.evaluate("() => { try { localStorage.clear() } catch {} }")
        context.clear_permissions()
        page.close()
    assert complaints == []
    assert len(hosts) <= 1


def _is_complaint(message: Any) -> bool:
    """Whether a message in the console is about a fault of the page; Chromium also logs refused requests, and late."""
    return message.type in ("error", "warning") and not REFUSED.search(message.text)


@pytest.fixture
def page(new_page: Any, server: FakeServer) -> Any:
    new_page.goto(server.url)
    new_page.get_by_role("button", name="Generate").and_(new_page.locator(":enabled")).wait_for()
    return new_page
