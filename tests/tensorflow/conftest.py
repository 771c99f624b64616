"""Fixtures of the tests that train small networks on a few digits."""

import pytest

from helpers.compute import start_tensorflow

start_tensorflow()
from helpers import cache, loading  # noqa: E402  TensorFlow must be started first
from helpers.data import Digits  # noqa: E402
from helpers.loading import train_or_load  # noqa: E402
from tests.small_networks import FLAT, SETTINGS  # noqa: E402


@pytest.fixture(scope="session")
def few(sample):
    train, test = (
        (sample.train_images[:200], sample.train_labels[:200]),
        (sample.test_images[:100], sample.test_labels[:100]),
    )
    return Digits(*train, *test, is_full=False, digest="of a few digits")


@pytest.fixture(scope="session")
def inputs(few):
    return loading.describe_inputs(FLAT, few, SETTINGS)


@pytest.fixture
def the_projects(few, inputs, tmp_path):
    """The flat network comes with the project: makes it, and returns what is in the cache for it."""

    def make():
        loading.retrain(FLAT, few, SETTINGS, models=tmp_path)
        return cache.load(tmp_path / "flat", inputs)

    return make


@pytest.fixture
def run(few, tmp_path):
    """Train or load in a cache of its own."""
    return lambda candidate=FLAT, digits=few, settings=SETTINGS: train_or_load(candidate, digits, settings, tmp_path)
