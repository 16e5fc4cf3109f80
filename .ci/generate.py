"""Write the files that come from declarations in the code, or with --check only say which are out of date.

They are ``config/default.yaml``, and of the sampling options the table in ``docs/sampling.md`` and the sliders of the
page.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from char_rnn.sampling.options import NUMBERS, OPTIONS, Option
from char_rnn.utils.config import Config, to_yaml

ROOT = Path(__file__).resolve().parents[1]
HEADER = "| flag | key | range | default | description |\n|---|---|---|---|---|\n"


def default_yaml(old: str) -> str:
    """All keys with their defaults, below the first line of the old file."""
    return old.partition("\n")[0] + "\n" + to_yaml(Config(), comments=True)


def sampling_page(old: str) -> str:
    """The page with a new table."""
    table = HEADER + "".join(map(_row, OPTIONS.values()))
    return re.sub(rf"^{re.escape(HEADER)}(\|.*\n)*", lambda _: table, old, flags=re.MULTILINE)


def _row(option: Option) -> str:
    default = "" if option.default in (None, "") else f"{option.default:g}"
    key = f"`{option.name}`" if option.name in NUMBERS else f"`{option.name}` (not in a configuration)"
    return f"| `{option.flag}` | {key} | {option.range.words} | {default} | {option.help} |\n"


def sampling_options_js(_: str) -> str:
    """The sliders of the page."""
    sliders = [
        {"name": option.name, "label": slider.label, "min": slider.least, "max": slider.most, "step": slider.step,
         "value": slider.value, "off": slider.off, "optional": option.range.optional, "help": option.help}
        for option in OPTIONS.values()
        if (slider := option.slider) is not None
    ]  # fmt: skip
    rows = "".join(f"  {json.dumps(slider, ensure_ascii=False)},\n" for slider in sliders)
    header = "/* Written by .ci/generate.py from char_rnn.sampling.options. */\n\n"
    return f"{header}export const SAMPLING_OPTIONS = [\n{rows}];\n"


FILES = {
    "src/char_rnn/config/default.yaml": default_yaml,
    "docs/sampling.md": sampling_page,
    "src/char_rnn/playground/static/sampling_options.js": sampling_options_js,
}


def main() -> None:
    """Write the files, or check them."""
    outdated = []
    for name, made in FILES.items():
        path = ROOT / name
        old = path.read_text("utf-8") if path.exists() else ""
        if (new := made(old)) != old:
            outdated.append(name)
            if "--check" not in sys.argv:
                path.write_text(new, "utf-8")
    if "--check" in sys.argv and outdated:
        sys.exit(f"out of date: {', '.join(outdated)}; run python .ci/generate.py")


if __name__ == "__main__":
    main()
