"""Prose cannot contradict the results: each number in it is looked up where it comes from.

`tests/prose.toml` says, for each Markdown cell of the notebook and each section of README, where
its numbers come from, in their order:

- ``"by_digit / 0 / accuracy %"``: what the run that made the stored outputs has written to
  `tests/results.json`, by the name that the notebook gives it, row and column;
- ``"pairs / #0 / 1"``: of the first row, whose name is 4/9, the second digit; ``"by_digit / @min accuracy %"``: the
  name of the row with the smallest value in a column (or `@max`, the largest);
- ``"article / TRAINING / dense"``: the article's figures;
- ``"measured / ..."``: the benchmark's figures;
- ``"handwriting / ..."``: what came of other people's pictures;
- ``"100 - ..."``: the rest to 100 percent; ``"- ..."``: without its minus;
- ``"= 28"``: a constant, such as the side of an image, a year or a section.

A number must be its value, rounded to the digits it is printed with.
"""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import side_by_side
import study_cost

from helpers import article, study
from tests.test_notebook import CELLS, source

ROOT = Path(__file__).parent.parent
MEASURED = json.loads((ROOT / "benchmarks" / "measured.json").read_text())
SOURCES = json.loads((ROOT / "tests" / "results.json").read_text()) | {
    "article": {
        "TRAINING": article.TRAINING,
        "VALIDATION": article.VALIDATION,
        "label_accuracy": article.published_by_digit().to_dict("index"),
    },
    "handwriting": json.loads((ROOT / "benchmarks" / "handwriting.json").read_text()),
    "measured": {
        "runs": len(study.load_runs()),
        "seconds": MEASURED["study"]["runs"],
        "cap": {
            network: side_by_side.median(contenders["project"]) / side_by_side.median(contenders["uncapped"])
            for network, contenders in MEASURED["training"]["networks"].items()
        },
        "efficiency": {way: study_cost.efficiency(MEASURED["study"], way) for way in study_cost.WAYS},
        "hours": {str(machines): study_cost.hours(MEASURED["study"], 1000, machines) for machines in (1, 100)},
    },
}
REFERENCES = tomllib.loads((ROOT / "tests" / "prose.toml").read_text(encoding="utf-8"))
NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?")
# Not prose: code, where links lead, markup, the numbers that order sections and lists, and names of processors.
NOT_PROSE = re.compile(
    r"(?s:^```python$.*?^```$)|^    .*$|`[^`]*`|\]\([^)]*\)|<[^>]+>|^(#+ )?\d+\. |^\*\*\d+\. "
    r"|\[\d+\. [^]]+\]\([^)]*\)|x86-64|arm64|AVX2|AVX-512|family \d+ model \d+",
    re.MULTILINE,
)


def places() -> dict[str, str]:
    """The text of each place that has any: Markdown cells by their id, sections of README by their heading."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    sections = {
        f"README, {part.splitlines()[0]}": part for part in re.split(r"^#+ ", readme, flags=re.MULTILINE) if part
    }
    return {cell["id"]: source(cell) for cell in CELLS if cell["cell_type"] == "markdown"} | sections


def look_up(reference: str) -> Any:
    """A value by the names that lead to it; a constant as it is written."""
    if reference.startswith("= "):
        return reference[2:]
    if reference.startswith("100 - "):
        return 100 - look_up(reference.removeprefix("100 - "))
    if reference.startswith("- "):
        return -look_up(reference.removeprefix("- "))
    value = SOURCES
    for name in reference.split(" / "):
        if name.startswith("#"):
            value = list(value)[int(name[1:])]
        elif name.startswith("@"):
            extreme, column = {"@min": min, "@max": max}[name[:4]], name[5:]
            value = extreme(value, key=lambda row: value[row][column])
        elif isinstance(value, str):
            value = value.split("/")[int(name)]
        else:
            value = value[int(name)] if isinstance(value, list) else value[name]
    return value


def printed(value: Any, like: str) -> str:
    """A value with as many decimals as a number in the text has; with its commas, too, where that has some."""
    if isinstance(value, str):
        return value
    decimals = len(like.partition(".")[2])
    return f"{value:{',' if ',' in like else ''}.{decimals}f}"


PLACES = places()


@pytest.mark.parametrize("place", PLACES)
def test_every_number_is_what_it_comes_from(place):
    numbers, references = NUMBER.findall(NOT_PROSE.sub(" ", PLACES[place])), REFERENCES.get(place, [])
    wrong = [
        f"{number} should be {printed(look_up(reference), number)} ({reference})"
        for number, reference in zip(numbers, references, strict=False)
        if number != printed(look_up(reference), number)
    ]
    if len(numbers) != len(references):
        wrong.append(f"{len(numbers)} numbers, but tests/prose.toml has {len(references)}. In order: {numbers}")
    if wrong:
        pytest.fail("\n".join(f"{place}: {line}" for line in wrong), pytrace=False)


def test_no_reference_is_left_over():
    assert REFERENCES.keys() <= PLACES.keys()


def test_verdicts_in_readme_are_those_of_the_run():
    rows = re.findall(r"^\| (.+) \| (.+, \d of \d) \| (.*?) ?\|$", PLACES["README, What was found"], re.MULTILINE)
    expected = [(claim, score["verdict"], score["does not hold"]) for claim, score in SOURCES["scores"].items()]
    assert rows == expected
