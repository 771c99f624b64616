"""The stored notebook as GitHub shows it: static HTML, without scripts, styles and widgets."""

import re

from bs4 import BeautifulSoup
from nbconvert import HTMLExporter

from tests.test_notebook import CELLS, PATH, is_figure, source

OUTPUTS = [output for cell in CELLS for output in cell.get("outputs", [])]
# What GitHub lets through, and what this notebook may use of it. Everything else goes, with all
# that is in it.
ELEMENTS = frozenset(
    "a b blockquote br code dd del details div dl dt em h1 h2 h3 h4 h5 h6 hr i img li ol p pre s "
    "small span strong sub summary sup table tbody td tfoot th thead tr tt ul".split()
)
ATTRIBUTES = frozenset("align alt class colspan height href rowspan src title width".split())
PANDAS_RULES = ["vertical-align: middle;", "vertical-align: top;", "text-align: right;"]


def as_on_github() -> BeautifulSoup:
    """The body of the page, as nbconvert makes it, without what GitHub takes out of it."""
    html, _ = HTMLExporter(template_name="basic").from_filename(str(PATH))
    page = BeautifulSoup(html, "html.parser")
    for element in page.find_all(lambda element: element.name not in ELEMENTS):
        element.decompose()
    for element in page.find_all():
        element.attrs = {name: value for name, value in element.attrs.items() if name in ATTRIBUTES}
    return page


def tables(page: BeautifulSoup) -> list[list[list[str]]]:
    """Of each table its rows, of each row the text of its cells."""

    def texts(row) -> list[str]:
        return [cell.get_text(strip=True) for cell in row.find_all(["th", "td"])]

    return [[texts(row) for row in table.find_all("tr")] for table in page.find_all("table")]


def stored(kind: str) -> list[str]:
    return ["".join(output["data"][kind]) for output in OUTPUTS if kind in output.get("data", {})]


def written(output) -> str:
    """What an output shows as plain text, if it has no better form; otherwise nothing."""
    data = output.get("data", {})
    if data.keys() & {"text/html", "image/png"}:
        return ""
    return "".join(output.get("text") or data["text/plain"])


def test_every_table_and_every_figure_is_there():
    """Those of the outputs, in their order; the text has none."""
    page = as_on_github()
    found = [tables(BeautifulSoup(html, "html.parser")) for html in stored("text/html")]
    assert len(found) > 15 and all(found), "an output in HTML without a table"
    assert tables(page) == [table for output in found for table in output]
    figures = [f"data:image/png;base64,{figure.strip()}" for figure in stored("image/png")]
    assert figures and [image["src"] for image in page.find_all("img")] == figures


def test_nothing_else_is_needed():
    """What GitHub takes out is no more than pandas' three rules for the alignment of tables."""
    kinds = {kind for output in OUTPUTS for kind in output.get("data", {})}
    assert kinds == {"text/plain", "text/html", "image/png"}
    for html in stored("text/html"):
        output = BeautifulSoup(html, "html.parser")
        lost = [element for element in output.find_all() if element.name not in ELEMENTS]
        assert all(element.name == "style" and element.has_attr("scoped") for element in lost)
        assert all(re.findall(r"\S+: \S+;", element.text) == PANDAS_RULES for element in lost)
        styles = {element["style"] for element in output.find_all(style=True)}
        assert styles <= {"text-align: right;"}
    for cell in CELLS:
        if cell["cell_type"] == "markdown":
            other_markup = re.search(r"<(?!/?(details|summary)>)[a-zA-Z/!]", source(cell))
            assert not other_markup, cell["id"]


def test_no_table_is_printed():
    """Columns that hang on spaces break where a line is too long for the page."""
    for output in OUTPUTS:
        assert not re.search(r"\S(\t| {2,})\S", written(output)), written(output)
        assert all(len(line) <= 160 for line in written(output).splitlines()), written(output)


def test_every_figure_is_followed_by_its_caption():
    """In italics, at the beginning of the next text; a code cell with a table may come between."""
    for place, cell in enumerate(CELLS):
        if any(is_figure(output) for output in cell.get("outputs", [])):
            nearby = CELLS[place + 1 : place + 3]
            text = next(each for each in nearby if each["cell_type"] == "markdown")
            assert re.match(r"\*[A-Z][^*]{20,}[.:]\*( |$)", source(text)), text["id"]
