"""Description of the machine: versions, processor, devices."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import torch

from char_rnn import kernels
from char_rnn._version import __version__
from char_rnn.utils.resources import available_cores


def describe_machine() -> dict[str, Any]:
    """Return versions, processor and devices by name; None if unknown."""
    return {
        "char_rnn": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "system": _system(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "usable_cores": available_cores(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,  # over the last minute
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "bfloat16_on_cpu": kernels.multiplies_bfloat16(),
        "kernels": kernels.level(),
        "no_kernels": kernels.why_none() if kernels.level() is None else None,
        "cuda": _cuda(),
        "mps": _mps(),
    }


def _system() -> str:
    if platform.system() == "Darwin":
        return f"macOS {platform.mac_ver()[0]} on {platform.machine()}"
    release = ".".join(platform.release().split(".")[:2])
    return f"{platform.system()} {release} on {platform.machine()}"


def _processor() -> str | None:
    """Return the name of the processor; None if unknown."""
    try:
        if platform.system() == "Darwin":
            command = ["sysctl", "-n", "machdep.cpu.brand_string"]
            return subprocess.run(command, capture_output=True, text=True, check=True, timeout=5).stdout.strip() or None
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except (OSError, subprocess.SubprocessError):
        return platform.processor() or None
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or None


def _cuda() -> dict[str, Any] | None:
    if not torch.cuda.is_available():
        return None
    return {
        "version": torch.version.cuda or torch.version.hip,
        "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
        "tf32_in_cudnn": torch.backends.cudnn.allow_tf32,
        "gpus": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())],
    }


def _mps() -> dict[str, Any] | None:
    if not torch.backends.mps.is_available():
        return None
    return {"macos": platform.mac_ver()[0], "memory": torch.mps.recommended_max_memory()}
