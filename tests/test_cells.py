"""Each cell of the notebook can be run again, in any order, and shows what it showed."""

import ast
import json
import re
from collections.abc import Iterable, Iterator

import nbformat
import pytest
from nbclient import NotebookClient

from tests.test_notebook import CODE, PATH, source

SOURCES = [source(cell) for cell in CODE]


def changed_elsewhere(sources: Iterable[str]) -> list[str]:
    """Name what a cell sets anew, or changes a part of, that an earlier cell has made."""
    made_in: dict[str, int] = {}
    found = []
    for number, cell in enumerate(sources, start=1):
        code = ast.parse(re.sub(r"^%.*$", "", cell, flags=re.MULTILINE))
        made, parts = set(), set()
        for node in outside_functions(code):
            made |= set(names_made(node))
            # `table["column"] = ...`, `thing.attribute += ...`, `del table["column"]`
            if isinstance(node, (ast.Subscript, ast.Attribute)) and not isinstance(node.ctx, ast.Load):
                parts |= {name.id for name in ast.walk(node.value) if isinstance(name, ast.Name)}
        again = {name for name in made | parts if made_in.get(name, number) != number}
        found += [f"code cell {number} changes {name} of code cell {made_in[name]}" for name in sorted(again)]
        made_in |= dict.fromkeys(made - made_in.keys(), number)
    return found


def names_made(node: ast.AST) -> list[str]:
    """The global names that a piece of code sets, deletes, defines or imports."""
    if isinstance(node, ast.Name):
        return [] if isinstance(node.ctx, ast.Load) else [node.id]
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return [node.name]
    if isinstance(node, ast.alias):
        return [node.asname or node.name.partition(".")[0]]
    return []


def outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes of a cell's code whose names are global: not those of functions and comprehensions."""
    yield node
    local = (ast.FunctionDef, ast.Lambda, ast.ClassDef, ast.GeneratorExp, ast.ListComp, ast.SetComp, ast.DictComp)
    if not isinstance(node, local):
        for child in ast.iter_child_nodes(node):
            yield from outside_functions(child)


def test_no_cell_changes_what_an_earlier_one_has_made():
    assert changed_elsewhere(SOURCES) == []


@pytest.mark.parametrize(
    "second",
    [
        "made = 1", "made |= {1: 2}", "made[1] = 2", "made[1][2] += 3", "made.shape = 4", "del made[1]", "del made",
        "for made in []: pass", "import os as made", "def made(): pass", "first, made = 1, 2", "(made := 1)",
        "with open('x') as made: pass", "made.loc[1, 'x'] = 2",
    ],
)  # fmt: skip
def test_a_change_is_seen(second):
    assert changed_elsewhere(["made = {}", second]) == ["code cell 2 changes made of code cell 1"]
    assert changed_elsewhere([f"made = {{}}\n{second}"]) == []


@pytest.mark.parametrize("second", ["[made for made in 'ab']", "f = lambda made: made", "def f():\n    made = 1"])
def test_local_names_change_nothing(second):
    assert changed_elsewhere(["made = {}", second]) == []


def shown(cell) -> list[str]:
    """What a cell shows, figures included, in words that are short where it is long."""
    outputs = json.loads(json.dumps(cell.outputs))
    for output in outputs:
        output.pop("execution_count", None)
    return [json.dumps(output, sort_keys=True) for output in outputs]


@pytest.mark.slow
def test_every_cell_run_again_shows_what_it_showed(mnist):
    """In one kernel, after a run of all cells: each once more, all of them backwards, and the second half of them."""
    book = nbformat.read(PATH, as_version=4)
    numbers = [number for number, cell in enumerate(book.cells) if cell.cell_type == "code"]
    middle = numbers[len(numbers) // 2 :]
    here = {"metadata": {"path": str(PATH.parent)}}
    client = NotebookClient(book, kernel_name="python3", timeout=None, resources=here)
    with client.setup_kernel():
        for number in numbers:
            client.execute_cell(book.cells[number], number)
        before = {number: shown(book.cells[number]) for number in numbers}
        for order in (numbers, numbers[::-1], middle):
            for number in order:
                client.clear_display_id_mapping(number)
                client.execute_cell(book.cells[number], number)
                # A cell may also change what another one shows: the last one does, on the first screen.
                others = [other for other in numbers if shown(book.cells[other]) != before[other]]
                assert others == [], f"after cell {number}:\n{book.cells[number].source}"
