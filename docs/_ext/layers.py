"""The folders of the package, from high to low, and who imports whom: read from the code itself."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).resolve().parents[2] / "kipoi_mcdropout"


class Layer(NamedTuple):
    """Folders of one height, and the question that they answer."""

    folders: tuple[str, ...]
    question: str


# A folder imports only from those below it, and from those beside it.
LAYERS = (
    Layer(("cli",), "what can I type?"),
    Layer(("plugin",), "how does Kipoi find us?"),
    Layer(("reports", "plots", "tracks"), "how do I look at it?"),
    Layer(("vcf", "veff"), "a VCF in, a VCF out"),
    Layer(("runs",), "units, resume, shard, cluster"),
    Layer(("files",), "results on disk, written and read"),
    Layer(("mr",), "from effects to a causal slope"),
    Layer(("significance",), "is it real, is the sd right?"),
    Layer(("effects",), "from draws to numbers"),
    Layer(("model",), "any model made ready"),
    Layer(("engine",), "outputs of mutants under masks"),
    Layer(("sequence",), "one-hot, edits, genome"),
    Layer(("dropout",), "masks, sites, the locked forward pass"),
    Layer(("outputs",), "which numbers are scored?"),
    Layer(("arrays", "errors"), "the ground"),
)
LEVEL = {folder: i for i, layer in enumerate(LAYERS) for folder in layer.folders}


class Import(NamedTuple):
    """One import of a module of the package: who, and what."""

    path: Path
    folder: str  # of the importing file
    imported: str  # folder that it imports from


def files() -> Iterator[tuple[str, Path]]:
    """Each module with its folder; the package's own `__init__.py` only re-exports."""
    for path in sorted(PACKAGE.rglob("*.py")):
        if path != PACKAGE / "__init__.py":
            yield path.relative_to(PACKAGE).parts[0].removesuffix(".py"), path


def imports() -> Iterator[Import]:
    """All imports from one folder of the package by another."""
    for folder, path in files():
        for name in names_imported(path):
            parts = name.split(".")
            if parts[0] == PACKAGE.name and len(parts) > 1 and parts[1] != folder:
                yield Import(path, folder, parts[1])


def names_imported(path: Path) -> Iterator[str]:
    """Dotted names that a file imports, also within functions."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.module == PACKAGE.name:
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
            else:
                yield node.module


def upward() -> list[str]:
    """Imports that the table forbids, in words; empty where the code is as it should be."""
    return sorted(
        {
            f"{i.path.relative_to(PACKAGE)} imports {i.imported}"
            for i in imports()
            if i.imported in LEVEL and LEVEL[i.imported] < LEVEL[i.folder]
        }
    )


def picture() -> str:
    """The folders as a diagram in mermaid: an arrow for each import that no chain of others implies."""
    edges = {(i.folder, i.imported) for i in imports() if {i.folder, i.imported} <= set(LEVEL)}
    drawn = sorted((a, b) for a, b in edges if not _is_implied(a, b, edges))
    lines = ["flowchart TD"]
    for layer in LAYERS:
        for folder in layer.folders:
            lines.append(f'    {folder}["<b>{folder}</b><br>{layer.question}"]')
    lines += [f"    {a} --> {b}" for a, b in sorted(drawn, key=lambda e: (LEVEL[e[0]], LEVEL[e[1]], e))]
    return "\n".join(lines)


def _is_implied(start: str, end: str, edges: set[tuple[str, str]]) -> bool:
    """Whether a longer path leads from one folder to the other."""
    seen = {b for a, b in edges if a == start and b != end}
    while more := {b for a, b in edges if a in seen} - seen:
        seen |= more
    return end in seen
