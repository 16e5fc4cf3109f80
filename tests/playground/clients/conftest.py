"""Programs for OpenAI's API, in an environment of their own, and a server for them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playground_helpers import Serving

REQUIREMENTS = Path(__file__).with_name("requirements.txt")
SECONDS = 600


@dataclass
class Clients:
    """The programs.

    Attributes:
        bin: Folder of their commands.
        home: Folder of their settings.
        port: Port of the server.
    """

    bin: Path
    home: Path
    port: int

    @property
    def base(self) -> str:
        """Address that a user gives the programs."""
        return f"http://127.0.0.1:{self.port}/v1"

    def run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a program."""
        settings = {"LLM_USER_PATH": str(self.home), "BASE": self.base, "PYTHONWARNINGS": "ignore"}
        command = [str(self.bin / program), *arguments]
        environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        return subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=SECONDS, env=environment | settings
        )

    def python(self, program: str) -> Any:
        """Return what a Python program, which has a `client` of the package openai, assigns to `result`."""
        head = "import json, os, openai\nclient = openai.OpenAI(base_url=os.environ['BASE'], api_key='none')\n"
        tail = "\nprint(json.dumps(result))"
        done = self.run("python", "-c", head + textwrap.dedent(program) + tail)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the programs' commands; without a package registry, the tests are skipped."""
    folder = tmp_path_factory.mktemp("clients")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, timeout=SECONDS)
    bin_folder = folder / ("Scripts" if sys.platform == "win32" else "bin")
    command = [str(bin_folder / "python"), "-m", "pip", "install", "--quiet", "--requirement", str(REQUIREMENTS)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=SECONDS)
    if done.returncode:
        pytest.skip(f"openai and llm cannot be installed: {done.stderr.strip().splitlines()[-1]}")
    return bin_folder


@pytest.fixture(scope="module")
def clients(environment: Path, served: Serving, tmp_path_factory: pytest.TempPathFactory) -> Clients:
    """The programs and the server of all tests of the API."""
    return Clients(environment, tmp_path_factory.mktemp("settings"), served.port)
