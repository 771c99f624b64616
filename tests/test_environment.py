"""The environment is described twice, for pip and for conda; both must say the same."""

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
REQUIREMENTS = (ROOT / "requirements.txt").read_text().splitlines()
PINS = [line for line in REQUIREMENTS if line and not line.startswith("#")]


def test_each_requirement_is_pinned_and_explained():
    assert len(PINS) > 10
    for line in PINS:
        assert re.fullmatch(r"[a-z-]+==[\d.]+ +# .+", line), line


def test_conda_environment_has_the_same_pins():
    environment = (ROOT / "environment.yml").read_text()
    assert re.findall(r"- ([a-z-]+==[\d.]+)", environment) == [line.split()[0] for line in PINS]


@pytest.mark.parametrize("pin", [line.split()[0] for line in PINS])
def test_installed_is_what_is_pinned(pin):
    name, wanted = pin.split("==")
    assert version(name) == wanted


def test_supported_pythons_are_named_alike():
    """In pyproject.toml, in the Makefile's check, in the comment of requirements.txt and in README."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == ">=3.11,<3.14"
    assert "(3, 11) <= v < (3, 14)" in (ROOT / "Makefile").read_text()
    assert all("Python 3.11 to 3.13" in (ROOT / name).read_text() for name in ("requirements.txt", "README.md"))
