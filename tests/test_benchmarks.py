import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
import run  # noqa: E402  the folder is no package


def epochs(*seconds):
    return [{"seconds": s, "accuracy": 0.98, "megabytes": 1000} for s in seconds]


def test_limit_by_hand():
    """Dense: 668,672 multiply-adds forward; back by weights the same, by inputs without the first layer."""
    forward, back = 668_672, 668_672 + 668_672 - 784 * 512
    assert run.limit("dense", rate=1e9) == pytest.approx((60_000 * (forward + back) + 10_000 * forward) / 1e9)


def test_report_compares_medians():
    times = {"as_written": epochs(10, 30, 11), "project": epochs(5, 4, 50), "pytorch": epochs(2, 2, 2)}
    text = run.report({"dense": times}, rate=1e9, torch="2.13.0")
    assert "| dense | as written | 11.00 | 10.00 | 30.00 | 1000 | 98.00 |" in text
    assert f"| dense | 0.45 | 2.50 | {5 / run.limit('dense', 1e9):.2f} | 1.00 |" in text
    assert len(run.chart({"dense": times}, rate=1e9).axes) == 1


def test_rate_is_that_of_a_computer():
    assert 1e8 < run.matrix_product_rate(size=512) < 1e14
