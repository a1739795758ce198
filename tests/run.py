"""All checks: style, types, dead names, tests, and how much of the package the tests run.

python3 tests/run.py [arguments of pytest]

Sets up `.venv` on the first call (a few minutes, mostly download). With arguments, as where only some
tests are asked for, the coverage is not measured.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "example"))

from environment import PYTHON, run, set_up

# Of 2019: pip cannot resolve what it requires (PyVCF, enum34); the extra "veff" has what it needs.
KIPOI_VEFF = "kipoi-veff==0.3.1"
# Of branches, in tests and in the processes that they start; pyproject.toml sets how much is required.
COVERAGE = ["--cov", "--cov-config=pyproject.toml", "--cov-report=term"]


def main() -> None:
    """Set up, then run one check after the other; the first that fails gives the exit code."""
    set_up(extras=["test"], without_dependencies=[KIPOI_VEFF])
    run([PYTHON, "-m", "ruff", "check", "."])
    run([PYTHON, "-m", "mypy", "kipoi_mcdropout"])
    run([PYTHON, "-m", "vulture"])  # names that nothing uses
    # A file's tests share what is costly to make, so they stay in one process.
    processes = ["-n", "auto", "--maxprocesses", "4", "--dist", "loadfile"]
    run([PYTHON, "-m", "pytest", *processes, *(sys.argv[1:] or COVERAGE)])


if __name__ == "__main__":
    main()
