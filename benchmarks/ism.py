"""Time and peak memory of in-silico mutagenesis with one model, by several programs, in one run.

    python benchmarks/ism.py            # one 1000 bp sequence, 3000 mutants, 30 draws: about an hour
    python benchmarks/ism.py --quick    # 320 mutants, 3 draws

Each contender runs in a process of its own with the same number of threads. They take turns, one at a
time, and ratios are taken within a turn, so that a machine that slows down slows all of them.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

MEMORY_BAR_GB = 1.5  # above the weights, at FULL_DRAWS
TIME_BAR = 1.05  # ours over plain batched torch times draws
FULL_DRAWS = 30


class Result(NamedTuple):
    """One run of one contender."""

    seconds: float
    cpu_seconds: float  # of all threads; steadier than `seconds` where others use the machine
    peak_bytes: int  # above what the process held with the model loaded
    passes: int  # forward passes of each mutant
    note: str = ""


def get_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--mutants", type=int, default=3000, help="of the 3 per position")
    parser.add_argument("--draws", type=int, default=FULL_DRAWS)
    parser.add_argument("--repeats", type=int, default=1, help="turns that each contender takes")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--length", type=int, default=1000, help="bp")
    parser.add_argument("--outputs", type=int, default=919)
    parser.add_argument("--width", type=float, default=1.0, help="factor of all channel numbers")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[16, 32, 64],
                        help="tried by plain torch, the best is taken")  # fmt: skip
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument("--quick", action="store_true", help="320 mutants, 3 draws, 3 repeats")
    parser.add_argument("--worker", choices=CONTENDERS, help=argparse.SUPPRESS)
    return parser


# --- contenders: each gets (model, options) once and returns what is to be timed --------------------


def mutant_batch(model: Any, n_mutants: int) -> Any:
    """Mutants spread evenly over all substitutions of one random sequence."""
    import numpy as np
    from networks import random_sequences

    from kipoi_mcdropout.sequence.mutants import MutantBatch, all_substitutions, substituted
    from kipoi_mcdropout.sequence.one_hot import OneHotLayout

    x = random_sequences(model, 1, seed=1)
    layout = OneHotLayout.of(x, model.category_axis)
    codes = layout.codes(x)
    edits = all_substitutions(codes[0], 4)
    chosen = np.linspace(0, len(edits.position) - 1, n_mutants).round().astype(int)
    mutants = substituted(codes[0], edits.position[chosen], edits.alt[chosen])
    return MutantBatch(x, None, layout, codes, np.zeros(n_mutants, np.int64), mutants)


def mutation(model: Any, options: argparse.Namespace) -> Callable[[], tuple[int, str]]:
    """kipoi-interpret's `Mutation`: one pass with dropout off, no uncertainty."""
    from types import SimpleNamespace

    from kipoi.model import PyTorchModel
    from kipoi_interpret.importance_scores.ism import Mutation
    from networks import random_sequences

    class Loaded(PyTorchModel):
        """A Kipoi model with the module that is there already."""

        def __init__(self) -> None:
            self.model, self.use_cuda = model, False
            self.schema = SimpleNamespace(inputs=SimpleNamespace(name="seq"))

    class FirstMutants(Mutation):
        """Stops after the number of mutants that the others do."""

        def _mutate_sample(self, onehot_input: Any) -> Iterator[Any]:
            return itertools.islice(super()._mutate_sample(onehot_input), options.mutants)

    scorer = FirstMutants(Loaded(), "seq", scores=["diff"], category_axis=model.category_axis)
    x = random_sequences(model, 1, seed=1)

    def run() -> tuple[int, str]:
        scorer.score(x)
        return 1, "dropout off"

    return run


def plain(model: Any, options: argparse.Namespace) -> Callable[[], tuple[int, str]]:
    """Batched torch, live dropout, outputs thrown away: the least that any plain loop does."""
    import torch
    from torch import nn

    batch = mutant_batch(model, options.mutants)
    for part in model.modules():
        part.training = isinstance(part, nn.modules.dropout._DropoutNd)

    def loop(size: int, stop: int, draws: int) -> None:
        with torch.inference_mode():
            for begin in range(0, stop, size):
                x = torch.from_numpy(batch.inputs(slice(begin, min(begin + size, stop))))
                for _ in range(draws):
                    model(x)

    def seconds_per_mutant(size: int) -> float:
        stop = min(2 * size, options.mutants)
        loop(size, min(size, stop), 1)  # warm
        start = time.perf_counter()
        loop(size, stop, 1)
        return (time.perf_counter() - start) / stop

    best = min(options.batch_sizes, key=seconds_per_mutant)

    def run() -> tuple[int, str]:
        loop(best, options.mutants, options.draws)
        return options.draws, f"batch {best}"

    return run


def ours(model: Any, options: argparse.Namespace) -> Callable[[], tuple[int, str]]:
    """FullEngine with locked masks, all statistics of all outputs; a pass more, with dropout off."""
    from kipoi_mcdropout.dropout.locked_model import LockedModel
    from kipoi_mcdropout.dropout.mask_bank import MaskBank
    from kipoi_mcdropout.effects.scores import SCORES
    from kipoi_mcdropout.effects.summarize import summarize_effects
    from kipoi_mcdropout.effects.summary import EffectOptions
    from kipoi_mcdropout.engine.full import FullEngine
    from kipoi_mcdropout.outputs.targets import Targets

    batch = mutant_batch(model, options.mutants)
    columns = tuple(range(options.outputs))
    targets = Targets(tuple(map(str, columns)), columns, options.outputs)

    def run() -> tuple[int, str]:
        locked = LockedModel(model)
        engine = FullEngine(locked, MaskBank(seed=0))
        with locked.borrow():
            summarize_effects(engine, batch, targets, EffectOptions((SCORES["diff"],), options.draws))
        return options.draws + 1, f"batch {engine.batch_size}"

    return run


