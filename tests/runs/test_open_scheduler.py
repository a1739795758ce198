"""How many processes a local scheduler has."""

from __future__ import annotations

import os

import pytest

from kipoi_mcdropout.runs.schedule import dask_cluster, open_scheduler


@pytest.mark.parametrize(("said", "n"), [({3, 5, 7}, 3), (None, 6)])
def test_as_many_as_this_process_may_use(
    said: set[int] | None, n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("distributed", reason="needs the extra 'distributed'")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    if said is None:  # as on macOS
        monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    else:
        monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: said, raising=False)
    monkeypatch.setattr(dask_cluster.DaskCluster, "local", lambda n_workers: n_workers)
    assert open_scheduler("local") == n
    assert open_scheduler("local:2") == 2
