"""Where the units of a run are computed: in this process, or by the workers of a Dask cluster.

A run is a stream of units (sequences, or batches of alleles) and one writer. A scheduler computes the
units and gives the results back in order; it never changes them.
"""

from kipoi_mcdropout.schedule.in_process import InProcess
from kipoi_mcdropout.schedule.open import open_scheduler
from kipoi_mcdropout.schedule.shard import Shard
from kipoi_mcdropout.schedule.work import Failure, Scheduler, Work

__all__ = ["Failure", "InProcess", "Scheduler", "Shard", "Work", "open_scheduler"]
