"""In-silico mutagenesis of all sequences of a dataloader, to files: resumed, sharded, on a cluster."""

from kipoi_mcdropout.runs.ism.job import IsmJob, load_function
from kipoi_mcdropout.runs.ism.paths import IsmPaths
from kipoi_mcdropout.runs.ism.run import IsmRun, merge_ism, run_ism
from kipoi_mcdropout.runs.ism.units import Block, BlockTask

__all__ = [
    "Block",
    "BlockTask",
    "IsmJob",
    "IsmPaths",
    "IsmRun",
    "load_function",
    "merge_ism",
    "run_ism",
]
