"""Where the checkout is, and what of it makes the package."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# What packaging reads, beside the package itself.
PACKAGING = (
    "setup.cfg", "setup.py", "pyproject.toml", "MANIFEST.in", "constraints.txt", "LICENSE",
    "README.md", "kipoi_plugin.yaml",
)  # fmt: skip
