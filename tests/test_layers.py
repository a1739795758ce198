"""The layers of the design: a module imports only from lower ones, and the core knows no Kipoi."""

from __future__ import annotations

import ast
from pathlib import Path

import kipoi_mcdropout

PACKAGE = Path(kipoi_mcdropout.__file__).parent

# From low to high; a module may import those above it in this list, and its own line.
LAYERS = [
    {"errors"},
    {"schedule", "standard_output", "same_file", "bed", "temporary"},
    {"masks", "moments", "scores", "nested", "dropout_calls", "encoding", "borrow", "outputs"},
    {"rounding", "row_identity", "quantile_map", "first_line", "file_names"},
    {"matched_effects"},
    {"mutants", "probe"},
    {"hidden_dropout"},
    {"sites"},
    {"forward"},
    {"engine"},
    {"incremental"},
    {"effects"},
    {"kipoi_model", "mr", "provenance", "calibration"},
    {"saturation", "predict", "audit_sites", "engine_plan"},
    {"ism", "model_reference", "writers", "column_types"},
    {"read_tables"},
    {"measured"},
    {"results", "ism_run"},
    {"vcf"},
    {"plots", "regions", "check_ranges"},
    {"veff"},
    {"report"},
    {"cli", "plugin"},
]
KIPOI_FREE = set().union(*LAYERS[:12]) | {"mr", "calibration", "provenance", "saturation"}


def _imports(path: Path) -> set[str]:
    """First names under kipoi_mcdropout, and other top-level packages, that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            parts = node.module.split(".")
            if parts[0] == "kipoi_mcdropout":
                found |= {f".{parts[1]}"} if len(parts) > 1 else {f".{a.name}" for a in node.names}
            else:
                found.add(parts[0])
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
    return found


def _files() -> list[tuple[str, Path]]:
    return [
        (path.relative_to(PACKAGE).parts[0].removesuffix(".py"), path)
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.parent != PACKAGE or path.name != "__init__.py"
    ]


def test_every_module_has_a_layer() -> None:
    known = set().union(*LAYERS)
    assert {name for name, _ in _files()} <= known
    assert len(_files()) > 20


def test_modules_import_only_lower_layers() -> None:
    level = {name: i for i, layer in enumerate(LAYERS) for name in layer}
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {imported[1:]}"
        for name, path in _files()
        for imported in _imports(path)
        if imported.startswith(".") and level.get(imported[1:], 99) > level[name]
    ]
    assert wrong == []


def test_the_core_does_not_know_kipoi() -> None:
    wrong = [
        str(path.relative_to(PACKAGE))
        for name, path in _files()
        if name in KIPOI_FREE and {"kipoi", "kipoi_interpret", "kipoi_utils"} & _imports(path)
    ]
    assert wrong == []
