"""Runs the blocks of one page in order, in the current folder; `python run_page.py < blocks.json`.

The Python blocks of a page share their names, as in a notebook. Exits with 1 at the first block that
fails, or that does not print the lines that the page says.
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any


def main() -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    printed = ""
    for block in json.load(sys.stdin):
        if block["action"] == "file":
            path = Path(block["detail"])
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block["text"])
        elif block["action"] == "prints":
            _check(block, printed)
        elif block["action"] == "run":
            printed = _run(block, names)
            print(printed, end="")


def _run(block: dict[str, Any], names: dict[str, Any]) -> str:
    if block["language"] == "python":
        return _run_python(block, names)
    command = ["bash", "-euo", "pipefail", "-c", block["text"]]
    if block["language"] == "r":
        if shutil.which("Rscript") is None:
            print(f"line {block['line']}: there is no Rscript; the block is not run", file=sys.stderr)
            return ""
        command = ["Rscript", "-e", block["text"]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    sys.stderr.write(done.stderr)
    if done.returncode:
        sys.exit(f"line {block['line']}: exit code {done.returncode}\n{done.stdout}")
    return done.stdout


def _run_python(block: dict[str, Any], names: dict[str, Any]) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        try:
            # The empty lines make tracebacks show the line of the page.
            exec(compile("\n" * block["line"] + block["text"], "page", "exec"), names)
        except BaseException:  # noqa: BLE001 (a block may also exit)
            traceback.print_exc()
            sys.exit(f"line {block['line']}: the block failed\n{out.getvalue()}")
    return out.getvalue()


def _check(block: dict[str, Any], printed: str) -> None:
    """The lines of the block, "..." aside, stand in what was printed, in their order."""
    rest = iter([line.rstrip() for line in printed.splitlines()])
    for line in block["text"].splitlines():
        if line.strip() != "..." and line.rstrip() not in rest:
            sys.exit(f"line {block['line']}: the page has {line!r}; printed was\n{printed}")


if __name__ == "__main__":
    main()
