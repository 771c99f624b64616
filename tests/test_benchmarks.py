import itertools
import json
import re
from pathlib import Path

import growth
import measuring
import notebook
import numpy as np
import pytest
import run
import side_by_side
import study_cost

ROOT = Path(__file__).parent.parent
STORED = json.loads(run.MEASURED.read_text(encoding="utf-8"))


def epochs(*seconds):
    return [{"seconds": s, "accuracy": 0.98, "megabytes": 1000} for s in seconds]


def test_all_is_measured_in_turn_and_medians_count(capsys):
    clock = itertools.count(1)

    def way(name):
        return lambda: {"turn": next(clock), name: 1.0}

    found = measuring.in_turn({"a": way("a"), "b": way("b")}, rounds=3)
    assert [each["turn"] for each in found["a"]] == [1, 3, 5]
    assert measuring.medians(found) == {"a": {"turn": 3, "a": 1.0}, "b": {"turn": 4, "b": 1.0}}
    assert capsys.readouterr().out == ""  # which is for the figures of a process


def test_report_compares_medians_after_the_warm_up_and_with_the_limit():
    times = {
        "as_written": epochs(99, 10, 30, 11, 11, 11), "project": epochs(99, 5, 4, 50, 5, 5),
        "uncapped": epochs(9, 4, 4, 4, 4, 4), "pytorch": epochs(1, 2, 2, 2, 2, 2),
    }  # fmt: skip
    text = "\n".join(side_by_side.report({"rate": 1e9, "networks": {"dense": times}}))
    assert "| dense | as written | 11.00 | 10.00 | 30.00 | 1000 | 98.00 |" in text
    limit = side_by_side.limit("dense", rate=1e9)
    assert f"| dense | 0.45 | 2.50 | 1.25 | {5 / limit:.2f} | 1.00 |" in text
    # Dense has 668,672 multiply-adds forward; back by weights as many, and by inputs as many but
    # for the first layer's.
    forward, back = 668_672, 668_672 + 668_672 - 784 * 512
    assert limit == pytest.approx((60_000 * (forward + back) + 10_000 * forward) / 1e9)


@pytest.mark.parametrize("exponent", [0.9, 1.0, 2.0])
def test_fitted_growth_is_the_one_it_was_made_with(exponent):
    for kind, constant in (("dense", 0.05), ("embedding", 0)):
        sizes = 1000.0 * np.array([1, 2, 5, 10, 20, 40, 60])
        curve = [{"images": n, "seconds": constant + 4e-5 * n**exponent} for n in sizes]
        *found, error = growth.fitted(kind, curve)
        assert found == pytest.approx([constant, 4e-5, exponent], rel=1e-3) and error < 1e-3


def test_sections_add_up_to_the_whole():
    def code(seconds):
        return {"cell_type": "code", "metadata": {"papermill": {"duration": seconds}}}

    text = {"cell_type": "markdown", "source": "text\n\n## 1. Data\n\ntext"}
    cells = [code(3), text, code(1), code(2)]
    parts = {notebook.START: 4, notebook.FIRST: 3, "1. Data": 3}
    assert notebook.sections({"cells": cells}, taken=10) == parts


def test_cost_of_a_study_by_hand():
    """Two runs of 100 s, and 8 s more, a seed, on two cores; Dask takes a quarter longer."""
    seconds = dict(zip(study_cost.WAYS, (60, 40, 50), strict=True))
    runs = {"dense": 100, "conv": 100}
    measured = {"cores": 2, "seconds a run": seconds, "overhead a run": 8, "runs": runs}
    assert study_cost.efficiency(measured, study_cost.WAYS[1]) == 0.75
    assert study_cost.hours(measured, 1000) == pytest.approx(1000 * 108 / 3600)
    assert study_cost.hours(measured, 1000, machines=100) == pytest.approx(10 * 108 * 1.25 / 3600)


def test_results_are_those_measured():
    """Nobody has edited RESULTS.md, or forgotten to write it."""
    assert run.RESULTS.read_text(encoding="utf-8") == run.report(STORED)


def test_measured_sections_are_the_notebooks():
    """A renamed section is renamed in measured.json, too; a new one makes the part outdated."""
    cells = json.loads((ROOT / "mnist_digits.ipynb").read_text(encoding="utf-8"))
    headings = {"all", notebook.START, *(name for name, _ in notebook.by_section(cells))}
    for way in ("cached", "scratch"):
        measured = STORED["notebook"][way].keys()
        assert measured <= headings
        assert measured == headings or "notebook" in STORED["outdated"]


# As `compute.processor` names one: Linux on x86-64 and on arm64, a Mac, Windows.
PROCESSOR = r"\w+ family \d+ model \d+|aarch64|arm|\w+ Family \d+ Model \d+ Stepping \d+, \w+"
MACHINE = rf"({PROCESSOR}), with [A-Z\d]+, \d+ cores; (\w+ \d[\w.+]*(, |$)){{4}}"


def test_each_part_says_on_which_machine_it_was_measured():
    """As it would be said today, or that this was not noted."""
    assert re.fullmatch(MACHINE, run.machine("2.13.0+cpu", "AVX512"))
    assert STORED["machine"].keys() == run.PARTS.keys() == STORED.keys() - {"machine", "outdated"}
    for part, machine in STORED["machine"].items():
        is_noted = machine is not None and re.fullmatch(MACHINE, machine)
        assert is_noted or (machine is None and part in STORED["outdated"]), part


def stored_json():
    """The text of each JSON file of the project, line by line where each line is one."""
    kept = [path for path in ROOT.iterdir() if path.name != "build" and path.name[0] != "."]
    for path in itertools.chain(kept, *(folder.rglob("*") for folder in kept)):
        if "local" in path.parts:  # a reader's own models
            continue
        if path.suffix in (".json", ".ipynb"):
            yield path.name, path.read_text(encoding="utf-8")
        elif path.suffix == ".jsonl":
            for line in path.read_text(encoding="utf-8").splitlines():
                yield path.name, line


def test_every_stored_json_is_json():
    """It has no word for what is not a number; other readers than Python's stop there."""
    names = set()
    for name, text in stored_json():
        names.add(name)
        json.loads(text, parse_constant=lambda word, name=name: pytest.fail(f"{name} has {word}"))
    assert names >= {"measured.json", "pictures.json", "manifest.json", "runs.jsonl"}
    assert "mnist_digits.ipynb" in names
