"""The modules beside a Python file, which it may import as a script does."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from kipoi_mcdropout.model.value_digest import LIBRARIES

_imported_from: dict[str, Path] = {}  # modules that were imported here, and the folder they came from


@contextmanager
def importable(file: Path | None) -> Iterator[str]:
    """Within: what lies beside a file can be imported. Gives the name of the file's own module.

    The folder comes first, as in a script, and stays at the end of the search path, for imports in the
    forward pass. A module of the same name from another folder, imported before, does not take the
    place of the file's neighbour. A file in a package (a folder with `__init__.py`) has its dotted name,
    and the folder is that around the package. Without a file the folder is the current one.
    """
    folder, name = _place(Path.cwd() / "_") if file is None else _place(file)
    if file is not None:
        _forget_others(folder, name.partition(".")[0])
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    try:
        yield name
    finally:
        sys.path.remove(str(folder))
        if str(folder) not in sys.path:
            sys.path.append(str(folder))
        if file is not None:
            for new in set(sys.modules) - before:
                if _lies_in(sys.modules[new], folder):
                    _imported_from[new] = folder


def _place(file: Path) -> tuple[Path, str]:
    """Folder to search, and name of the module, of a file."""
    path = Path(os.path.abspath(file))
    parts = [path.stem]
    folder = path.parent
    while (folder / "__init__.py").is_file():
        parts.insert(0, folder.name)
        folder = folder.parent
    if len(parts) == 1 and (path.stem in sys.stdlib_module_names or path.stem in LIBRARIES):
        return folder, f"{path.stem}_file"  # the library of that name is another module
    return folder, ".".join(parts)


def _forget_others(folder: Path, own: str) -> None:
    """Forget imported modules whose place a neighbour of the file takes, and those of earlier calls."""
    beside = {own, *(path.stem for path in folder.glob("*.py"))}
    beside |= {path.name for path in folder.iterdir() if path.is_dir() and path.name.isidentifier()}
    for name, module in list(sys.modules.items()):
        top = name.partition(".")[0]
        if top not in beside or top in (*sys.stdlib_module_names, *LIBRARIES, "__main__"):
            continue
        if name in _imported_from or not (_is_installed(module) or _lies_in(module, folder)):
            del sys.modules[name]
            _imported_from.pop(name, None)


def _is_installed(module: ModuleType) -> bool:
    return "site-packages" in str(getattr(module, "__file__", None) or "site-packages")


def _lies_in(module: ModuleType, folder: Path) -> bool:
    file = getattr(module, "__file__", None)
    return file is not None and Path(os.path.abspath(file)).is_relative_to(folder)
