"""What several members of a model cost: the time of an ensemble against the sum of its members' times.

    python benchmarks/members.py

The members are the example's network with weights that differ a little. Each has its share of the draws.
An ensemble of M members with n draws is compared with M runs of one member with n / M draws each, in
turns, in one process. The bar is 1.05.

    python benchmarks/members.py --planning

prints how much of a run goes into the choice of the engines: each member is captured, planned and
tried on its own, once a run. On two cores that others used too, with 5 members and 30 draws, it was
0.2 s of 1.6 s for one sequence, and 0.2 s of 8.6 s for ten. The members do not share a plan: the
captured operations hold the weights of their own network.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "example"))

BAR = 1.05


def get_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--members", type=int, default=5)
    parser.add_argument("--draws", type=int, default=30, help="of all members together")
    parser.add_argument("--sequences", type=int, default=2)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--planning", action="store_true", help="the share of capture, plan and trial")
    return parser


def networks(n: int) -> list[torch.nn.Module]:
    from train import HERE, load_model_module

    found = []
    for i in range(n):
        network = load_model_module().ExampleModel()
        network.load_state_dict(torch.load(HERE / "model" / "weights.pt", weights_only=True))
        for parameter in network.parameters():
            parameter.data *= 1 + 0.01 * i
        found.append(network.eval())
    return found


def planning() -> list[float]:
    """Seconds of each choice of an engine from now on."""
    from kipoi_mcdropout.engine.choose import Engines

    spent: list[float] = []
    choose = Engines.choose

    def timed(*args: object) -> object:
        start = time.perf_counter()
        try:
            return choose(*args)
        finally:
            spent.append(time.perf_counter() - start)

    Engines.choose = timed
    return spent


def main() -> None:
    import kipoi_mcdropout as mcd

    options = get_parser().parse_args()
    nets = networks(options.members)
    codes = np.random.default_rng(0).integers(0, 4, (options.sequences, 500))
    x = {"seq": np.eye(4, dtype=np.float32)[codes]}
    running = mcd.RunOptions(engine=options.engine)

    def seconds(models: list[mcd.Model], n_draws: int) -> float:
        start = time.perf_counter()
        for model in models:
            mcd.ism(model, x, n_draws=n_draws, running=running)
        return time.perf_counter() - start

    if options.planning:
        spent = planning()
        whole = seconds([mcd.Model(nets)], options.draws)
        print(f"{sum(spent):.2f} s of {whole:.2f} s, {len(spent)} members")
        return
    ratios = []
    for turn in range(options.turns + 1):
        together = seconds([mcd.Model(nets)], options.draws)
        apart = seconds([mcd.Model(net) for net in nets], options.draws // options.members)
        if turn:  # the first one warms up
            ratios.append(together / apart)
            print(f"together {together:.2f} s, apart {apart:.2f} s, ratio {ratios[-1]:.3f}", flush=True)
    middle = statistics.median(ratios)
    print(f"median ratio {middle:.3f} (bar {BAR})")


if __name__ == "__main__":
    main()
