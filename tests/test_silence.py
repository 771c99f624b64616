"""No test passes without having looked: what cannot be checked here is skipped, with a reason."""

import ast
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parent


def own_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes of a function, but for those of functions within it."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.Lambda):
            yield child
            yield from own_nodes(child)


def early_ends(code: str) -> list[str]:
    """Tests with a bare `return`, after which they count as passed."""
    return [
        f"{function.name}, line {function.lineno}"
        for function in ast.walk(ast.parse(code))
        if isinstance(function, ast.FunctionDef) and function.name.startswith("test_")
        if any(isinstance(node, ast.Return) and node.value is None for node in own_nodes(function))
    ]


def test_no_test_ends_early():
    """Use pytest.skip, or make two tests of it."""
    assert early_ends("def test_one():\n    if True:\n        return\n    assert 0") == ["test_one, line 1"]
    found = {path.name: early_ends(path.read_text(encoding="utf-8")) for path in TESTS.rglob("test_*.py")}
    assert len(found) > 20 and not {name: ends for name, ends in found.items() if ends}
