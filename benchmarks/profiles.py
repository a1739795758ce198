"""ISM with a reduction and a score inside each draw, against a loop in plain torch: time and memory.

    python benchmarks/profiles.py                      # some minutes for each network
    python benchmarks/profiles.py --networks bpnet
    python benchmarks/profiles.py --quick              # a BPNet of half the width: less than a minute

Each network has two widths of its output, of which the second is 10 to 100 times the first. For each,
two runs of both contenders: `log2fc` of the sum over a window, and `jsd` over the bins of this window.

- `plain`: mini-batches and draws in inference mode, the same reduction and score in torch, mean and sd.
  Its dropout is torch's own, without masks that reference and mutants share.
- `auto`: `mcd.ism(..., engine="auto")` with `reduce`, written to a file.

Each contender has a process of its own, and takes its turns. Times are those of the processor; ratios
are taken within a turn. Peak memory is that of a run minus what the process held before it. Then the
forward pass is timed with and without the reduction. The bars are printed, and no time makes the program
fail: its exit code is 1 if the two contenders differ in the effects with dropout off.

Enformer and Borzoi are networks of enformer-pytorch and borzoi-pytorch, small and with random weights;
without their packages they are skipped.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.util
import itertools
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from profile_networks import NETWORKS, Network, random_network
from torch import Tensor, nn
from torch.nn import functional as F
from wide import peak_bytes, resident_bytes

import kipoi_mcdropout as mcd
from kipoi_mcdropout.dropout.mask_bank import MaskBank
from kipoi_mcdropout.files.read import read_effects, read_provenance

MEMORY_BAR = 1.10  # peak at the larger width over that at the smaller one
REDUCTION_BAR = 1.05  # forward pass with the reduction over that without
AGREE_BAR = 1e-4  # difference of effects in units of the largest one
BATCH_SIZES = (8, 32)  # tried by plain torch, the faster is taken
SCORES = ("log2fc", "jsd")
CONTENDERS = ("plain", "auto")


class Job(NamedTuple):
    """What one process does."""

    network: Network
    n_tracks: int
    score: str
    width: float
    folder: str  # for the file that `auto` writes
    contender: str = "auto"

    @property
    def positions(self) -> range:
        """Positions that are mutated, in the middle of the input."""
        begin = (self.network.length - self.network.n_positions) // 2
        return range(begin, begin + self.network.n_positions)

    def module(self) -> nn.Module:
        """The network, the same in every process."""
        return random_network(self.network, self.n_tracks, self.width)

    def sequence(self) -> np.ndarray[Any, Any]:
        """One random sequence, one-hot, as the network takes it."""
        codes = np.random.default_rng(1).integers(0, 4, (1, self.network.length))
        one_hot = np.eye(4, dtype=np.float32)[codes]
        return one_hot if self.network.bases_last else one_hot.transpose(0, 2, 1).copy()


class Result(NamedTuple):
    """One run."""

    seconds: float  # of the processor
    peak_bytes: int  # above what the process held before
    note: str
    points: np.ndarray[Any, Any]  # effects with dropout off, shape=(mutants, tracks)


# --- contenders ------------------------------------------------------------------------------------


def log2fc(ref: Tensor, alt: Tensor) -> Tensor:
    return torch.log2((alt.sum(-1).double() + 1) / (ref.sum(-1).double() + 1))


def jsd(ref: Tensor, alt: Tensor) -> Tensor:
    p, q = (x.double() / x.double().sum(-1, keepdim=True) for x in (ref, alt))
    middle = (p + q) / 2
    parts = (p * (p / middle).log()).sum(-1) + (q * (q / middle).log()).sum(-1)
    return (parts / 2).clamp(min=0).sqrt()


class Plain:
    """Batches and draws in plain torch, with the same reduction and score."""

    def __init__(self, job: Job) -> None:
        self.job, self.net = job, job.module()
        self.score = {"log2fc": log2fc, "jsd": jsd}[job.score]
        self.x = torch.from_numpy(job.sequence())
        self.mutants = self._mutants()
        self.size = min(BATCH_SIZES, key=self._seconds_per_mutant)

    def _mutants(self) -> Tensor:
        axis = 2 if self.job.network.bases_last else 1
        found = []
        for position, base in itertools.product(self.job.positions, range(4)):
            x = self.x.transpose(axis, 2).clone()  # bases last
            if not x[0, position, base]:
                x[0, position] = F.one_hot(torch.tensor(base), 4)
                found.append(x.transpose(axis, 2))
        return torch.cat(found)

    def _seconds_per_mutant(self, size: int) -> float:
        with torch.inference_mode():
            self.net(self.mutants[:2])
            begin = time.process_time()
            self.net(self.mutants[:size])
        return (time.process_time() - begin) / min(size, len(self.mutants))

    def window(self, x: Tensor) -> Tensor:
        """The bins of the window, shape=(n, tracks, bins)."""
        network = self.job.network
        outputs = self.net(x)
        profile = outputs if network.head is None else outputs[network.head]
        if network.tracks_last:
            profile = profile.transpose(1, 2)
        begin = (network.n_bins - network.window) // 2
        return profile[..., begin : begin + network.window]

    def live(self, on: bool) -> None:
        for part in self.net.modules():
            if isinstance(part, nn.modules.dropout._DropoutNd):
                part.training = on

    def __call__(self) -> tuple[str, np.ndarray[Any, Any]]:
        points = []
        with torch.inference_mode():
            references = []
            for draw in range(self.job.network.draws + 1):
                self.live(draw > 0)
                references.append(self.window(self.x))
            for x in self.mutants.split(self.size):
                effects = []
                for draw, ref in enumerate(references):
                    self.live(draw > 0)
                    effects.append(self.score(ref, self.window(x)).double())
                points.append(effects[0].numpy())
                torch.std_mean(torch.stack(effects[1:]), 0)
        return f"batches of {self.size}", np.concatenate(points)


def model_of(net: nn.Module, job: Job) -> mcd.Model:
    shape = (job.network.length, 4) if job.network.bases_last else (4, job.network.length)
    return mcd.Model(net, input_shape=shape, unknown="zero").with_readout(
        head=job.network.head, track_axis=int(job.network.tracks_last),
        reduce=f"sum@{job.network.window}",
    )  # fmt: skip


class Auto:
    """Ours, to a file."""

    def __init__(self, job: Job) -> None:
        self.job, self.model, self.x = job, model_of(job.module(), job), job.sequence()
        self._ism("incremental", job.positions[:1], 2)  # imports what it needs

    def _ism(self, engine: str, positions: range, draws: int) -> Path:
        path = Path(self.job.folder) / f"{self.job.n_tracks}_{self.job.score}.h5"
        options = mcd.MutationOptions(start=positions.start, end=positions.stop)
        running = mcd.RunOptions(engine=engine, overwrite=True)
        mcd.ism(
            self.model, self.x, n_draws=draws, scores=self.job.score, options=options, output=path,
            running=running,
        )  # fmt: skip
        return path

    def __call__(self) -> tuple[str, Path]:
        return "", self._ism("auto", self.job.positions, self.job.network.draws)


def points_of(path: Path, n_tracks: int) -> tuple[str, np.ndarray[Any, Any]]:
    """The engine that was taken, and the effects with dropout off."""
    points = read_effects(path)["effect_point"].to_numpy().reshape(-1, n_tracks)
    return str(read_provenance(path)["options"]["engine_used"]), points


# --- processes -------------------------------------------------------------------------------------


def work(pipe: Connection, job: Job) -> None:
    """A process: a run each time that it is asked."""
    torch.set_num_threads(1)
    run = Plain(job) if job.contender == "plain" else Auto(job)
    pipe.send("ready")
    while pipe.recv():
        ctypes.CDLL(None).malloc_trim(0)  # give back what was freed
        held = resident_bytes()
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far (proc(5))
        begin = time.process_time()
        note, points = run()
        seconds, peak = time.process_time() - begin, peak_bytes() - held
        if isinstance(points, Path):
            note, points = points_of(points, job.n_tracks)
        pipe.send(Result(seconds, peak, note, points))


def reduction(pipe: Connection, job: Job, turns: int = 9) -> None:
    """The ratio of the pass with the reduction to that without it, under the same masks."""
    torch.set_num_threads(1)
    adapter = model_of(job.module(), job).adapter
    x = torch.from_numpy(job.sequence()).repeat_interleave(8, 0)
    masks, ratios = MaskBank(0), []

    def seconds() -> float:
        begin = time.process_time()
        adapter.locked.raw_outputs(x, 0, masks)
        return time.process_time() - begin

    assert adapter.reader is not None
    with adapter.locked.borrow():
        adapter.locked.plan(x)
        for turn in range(turns + 1):  # the first one warms up
            took = {}
            for reads in (False, True) if turn % 2 else (True, False):
                with nullcontext() if reads else adapter.reader.off():
                    took[reads] = seconds()
            ratios.append(took[True] / took[False])
    pipe.send(statistics.median(ratios[1:]))


def start(target: Callable[..., None], *args: Any) -> Connection:
    """A process that begins with the modules that are loaded already."""
    here, there = multiprocessing.Pipe()
    context = multiprocessing.get_context("fork")
    context.Process(target=target, args=(there, *args), daemon=True).start()
    there.close()
    return here


# --- report ----------------------------------------------------------------------------------------


def measured(job: Job, turns: int) -> dict[str, list[Result]]:
    """Turns of both contenders."""
    pipes = {name: start(work, job._replace(contender=name)) for name in CONTENDERS}
    for pipe in pipes.values():
        pipe.recv()
    found: dict[str, list[Result]] = {name: [] for name in CONTENDERS}
    for turn in range(turns):
        for name in CONTENDERS if turn % 2 == 0 else reversed(CONTENDERS):
            pipes[name].send(True)
            found[name].append(pipes[name].recv())
    for pipe in pipes.values():
        pipe.send(False)
    return found


def verdict(value: float, bar: float) -> str:
    return f"{value:.3f} ({'within' if value <= bar else 'MISSES'} the bar of {bar:g})"


def compare(name: str, options: argparse.Namespace, folder: str) -> list[str]:
    """Measure one network and print; returns what is wrong."""
    network, wrong = NETWORKS[name], []
    if options.quick:
        network = replace(network, n_positions=25, draws=6)
    width = 0.5 if options.quick else 1.0
    print(
        f"\n== {name}: {network.length} bp, {3 * network.n_positions} mutants, {network.draws} draws "
        f"and a pass without dropout, sum over {network.window} of {network.n_bins} bins"
    )
    head = ("score", "tracks x bins", "plain s", "auto s", "auto / plain", "plain MB", "auto MB")
    print("{:8}{:>16}{:>9}{:>9}{:>14}{:>10}{:>9}   engine, difference".format(*head))
    for score in SCORES:
        peaks = []
        for n_tracks in network.tracks:
            found = measured(Job(network, n_tracks, score, width, folder), options.turns)
            plain, auto = found["plain"], found["auto"]
            ratios = [a.seconds / b.seconds for a, b in zip(auto, plain, strict=True)]
            seconds = [statistics.median(run.seconds for run in runs) for runs in (plain, auto)]
            mb = [max(run.peak_bytes for run in runs) / 1e6 for runs in (plain, auto)]
            peaks.append(mb[1])
            largest = np.abs(plain[0].points).max()
            difference = float(np.abs(plain[0].points - auto[0].points).max() / largest)
            if not difference <= AGREE_BAR:
                wrong.append(f"{name}, {score}: effects differ by {difference:.1e} of the largest")
            print(
                f"{score:8}{f'{n_tracks} x {network.n_bins}':>16}{seconds[0]:9.2f}{seconds[1]:9.2f}"
                f"{statistics.median(ratios):14.3f}{mb[0]:10.1f}{mb[1]:9.1f}   {auto[0].note}, "
                f"{difference:.1e}; plain in {plain[0].note}",
                flush=True,
            )
        print(f"{score}: peak memory, wide over narrow: {verdict(peaks[1] / peaks[0], MEMORY_BAR)}")
    for n_tracks in network.tracks:
        cost = start(reduction, Job(network, n_tracks, "log2fc", width, folder)).recv()
        print(
            f"forward pass with the sum over that without, {n_tracks} x {network.n_bins}: "
            f"{verdict(cost, REDUCTION_BAR)}",
            flush=True,
        )
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--networks", nargs="+", choices=NETWORKS)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a small BPNet, or the --networks given")
    options = parser.parse_args()
    wrong = []
    for name in options.networks or (["bpnet"] if options.quick else NETWORKS):
        package = NETWORKS[name].package
        if package and importlib.util.find_spec(package) is None:
            print(f"\n== {name}: skipped, {package} is not installed")
        else:
            with tempfile.TemporaryDirectory() as folder:
                wrong += compare(name, options, folder)
    print("\n" + ("; ".join(wrong) if wrong else "the effects with dropout off agree"))
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
