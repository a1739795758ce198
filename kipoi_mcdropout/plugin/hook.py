"""The import hook: runs a registration right after one of Kipoi's modules was executed.

Imports nothing outside the standard library; what a registration needs is imported when it runs.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec as find_spec_by_all_finders
from types import ModuleType

DISABLE_VARIABLE = "KIPOI_MCDROPOUT_DISABLE"

# Module of Kipoi's -> function of kipoi_mcdropout.plugin.registration that takes it.
REGISTRATIONS = {
    "kipoi.plugin": "add_plugin",
    "kipoi_interpret.importance_scores.ism": "add_methods",
    "kipoi_interpret.cli": "add_commands",
}

_PROGRAM = "kipoi.__main__"  # what the program `kipoi` imports, and no library does
_being_found: set[str] = set()


class Finder:
    """Entry of `sys.meta_path`; the start-up .pth inserts an equivalent of its own."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find one of the modules in `REGISTRATIONS` and prepare its loader; None for any other."""
        return find_spec(name, path, target)


def is_disabled() -> bool:
    """Tell whether the environment variable KIPOI_MCDROPOUT_DISABLE switches the plugin off."""
    return os.environ.get(DISABLE_VARIABLE, "0") not in ("", "0")


def find_spec(
    name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
) -> ModuleSpec | None:
    """Find one of the modules in `REGISTRATIONS` and prepare its loader; None for any other."""
    if name == _PROGRAM and not is_disabled():
        _silence_pkg_resources()
    if name not in REGISTRATIONS or name in _being_found or is_disabled():
        return None
    _being_found.add(name)
    try:
        spec = find_spec_by_all_finders(name)
    finally:
        _being_found.discard(name)
    if spec is not None:
        _run_after_loading(spec)
    return spec


def register() -> None:
    """Register with those of Kipoi's modules that are imported, and with the others on import.

    For use from a checkout; the installed package does it at the start of Python. Does nothing
    where KIPOI_MCDROPOUT_DISABLE is set, and may be called again.
    """
    if is_disabled():
        return
    if not any(isinstance(finder, Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, Finder())
    for name in REGISTRATIONS:
        if name in sys.modules:
            apply_registration(sys.modules[name])


def apply_registration(module: ModuleType) -> None:
    """Run the registration of an executed module; a failure is only a warning, so that Kipoi works."""
    try:
        registration = import_module("kipoi_mcdropout.plugin.registration")
        getattr(registration, REGISTRATIONS[module.__name__])(module)
    except Exception as error:  # noqa: BLE001 (Kipoi must start whatever is wrong with this package)
        warnings.warn(
            f"kipoi_mcdropout is not registered with {module.__name__}: {type(error).__name__}: "
            f"{error}. Kipoi works without it. Reinstall kipoi_mcdropout, or set {DISABLE_VARIABLE}=1 "
            "to switch it off.",
            RuntimeWarning,
            stacklevel=2,
        )


def _silence_pkg_resources() -> None:
    """Hide the warning about pkg_resources that each start of `kipoi` prints."""
    warnings.filterwarnings("ignore", "pkg_resources is deprecated as an API", UserWarning)


def _run_after_loading(spec: ModuleSpec) -> None:
    """Make the loader of `spec` run the registration after it has executed the module."""
    loader = spec.loader
    if loader is None or not hasattr(loader, "exec_module"):
        return

    def exec_module(module: ModuleType) -> None:
        del loader.__dict__["exec_module"]
        loader.exec_module(module)
        apply_registration(module)

    loader.__dict__["exec_module"] = exec_module
