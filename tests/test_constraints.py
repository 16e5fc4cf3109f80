"""``constraints.txt`` holds the versions that CI installs, and the commands for installing use it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PINNED = dict(re.findall(r"(?m)^([\w.-]+)==([\w.]+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8")))
DECLARED = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]


def test_every_line_is_a_name_and_a_version() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert len(PINNED) == len(lines)
    assert lines == sorted(lines, key=str.lower)


@pytest.mark.parametrize("line", sorted({line for lines in DECLARED for line in lines}))
def test_a_dependency_is_pinned_within_its_range_without_an_upper_bound_on_torch(line: str) -> None:
    requirement, versions = Requirement(line), {canonicalize_name(name): version for name, version in PINNED.items()}
    if requirement.name != PROJECT["name"]:
        assert requirement.specifier.contains(versions[canonicalize_name(requirement.name)])
    assert requirement.name != "torch" or str(requirement.specifier) == ">=2.8"


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "docs/index.md", ".github/workflows/ci.yml"])
def test_the_commands_that_install_a_checkout_use_it(page: str) -> None:
    commands = re.findall(r'pip install [^\n]*?(?:\.\s|\.$|"\.\[dev\]")', (ROOT / page).read_text(encoding="utf-8"))
    assert commands
    assert all("-c constraints.txt" in command for command in commands)
