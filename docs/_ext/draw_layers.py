"""Draws the picture of the folders in docs/how_it_is_built.md: python docs/_ext/draw_layers.py."""

from __future__ import annotations

import re
from pathlib import Path

from layers import picture

PAGE = Path(__file__).resolve().parents[1] / "how_it_is_built.md"

if __name__ == "__main__":
    text = PAGE.read_text("utf-8")
    new = re.sub(r"```mermaid\n.*?\n```", lambda _: f"```mermaid\n{picture()}\n```", text, flags=re.S)
    PAGE.write_text(new, "utf-8")
