"""What the text says with three digits or more, the reader has just seen, in an output.

In the notebook: in an output of the same section or of an earlier one; what stands before section 1 is one section. In
README: in any output of the notebook, or in a report in `benchmarks/` or `study/`. The number may be rounded. A few
facts come from elsewhere: FACTS has them.
"""

import re
from collections.abc import Iterable, Iterator
from decimal import ROUND_HALF_DOWN, ROUND_HALF_UP, Decimal
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

from tests.test_notebook import CELLS, CODE, FIRST_SCREEN, outputs, source, text

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
REPORTS = [
    path.read_text(encoding="utf-8")
    for folder in ("benchmarks", "study")
    for path in (ROOT / folder).glob("*.md")
]
FACTS = {
    "2015", "2021",  # years in which something was published
    "60,000", "10,000",  # images of MNIST, to train and to test with
    "5,000",  # images of the sample
    "784", "255",  # the pixels of an image, and the largest value that one may have
    "1,000",  # seeds, where README asks what so many would cost
}  # fmt: skip
NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?")
# Not prose: code, where links lead, markup, and names that have numbers in them.
NOT_PROSE = re.compile(
    r"(?s:^```python$.*?^```$)|^    .*$|`[^`]*`|\]\([^)]*\)|<[^>]+>"
    r"|x86-64|AVX-512|SHA-256|family \d+ model \d+|Python 3\.\d+( to 3\.\d+)?",
    re.MULTILINE,
)


def numbers(prose: str) -> list[str]:
    """The numbers of a text that have three digits or more, but for facts."""
    found = NUMBER.findall(NOT_PROSE.sub(" ", prose))
    return [number for number in found if len(re.sub(r"\D", "", number)) >= 3 and number not in FACTS]


def missing(prose: str, seen: Iterable[str]) -> list[str]:
    """The numbers of a text that none of these outputs shows, rounded as in the text."""
    texts = {number.replace(",", "") for output in seen for number in NUMBER.findall(output)}
    shown = [Decimal(number) for number in texts]  # no set: 100 and 100.00 are one, but only the latter has decimals

    def is_shown(number: str) -> bool:
        said = Decimal(number.replace(",", ""))
        as_exact = [each for each in shown if decimals(each) >= decimals(said)]
        # What is shown is rounded itself, so what lies in the middle may go either way.
        return any(said == each.quantize(said, way) for each in as_exact for way in (ROUND_HALF_UP, ROUND_HALF_DOWN))

    return [number for number in numbers(prose) if not is_shown(number)]


def decimals(number: Decimal) -> int:
    return -int(number.as_tuple().exponent)


def sections(cells: list) -> Iterator[tuple[str, str, list[str]]]:
    """Of each section of a notebook its heading, its text, and all outputs until its end."""
    heading, prose, seen = "the beginning", "", []
    for cell in cells:
        if cell["cell_type"] == "markdown":
            first, *others = re.split(r"^## ", source(cell), flags=re.MULTILINE)
            prose += f"\n{first}"
            for other in others:
                yield heading, prose, list(seen)
                heading, prose = other.splitlines()[0], other
        seen += [shown(output) for output in cell.get("outputs", [])]
    yield heading, prose, seen


def shown(output) -> str:
    """What an output says: of a figure, its title, which its description begins with."""
    return output.get("metadata", {}).get("image/png", {}).get("alt") or text(output)


def complaints(cells: list) -> dict[str, list[str]]:
    """By section, the numbers of its text that no output has shown so far."""
    found = {heading: missing(prose, seen) for heading, prose, seen in sections(cells)}
    return {heading: numbers for heading, numbers in found.items() if numbers}


def test_the_notebook_says_what_its_outputs_show():
    assert complaints(CELLS) == {}


def test_readme_says_what_outputs_and_reports_show():
    seen = [shown(output) for cell in CODE for output in outputs(cell)]
    assert missing(README, [*seen, *REPORTS]) == []


