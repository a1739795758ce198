"""Commands in processes of their own, to be killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

HERE = Path(__file__).parent
RUN = """
import os, signal, sys
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # ignored where the tests run under nohup
sys.path[:0] = sys.argv[1:3]
from pathlib import Path
import run_world
from kipoi_mcdropout.files import atomic
from kipoi_mcdropout.runs import store

run_world.same_date()
run_world.small_chunks()

def kill_at(owner, name, n):
    original, calls = getattr(owner, name), []
    def counted(*args, **keywords):
        calls.append(1)
        if len(calls) > n:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args, **keywords)
    setattr(owner, name, counted)

if sys.argv[6]:
    owner, name, n = sys.argv[6].split(".")
    kill_at(getattr(atomic, owner, None) or getattr(store, owner), name, int(n))
world = run_world.world_at(Path(sys.argv[3]))
os.chdir(sys.argv[4])
getattr(world, sys.argv[5])(*sys.argv[7:])
"""


def start(
    world: Path, folder: Path, command: str, words: Sequence[str], kill_at: str = ""
) -> subprocess.Popen[str]:
    """`World.COMMAND(*words)` in a folder, in a process of its own.

    `kill_at` is "Class.method.n": the process kills itself at that call, counted from 0.
    """
    arguments = [str(HERE), str(HERE.parent), str(world), str(folder), command, kill_at, *words]
    return subprocess.Popen(
        [sys.executable, "-c", RUN, *arguments],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def stop_when(
    process: subprocess.Popen[str],
    seen: Callable[[], bool],
    number: int = signal.SIGKILL,
    after_s: float = 0.0,
) -> str:
    """Send a signal a moment after something is seen; returns what the process said on stderr."""
    while not seen() and process.poll() is None:
        time.sleep(0.002)
    until = time.monotonic() + after_s
    while time.monotonic() < until and process.poll() is None:
        time.sleep(0.0005)
    process.send_signal(number)
    return process.communicate()[1]
