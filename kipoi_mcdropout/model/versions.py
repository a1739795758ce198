"""Versions of the packages that the numbers depend on."""

from __future__ import annotations

import importlib.metadata
import platform

_PACKAGES = ("kipoi-mcdropout", "kipoi", "kipoi-interpret", "torch", "numpy", "pandas")


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that the numbers depend on, by name.

    A package that is missing has "not installed" in place of a version.
    """
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions
