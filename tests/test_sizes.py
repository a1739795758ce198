"""Files and functions stay short: one concept a file, options in dataclasses."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from layers import PACKAGE, files

MODULE_LINES, FUNCTION_LINES, ARGUMENTS = 350, 60, 12
# Signatures that are not ours to choose: those of kipoi-interpret's `Mutation` and of kipoi-veff.
THEIRS = {"plugin/mutation.py: __init__", "veff/score.py: score_variants"}


def too_large(path: Path, module_lines: int = MODULE_LINES) -> Iterator[str]:
    """What in a file is longer than it should be; the docstring of a function is not counted."""
    text = path.read_text("utf-8")
    name = path.relative_to(PACKAGE).as_posix() if path.is_relative_to(PACKAGE) else path.name
    if text.count("\n") > module_lines:
        yield name
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            arguments = len(node.args.posonlyargs + node.args.args + node.args.kwonlyargs)
            begin = node.lineno
            if ast.get_docstring(node) is not None:
                begin += (node.body[0].end_lineno or 0) - node.body[0].lineno + 1
            if (node.end_lineno or 0) - begin + 1 > FUNCTION_LINES or arguments > ARGUMENTS:
                yield f"{name}: {node.name}"


def test_modules_and_functions_are_short() -> None:
    assert {what for _, path in files() for what in too_large(path)} - THEIRS == set()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("def f():\n" + "    x = 1\n" * 60, ["m.py: f"]),
        ('def f():\n    """A\n' + "\n" * 60 + '    """\n    return 1\n', []),
        (f"def f({', '.join(f'a{i}' for i in range(13))}): ...\n", ["m.py: f"]),
        ("x = 1\n" * 351, ["m.py"]),
    ],
)
def test_what_counts_as_long(text: str, found: list[str], tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text(text)
    assert list(too_large(tmp_path / "m.py")) == found
