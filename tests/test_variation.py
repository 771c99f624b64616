"""What many trainings say, by hand."""

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from helpers import variation
from tests.test_study import run


def test_accuracies_in_order_and_their_spread_by_hand():
    runs = [run("conv", 2), *(run(seed=seed, training=0.93 + seed / 50, validation=0.9) for seed in (1, 2, 3))]
    table = variation.accuracies_of_runs([*runs, run("other", 1)], ["dense", "conv"])
    assert table.index.tolist() == [("dense", 1), ("dense", 2), ("dense", 3), ("conv", 2)]
    assert table.loc[("dense", 2)].tolist() == pytest.approx([97, 90, 187])
    spread = variation.spread(table).loc["dense"]
    assert spread["trainings", ""] == 3
    assert spread["training %"].to_dict() == pytest.approx({"estimate": 97, "sd": 2})
    assert spread["validation %", "sd"] == pytest.approx(0, abs=1e-9)
    assert spread["sum %"].to_dict() == pytest.approx({"estimate": 187, "sd": 2})


def test_superiority_by_hand():
    """Of the four pairs one is won, one lost and two are tied by validation; by the sum two and two."""
    runs = [run("dense", 1, 0.99, 0.95), run("dense", 2, 0.90, 0.96)]
    runs += [run("conv", 1, 0.95, 0.95), run("conv", 2, 0.95, 0.96)]
    row = variation.superiority(variation.accuracies_of_runs(runs, ["dense", "conv"])).loc["dense beats conv"]
    assert row[:, "estimate"].tolist() == [50, 50]  # by sum and by validation
    # Without ties they are the Mann-Whitney statistic.
    rng = np.random.default_rng(0)
    samples = {name: rng.normal(mean, 0.01, 10) for name, mean in (("dense", 0.9), ("conv", 0.91))}
    runs = [run(name, seed, 0.9, each) for name, sample in samples.items() for seed, each in enumerate(sample)]
    table = variation.superiority(variation.accuracies_of_runs(runs, ["dense", "conv"]))
    share, low, high = table["by validation, % of pairs"].iloc[0]
    assert share == pytest.approx(mannwhitneyu(*samples.values()).statistic) and 0 < low < share < high < 100


def test_last_changes_by_hand():
    """Three changes with mean 30 and standard deviation 62.4: t(0.975, 2) = 4.303, over the root of 3."""
    losses = [[0.5, 0.1, 0.2], [0.5, 0.2, 0.18], [0.5, 0.19, 0.2]]
    runs = [run(seed=seed) | {"history": {"val_loss": each}} for seed, each in enumerate(losses)]
    table = variation.last_changes([*runs, runs[0] | {"candidate": "conv"}], ["dense", "conv"])
    margin = 4.303 * np.std([100, -20, 10], ddof=1) / np.sqrt(3)
    expected = [580 / 3, 30, 30 - margin, 30 + margin, 2, 3]
    assert table.index.tolist() == ["dense"] and table.loc["dense"].tolist() == pytest.approx(expected, rel=1e-3)


def test_misread_images_and_confusions_by_hand():
    runs = [run(misread=[2, 5]), run("conv", misread=[5, 7]), run(seed=2, misread=[5])]
    table = variation.shared_errors(runs, np.arange(10), count=2)
    assert table.index.tolist() == [5, 2]  # the most frequent first, and of equals the first
    assert table.loc[5, ["label", "misread by", "dense", "conv"]].tolist() == [5, 3, 2, 1]
    assert table["mostly read as"].tolist() == [1, 1]
    assert variation.shared_errors([], np.arange(10)).empty
    counts = variation.confusions(runs, "dense")
    assert counts.shape == (2, 10, 10) and counts[:, 5, 1].tolist() == [1, 1] and counts[:, 2, 1].tolist() == [1, 0]
    assert variation.confusions(runs, "other").shape == (0, 10, 10)
