"""Compare what nbval leaves out when it executes the notebook: figures, and the first screen.

nbval compares texts and tables. A figure is to it no more than its size in inches; and what the last cell fills in on
the first screen, it does not see.
"""

import base64
import io
from typing import Any

import pytest
from PIL import Image, ImageChops

SQUARE = 8  # pixels: over so many, edges of letters that lie a little differently average out
# Grey levels of 255 by which the means of two such squares may differ. A caption with one other digit makes 26 or
# more; under other arithmetic figures came out the same to the last pixel.
TOLERANCE = 12


def pytest_itemcollected(item: pytest.Item) -> None:
    """Keep what cells of a notebook fill in on outputs of others, in `filled_in` of the notebook."""
    book: Any = item.parent
    if item.path.suffix != ".ipynb" or hasattr(book, "filled_in"):
        return
    book.filled_in = []
    receive = book.get_kernel_message

    def remember(*arguments: Any, **options: Any) -> dict[str, Any]:
        message = receive(*arguments, **options)
        if message["msg_type"] == "update_display_data":
            book.filled_in.append(message["content"]["data"])
        return message

    book.get_kernel_message = remember


@pytest.hookimpl(trylast=True)
def pytest_runtest_call(item: Any) -> None:
    """After nbval has executed a cell and compared texts, compare its figures; after the last, the first screen."""
    if item.path.suffix != ".ipynb" or not item.config.option.nbval:
        return
    found = differing_figures(item.cell.outputs, item.test_outputs)
    code = [cell for cell in item.parent.nb.cells if cell.cell_type == "code"]
    if item.cell is code[-1]:
        found += not_filled_in(code, item.parent.filled_in)
    if found:
        item.raise_cell_error(". ".join(found))


def differing_figures(stored: list[Any], fresh: list[Any]) -> list[str]:
    """Say which figures among a cell's outputs are not as stored, and by how much."""
    figures = [output for output in stored if "image/png" in output.get("data", {})]
    again = [output for output in fresh if "image/png" in output.get("data", {})]
    if len(figures) != len(again):
        return [f"{len(figures)} figures are stored, {len(again)} were drawn"]
    found = []
    for figure, other in zip(figures, again, strict=True):
        about, other_about = (each["metadata"].get("image/png", {}) for each in (figure, other))
        by = difference(*(base64.b64decode(each["data"]["image/png"]) for each in (figure, other)))
        if about != other_about:
            found.append(f"A figure is stored with {about}, and was drawn with {other_about}")
        elif by > TOLERANCE:
            found.append(f"A figure differs by {by} grey levels of 255 where it differs most: {about}")
    return found


def difference(one: bytes, other: bytes) -> int:
    """By how many grey levels two PNG differ, in means over squares, where they differ most; 255 if sizes differ."""
    if one == other:
        return 0
    first, second = (Image.open(io.BytesIO(png)).convert("RGB") for png in (one, other))
    if first.size != second.size:
        return 255
    extremes = ImageChops.difference(first.reduce(SQUARE), second.reduce(SQUARE)).getextrema()
    return max(high for _, high in extremes)


def not_filled_in(code: list[Any], filled_in: list[dict[str, str]]) -> list[str]:
    """Say which outputs of cells that nbval is told to ignore are not what other cells have filled in there.

    What this machine adds before the rest, such as a notice on its processor, is no difference.
    """
    ignored = [output for cell in code if "NBVAL_IGNORE_OUTPUT" in cell.source for output in cell.outputs]
    found = []
    for stored in (output["data"] for output in ignored):
        alike = [all(data.get(kind, "").endswith(stored[kind]) for kind in stored) for data in filled_in]
        if not any(alike):
            found.append(f"No cell has filled in what is stored:\n{stored['text/plain']}")
    return found
