"""Speed of an exported page in Chromium, with WebAssembly SIMD and without.

    python benchmarks/exported_page.py [--length N] [--rounds N] [--json FILE]

Pages of models with random weights and 65 symbols are opened from disk, each twice: as exported, and without the
permission to compile WebAssembly. They write in turn, with the page's own request. The speeds are medians, as the page
reports them; the ratio is the median of the ratios of all rounds. Needs playwright and Chromium.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness import parser, report
from playwright.sync_api import Browser, sync_playwright

from char_rnn.bench.generation import model_file
from char_rnn.export.html_page import Words, page

MODELS = (("lstm", 128, 2), ("lstm", 384, 1), ("lstm", 512, 2), ("gru", 256, 1))
PERMISSION = " 'wasm-unsafe-eval'"
SPEED = """(length) => new Promise((fulfil, reject) => charRnnBackend.generate(
    {prime: "A", length, temperature: 0.8, alternatives: 10, seed: 1},
    {
        onStart() {},
        onCharacters() {},
        onDone: ({characters, writing_seconds: seconds}) => fulfil(characters / seconds),
        onError: ({message}) => reject(new Error(message)),
    },
))"""


def main() -> None:
    options = parser(__doc__, threads=False)
    options.add_argument("--length", type=int, default=600, help="characters of each text")
    options.add_argument("--rounds", type=int, default=5, help="rounds of measurements")
    arguments = options.parse_args()
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        rows = list(measure(browser, Path(folder), arguments.length, arguments.rounds))
        report("exported pages, characters/s", rows, arguments.json, chromium=browser.version, length=arguments.length)
        browser.close()


def measure(browser: Browser, folder: Path, length: int, rounds: int) -> Iterator[dict[str, Any]]:
    """Yield a row for each model."""
    for kind, hidden, layers in MODELS:
        text = page(model_file(kind, hidden, layers), Words("model"))
        assert PERMISSION in text, "the page's policy does not mention WebAssembly"
        pages = [opened(browser, folder / name, each) for name, each in variants(text).items()]
        for each in pages:
            each.evaluate(SPEED, length // 4)
        speeds = [[each.evaluate(SPEED, length) for each in pages] for _ in range(rounds)]
        simd, plain = (list(column) for column in zip(*speeds, strict=True))
        yield {
            "model": f"{kind} {layers}x{hidden}",
            "WebAssembly": round(statistics.median(simd)),
            "JavaScript": round(statistics.median(plain)),
            "ratio": round(statistics.median(one / other for one, other in speeds), 2),
        }
        for each in pages:
            each.close()


def variants(text: str) -> dict[str, str]:
    """Return the page as exported, and without WebAssembly, by file name."""
    return {"simd.html": text, "plain.html": text.replace(PERMISSION, "")}


def opened(browser: Browser, path: Path, text: str) -> Any:
    """Open a page from disk."""
    path.write_text(text, "utf-8")
    shown = browser.new_page()
    shown.goto(path.as_uri())
    shown.locator("#generate:enabled").wait_for()
    return shown


if __name__ == "__main__":
    main()
