"""Where the units of a run are computed: in this process, or by the workers of a Dask cluster.

A run is a stream of units (sequences, or batches of alleles) and one writer. A scheduler computes the
units and gives the results back in order; it never changes them.
"""

from kipoi_mcdropout.runs.schedule.in_process import InProcess
from kipoi_mcdropout.runs.schedule.open import open_scheduler
from kipoi_mcdropout.runs.schedule.work import Failure, Scheduler, Work
from kipoi_mcdropout.runs.shard import Shard

__all__ = ["Failure", "InProcess", "Scheduler", "Shard", "Work", "open_scheduler"]
