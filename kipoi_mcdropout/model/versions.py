"""Versions of the packages that the numbers depend on."""

from __future__ import annotations

import importlib.metadata
import platform
import sys

_PACKAGES = ("kipoi-mcdropout", "kipoi", "kipoi-interpret", "torch", "numpy", "pandas")
_IF_USED = ("keras",)


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that the numbers depend on, by name.

    A package that is missing has "not installed" in place of a version.
    """
    versions = {"python": platform.python_version()}
    for package in (*_PACKAGES, *(name for name in _IF_USED if name in sys.modules)):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions
