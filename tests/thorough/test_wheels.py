"""Whether the set-up needs a compiler anywhere: it must not, Python and make are to be enough."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

LOCK = Path(__file__).parents[2] / "requirements.lock"
SYSTEMS = (
    "x86_64-manylinux_2_28",
    "aarch64-manylinux_2_28",
    "aarch64-apple-darwin",
    "x86_64-pc-windows-msvc",
)


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
@pytest.mark.parametrize("system", SYSTEMS)
def test_each_locked_package_is_built_for(system, python):
    """The package index is asked: a lock does not say what its digests are of."""
    asked = subprocess.run(
        [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-deps", "--only-binary", ":all:",
         "--python-platform", system, "--python-version", python, LOCK],
        env=os.environ | {"UV_HTTP_RETRIES": "1"}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    if "Failed to fetch" in asked.stderr:
        pytest.skip("needs a package index that can be reached")
    assert asked.returncode == 0, asked.stderr
