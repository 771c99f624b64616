import json

import growth
import handwriting
import notebook
import numpy as np
import pandas as pd
import pytest
import run
import side_by_side
import study_cost


def epochs(*seconds):
    return [{"seconds": s, "accuracy": 0.98, "megabytes": 1000} for s in seconds]


def test_table_compares_medians_after_the_warm_up_and_with_the_limit():
    times = {
        "as_written": epochs(99, 10, 30, 11, 11, 11), "project": epochs(99, 5, 4, 50, 5, 5),
        "uncapped": epochs(9, 4, 4, 4, 4, 4), "pytorch": epochs(1, 2, 2, 2, 2, 2),
    }  # fmt: skip
    text = "\n".join(side_by_side.table({"dense": times}, rate=1e9))
    assert "| dense | as written | 11.00 | 10.00 | 30.00 | 1000 | 98.00 |" in text
    assert f"| dense | 0.45 | 2.50 | 1.25 | {5 / side_by_side.limit('dense', 1e9):.2f} | 1.00 |" in text
    assert len(side_by_side.chart({"dense": times}, rate=1e9).axes) == 1
    # Dense: 668,672 multiply-adds forward; back by weights the same, by inputs without the first layer.
    forward, back = 668_672, 668_672 + 668_672 - 784 * 512
    assert side_by_side.limit("dense", rate=1e9) == pytest.approx((60_000 * (forward + back) + 10_000 * forward) / 1e9)


@pytest.mark.parametrize("exponent", [0.9, 1.0, 2.0])
def test_fitted_growth_is_the_one_it_was_made_with(exponent):
    x = np.array([1, 2, 5, 10, 20, 40, 60]) * 1000.0
    *found, error = growth.fitted(list(x), list(0.05 + 4e-5 * x**exponent))
    assert found == pytest.approx([0.05, 4e-5, exponent], rel=1e-3) and error < 1e-3
    assert growth.fitted(list(x), list(4e-5 * x**exponent), start=False)[:3] == pytest.approx((0, 4e-5, exponent))


def test_sections_add_up_to_the_whole():
    def code(seconds):
        return {"cell_type": "code", "metadata": {"papermill": {"duration": seconds}}}

    cells = [code(3), {"cell_type": "markdown", "source": "text\n\n## 1. Data\n\ntext"}, code(1), code(2)]
    parts = {"papermill and the kernel": 4, "imports": 3, "1. Data": 3}
    assert notebook.sections({"cells": cells}, seconds=10) == parts


def test_cost_of_a_study_by_hand():
    """Two runs of 100 s, and 8 s more, a seed, on two cores; Dask takes a quarter longer."""
    seconds = dict(zip(study_cost.WAYS, (60, 40, 50), strict=True))
    measured = {"cores": 2, "seconds a run": seconds, "overhead a run": 8, "runs": {"dense": 100, "conv": 100}}
    assert study_cost.efficiency(measured, study_cost.WAYS[1]) == 0.75
    assert study_cost.hours(measured, 1000) == pytest.approx(1000 * 108 / 3600)
    assert study_cost.hours(measured, 1000, machines=100) == pytest.approx(10 * 108 * 1.25 / 3600)


def test_results_are_those_measured():
    """Nobody has edited RESULTS.md or HANDWRITING.md, or forgotten to write it."""
    assert run.RESULTS.read_text() == run.report(json.loads(run.MEASURED.read_text()))
    assert handwriting.REPORT.read_text() == handwriting.report(json.loads(handwriting.MEASURED.read_text()))


def test_interval_of_a_share_draws_whole_sources():
    """Fifty pictures: if each source is read or misread as a whole, there are just five things to draw from."""
    values, alone = np.repeat([1.0, 1.0, 1.0, 0.0, 0.0], 10), pd.Series(range(50))
    apart = handwriting.with_interval("read", values, alone)
    together = handwriting.with_interval("read", values, alone // 10)
    assert apart["read"] == together["read"] == 60
    assert (together["read, low"], together["read, high"]) == (20, 100)
    assert 40 <= apart["read, low"] < 50 < 70 < apart["read, high"] <= 80
    assert handwriting.with_interval("read", values, alone // 25).keys() == {"read"}  # two are too few


def test_pairs_of_trainings_by_hand():
    """Two trainings of each: 3 and 1 of 4 pictures against 2 and 1; one pair of four is lost, one is a tie."""
    right = {"one": np.array([[1, 1, 1, 0], [1, 0, 0, 0]], bool), "other": np.array([[1, 1, 0, 0], [0, 1, 0, 0]], bool)}
    row = handwriting.pairs(pd.DataFrame({"source": list("abcd")}), right)["one beats other"]
    assert row == {"% of pairs": 62.5, "difference, points": 12.5}
