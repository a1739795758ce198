"""A GPU against plain torch: time for each mutant and draw, peak memory, error against the CPU.

    python benchmarks/gpu.py                    # at most 8 minutes on a GPU of CUDA
    python benchmarks/gpu.py --device cpu --quick   # to see that it runs: small networks, a minute

For each network one sequence is mutated. Contenders, in turn in one process:

- `plain`: mini-batches in evaluation mode with live dropout (no locked masks), draw by draw, in float32
  without TF32; the batch size is the fastest of those tried.
- `ours`: `mcd.ism` with masks locked, all statistics, in memory, in float32 and in bfloat16.

The error is that of the mean effect against the same run on the CPU in float32, over the largest effect,
for few mutants, since a CPU is slow. After `--seconds` no other network begins; the table says so.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from networks import build, random_sequences
from torch import nn

import kipoi_mcdropout as mcd

BATCH_SIZES = (32, 128, 512)


class Job(NamedTuple):
    """A network, its input, and what of it is computed."""

    name: str
    net: nn.Module
    x: np.ndarray[Any, Any]
    words: dict[str, Any]  # of mcd.ism
    bases_axis: int  # of x
    head: str | None
    n_positions: int


def deepsea(quick: bool) -> Job:
    return _of_networks("deepsea", quick, 0.05 if quick else 1.0, {})


def beluga(quick: bool) -> Job:
    return _of_networks("beluga", quick, 0.03 if quick else 1.0, {})


def bpnet(quick: bool) -> Job:
    words = {"head": "profile", "track_axis": 0, "reduce": "sum@200"}
    return _of_networks("bpnet", quick, 0.25 if quick else 1.0, words, "profile")


def _of_networks(
    name: str, quick: bool, width: float, words: dict[str, Any], head: str | None = None
) -> Job:
    net = build(name, seed=0, width=width)
    x = random_sequences(net, 1, seed=1)
    return Job(name, net, x, words, 1 + net.category_axis, head, 10 if quick else 100)


def enformer(quick: bool) -> Job:
    """A quarter of the width, 1/12 of the length; random weights."""
    from enformer_pytorch import Enformer
    from networks import randomize

    length = 2048 if quick else 16_384
    net = Enformer.from_hparams(
        dim=192 if quick else 384, depth=2 if quick else 4, heads=4, output_heads={"human": 100},
        target_length=length // 128,
    )  # fmt: skip
    randomize(net, 0)
    codes = np.random.default_rng(1).integers(0, 4, (1, length))
    words = {"head": "human", "track_axis": 1, "reduce": "sum@8"}
    return Job("enformer", net, np.eye(4, dtype=np.float32)[codes], words, 2, "human", 4)


JOBS: dict[str, Callable[[bool], Job]] = {
    "deepsea": deepsea, "beluga": beluga, "bpnet": bpnet, "enformer": enformer,
}  # fmt: skip


def mutants_of(job: Job) -> torch.Tensor:
    """All substitutions of the window, with the reference in front."""
    x = torch.from_numpy(job.x).movedim(job.bases_axis, -1)
    found = [x]
    for position, base in itertools.product(positions_of(job), range(4)):
        mutant = x.clone()
        at = mutant[0, ..., position, :]  # a view; between are axes of length 1
        if not at[..., base].all():
            at[...] = torch.eye(4)[base]
            found.append(mutant)
    return torch.cat(found).movedim(-1, job.bases_axis)


def positions_of(job: Job) -> range:
    length = max(job.x.shape)
    return range(length // 2, length // 2 + job.n_positions)


class Timed(NamedTuple):
    """A contender's figures."""

    ms: float  # for each mutant and draw
    peak_gb: float  # on the GPU, weights included; NaN on a CPU
    effects: np.ndarray[Any, Any] | None
    note: str


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measured(
    run: Callable[[], Any], device: torch.device, n: int, turns: int
) -> tuple[float, float, Any]:
    """Milliseconds for each of n passes (median of turns, after one that warms up), peak GB, result."""
    found = run()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    seconds = []
    for _ in range(turns):
        synchronize(device)
        begin = time.perf_counter()
        found = run()
        synchronize(device)
        seconds.append(time.perf_counter() - begin)
    peak = torch.cuda.max_memory_allocated(device) / 1e9 if device.type == "cuda" else float("nan")
    return 1000 * statistics.median(seconds) / n, peak, found


