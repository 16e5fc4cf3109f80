"""What tests share: one thread (tiny models are faster on one), no network caches of the user's, and a browser."""

from __future__ import annotations

import gc
import os
import shutil
import threading
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

CHROMIUM = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

settings.register_profile("char-rnn", deadline=None, max_examples=60)  # no deadline: a busy machine is no failure
settings.load_profile("char-rnn")


@pytest.fixture(autouse=True, scope="module")
def _quick_garbage_collections() -> None:
    """Keep the modules, the thousands of tests and what earlier tests left out of every later collection."""
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def _no_waiting_for_the_disk() -> Iterator[None]:
    """Flushing to the disk guards against a loss of power, not against the death of a process: no test needs it."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    os.environ["OMP_NUM_THREADS"] = "1"  # a choice of the user's: no run times its threads, nor one in another process
    if find_spec("torch") is not None:  # where it is missing, the tests of what does without it run
        import torch

        torch.set_num_threads(1)


DATA_ROOTS = count()


@pytest.fixture(autouse=True)
def _own_data_root(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's own data sets and caches; the folder is made by those that write there."""
    monkeypatch.setenv("CHAR_RNN_DATA_DIR", str(tmp_path_factory.getbasetemp() / f"char-rnn-data-{next(DATA_ROOTS)}"))


OPEN: list[Any] = []
"""Chromium and Playwright, while consecutive modules use them."""


@pytest.fixture(scope="module")
def browser() -> Any:
    """Chromium, for what runs in a browser."""
    if not OPEN:
        chromium = shutil.which("chromium")
        if chromium is None:
            pytest.skip("needs Debian's chromium (apt-get install chromium)")
        sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
        playwright = sync_api.sync_playwright().start()
        OPEN.extend((playwright.chromium.launch(executable_path=chromium, args=CHROMIUM), playwright))
    return OPEN[0]


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: Any, nextitem: Any) -> None:
    """Close Chromium before a module that does not use it: asyncio cannot run beside Playwright's event loop."""
    if OPEN and (nextitem is None or (nextitem.path != item.path and "browser" not in nextitem.fixturenames)):
        browser, playwright = OPEN
        OPEN.clear()
        browser.close()
        playwright.stop()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """A Hub on loopback, which huggingface_hub uses, with an empty cache and no token."""
    constants = pytest.importorskip("huggingface_hub.constants", reason="needs huggingface_hub")
    from hub_server import Server

    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    address, home = server.hub.url, tmp_path / "hugging-face"
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(home / "token"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    yield server.hub
    server.shutdown()
    server.server_close()
    thread.join()
