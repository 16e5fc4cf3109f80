"""What the command-line tests share."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass

TEXT = "The rose is red, the violet blue; the honey's sweet, and so are you.\n" * 40
SETTINGS = (
    "model.hidden_size=8",
    "model.num_layers=1",
    "training.batch_size=4",
    "training.seq_length=10",
    "device.preferred=cpu",
    "device.auto_detect=false",
)
SMALL = [word for setting in SETTINGS for word in ("--set", setting)]


@dataclass(frozen=True)
class Outcome:
    """What a command left: its status and what it printed."""

    status: int
    out: str
    err: str

    def refused(self, status: int, message: str = "") -> bool:
        """Whether it failed with a status and one line with a message, and printed nothing else."""
        one_line = self.err.startswith("error") and self.err.count("\n") == 1
        return (self.status, self.out, one_line) == (status, "", True) and message in self.err


WAIT = 60  # seconds
PLAYGROUND = ["prometheus_client", "sse_starlette", "starlette", "uvicorn"]  # packages of the extra


def ask(address: str, path: str, body: object = None) -> str:
    """Return the answer of a server on loopback."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address + path, data, {"content-type": "application/json"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=WAIT) as answer:
        text: str = answer.read().decode()
    return text


def loaded(modules: list[str], *arguments: object) -> list[str]:
    """Return which of some modules are loaded when a command ends, in a process of its own."""
    script = (
        "import atexit, sys\n"
        f"atexit.register(lambda: print(*(name for name in {modules} if name in sys.modules), file=sys.stderr))\n"
        "from char_rnn.cli import main\n"
        "main(sys.argv[1:])\n"
    )
    command = [sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stderr.splitlines()[-1].split()


Command = Callable[..., Outcome]
