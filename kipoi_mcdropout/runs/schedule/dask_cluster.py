"""Units computed by the workers of a Dask cluster.

Workers send results to this process. Only as many units are sent out as the workers need to stay busy,
so this process holds only a few results.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import hashlib
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import cloudpickle
import dask
import distributed
from distributed.client import Future

from kipoi_mcdropout.errors import InputError, McDropoutError, ModelError, UnitFailedError
from kipoi_mcdropout.runs.interrupt import raise_if_interrupted
from kipoi_mcdropout.runs.schedule.work import Failure, Result, Tag, Unit, Work, one_line

_TRIES = 2  # of a unit that raises, or at which workers die
_DEATHS = 2  # of workers at a unit in one try, of those that `local` starts
_AHEAD = 2  # units under way for each thread of a worker
_DIED = (
    "several workers died while they computed it; they may have had too little memory (see their logs)"
)
_ASK_SECONDS = 5.0  # between two looks at how many workers there are
_CONNECT_SECONDS = 30
_PRE_SPAWN = "distributed.nanny.pre-spawn-environ"
_LOCAL = {  # settings of the processes that `local` starts
    "distributed.scheduler.allowed-failures": _DEATHS - 1,
    # glibc uses the memory of large tensors again; with Dask's own value it gives back what it can, and
    # each tensor costs new pages (see docs/how_to/cluster.md).
    f"{_PRE_SPAWN}.MALLOC_MMAP_THRESHOLD_": 2**30,
    f"{_PRE_SPAWN}.MALLOC_TRIM_THRESHOLD_": 2**31,
    f"{_PRE_SPAWN}.MALLOC_ARENA_MAX": 1,
    # Dask watches itself, in every process, on the cores that the model is to have.
    "distributed.admin.tick.interval": "1s",
    "distributed.worker.profile.enabled": False,
}


def _certificates() -> distributed.Security:
    try:
        security: distributed.Security = distributed.Security.temporary()
        return security
    except ImportError as error:
        raise InputError(
            "a local scheduler needs the package cryptography: pip install "
            "'kipoi_mcdropout[distributed]'"
        ) from error


class _PatientCluster(distributed.LocalCluster):
    """Keeps the place of a worker that has died, so that it is started again.

    Dask gives up the place of a worker that is not there 15 s after it died, also where it was started
    again and died again; in the end none would be left.
    """

    def _update_worker_status(self, op: Any, msg: Any) -> None:
        super(distributed.SpecCluster, self)._update_worker_status(op, msg)  # type: ignore[no-untyped-call]


class DaskCluster:
    """A client of a Dask scheduler; with `local`, the owner of its processes."""

    def __init__(self, client: distributed.Client, cluster: Any = None) -> None:
        self.client = client
        self._cluster = cluster
        self._ahead, self._asked = 0, -math.inf  # units that may be under way, and when that was found

    @classmethod
    def local(cls, n_workers: int, encrypted: bool = True) -> DaskCluster:
        """Processes of this machine, of one thread each.

        They talk by TLS with certificates that live as long as they do: without (`encrypted=False`), any
        user of this machine can send them code to run.

        Raises
        ------
        InputError
            If the package `cryptography`, which makes the certificates, is not installed.
        """
        security = _certificates() if encrypted else distributed.Security()
        with dask.config.set(_LOCAL):
            cluster = _PatientCluster(  # type: ignore[no-untyped-call]
                n_workers=n_workers,
                threads_per_worker=1,
                processes=True,
                dashboard_address="127.0.0.1:0",
                security=security,
            )
        return cls(distributed.Client(cluster, direct_to_workers=True), cluster)

    @classmethod
    def at(cls, address: str) -> DaskCluster:
        """A scheduler that runs, by its address or scheduler file.

        Raises
        ------
        InputError
            If none answers.
        """
        where = {"scheduler_file": address} if address.endswith(".json") else {"address": address}
        try:
            return cls(distributed.Client(**where, timeout=_CONNECT_SECONDS, direct_to_workers=True))
        except (OSError, ValueError, TimeoutError, TypeError) as error:  # TypeError: no certificate
            raise InputError(f"no Dask scheduler answers at {address}: {one_line(error)}") from error

    def run(
        self, work: Work[Unit, Result], units: Iterable[tuple[Tag, Unit | None]]
    ) -> Iterator[tuple[Tag, Result | Failure | None]]:
        """See `Scheduler.run`.

        Raises
        ------
        InputError
            If the work cannot be done in another process.
        ModelError
            If a worker cannot load what it needs for the work, or its results cannot be trusted.
        UnitFailedError
            If the scheduler is lost.
        """
        if work.elsewhere is None:
            raise InputError("this work cannot be sent to other processes; use scheduler 'none'")
        maker = cloudpickle.dumps(work.elsewhere)
        key = hashlib.sha256(maker).hexdigest()
        pending: deque[tuple[Tag, _Pending | None]] = deque()
        try:
            for tag, unit in units:
                pending.append((tag, None if unit is None else _Pending(self.client, key, maker, unit)))
                while pending and (len(pending) >= self._limit() or _is_ready(pending[0][1])):
                    yield _collect(*pending.popleft())
            while pending:
                yield _collect(*pending.popleft())
        finally:  # also where the reader of the results stops early
            with contextlib.suppress(Exception):  # the scheduler may be gone
                self.client.cancel([p.future for _, p in pending if p is not None], force=True)

    def _limit(self) -> int:
        """Units that may be under way; workers come and go, so it is asked for again now and then."""
        if time.monotonic() - self._asked > _ASK_SECONDS:
            workers = self.client.scheduler_info(n_workers=-1)["workers"].values()
            threads = sum(worker["nthreads"] for worker in workers)
            self._ahead, self._asked = _AHEAD * max(threads, 1) + 1, time.monotonic()
        return self._ahead

    def close(self) -> None:
        """Disconnect; stop the processes that `local` has started."""
        self.client.close()
        if self._cluster is not None:
            self._cluster.close()


@dataclass(frozen=True)
class _Raised:
    """What a worker sends back instead of a result; exceptions themselves may not travel."""

    reason: str
    worker: str
    ours: bool  # a McDropoutError, which another try will not change
    at_start: bool  # before any unit, as the model was loaded
    stops: bool  # see McDropoutError.stops_the_run


class _Pending:
    """A unit under way."""

    def __init__(self, client: distributed.Client, key: str, maker: bytes, unit: Any) -> None:
        self._client = client
        self._arguments = (key, maker, unit)
        self._tries = 0
        self._submit()

    def result(self) -> Any:
        """The result, a Failure where it is given up."""
        while True:
            try:
                self._wait()
                result = self.future.result()
            except distributed.KilledWorker:
                # Dask blames every unit that the worker had; by itself an innocent one will succeed.
                if self._tries == _TRIES:
                    return Failure(_DIED)
                self._submit()
                continue
            except (concurrent.futures.CancelledError, OSError, TimeoutError) as error:
                raise UnitFailedError(
                    f"the connection to the Dask scheduler was lost ({one_line(error)}). Run again with "
                    "--resume to continue"
                ) from error
            self.future.release()
            if not isinstance(result, _Raised):
                return result
            if result.at_start:
                raise ModelError(f"worker {result.worker} cannot start: {result.reason}")
            if result.stops:
                raise ModelError(result.reason)
            if result.ours or self._tries == _TRIES:
                return Failure(result.reason, McDropoutError(result.reason) if result.ours else None)
            self._submit(self._workers() - {result.worker})

    def _submit(self, workers: Collection[str] = ()) -> None:
        """Send the unit to some worker, of those named if there are any."""
        self._tries += 1
        self._named = set(workers)
        where = {"workers": sorted(workers), "allow_other_workers": True} if workers else {}
        self.future: Future[Any] = self._client.submit(_compute, *self._arguments, pure=False, **where)

    def _wait(self) -> None:
        """Until it is done. Dask lets a unit wait for ever if the workers named for it are all gone."""
        while not self.future.done():
            raise_if_interrupted()
            with contextlib.suppress(TimeoutError):
                distributed.wait([self.future], timeout=_ASK_SECONDS)
            if self._named and not self.future.done() and not self._named & self._workers():
                self._tries -= 1
                self._submit()

    def _workers(self) -> set[str]:
        return set(self._client.scheduler_info(n_workers=-1)["workers"])


def _is_ready(unit: _Pending | None) -> bool:
    return unit is None or unit.future.done()


def _collect(tag: Tag, unit: _Pending | None) -> tuple[Tag, Any]:
    return tag, None if unit is None else unit.result()


# --- in a worker ------------------------------------------------------------------------------------

_lock = threading.Lock()  # a model is borrowed by one unit at a time
_made: dict[str, Callable[[Any], Any]] = {}  # the function of the run that was last worked for


def _compute(key: str, maker: bytes, unit: Any) -> Any:
    at_start = True
    try:
        with _lock:
            if key not in _made:
                _made.clear()
                _made[key] = cloudpickle.loads(maker)()
            at_start = False
            return _made[key](unit)
    except Exception as error:  # noqa: BLE001 (the user's model can raise anything)
        ours = isinstance(error, McDropoutError)
        stops = isinstance(error, McDropoutError) and error.stops_the_run
        return _Raised(one_line(error), distributed.get_worker().address, ours, at_start, stops)
