"""What several members of a model cost: the time of an ensemble against the sum of its members' times.

    python benchmarks/members.py

The members are the example's network with weights that differ a little. Each has its share of the draws.
An ensemble of M members with n draws is compared with M runs of one member with n / M draws each, in
turns, in one process. The bar is 1.05.

    python benchmarks/members.py --planning --sequences 1

prints how much of a run goes into the choice of the engines, and into capture, which members of one
architecture share. On two cores that others used too, with 5 members and 30 draws, it was 0.33 s of
2.6 s for the engines, of these 0.005 s for the one capture. Most of the rest is the trial of each
member's engine, which compares it with the plain model, and is needed for each member's weights.

    python benchmarks/members.py --memory

runs members with large weights: with all members in memory, with their weights in temporary
files (`memory_bytes`), and one member alone. It prints the peak memory of each, which also
holds Python and torch, and fails if one bit of the results differs. With --sequences 2 --draws 10, and
weights of 100 MB for each of 5 members, the peak was 2005 MB with all in memory, 1159 MB with one at a
time, and 1060 MB for one member alone.
"""

from __future__ import annotations

import argparse
import hashlib
import resource
import statistics
import subprocess
import sys
import tempfile
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
    parser.add_argument("--memory", action="store_true", help="peak memory with weights in files")
    parser.add_argument("--width", type=int, default=12_500, help="of the dense layer, for --memory")
    parser.add_argument("--child", nargs=2, metavar=("FOLDER", "BYTES"), help=argparse.SUPPRESS)
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


def timed(owner: object, name: str) -> list[float]:
    """Seconds of each call of a function from now on."""
    spent: list[float] = []
    function = getattr(owner, name)

    def call(*args: object) -> object:
        start = time.perf_counter()
        try:
            return function(*args)
        finally:
            spent.append(time.perf_counter() - start)

    setattr(owner, name, call)
    return spent


NETWORK = """
from torch import nn

class Net(nn.Sequential):
    def __init__(self, width):
        super().__init__(
            nn.Conv1d(4, 16, 7, padding=3), nn.ReLU(), nn.MaxPool1d(4), nn.Dropout(0.2), nn.Flatten(),
            nn.Linear(16 * 125, width), nn.ReLU(), nn.Dropout(0.5), nn.Linear(width, 2),
        )
"""


def memory(options: argparse.Namespace) -> None:
    """Peak memory with all members in memory, and with their weights in files."""
    with tempfile.TemporaryDirectory() as folder:
        code = Path(folder, "net.py")
        code.write_text(NETWORK)
        names: dict[str, object] = {}
        exec(NETWORK, names)
        for i in range(options.members):
            torch.manual_seed(i)
            network = names["Net"](options.width)  # type: ignore[operator]
            torch.save(network.state_dict(), Path(folder, f"{i}.pt"))
        mb = sum(x.numel() * x.element_size() for x in network.parameters()) / 1e6
        print(f"{options.members} members, {mb:.0f} MB of weights each")
        found = []
        n, each = options.members, options.draws // options.members
        runs = [
            ("one member alone", 10**12, 1, each),
            ("all in memory", 10**12, n, n * each),
            ("one at a time", 10**6, n, n * each),
        ]
        for what, limit, members, draws in runs:
            words = [sys.executable, __file__, "--child", folder, str(limit)]
            words += ["--sequences", str(options.sequences), "--draws", str(draws)]
            words += ["--members", str(members), "--width", str(options.width)]
            out = subprocess.run(words, check=True, capture_output=True, text=True).stdout.split()
            found.append(out)
            print(f"{what}: peak {float(out[0]):.0f} MB, {float(out[1]):.1f} s")
        if found[1][2] != found[2][2]:
            sys.exit("the results differ")
        print("the results are the same, bit for bit")


def child(options: argparse.Namespace) -> None:
    """One run; prints its peak memory in MB, its seconds, and a checksum of the effects."""
    import kipoi_mcdropout as mcd

    folder, limit = options.child
    weights = [str(Path(folder, f"{i}.pt")) for i in range(options.members)]
    model = mcd.load_model(
        f"{folder}/net.py:Net", weights=weights[0], members=weights[1:], memory_bytes=int(limit),
        model_kwargs={"width": options.width}, input_shape=(4, 500),
    )  # fmt: skip
    codes = np.random.default_rng(0).integers(0, 4, (options.sequences, 500))
    x = np.eye(4, dtype=np.float32)[codes].transpose(0, 2, 1).copy()
    start = time.perf_counter()
    effects = mcd.ism(model, x, n_draws=options.draws, running=mcd.RunOptions(engine="incremental"))
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    values = effects.table()[["effect_mean", "effect_sd"]].to_numpy()
    print(peak, seconds, hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest())


def main() -> None:
    import kipoi_mcdropout as mcd

    options = get_parser().parse_args()
    if options.child:
        return child(options)
    if options.memory:
        return memory(options)
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
        from kipoi_mcdropout.engine.choose import Engines
        from kipoi_mcdropout.engine.incremental import shared_capture

        seconds([mcd.Model(nets)], options.draws)  # warms up
        chosen, captured = timed(Engines, "choose"), timed(shared_capture, "capture")
        whole = seconds([mcd.Model(nets)], options.draws)
        print(
            f"{sum(chosen):.2f} s of {whole:.2f} s for the engines of {len(chosen)} members; of these "
            f"{sum(captured):.3f} s for {len(captured)} capture"
        )
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
