"""Whether the set-up needs a compiler anywhere: it must not, Python and make are to be enough."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Each system for which there is a TensorFlow, and the runner that tries it.
SYSTEMS = {
    "x86_64-manylinux_2_28": "ubuntu-latest",
    "aarch64-manylinux_2_28": "ubuntu-24.04-arm",
    "aarch64-apple-darwin": "macos-latest",
    "x86_64-pc-windows-msvc": "windows-latest",
}


def test_each_system_is_tried():
    jobs = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    assert set(SYSTEMS.values()) == set(re.findall(r"\b(?:ubuntu|macos|windows)-[\w.-]*\w", jobs))


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
@pytest.mark.parametrize("system", SYSTEMS)
def test_each_locked_package_is_built_for(system, python):
    """The package index is asked: a lock does not say what its digests are of."""
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-deps"]
    command += ["--only-binary", ":all:", "--python-platform", system, "--python-version", python]
    asked = subprocess.run(
        [*command, "requirements.lock"], cwd=ROOT, capture_output=True, text=True,
        env=os.environ | {"UV_HTTP_RETRIES": "1"},
    )  # fmt: skip
    if "Failed to fetch" in asked.stderr:
        pytest.skip("needs a package index that can be reached")
    assert asked.returncode == 0, asked.stderr
