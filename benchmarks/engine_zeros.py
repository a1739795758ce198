"""What dropping differences that are exactly zero saves: the trained example, and random weights.

OMP_NUM_THREADS=1 python benchmarks/engine_zeros.py

Each is run by turns as it is and with nothing dropped, in one process: one sequence, 30 draws and one
with dropout off, all substitutions. Ratios of processor time are medians of those within a turn.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from torch import nn

from kipoi_mcdropout.dropout.locked_model import LockedModel, MaskBank
from kipoi_mcdropout.engine import IncrementalEngine
from kipoi_mcdropout.engine.full import FullEngine
from kipoi_mcdropout.engine.incremental import thinning
from kipoi_mcdropout.sequence.mutants import MutantBatch, all_substitutions, substituted
from kipoi_mcdropout.sequence.one_hot import OneHotLayout

EXAMPLE = Path(__file__).resolve().parent.parent / "example"
NOTHING = 2.0  # share of zeros that is never reached


def example_model(trained: bool) -> nn.Module:
    """The example's network."""
    sys.path.insert(0, str(EXAMPLE / "model"))
    from model import ExampleModel

    torch.manual_seed(0)
    model = ExampleModel()
    if trained:
        model.load_state_dict(torch.load(EXAMPLE / "model" / "weights.pt", weights_only=True))
    return model.eval()


def smooth_network() -> nn.Module:
    """Convolutions with ELU and mean pooling, of random weights: no difference is zero."""
    torch.manual_seed(0)
    positions = ((500 - 7) // 4 - 7) // 2
    return nn.Sequential(
        nn.Conv1d(4, 64, 8), nn.ELU(), nn.AvgPool1d(4), nn.Dropout(0.2), nn.Conv1d(64, 96, 8), nn.ELU(),
        nn.AvgPool1d(2), nn.Dropout(0.2), nn.Flatten(), nn.Linear(96 * positions, 50), nn.ReLU(),
        nn.Linear(50, 4),
    ).eval()  # fmt: skip


def first_region(channels_last: bool) -> MutantBatch:
    """All substitutions of the first window of the example's regions."""
    sys.path.insert(0, str(EXAMPLE / "model"))
    from dataloader import ExampleDataset

    data = EXAMPLE / "data"
    dataset = ExampleDataset(str(data / "genome.fa"), str(data / "regions.bed"))
    x = np.asarray(dataset[0]["inputs"]["seq"])
    codes = x.argmax(1).astype(np.uint8)
    position, alt, _ = all_substitutions(codes, 4)
    layout = OneHotLayout(x.shape if channels_last else x.T.shape, int(channels_last))
    encoded = layout.encode(codes[None], x.dtype)
    owner = np.zeros(len(position), dtype=np.int64)
    return MutantBatch(encoded, None, layout, codes[None], owner, substituted(codes, position, alt))


def run(engine: IncrementalEngine | FullEngine, batch: MutantBatch, draws: list[int]) -> float:
    """Processor time."""
    begin = time.process_time()
    for _ in engine.run(batch, draws):
        pass
    return time.process_time() - begin


def compare(name: str, net: nn.Module, batch: MutantBatch, turns: int, n_draws: int) -> str:
    """A line of the table."""
    model, bank = LockedModel(net), MaskBank(0)
    engines = [IncrementalEngine(model, bank) for _ in range(2)]
    shares = [thinning.LEAST_ZERO, NOTHING]
    draws = [-1, *range(n_draws)]
    times = []
    with model.borrow():
        for turn in range(turns + 1):
            taken = [0.0, 0.0]
            for k in (0, 1) if turn % 2 else (1, 0):
                thinning.LEAST_ZERO = shares[k]
                taken[k] = run(engines[k], batch, draws)
            if turn:  # the first warms up
                times.append(taken)
        thinning.LEAST_ZERO = shares[0]
        whole = run(FullEngine(model, bank), batch, draws[:2]) / 2 * len(draws)
    paths: Counter[str] = engines[0].paths
    ours, without = (statistics.median(t[k] for t in times) for k in (0, 1))
    ratio = statistics.median(t[1] / t[0] for t in times)
    thinned = "yes" if paths["thinned"] else "no"
    return f"{name:28}{ours:10.3f}{without:10.3f}{ratio:8.2f}{whole / ours:12.1f}{thinned:>10}"


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--n_draws", type=int, default=30)
    options = parser.parse_args(argv)
    print(f"{'network':28}{'CPU s':>10}{'before':>10}{'gain':>8}{'plain torch':>12}{'dropped':>10}")
    last, first = first_region(True), first_region(False)
    for name, net, batch in (
        ("example, trained", example_model(True), last),
        ("example, random weights", example_model(False), last),
        ("ELU, random weights", smooth_network(), first),
    ):
        print(compare(name, net, batch, options.turns, options.n_draws), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