CONTENDERS = {"mutation": mutation, "plain": plain, "ours": ours}


# --- processes -------------------------------------------------------------------------------------


def work(name: str, options: argparse.Namespace) -> None:
    """A contender's process: load the model, then a run for each line that comes in."""
    import torch
    from networks import build

    torch.set_num_threads(options.threads)
    model = build(
        "deepsea", seed=0, length=options.length, n_outputs=options.outputs, width=options.width
    )
    loaded = _status_bytes("VmRSS")
    run = CONTENDERS[name](model, options)
    print("READY", flush=True)
    for _ in sys.stdin:
        _reset_peak()
        start, cpu_start = time.perf_counter(), time.process_time()
        passes, note = run()
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu_start
        result = Result(seconds, cpu, _status_bytes("VmHWM") - loaded, passes, note)
        print("RESULT " + json.dumps(result), flush=True)


def _status_bytes(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field + ":"))


def _reset_peak() -> None:
    """Forget the peak so far (proc(5), clear_refs)."""
    Path("/proc/self/clear_refs").write_text("5")


class Contender:
    """A running process of one contender."""

    def __init__(self, name: str, argv: list[str], threads: int) -> None:
        self.name = name
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        self.process = subprocess.Popen(
            [sys.executable, __file__, *argv, "--worker", name],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
        self._read("READY")

    def run(self) -> Result:
        """Have it do its work once."""
        assert self.process.stdin is not None
        self.process.stdin.write("run\n")
        self.process.stdin.flush()
        return Result(*json.loads(self._read("RESULT ")))

    def close(self) -> None:
        """Let it end."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()

    def _read(self, prefix: str) -> str:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(prefix):
                return line.removeprefix(prefix)
        raise SystemExit(f"contender {self.name} ended with exit code {self.process.wait()}")


# --- report ----------------------------------------------------------------------------------------


def report(options: argparse.Namespace, results: dict[str, list[Result]]) -> str:
    """The table, and the bars."""
    lines = [
        f"DeepSEA architecture, random weights, {options.length} bp, {options.outputs} outputs, width "
        f"{options.width:g}; {options.mutants} mutants, {options.draws} draws, {options.threads} "
        f"threads; medians of {options.repeats} turns",
        f"{'':10}{'seconds':>9}{'CPU s':>8}{'passes':>8}{'ms/(mutant, pass)':>19}{'peak GB':>9}"
        f"{'seconds at 3000 x 30':>22}",
    ]
    for name, runs in results.items():
        seconds = statistics.median(run.seconds for run in runs)
        per_pass = seconds / runs[0].passes / options.mutants
        passes = {"mutation": 1, "plain": FULL_DRAWS, "ours": FULL_DRAWS + 1}[name]
        lines.append(
            f"{name:10}{seconds:9.1f}{statistics.median(run.cpu_seconds for run in runs):8.1f}"
            f"{runs[0].passes:8}{1e3 * per_pass:19.2f}"
            f"{max(run.peak_bytes for run in runs) / 1e9:9.2f}{per_pass * 3000 * passes:22.0f}"
            f"   {runs[0].note}"
        )
    if "ours" in results:
        peak = max(run.peak_bytes for run in results["ours"]) / 1e9
        lines.append(f"memory: {_verdict(peak, MEMORY_BAR_GB)} GB above the weights")
    if {"ours", "plain"} <= set(results):
        turns = list(zip(results["ours"], results["plain"], strict=True))
        for what, field in (("time", "seconds"), ("CPU time", "cpu_seconds")):
            per_pass = statistics.median(
                (getattr(a, field) / a.passes) / (getattr(b, field) / b.passes) for a, b in turns
            )
            full = per_pass * (FULL_DRAWS + 1) / FULL_DRAWS
            lines.append(
                f"{what}: {_verdict(full, TIME_BAR)} x plain batched torch x draws at {FULL_DRAWS} draws"
                f" ({per_pass:.3f} a pass; ours makes {FULL_DRAWS + 1}, one with dropout off)"
            )
    if options.mutants != 3000 or options.draws != FULL_DRAWS:
        lines.append("Scaled by the number of mutants and passes: the last column and the time bar.")
    return "\n".join(lines)


def _verdict(value: float, bar: float) -> str:
    return f"{value:.3f}, {'within' if value <= bar else 'MISSES'} the bar of {bar:g}"


def main(argv: list[str]) -> None:
    options = get_parser().parse_args(argv)
    if options.quick:
        options.mutants, options.draws, options.repeats = 320, 3, 3
    if options.worker:
        work(options.worker, options)
        return
    contenders = [Contender(name, argv, options.threads) for name in options.contenders]
    results: dict[str, list[Result]] = {name: [] for name in options.contenders}
    for turn in range(options.repeats):
        for contender in contenders if turn % 2 == 0 else reversed(contenders):
            results[contender.name].append(contender.run())
    for contender in contenders:
        contender.close()
    print(report(options, results))


if __name__ == "__main__":
    main(sys.argv[1:])
