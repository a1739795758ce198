"""Is `--engine auto` ever slower than `--engine full`? Small and large jobs, on every network.

    OMP_NUM_THREADS=1 python benchmarks/engine_auto.py
    OMP_NUM_THREADS=1 python benchmarks/engine_auto.py --networks danq --mutants 24
    pip install 'kipoi_mcdropout[models]'    # for the small Enformer, which is left out without it

Times are of the processor, which other work on the machine disturbs less than the clock. That of auto
is for choosing, which may capture the model and try the engine, and for the run by what it chose. Where
that is `full`, the run is the same as without auto: it is timed once. Whole inputs take as long for one
mutant as for another: of large jobs `full` runs a few mutants with all draws, and the time is scaled.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from engine_contenders import sequences
from networks import NETWORKS, build
from torch import nn

from kipoi_mcdropout.arrays.nested import take
from kipoi_mcdropout.dropout.locked_model import POINT, LockedModel
from kipoi_mcdropout.dropout.mask_bank import MaskBank
from kipoi_mcdropout.engine import Engines, Job
from kipoi_mcdropout.engine.full import to_tensors

BAR = 1.05
ENFORMER = "enformer"
_SAMPLE = 8  # mutants by which whole inputs are timed


def network(name: str) -> nn.Module:
    """A network with random weights."""
    if name != ENFORMER:
        return build(name, 0)
    from models import enformer

    net = enformer()
    net.input_shape, net.category_axis = (2048, 4), 1
    return net.eval()


def seconds(engine: Any, batch: Any, draws: Sequence[int]) -> float:
    """Of a run."""
    begin = time.process_time()
    for _ in engine.run(batch, draws):
        pass
    return time.process_time() - begin


def compare(name: str, n_mutants: int, n_draws: int) -> str:
    """A line of the table."""
    model = LockedModel(network(name))
    batch = sequences(model.module, 1, n_mutants)
    few = batch.some(np.arange(min(_SAMPLE, batch.n_mutants)))
    draws = [POINT, *range(n_draws)]
    with model.borrow():
        first = to_tensors(take(batch.references, [0, 0]), model.device)
        model.outputs(first, 0, MaskBank(0))  # finding the sites is no part of either
        engines = Engines(model, MaskBank(0))
        begin = time.process_time()
        job = Job(batch.n_mutants, n_draws)
        choice = engines.choose(batch.references, None, batch.layout, job)
        choosing = time.process_time() - begin
        full = seconds(engines.full, few, draws) * batch.n_mutants / few.n_mutants
        auto = full if choice.engine == "full" else seconds(engines.get(choice.engine), batch, draws)
    ratio = (choosing + auto) / full
    verdict = "within" if ratio <= BAR else "MISSES"
    return (
        f"{name:22}{batch.n_mutants:8}{choice.engine:>13}{choosing:10.3f}{full:10.2f}{ratio:8.3f}, "
        f"{verdict} {BAR}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    names = [*NETWORKS, ENFORMER]
    parser.add_argument("--networks", nargs="+", default=names, choices=names)
    parser.add_argument("--mutants", type=int, nargs="+", default=[1, 24, 3000])
    parser.add_argument("--draws", type=int, default=30)
    options = parser.parse_args()
    header = f"{'network':22}{'mutants':>8}{'auto is':>13}{'choosing':>10}{'full, s':>10}{'ratio':>8}"
    print(f"{options.draws} draws, and the prediction with dropout off\n{header}")
    for name in options.networks:
        if name == ENFORMER and importlib.util.find_spec("enformer_pytorch") is None:
            print(f"{name:22} needs pip install 'kipoi_mcdropout[models]'")
            continue
        for n_mutants in options.mutants:
            print(compare(name, n_mutants, options.draws), flush=True)


if __name__ == "__main__":
    main()
