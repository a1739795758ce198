"""The virtual environment `.venv` of a checkout, which both commands use: made once, then reused.

Needs Python 3.10 to 3.13 and nothing else. All packages are pinned by constraints.txt.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = str(BIN / "python")

# What the environment depends on. The package itself is not here: it is installed editable.
_SOURCES = (
    "constraints.txt",
    "setup.cfg",
    "setup.py",
    "pyproject.toml",
    "kipoi_mcdropout/plugin/kipoi_mcdropout.pth",
    "example/environment.py",
)


def set_up(extras: Sequence[str] = (), without_dependencies: Sequence[str] = ()) -> None:
    """Make `.venv` hold this checkout with `extras`; returns at once where it already does.

    `without_dependencies` are requirements that pip can install only by `--no-deps`.
    """
    _check_python()
    wanted = [*extras, *without_dependencies]
    missing = [name for name in ("", *wanted) if not _is_done(name)]
    if not missing:
        return
    if not Path(PYTHON).exists():
        run([sys.executable, "-m", "venv", str(VENV)])
    package = f".[{','.join(extras)}]" if extras else "."
    # torch first and by itself, so that nothing else decides which torch it is.
    _pip_install("torch")
    _pip_install("--editable", package)
    for requirement in without_dependencies:
        _pip_install("--no-deps", requirement)
    for name in ("", *wanted):
        _stamp(name).write_text(_fingerprint())


def run(command: Sequence[str]) -> None:
    """Print `command` and run it in the checkout; where it fails, exit with its code."""
    print(f"$ {shlex.join(command)}", flush=True)
    code = subprocess.run(command, cwd=ROOT, check=False).returncode
    if code != 0:
        print(f"exit code {code}: {shlex.join(command)}", file=sys.stderr)
        sys.exit(code if code > 0 else 1)


def _check_python() -> None:
    if not (3, 10) <= sys.version_info[:2] <= (3, 13):
        found = ".".join(map(str, sys.version_info[:3]))
        sys.exit(f"kipoi 0.8.6 needs Python 3.10 to 3.13; this is {found} ({sys.executable})")


def _pip_install(*arguments: str) -> None:
    # The variables hold for the isolated environments in which pip builds packages (the second
    # one from pip 25.3 on); the option holds for what is installed.
    constraints = str(ROOT / "constraints.txt")
    os.environ["PIP_CONSTRAINT"] = os.environ["PIP_BUILD_CONSTRAINT"] = constraints
    pip = [PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run([*pip, "--constraint", "constraints.txt", *arguments])


def _fingerprint() -> str:
    digest = hashlib.sha256(repr((str(ROOT), sys.version_info[:2])).encode())
    for name in _SOURCES:
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()


def _stamp(name: str) -> Path:
    return VENV / f"installed_{name or 'package'}.sha256"


def _is_done(name: str) -> bool:
    stamp = _stamp(name)
    return Path(PYTHON).exists() and stamp.exists() and stamp.read_text() == _fingerprint()
