"""Is `--engine auto` ever slower than `--engine full`? Both on every network, in turns.

    python benchmarks/engine_auto.py                    # 512 mutants, 4 draws
    python benchmarks/engine_auto.py --networks danq

Times are of the processor, which other work on the machine disturbs less than the clock. That of auto
includes capturing the model and the trial by which it decides. Whole inputs are what takes long; so
sizes are small, which is hard on auto.
"""

from __future__ import annotations

import argparse
import statistics
import time

from engine_contenders import sequences
from networks import build

from kipoi_mcdropout.dropout.locked_model import LockedModel
from kipoi_mcdropout.dropout.mask_bank import MaskBank
from kipoi_mcdropout.engine import Engines, Job

NETWORKS = ("deepsea", "deepsea_both_strands", "beluga", "basset", "bpnet", "danq", "transformer")
BAR = 1.05


def seconds(network: str, engine: str, n_mutants: int, n_draws: int) -> tuple[float, str]:
    """Time of a fresh engine on one sequence, and what auto chose."""
    model = LockedModel(build(network, 0).eval())
    batch = sequences(model.module, 1, n_mutants)
    engines = Engines(model, MaskBank(0))
    with model.borrow():
        model.outputs(_first(batch), 0, MaskBank(0))  # finding the sites is no part of either
        begin = time.process_time()
        if engine == "auto":
            job = Job(batch.n_mutants, n_draws)
            engine = engines.choose(batch.references, None, batch.layout, job).engine
        for _ in engines.get(engine).run(batch, range(n_draws)):
            pass
        elapsed = time.process_time() - begin
    return elapsed, engine


def _first(batch):  # type: ignore[no-untyped-def]
    from kipoi_mcdropout.arrays.nested import take
    from kipoi_mcdropout.engine.full import to_tensors

    return to_tensors(take(batch.references, [0, 0]), "cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--networks", nargs="+", default=NETWORKS, choices=NETWORKS)
    parser.add_argument("--mutants", type=int, default=512)
    parser.add_argument("--draws", type=int, default=4)
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    print(f"{options.mutants} mutants, {options.draws} draws, medians of {options.turns} turns")
    for network in options.networks:
        ratios, chosen = [], ""
        for turn in range(options.turns):
            took = {}
            for engine in (("auto", "full"), ("full", "auto"))[turn % 2]:  # the first one warms up
                took[engine], choice = seconds(network, engine, options.mutants, options.draws)
                chosen = choice if engine == "auto" else chosen
            ratios.append(took["auto"] / took["full"])
        ratio = statistics.median(ratios)
        verdict = "within" if ratio <= BAR else "MISSES"
        print(f"{network:22} auto is {chosen:12} {ratio:.3f} of full, {verdict} {BAR}", flush=True)


if __name__ == "__main__":
    main()
