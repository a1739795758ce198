"""The modules beside a Python file, which it may import as a script does."""

from __future__ import annotations

import ast
import contextlib
import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from kipoi_mcdropout.model.value_digest import LIBRARIES

_found_here: set[str] = set()  # names of the modules that were imported from a user's folder


@contextmanager
def importable(file: Path | None) -> Iterator[str]:
    """Within: what lies beside a file can be imported. Gives the name of the file's own module.

    The folder comes first on the search path, as in a script, and is taken off it afterwards; what
    functions of these files import is imported before that. A module of the same name from another
    folder, imported before, does not take the place of the file's neighbour. A file in a package (a
    folder with `__init__.py`) has its dotted name, and the folder is that around the package. Without a
    file the folder is the current one.
    """
    folder, name = _place(Path.cwd() / "_") if file is None else _place(file)
    if file is not None:
        _forget(folder, name)
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    try:
        yield name
        _import_what_functions_import(folder, set(sys.modules) - before)
    finally:
        sys.path.remove(str(folder))
        new = set(sys.modules) - before
        _found_here.update(name for name in new if _is_neighbour(sys.modules[name], folder))


@contextmanager
def hidden() -> Iterator[None]:
    """Within: modules from users' folders are not imported, so that Kipoi cannot take one for its own.

    Kipoi imports `dataloader.Windows` from the first module of the name `dataloader` that Python knows.
    """
    found = {name: sys.modules.pop(name) for name in _found_here if name in sys.modules}
    try:
        yield
    finally:
        sys.modules.update(found)


def code_folder(file: Path) -> tuple[Path, str]:
    """The folder from which a file is imported, and its dotted name there."""
    path = Path(os.path.abspath(file))  # a symbolic link keeps the neighbours of its own folder
    parts = [path.stem]
    folder = path.parent
    while (folder / "__init__.py").is_file():
        parts.insert(0, folder.name)
        folder = folder.parent
    return folder, ".".join(parts)


def neighbours_of(file: Path) -> list[Path]:
    """The files that were imported with a file from its folder, if it was loaded last."""
    folder, _ = code_folder(file)
    found = {sys.modules[name] for name in _found_here if name in sys.modules}
    paths = {Path(str(module.__file__)) for module in found if _is_neighbour(module, folder)}
    return sorted(path for path in paths if not path.samefile(file))


def _place(file: Path) -> tuple[Path, str]:
    """Folder to search, and name of the module, of a file."""
    folder, name = code_folder(file)
    # A file alone gets a name that no library and no model of Kipoi has.
    return folder, name if "." in name else f"{name}_file"


def _neighbours(folder: Path) -> set[str]:
    """Names under which the files and packages of a folder are imported."""
    found = {path.stem for path in folder.glob("*.py")}
    return found | {path.name for path in folder.iterdir() if path.is_dir() and path.name.isidentifier()}


def _forget(folder: Path, own: str) -> None:
    """Forget imported modules whose place a neighbour takes, and those of earlier calls."""
    beside = _neighbours(folder) - {*sys.stdlib_module_names, *LIBRARIES, "__main__"}
    beside.add(own.partition(".")[0])
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] not in beside:
            continue
        if name in _found_here or not (_is_installed(module) or _is_neighbour(module, folder)):
            del sys.modules[name]
            _found_here.discard(name)


def _import_what_functions_import(folder: Path, names: set[str]) -> None:
    """Import the neighbours that functions of these modules import when they are called."""
    beside = _neighbours(folder)
    done: set[str] = set()
    while names - done:
        name = (names - done).pop()
        done.add(name)
        module = sys.modules.get(name)
        if module is None or not _is_neighbour(module, folder):
            continue
        for wanted in _imports_of(Path(str(module.__file__))):
            if wanted.partition(".")[0] in beside and wanted not in sys.modules:
                with contextlib.suppress(ImportError):
                    importlib.import_module(wanted)
                    names.add(wanted)


def _imports_of(file: Path) -> Iterator[str]:
    """Names of the modules that a file imports anywhere, without relative ones."""
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module


def _is_installed(module: ModuleType) -> bool:
    return "site-packages" in str(getattr(module, "__file__", None) or "site-packages")


def _is_neighbour(module: ModuleType, folder: Path) -> bool:
    """Whether a module is Python code of the user's in a folder, or in one below it."""
    file = getattr(module, "__file__", None)
    if file is None or not file.endswith(".py") or _is_installed(module):
        return False
    return Path(os.path.abspath(file)).is_relative_to(folder)
