"""How a run is computed and kept: options that ISM and the scoring of a VCF share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from kipoi_mcdropout.dropout.device import memory_of
from kipoi_mcdropout.engine import DEFAULT_MEMORY_BYTES
from kipoi_mcdropout.engine.full import check_batch_size
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.runs.schedule import Scheduler, Shard, open_scheduler
from kipoi_mcdropout.runs.schedule.work import OnError, check_on_error


@dataclass(frozen=True)
class RunOptions:
    """How a run is computed and kept.

    Parameters
    ----------
    batch_size : int, optional
        Inputs in one forward pass; by default as many as fit into `memory_bytes`, at most 32.
    engine : {"auto", "incremental", "full"}
        How mutants are computed: whole, or as changes of their reference, which is exact and many times
        faster for convolutional models. "auto" chooses by the model and the sizes of the run.
    memory_bytes : int, optional
        Approximate memory for activations, in addition to the weights; by default 1 GB, and on a GPU of
        CUDA 40 % of its memory.
    verify : bool
        Compare a small sample of what the incremental engine computes with the plain forward pass.
    scheduler : str or Scheduler
        Where units are computed: "none" (this process), "local:N" (N processes here), or the address or
        the scheduler file of a Dask cluster; see `runs.schedule.open_scheduler`.
    on_error : {"stop", "skip"}
        What to do about a unit with which the model fails.
    overwrite : bool
        Replace outputs that exist.
    resume : bool
        Go on where the same run was stopped before.
    shard : Shard, optional
        Compute only this share of the units; `kipoi mcdropout merge` makes the outputs of all.
    """

    batch_size: int | None = None
    engine: str = "auto"
    memory_bytes: int | None = None
    verify: bool = True
    scheduler: str | Scheduler = "none"
    on_error: OnError = "stop"
    overwrite: bool = False
    resume: bool = False
    shard: Shard | None = None

    def __post_init__(self) -> None:
        check_on_error(self.on_error)
        check_batch_size(self.batch_size)
        if self.memory_bytes is not None and self.memory_bytes < 1:
            raise InputError(f"memory_bytes must be at least 1; got {self.memory_bytes}")

    def memory_on(self, device: torch.device) -> int:
        """`memory_bytes`, or the default of this device."""
        default = memory_of(device) or DEFAULT_MEMORY_BYTES
        return default if self.memory_bytes is None else self.memory_bytes

    @property
    def needs_files(self) -> str | None:
        """The first option that makes sense only where the results go to files."""
        names = ("overwrite", "resume", "shard")
        return next((name for name in names if getattr(self, name)), None)

    @contextmanager
    def open_scheduler(self) -> Iterator[Scheduler]:
        """The scheduler; one that is opened here is closed afterwards."""
        if not isinstance(self.scheduler, str):
            yield self.scheduler
            return
        scheduler = open_scheduler(self.scheduler)
        try:
            yield scheduler
        finally:
            scheduler.close()
