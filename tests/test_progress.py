import nbformat
import pytest
from nbclient import NotebookClient

from tests.conftest import TESTS

SOURCE = """
from helpers.progress import progress_bar
for number in (1, 2):
    with progress_bar(3, "counting", unit="step") as bar:
        bar.update(3)
    print(number)
"""


@pytest.mark.thorough
def test_a_notebook_keeps_what_its_cell_prints_and_nothing_of_the_bars():
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(SOURCE)])
    NotebookClient(book, kernel_name="python3", resources={"metadata": {"path": str(TESTS.parent)}}).execute()
    outputs = book.cells[0].outputs
    assert "".join(each.text for each in outputs if each.output_type == "stream") == "1\n2\n"
    assert {each.data["text/plain"] for each in outputs if each.output_type == "display_data"} == {""}
