"""What of a network's weights is in memory."""

from __future__ import annotations

from pathlib import Path

from torch import nn


def resident_bytes(module: nn.Module) -> int:
    """What of the pages with the weights is in this process's memory, by Linux."""
    address = next(module.parameters()).data_ptr()
    lines = Path("/proc/self/smaps").read_text().splitlines()
    for i, line in enumerate(lines):
        place = line.split()[0].partition("-")
        if place[1] and int(place[0], 16) <= address < int(place[2], 16):
            rss = next(other for other in lines[i:] if other.startswith("Rss:"))
            return int(rss.split()[1]) * 1024
    raise AssertionError("the weights lie in no mapping")
