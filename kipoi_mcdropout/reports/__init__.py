"""One self-contained HTML file that shows a result: needs the extra `plot`."""

from __future__ import annotations

from kipoi_mcdropout.reports.facts import Facts, gather
from kipoi_mcdropout.reports.render import render, write_report

__all__ = ["Facts", "gather", "render", "write_report"]
