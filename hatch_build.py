"""The build's own step: compile the kernels, where there is a compiler, and tell the wheel what machines it is for."""

from __future__ import annotations

import runpy
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class KernelsHook(BuildHookInterface):  # type: ignore[type-arg]
    """Compiles before a wheel or an editable installation is made."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the libraries beside their sources; without any the wheel is one for every machine.

        What lies there from elsewhere, left by another build or another machine, stays out of it.
        """
        build = runpy.run_path(str(Path(self.root) / "src" / "char_rnn" / "kernels" / "build.py"))["build"]
        if built := build():
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
            build_data["artifacts"] += [f"/{path.relative_to(self.root).as_posix()}" for path in built]
