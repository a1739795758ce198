"""In-silico mutagenesis of all sequences of a dataloader, to files: resumed, sharded, on a cluster."""

from kipoi_mcdropout.ism_run.job import IsmJob, load_function
from kipoi_mcdropout.ism_run.merge import merge_ism
from kipoi_mcdropout.ism_run.run import IsmPaths, IsmRun, run_ism

__all__ = ["IsmJob", "IsmPaths", "IsmRun", "load_function", "merge_ism", "run_ism"]
