"""``constraints.txt`` and ``.ci/constraints.txt`` hold the versions that CI installs, and CI's actions are pinned."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
FILES = ["constraints.txt", ".ci/constraints.txt"]


def pins(file: str) -> dict[str, str]:
    """Versions by name, of a file of constraints."""
    return dict(re.findall(r"(?m)^([\w.-]+)==([\w.]+)$", (ROOT / file).read_text(encoding="utf-8")))


PINNED = pins("constraints.txt")
DECLARED = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]


@pytest.mark.parametrize("file", FILES)
def test_every_line_is_a_name_and_a_version(file: str) -> None:
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    assert len(pins(file)) == len(lines)
    assert lines == sorted(lines, key=str.lower)


def test_the_build_tools_are_pinned_within_their_ranges() -> None:
    tools = pins(".ci/constraints.txt")
    assert {"build", "pip"} <= tools.keys()
    for requirement in map(Requirement, PYPROJECT["build-system"]["requires"]):
        assert requirement.specifier.contains(tools[requirement.name])


def test_the_actions_are_pinned_by_digest() -> None:
    uses = re.findall(r"uses: (.+)", (ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    assert uses
    assert all(re.fullmatch(r"[\w./-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+", action) for action in uses)


@pytest.mark.parametrize("line", sorted({line for lines in DECLARED for line in lines}))
def test_a_dependency_is_pinned_within_its_range_without_an_upper_bound_on_torch(line: str) -> None:
    requirement, versions = Requirement(line), {canonicalize_name(name): version for name, version in PINNED.items()}
    if requirement.name != PROJECT["name"]:
        assert requirement.specifier.contains(versions[canonicalize_name(requirement.name)])
    assert requirement.name != "torch" or str(requirement.specifier) == ">=2.8"


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "docs/index.md", ".github/workflows/ci.yml"])
def test_the_commands_that_install_a_checkout_use_it(page: str) -> None:
    commands = re.findall(
        r'pip install (?:[^\n`]* )?(?:\.(?=\s|$)|"\.\[dev\]")', (ROOT / page).read_text(encoding="utf-8")
    )
    assert commands
    assert all("-c constraints.txt" in command for command in commands)
