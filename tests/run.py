"""All checks: style, types, tests.

python3 tests/run.py [arguments of pytest]

Sets up `.venv` on the first call (a few minutes, mostly download).
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "example"))

from environment import PYTHON, run, set_up

# Of 2019: pip cannot resolve what it requires (PyVCF, enum34); the extra "veff" has what it needs.
KIPOI_VEFF = "kipoi-veff==0.3.1"


def main() -> None:
    """Set up, then run one check after the other; the first that fails gives the exit code."""
    set_up(extras=["test"], without_dependencies=[KIPOI_VEFF])
    run([PYTHON, "-m", "ruff", "check", "."])
    run([PYTHON, "-m", "mypy", "kipoi_mcdropout"])
    run([PYTHON, "-m", "vulture"])  # names that nothing uses
    # A file's tests share what is costly to make, so they stay in one process.
    processes = ["-n", "auto", "--maxprocesses", "4", "--dist", "loadfile"]
    run([PYTHON, "-m", "pytest", *processes, *sys.argv[1:]])


if __name__ == "__main__":
    main()
