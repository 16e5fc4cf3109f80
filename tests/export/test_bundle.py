"""Modules joined into one script."""

from __future__ import annotations

import pytest

from char_rnn.export.bundle import joined


def test_what_is_imported_comes_first_and_once() -> None:
    modules = {
        "a.js": 'import { b } from "./b.js";\nimport { c, d } from "./c.js";\nb(c);\n',
        "b.js": 'import { c } from "./c.js";\nexport const b = c;\n',
        "c.js": "export function c() {}\nexport async function d() {}\n// export nothing\n",
        "unused.js": "export const e = 1;\n",
    }
    assert joined(modules, "a.js") == (
        "function c() {}\nasync function d() {}\n// export nothing\n\nconst b = c;\n\nb(c);\n"
    )


def test_an_import_that_is_not_there_is_left_out() -> None:
    assert joined({"a.js": 'import { b } from "./b.js";\nwindow.b ?? b();\n'}, "a.js") == "window.b ?? b();\n"


@pytest.mark.parametrize(
    "line",
    ['import * as b from "./b.js";', "export default 1;", "export { a };", 'import {\n  b,\n} from "b.js";'],
)
def test_what_cannot_be_joined(line: str) -> None:
    with pytest.raises(ValueError, match=r"^modules that a\.js imports: cannot be joined at '(import|export)"):
        joined({"a.js": f"{line}\n"}, "a.js")
