"""Prose cannot contradict the outputs: each number in it is looked up among what the notebook shows."""

import re
from pathlib import Path

import pytest

from helpers import article
from tests.test_notebook import CELLS, is_figure, source, text

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
NUMBER = re.compile(r"(?<![\w.,])\d+(?:,\d{3})*(?:\.\d+)?(?!\w)")

# Facts about the data set and the article, and things that are counted in words elsewhere.
CONSTANTS = {
    *("2021", "70,000", "60,000", "10,000", "5,000"),  # the article's year, MNIST's sizes, the sample's
    *("28", "784", "255"),  # image side, pixels, blackest pixel
    *("95", "100"),  # the confidence of the intervals
    *("3", "2", "15"),  # windows of the convolution and of max-pooling; dropout in percent
}


def numbers(prose: str) -> list[str]:
    """Numbers in a text but for digits 0 to 9 that stand for themselves, code and numbered headings."""
    prose = re.sub(r"```.*?```|`[^`]*`|\]\([^)]*\)|^#+ .*$|<[^>]+>", " ", prose, flags=re.DOTALL | re.MULTILINE)
    return NUMBER.findall(prose)


def sections() -> dict[str, tuple[list[str], str]]:
    """Of each section, by its heading: the paragraphs, and the text of its outputs."""
    found, heading = {"": ([], "")}, ""
    for cell in CELLS:
        if cell["cell_type"] == "markdown":
            for part in re.split(r"^(?=## )", source(cell), flags=re.MULTILINE):
                if part.startswith("## "):
                    heading = part.splitlines()[0]
                    found[heading] = ([], "")
                found[heading][0].append(part)
        else:
            prose, outputs = found[heading]
            shown = [text(output) for output in cell["outputs"] if not is_figure(output)]
            found[heading] = (prose, "\n".join([outputs, *shown]))
    return found


SECTIONS = sections()
PUBLISHED = {
    f"{value:.2f}" for value in (*article.TRAINING.values(), *article.VALIDATION.values(), *article.LABEL_ACCURACY)
}


def unknown(prose: str, outputs: str) -> list[str]:
    known = {*numbers(outputs), *PUBLISHED, *CONSTANTS, *"0123456789"}
    return [number for number in numbers(prose) if number not in known]


@pytest.mark.parametrize("heading", SECTIONS)
def test_every_number_in_the_text_is_in_an_output_of_its_section(heading):
    paragraphs, outputs = SECTIONS[heading]
    for paragraph in paragraphs:
        assert not unknown(paragraph, outputs), f"not in the outputs, under {heading!r}: {paragraph}"


def test_every_number_of_the_findings_in_readme_is_in_an_output():
    findings = README.split("## What was found")[1].split("## ")[0]
    outputs = "\n".join(outputs for _, outputs in SECTIONS.values())
    assert len(numbers(findings)) > 5
    assert not unknown(findings, outputs), "not among the outputs, in README"


def test_every_number_in_the_headline_is_in_another_output():
    """The first cell's output is exempt from nbval; what it says is compared where it comes from."""
    headline = SECTIONS[""][1]
    others = "\n".join(outputs for heading, (_, outputs) in SECTIONS.items() if heading)
    assert "the better network is" in headline
    assert set(numbers(headline)) <= {*numbers(others), *CONSTANTS}


def test_wrong_numbers_are_found():
    """Each number that the text takes from an output, its last digit in turn each other: few stay unnoticed.

    Some do, such as 22 and 23, because both are shown in the same section.
    """
    noticed = []
    for paragraphs, outputs in SECTIONS.values():
        stated = {number for prose in paragraphs for number in numbers(prose)} - CONSTANTS - set("0123456789")
        for number in stated:
            others = set("0123456789") - {number[-1]}
            noticed += [bool(unknown(number[:-1] + digit, outputs)) for digit in others]
    assert len(noticed) >= 90 and sum(noticed) >= 0.9 * len(noticed)
