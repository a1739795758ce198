"""Creates a scheduler from the argument of `--scheduler`."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.runs.schedule.in_process import InProcess
from kipoi_mcdropout.runs.schedule.work import Scheduler

FORMS = "none, local, local:N, the address of a Dask scheduler (tcp://host:8786), or its scheduler file"


def usable_cores() -> int:
    """Cores that this process may use; macOS does not say and has all of them."""
    affinity = getattr(os, "sched_getaffinity", None)
    return os.cpu_count() or 1 if affinity is None else len(affinity(0))


def open_scheduler(where: str) -> Scheduler:
    """Start or find the scheduler.

    Parameters
    ----------
    where : str
        "none" (this process), "local" or "local:N" (N processes of one thread on this machine, as many
        as it has cores by default), "tcp://host:port" or "tls://host:port" (a Dask scheduler that
        runs), or the path of the file that `dask scheduler --scheduler-file` writes.

    Raises
    ------
    InputError
        If it is none of these, `distributed` is not installed, or no scheduler answers there.
    """
    if where == "none":
        return InProcess()
    local = re.fullmatch(r"local(?::(\d+))?", where)
    is_file = where.endswith(".json")
    if local is None and not is_file and not re.match(r"(tcp|tls)://", where):
        raise InputError(f"scheduler must be {FORMS}; got {where!r}")
    if is_file and not Path(where).is_file():
        raise InputError(f"there is no scheduler file {where}; start `dask scheduler` with it first")
    if is_file:
        _check_scheduler_file(Path(where))
    n_workers = 0 if local is None else int(local[1] or usable_cores())
    if local is not None and n_workers < 1:
        raise InputError(f"a local scheduler needs at least one worker; got {where!r}")
    try:
        import distributed  # noqa: F401
    except ModuleNotFoundError as error:
        raise InputError(f"scheduler {where!r} needs Dask: pip install distributed") from error
    from kipoi_mcdropout.runs.schedule.dask_cluster import DaskCluster

    return DaskCluster.local(n_workers) if local is not None else DaskCluster.at(where)


def _check_scheduler_file(path: Path) -> None:
    """Raise InputError unless a file has the address of a scheduler; Dask only fails an assertion."""
    try:
        json.loads(path.read_text(encoding="utf-8"))["address"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} must be a file that `dask scheduler --scheduler-file` has written; it has no "
            "address"
        ) from error