def plain(job: Job, device: torch.device, n_draws: int, turns: int) -> Timed:
    net, x = job.net.to(device).eval(), mutants_of(job).to(device)
    for part in net.modules():
        part.training = isinstance(part, nn.modules.dropout._DropoutNd)

    def run(size: int) -> None:
        with torch.inference_mode():
            for _ in range(n_draws + 1):
                for batch in x.split(size):
                    outputs = net(batch)
                    (outputs if job.head is None else outputs[job.head]).sum()

    def seconds(size: int) -> float:
        try:
            return measured(lambda: run(size), device, 1, 1)[0]
        except torch.OutOfMemoryError:
            return float("inf")

    size = min((b for b in BATCH_SIZES if b <= max(32, len(x))), key=seconds)
    ms, peak, _ = measured(lambda: run(size), device, len(x) * (n_draws + 1), turns)
    net.eval()
    return Timed(ms, peak, None, f"batches of {size}")


def ours(job: Job, device: torch.device, n_draws: int, turns: int, dtype: str = "float32") -> Timed:
    shape = job.x.shape[1:]
    model = mcd.Model(job.net, input_shape=shape, unknown="zero").with_device(str(device))
    if dtype != "float32":
        model = model.with_dtype(dtype)
    places = positions_of(job)
    options = mcd.MutationOptions(start=places.start, end=places.stop)

    def run() -> Any:
        return mcd.ism(model, job.x, n_draws=n_draws, seed=0, options=options, **job.words)

    n = (3 * len(places) + 1) * (n_draws + 1)
    ms, peak, found = measured(run, device, n, turns)
    engine = str(found.provenance["options"]["engine_used"])
    return Timed(ms, peak, found.table()["effect_mean"].to_numpy(), engine)


def error_of(timed: Timed, expected: np.ndarray[Any, Any]) -> float:
    assert timed.effects is not None
    return float(np.abs(timed.effects - expected).max() / np.abs(expected).max())


def report(job: Job, device: torch.device, n_draws: int, turns: int) -> None:
    contenders = {
        "plain torch, float32": lambda: plain(job, device, n_draws, turns),
        "ours, float32": lambda: ours(job, device, n_draws, turns),
        "ours, bfloat16": lambda: ours(job, device, n_draws, turns, "bfloat16"),
    }
    few = job._replace(n_positions=min(job.n_positions, 4))
    expected = ours(few, torch.device("cpu"), 2, 1).effects
    assert expected is not None
    for name, contender in contenders.items():
        timed = contender()
        error = ""
        if timed.effects is not None:
            dtype = "bfloat16" if "bfloat16" in name else "float32"
            error = f"{error_of(ours(few, device, 2, 1, dtype), expected):.1e}"
        print(
            f"| {job.name} | {name} ({timed.note}) | {timed.ms:.3f} | {timed.peak_gb:.2f} | {error} |",
            flush=True,
        )


def get_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--networks", nargs="+", choices=list(JOBS), default=list(JOBS))
    parser.add_argument("--draws", type=int, default=30)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=420, help="no network begins after so many")
    parser.add_argument("--quick", action="store_true", help="small networks, 3 draws, one turn")
    return parser


def main() -> None:
    options = get_parser().parse_args()
    begin = time.perf_counter()
    device = mcd.Model(nn.Linear(1, 1)).with_device(options.device).device
    card = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    print(f"{card}, torch {torch.__version__}\n")
    print("| network | contender | ms for each mutant and draw | peak, GB | error of the effects |")
    print("|---|---|---|---|---|")
    n_draws, turns = (3, 1) if options.quick else (options.draws, options.turns)
    for name in options.networks:
        if name == "enformer" and importlib.util.find_spec("enformer_pytorch") is None:
            print("| enformer | left out: enformer-pytorch is not installed | | | |")
        elif time.perf_counter() - begin > options.seconds:
            print(f"| {name} | left out: no time | | | |")
        else:
            report(JOBS[name](options.quick), device, n_draws, turns)


if __name__ == "__main__":
    main()