def test_the_first_screen_says_what_other_outputs_show():
    others = [shown(output) for cell in CODE for output in outputs(cell) if text(output) != FIRST_SCREEN]
    assert numbers(FIRST_SCREEN) and missing(FIRST_SCREEN, others) == []


def table(html: str) -> list[list[str]]:
    """The rows of a table, each with the text of its cells."""
    rows = BeautifulSoup(html, "html.parser").find_all("tr")
    return [[cell.get_text(strip=True) for cell in row.find_all(["th", "td"])] for row in rows]


def test_verdicts_in_readme_are_those_of_the_run():
    (verdicts,) = (html for cell in CODE if "article.scorecard(" in source(cell) for html in html_of(cell))
    expected = [(claim, verdict, failing) for claim, _, _, verdict, failing in table(verdicts)[2:]]
    assert expected, "the cell of the scorecard shows no claim: `make refresh`"
    in_readme = re.findall(r"^\| (.+) \| (.+, \d of \d) \| (.*?) ?\|$", README, re.MULTILINE)
    assert in_readme == expected, "one row of README's table for each claim, as the notebook shows it"


def test_contributors_are_told_what_each_module_is_for():
    contributing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    modules = {path.stem for path in (ROOT / "helpers").glob("*.py")} - {"__init__"}
    assert set(re.findall(r"^\| `(\w+)` \|", contributing, re.MULTILINE)) == modules


def html_of(cell) -> list[str]:
    return ["".join(output["data"]["text/html"]) for output in outputs(cell) if "text/html" in output["data"]]


# --- the rule itself, on made-up notebooks


def book(*parts: str) -> list:
    """Cells of a notebook: text, or what a code cell prints, after a >."""
    cells = []
    for part in parts:
        if part.startswith(">"):
            output = {"output_type": "stream", "text": part[1:]}
            cells.append({"cell_type": "code", "source": "", "outputs": [output]})
        else:
            cells.append({"cell_type": "markdown", "source": part})
    return cells


OUTPUT = ">97.78 (94.11 to 100.00) -1.91 0.0042 669,706 <td>1234.5</td>"


@pytest.mark.parametrize("said", ["97.78", "97.8 %", "-1.91", "1.91", "0.004", "0.0042", "669,706", "1,234.5", "100"])
def test_a_number_is_shown_rounded_as_in_the_text(said):
    assert complaints(book("## 1. One", OUTPUT, f"It is {said}.")) == {}


@pytest.mark.parametrize("said", ["97.79", "97.7 %", "1.92", "0.005", "669,707", "97.780", "1,235.5", "669,706.0"])
def test_a_number_with_a_wrong_digit_is_found(said):
    assert complaints(book("## 1. One", OUTPUT, f"It is {said}.")) == {"1. One": [said.removesuffix(" %")]}


def test_what_is_shown_in_a_later_section_is_not_seen_yet():
    """In the same section it may come after the text; a cell may hold the end of one section and the next."""
    cells = book("It is 12.34.", "## 1. One\nIt is 12.34.\n\n## 2. Two\nIt is 12.34.", ">12.34", "## 3. Three\n12.34")
    assert complaints(cells) == {"the beginning": ["12.34"], "1. One": ["12.34"]}


def test_figures_show_their_titles():
    cells = book("## 1. One\nIt reads 9,780.", ">")
    figure = {"data": {"image/png": "", "text/plain": "<Figure>"}, "metadata": {"image/png": {"alt": "Reads 9,780."}}}
    cells[1]["outputs"] = [figure]
    assert complaints(cells) == {}
    figure["metadata"]["image/png"]["alt"] = "Reads 9,781."
    assert complaints(cells) == {"1. One": ["9,780"]}


def test_what_is_no_prose_and_no_long_number_is_left_alone():
    prose = """`123` [link](https://x.org/2103.03098) <a id="123"> 28 x 28, 97 %, 4.5, x86-64, Python 3.11 to 3.13

    make run 1234

```python
1234
```
"""
    assert complaints(book("## 1. One", prose)) == {}
