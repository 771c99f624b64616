"""What the comparison with stored outputs notices, on a small notebook that is executed, changed and compared."""

import base64
import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from PIL import Image

ROOT = Path(__file__).parents[2]
PREPARE = """
import os
from IPython.display import display
from PIL import Image
def draw(grey):
    picture = Image.new("L", (64, 64), 255)
    picture.paste(grey, (20, 20, 30, 30))
    display(picture, metadata={"image/png": {"alt": "A square."}})
"""
FIRST_SCREEN = "# NBVAL_IGNORE_OUTPUT\nfirst = display('nothing yet', display_id='first')"
LAST = "first.update(os.environ.get('NOTICE', '') + 'found: 7')"


@pytest.fixture
def book(tmp_path):
    """A notebook with three figures, in cells 2 to 4, and a first screen, in cell 1, which the last cell fills in."""
    cells = [PREPARE, FIRST_SCREEN, "draw(0)", "draw(0)", "draw(0)", LAST]
    new = nbformat.v4.new_notebook(cells=list(map(nbformat.v4.new_code_cell, cells)))
    return NotebookClient(new, kernel_name="python3").execute()


def failing(book, folder: Path, **environment: str) -> list[int]:
    """The numbers of the cells that do not show what is stored."""
    shutil.copy(ROOT / "conftest.py", folder)
    nbformat.write(book, folder / "book.ipynb")
    command = [sys.executable, *"-m pytest book.ipynb --nbval --nbval-current-env -q -p no:mpl".split()]
    done = subprocess.run(command, cwd=folder, env=os.environ | environment, capture_output=True, text=True)
    assert " passed" in done.stdout, done.stdout + done.stderr
    return [int(number) for number in re.findall(r"^FAILED \S+::Cell (\d+)", done.stdout, re.MULTILINE)]


def repaint(output, shade: int, alt: str = "A square.") -> None:
    """Store the figure with another shade of its square, or described otherwise."""
    picture = Image.open(io.BytesIO(base64.b64decode(output.data["image/png"])))
    picture.paste(shade, (20, 20, 30, 30))
    picture.save(buffer := io.BytesIO(), "PNG")
    output.data["image/png"] = base64.b64encode(buffer.getvalue()).decode()
    output.metadata["image/png"]["alt"] = alt


def test_figures_and_what_is_filled_in(book, tmp_path):
    """A hardly visible difference is none."""
    first_screen, *figures = (book.cells[number].outputs[0] for number in (1, 2, 3, 4))
    repaint(figures[0], shade=3)
    repaint(figures[1], shade=60)
    repaint(figures[2], shade=0, alt="A circle.")
    assert first_screen.data["text/plain"] == "'found: 7'"
    first_screen.data["text/plain"] = "'found: 8'"
    assert failing(book, tmp_path) == [3, 4, 5]


def test_a_notice_before_the_first_screen_is_no_difference(book, tmp_path):
    book.cells[1].outputs[0].data["text/plain"] = "found: 7'"
    assert failing(book, tmp_path, NOTICE="Another processor. ") == []
