"""How pages are read: what counts as a command, and what is refused."""

from __future__ import annotations

import pytest
from pages import COMMANDS, PYTHON, Block, PageError, blocks, spans

PAGE = """# A page

```
char-rnn train a.txt \\
    --minutes 1   # one
torchrun x
python -c "
import x" 1
```

<!-- not run: needs a Mac -->
```
char-rnn doctor --device mps
```

Some output, and a list:

```text
anything
```

- A point:

  ```sh
  python -m x
  ```

    $ char-rnn sample m --seed 1
    the text

    goes on
    $ char-rnn sample m

```python
import char_rnn
```

Say `char-rnn runs
--sort best`, or ``two``.
"""


def test_the_blocks_of_a_page() -> None:
    assert blocks(PAGE) == [
        Block(COMMANDS, ("char-rnn train a.txt --minutes 1   # one", "torchrun x", 'python -c "\nimport x" 1'), 3),
        Block(COMMANDS, ("char-rnn doctor --device mps",), 12, "needs a Mac"),
        Block(COMMANDS, ("python -m x",), 24),
        Block(COMMANDS, ("char-rnn sample m --seed 1", "char-rnn sample m"), 28),
        Block(PYTHON, ("import char_rnn",), 34),
    ]
    assert spans(PAGE) == ["char-rnn runs --sort best"]


@pytest.mark.parametrize(
    ("page", "message"),
    [
        ("```\nchar-rnn runs\nrun  best\n```\n", "line 3: 'run  best' is no command"),
        ("```\nsome output\n```\n", "line 2"),
        ("text\n```\nchar-rnn runs\n", "line 2: this block does not end"),
    ],
)
def test_what_is_refused(page: str, message: str) -> None:
    with pytest.raises(PageError, match=message):
        blocks(page)


def test_a_command_that_fails_says_so() -> None:
    [block] = blocks("```\n$ char-rnn x\nerror: no such command\n$ char-rnn runs\nruns\n```\n")
    assert block.lines == ("char-rnn x", "char-rnn runs")
    assert block.failing == ("char-rnn x",)


def test_a_mark_is_for_the_next_block_alone() -> None:
    first, second = blocks("<!-- not run: x -->\n\n```\npip a\n```\n```\npip b\n```\n")
    assert (first.not_run, second.not_run) == ("x", None)
    [other] = blocks("<!-- not run: x -->\nBut then:\n```\npip b\n```\n")
    assert other.not_run is None
