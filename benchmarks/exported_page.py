"""Speed of an exported page in Chromium, with WebAssembly SIMD and without.

    python benchmarks/exported_page.py [--length N] [--rounds N] [--json FILE]

Pages of models with random weights and 65 symbols are opened from disk, each in two browsers: as exported, and without
the permission to compile WebAssembly. They write in turn, with the page's own request. The speeds are medians of
characters per second of processor time of the page's worker, which other programs on the machine hardly change. The
ratio is the median of the ratios of all rounds. Needs Linux, playwright and Chromium.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from harness import parser, report
from playwright.sync_api import Browser, Page, sync_playwright

from char_rnn.bench.generation import model_file
from char_rnn.export.html_page import Words, page

MODELS = (("lstm", 128, 2), ("lstm", 384, 1), ("lstm", 512, 2), ("gru", 256, 1))
PERMISSION = " 'wasm-unsafe-eval'"
WRITE = """(length) => new Promise((fulfil, reject) => charRnnBackend.generate(
    {prime: "A", length, temperature: 0.8, alternatives: 10, seed: 1},
    {
        onStart() {},
        onCharacters() {},
        onDone: fulfil,
        onError: ({message}) => reject(new Error(message)),
    },
))"""


class WorkerPage(NamedTuple):
    """A page, and the folder of its worker's thread in /proc."""

    page: Page
    thread: Path

    def speed(self, length: int) -> float:
        """Write a text, and return characters per second of the worker's processor time."""
        before = self._seconds()
        self.page.evaluate(WRITE, length)
        return length / (self._seconds() - before)

    def _seconds(self) -> float:
        return int((self.thread / "schedstat").read_text().split()[0]) / 1e9


def main() -> None:
    options = parser(__doc__, threads=False)
    options.add_argument("--length", type=int, default=2000, help="characters of a text with WebAssembly")
    options.add_argument("--rounds", type=int, default=7, help="rounds of measurements")
    arguments = options.parse_args()
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        chromium = shutil.which("chromium")
        # Two browsers, because one of two pages in a browser is in the background.
        browsers = [playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"]) for _ in range(2)]
        rows = list(measure(browsers, Path(folder), arguments.length, arguments.rounds))
        about = {"chromium": browsers[0].version, "length": arguments.length}
        report("exported pages, characters/s", rows, arguments.json, **about)
        for browser in browsers:
            browser.close()


def measure(browsers: Sequence[Browser], folder: Path, length: int, rounds: int) -> Iterator[dict[str, Any]]:
    """Yield a row for each model. Texts without WebAssembly are shorter."""
    for kind, hidden, layers in MODELS:
        text = page(model_file(kind, hidden, layers), Words("model"))
        assert PERMISSION in text, "the page's policy does not mention WebAssembly"
        texts = {"simd.html": text, "plain.html": text.replace(PERMISSION, "")}
        pages = [opened(browser, folder / name, texts[name]) for browser, name in zip(browsers, texts, strict=True)]
        lengths = [length, length // 8]
        turns = [[each.speed(count) for each, count in zip(pages, lengths, strict=True)] for _ in range(rounds + 1)]
        simd, plain = zip(*turns[1:], strict=True)  # without the warm-up
        yield {
            "model": f"{kind} {layers}x{hidden}",
            "WebAssembly": round(statistics.median(simd)),
            "JavaScript": round(statistics.median(plain)),
            "ratio": round(statistics.median(one / other for one, other in turns[1:]), 1),
        }
        for each in pages:
            each.page.close()


def opened(browser: Browser, path: Path, text: str) -> WorkerPage:
    """Open a page from disk, and wait for its first text; without the link it would search cells too."""
    path.write_text(text, "utf-8")
    before = workers()
    shown = browser.new_page()
    shown.goto(f"{path.as_uri()}#model=model&prime=A&seed=1&length=400")
    shown.get_by_text("Wrote 400 characters.").wait_for()
    (thread,) = workers() - before
    return WorkerPage(shown, thread)


def workers() -> set[Path]:
    """Return the threads of all web workers on this machine."""
    found = set()
    for name in Path("/proc").glob("[0-9]*/task/*/comm"):
        with suppress(OSError):  # the thread has ended
            if name.read_text().startswith("DedicatedWorker"):
                found.add(name.parent)
    return found


if __name__ == "__main__":
    main()
