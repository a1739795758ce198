"""What a Dask cluster costs and gives, on this machine.

    python benchmarks/cluster.py efficiency   # 2 workers of 1 thread against 1 process of 2 threads
    python benchmarks/cluster.py overhead     # what the scheduler adds to each chunk of work
    python benchmarks/cluster.py memory       # of client and workers, over 10,000 chunks

Efficiency: both score the same VCF with the DeepSEA architecture, each in a process of its own, in
turns. Starting the cluster is not in the time, loading the model in its workers is.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from variants import write_world

EFFICIENCY_BAR = 0.9
MEMORY_BAR_MB = 50
MODEL_PY = """
import sys
sys.path.insert(0, {folder!r})
from networks import *
from variants import small_network
"""
MODEL_YAML = """
defined_as: kipoi.model.PyTorchModel
args:
  module_file: model.py
  module_class: {name}
  module_kwargs: {kwargs}
  weights: weights.pt
info: {{authors: [{{name: benchmark}}], doc: random weights}}
schema:
  inputs: {{shape: "{shape}", doc: one-hot}}
  targets: {{shape: "({n_outputs},)", doc: outputs}}
"""


def get_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=list(WHAT))
    parser.add_argument("--alleles", type=int, default=1536, help="for efficiency")
    parser.add_argument("--draws", type=int, default=5, help="for efficiency")
    parser.add_argument("--turns", type=int, default=3, help="for efficiency")
    parser.add_argument("--chunks", type=int, default=10_000, help="for memory")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    return parser


def kipoi_model(
    folder: Path, name: str, kwargs: dict[str, Any], module: Any, shape: tuple[int, ...]
) -> Any:
    """A model that workers can load by its name."""
    import kipoi
    import torch

    folder.mkdir()
    here = str(Path(__file__).parent)
    (folder / "model.py").write_text(MODEL_PY.format(folder=here))
    n_outputs = kwargs["n_outputs"]
    text = MODEL_YAML.format(name=name, kwargs=json.dumps(kwargs), shape=shape, n_outputs=n_outputs)
    (folder / "model.yaml").write_text(text)
    torch.save(module.state_dict(), folder / "weights.pt")
    return kipoi.get_model(str(folder), source="dir", with_dataloader=False)


# --- efficiency -------------------------------------------------------------------------------------


def efficiency(options: argparse.Namespace) -> None:
    ratios = []
    for turn in range(options.turns):
        took = {}
        for name in (("threads", "workers"), ("workers", "threads"))[turn % 2]:
            command = [sys.executable, __file__, "efficiency", "--worker", name]
            command += ["--alleles", str(options.alleles), "--draws", str(options.draws)]
            threads = {"OMP_NUM_THREADS": "2" if name == "threads" else "1"}
            done = subprocess.run(
                command, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, **threads}
            )
            took[name] = json.loads(done.stdout.splitlines()[-1])
        ratios.append(took["threads"] / took["workers"])
        print(
            f"turn {turn + 1}: 1 process of 2 threads {took['threads']:.1f} s, 2 workers of 1 thread "
            f"{took['workers']:.1f} s, ratio {ratios[-1]:.3f}",
            flush=True,
        )
    ratio = statistics.median(ratios)
    print(f"efficiency {ratio:.3f}, {'meets' if ratio >= EFFICIENCY_BAR else 'misses'} {EFFICIENCY_BAR}")


def time_scoring(options: argparse.Namespace) -> float:
    import torch
    from networks import build

    from kipoi_mcdropout import RunOptions, score_variants
    from kipoi_mcdropout.runs.schedule import open_scheduler

    torch.set_num_threads(2 if options.worker == "threads" else 1)
    scheduler = open_scheduler("none" if options.worker == "threads" else "local:2")
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        net = build("deepsea", 0)
        kwargs = {"length": 1000, "n_outputs": 919, "width": 1.0}
        model = kipoi_model(folder / "model", "DeepSea", kwargs, net, (4, 1, 1000))
        fasta, vcf = write_world(folder, options.alleles, 1, 1000)
        begin = time.perf_counter()
        score_variants(
            model, vcf, fasta, n_draws=options.draws, output=folder / "t.parquet",
            running=RunOptions(scheduler=scheduler),
        )  # fmt: skip
        elapsed = time.perf_counter() - begin
    scheduler.close()
    return elapsed


# --- overhead ---------------------------------------------------------------------------------------


def overhead(_options: argparse.Namespace) -> None:
    """Chunks that take no time, through a cluster of two processes."""
    from kipoi_mcdropout.runs.schedule import Work
    from kipoi_mcdropout.runs.schedule.dask_cluster import DaskCluster

    def nothing(unit: bytes) -> int:
        return len(unit)

    cluster = DaskCluster.local(2)
    work: Work[bytes, int] = Work(nothing, lambda: nothing)
    for size, what in ((0, "empty"), (200_000, "of 200 kB")):
        units = ((i, b"x" * size) for i in range(1000))
        begin = time.perf_counter()
        for _ in cluster.run(work, units):
            pass
        print(f"1000 chunks {what}: {time.perf_counter() - begin:.2f} s", flush=True)
    cluster.close()


# --- memory -----------------------------------------------------------------------------------------


def memory(options: argparse.Namespace) -> None:
    """Resident memory after a tenth of the chunks, and after all."""
    import psutil
    from variants import small_network

    import kipoi_mcdropout.vcf.score as score
    from kipoi_mcdropout import Model, RunOptions, VcfOptions
    from kipoi_mcdropout.effects.scores import parse_scores
    from kipoi_mcdropout.effects.summary import EffectOptions
    from kipoi_mcdropout.runs.schedule.dask_cluster import DaskCluster
    from kipoi_mcdropout.vcf.call import output_paths
    from kipoi_mcdropout.vcf.options import VariantEffects

    per_chunk = 8
    score.chunk_alleles = lambda *_: per_chunk  # type: ignore[assignment]
    cluster = DaskCluster.local(2)
    seen: dict[int, dict[str, float]] = {}

    def resident() -> float:
        return psutil.Process().memory_info().rss / 2**20

    def look(ledger: Any) -> None:
        n = ledger.records // per_chunk
        if n in (options.chunks // 10, options.chunks) and n not in seen:
            workers = cluster.client.run(resident).values()
            named = {f"worker {i}": megabytes for i, megabytes in enumerate(workers)}
            seen[n] = {"client": resident(), **named}

    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        kwargs = {"length": 100, "n_outputs": 10}
        net = small_network(**kwargs)
        model = kipoi_model(folder / "model", "small_network", kwargs, net, (4, 100))
        fasta, vcf = write_world(folder, options.chunks * per_chunk, 1, 100)
        begin = time.perf_counter()
        running = RunOptions(scheduler=cluster)
        paths = output_paths(vcf, folder / "out.vcf.gz", folder / "t.parquet", VcfOptions(), running)
        wanted = VariantEffects(EffectOptions(parse_scores("diff"), 2))
        score.score_vcf(Model(model), vcf, fasta, paths, wanted, running, score.Told(progress=look))
        print(f"{options.chunks} chunks: {time.perf_counter() - begin:.0f} s")
    few, many = seen[options.chunks // 10], seen[options.chunks]
    for who in few:
        growth = many[who] - few[who]
        print(
            f"{who}: {few[who]:.0f} MB after {options.chunks // 10}, {many[who]:.0f} MB after "
            f"{options.chunks} chunks, {'within' if growth <= MEMORY_BAR_MB else 'MORE THAN'} "
            f"{MEMORY_BAR_MB} MB"
        )
    cluster.close()


WHAT = {"efficiency": efficiency, "overhead": overhead, "memory": memory}


def main() -> None:
    options = get_parser().parse_args()
    if options.worker:
        print(json.dumps(time_scoring(options)))
    else:
        WHAT[options.what](options)


if __name__ == "__main__":
    main()
