"""What the statistics of the effects cost beside the engine: processor time of both in one run.

    OMP_NUM_THREADS=1 python benchmarks/engine_statistics.py

All statistics of one sequence are computed, with 30 draws and one with dropout off: of DeepSEA with
random weights and 919 outputs, and of the trained example with its few outputs.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator, Sequence
from typing import Any

from engine_contenders import sequences
from engine_zeros import example_model, first_region
from networks import build
from torch import nn

from kipoi_mcdropout.dropout.locked_model import LockedModel
from kipoi_mcdropout.dropout.mask_bank import MaskBank
from kipoi_mcdropout.effects.scores import get_score
from kipoi_mcdropout.effects.summarize import summarize_effects
from kipoi_mcdropout.effects.summary import EffectOptions
from kipoi_mcdropout.engine import IncrementalEngine
from kipoi_mcdropout.engine.full import DrawBlock
from kipoi_mcdropout.outputs.targets import Targets
from kipoi_mcdropout.sequence.mutants import MutantBatch

BAR = 0.04


class Timed:
    """An engine whose own processor time is added up."""

    def __init__(self, engine: IncrementalEngine) -> None:
        self.engine, self.seconds = engine, 0.0

    def run(self, *args: Any) -> Iterator[DrawBlock]:
        begin = time.process_time()
        for block in self.engine.run(*args):
            self.seconds += time.process_time() - begin
            yield block
            begin = time.process_time()
        self.seconds += time.process_time() - begin


def share(net: nn.Module, batch: MutantBatch, scores: Sequence[str], n_draws: int, turns: int) -> str:
    """Medians of the time of the engine, of the statistics, and of their share of both."""
    model, bank = LockedModel(net), MaskBank(0)
    engine = IncrementalEngine(model, bank)
    times = []
    with model.borrow():
        engine.compiled(batch)
        n_outputs = next(iter(engine.run(batch, [-1]))).alt.shape[2]
        targets = Targets(tuple(map(str, range(n_outputs))), tuple(range(n_outputs)), n_outputs)
        options = EffectOptions(tuple(get_score(name) for name in scores), n_draws)
        for _ in range(turns):
            timed, begin = Timed(engine), time.process_time()
            summarize_effects(timed, batch, targets, options)
            times.append((timed.seconds, time.process_time() - begin - timed.seconds))
    of_engine, of_rest = (statistics.median(t[k] for t in times) for k in (0, 1))
    part = statistics.median(t[1] / sum(t) for t in times)
    each = 1e9 * of_rest / (batch.n_mutants * (n_draws + 1) * n_outputs)
    verdict = "within" if part <= BAR else "MISSES"
    return f"{of_engine:10.2f}{of_rest:12.3f}{each:12.1f}{part:8.3f}, {verdict} {BAR}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--mutants", type=int, default=600, help="of DeepSEA")
    parser.add_argument("--n_draws", type=int, default=30)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--scores", nargs="+", default=["diff"])
    options = parser.parse_args()
    print(f"{'network':12}{'engine, s':>10}{'statistics':>12}{'ns a value':>12}{'share':>8}")
    deepsea = build("deepsea", 0).eval()
    for name, net, batch in (
        ("DeepSEA", deepsea, sequences(deepsea, 1, options.mutants)),
        ("example", example_model(True), first_region(True)),
    ):
        line = share(net, batch, options.scores, options.n_draws, options.turns)
        print(f"{name:12}{line}", flush=True)


if __name__ == "__main__":
    main()
