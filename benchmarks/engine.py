"""Time and memory of the incremental engine against other programs, in turns within one run.

    python benchmarks/engine.py                    # all networks, 3000 mutants, 30 draws
    python benchmarks/engine.py --quick            # fewer mutants and draws
    python benchmarks/engine.py --networks bpnet --tangermeme-python VENV/bin/python
    python benchmarks/engine.py --networks trained     # after python benchmarks/wide_example.py

Each contender runs in a process of its own, one at a time; in each turn each does its portion, and
ratios are taken within a turn, so that a machine that slows down slows all of them. tangermeme 1.6.0
lives in an environment of its own, made in --venv on first use.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import venv
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
TANGERMEME = "tangermeme==1.6.0"
TORCH = "torch==2.13.0"


class Bar(NamedTuple):
    """A ratio of times per (mutant, draw), `ours` over `other` times `draws`, and what is required."""

    network: str
    ours: str
    other: str
    per_draw: float  # ours is compared with so many times the other's time
    bar: float
    stretch: float | None


BARS = [
    Bar("deepsea", "incremental", "tangermeme", 1, 0.30, 0.18),
    Bar("deepsea", "incremental", "mutation", 1 / 30, 1.1, 0.6),
    Bar("deepsea", "incremental", "plain", 1, 1 / 18, 1 / 32),
    Bar("deepsea", "point", "tangermeme", 1, 0.6, 0.4),
    Bar("deepsea", "variants", "plain_pairs", 1, 1 / 1.7, 1 / 1.9),
    Bar("beluga", "incremental", "plain", 1, 1 / 12, None),
    Bar("basset", "incremental", "plain", 1, 1 / 25, None),
    Bar("bpnet", "incremental", "plain", 1, 1 / 2, 1 / 4),
    Bar("trained", "incremental", "mutation", 1 / 30, 0.35, 0.15),
    Bar("trained", "variants", "plain_pairs", 1, 1 / 4, 1 / 6),
]


def get_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    names = list(dict.fromkeys(bar.network for bar in BARS))
    free = [name for name in names if name != "trained"]  # its weights are not part of the checkout
    parser.add_argument("--networks", nargs="+", choices=names, default=free)
    parser.add_argument("--sizes", default="{}", help="JSON of sizes for networks.build")
    parser.add_argument("--mutants", type=int, default=3000)
    parser.add_argument("--draws", type=int, default=30)
    parser.add_argument("--variants", type=int, default=256, help="references in a batch")
    parser.add_argument("--plain-mutants", type=int, default=96, help="in a turn of plain torch")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--memory", type=float, default=1.0, help="GB that the engine may hold")
    parser.add_argument("--venv", type=Path, default=Path.home() / ".cache" / "mcdropout-tangermeme")
    parser.add_argument("--tangermeme-python", type=Path, help="of an environment that has it")
    parser.add_argument("--without", nargs="+", default=[], help="contenders to leave out")
    parser.add_argument("--quick", action="store_true")
    return parser


def tangermeme_python(options: argparse.Namespace) -> str:
    """An interpreter that has tangermeme; its environment is made where there is none."""
    if options.tangermeme_python:
        return str(options.tangermeme_python)
    python = options.venv / "bin" / "python"
    if not python.exists():
        venv.create(options.venv, with_pip=True)
        for package in (TORCH, TANGERMEME):
            subprocess.run([python, "-m", "pip", "install", "-q", package], check=True)
    return str(python)


class Contender:
    """A running process of one contender."""

    def __init__(self, name: str, python: str, options: dict[str, object], threads: int) -> None:
        self.name = name
        environment = {
            **os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads),
        }  # fmt: skip
        self.process = subprocess.Popen(
            [python, str(HERE / "engine_contenders.py"), name, json.dumps(options)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
        self._read("READY")

    def run(self) -> list[float]:
        """[seconds, CPU seconds, pairs, peak bytes above the weights] of a portion."""
        assert self.process.stdin is not None
        self.process.stdin.write("run\n")
        self.process.stdin.flush()
        return json.loads(self._read("RESULT "))

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


def run_network(network: str, options: argparse.Namespace) -> dict[str, list[list[float]]]:
    """All turns of all contenders that the bars of a network need."""
    bars = [bar for bar in BARS if bar.network == network]
    names = dict.fromkeys(name for bar in bars for name in (bar.ours, bar.other))
    names = [name for name in names if name not in options.without]
    given = {
        "network": network, "sizes": options.sizes, "mutants": options.mutants,
        "draws": options.draws, "variants": options.variants, "threads": options.threads,
        "plain_mutants": options.plain_mutants, "memory": options.memory,
    }  # fmt: skip
    contenders = []
    for name in names:
        python = tangermeme_python(options) if name == "tangermeme" else sys.executable
        contenders.append(Contender(name, python, given, options.threads))
    results: dict[str, list[list[float]]] = {name: [] for name in names}
    for contender in contenders:
        contender.run()  # warm
    for turn in range(options.turns):
        for contender in contenders if turn % 2 == 0 else reversed(contenders):
            results[contender.name].append(contender.run())
    for contender in contenders:
        contender.close()
    return results


def report(network: str, results: dict[str, list[list[float]]]) -> str:
    """Times per (mutant, draw), and the bars as medians of the ratios within the turns."""
    lines = [f"{network:14}{'ms/(mutant, draw)':>18}{'CPU ms':>9}{'peak GB':>9}"]
    for name, runs in results.items():
        wall = statistics.median(1e3 * seconds / pairs for seconds, _, pairs, _ in runs)
        cpu = statistics.median(1e3 * cpu / pairs for _, cpu, pairs, _ in runs)
        peak = max(run[3] for run in runs) / 1e9
        lines.append(f"  {name:12}{wall:18.3f}{cpu:9.3f}{peak:9.2f}")
    for bar in BARS:
        if bar.network != network or not {bar.ours, bar.other} <= set(results):
            continue
        ratios = [
            [(a[kind] / a[2]) / (b[kind] / b[2]) / bar.per_draw for kind in (0, 1)]
            for a, b in zip(results[bar.ours], results[bar.other], strict=True)
        ]
        wall, cpu = (statistics.median(r[kind] for r in ratios) for kind in (0, 1))
        times = f" x {1 / bar.per_draw:.0f} draws" if bar.per_draw != 1 else ""
        stretch = f", stretch {bar.stretch:.3f}" if bar.stretch else ""
        verdict = "within" if wall <= bar.bar else "MISSES"
        lines.append(
            f"  {bar.ours}{times} / {bar.other}: {wall:.3f} ({cpu:.3f} by CPU time), {verdict} the bar "
            f"of {bar.bar:.3f}{stretch}"
        )
    return "\n".join(lines)


def main(argv: list[str]) -> None:
    options = get_parser().parse_args(argv)
    if options.quick:
        options.mutants, options.draws, options.turns = 1500, 8, 1
        options.plain_mutants, options.variants = 64, 64
    print(
        f"{options.mutants} mutants, {options.draws} draws, {options.threads} threads, float32; "
        f"medians of {options.turns} turns; sizes {options.sizes}"
    )
    for network in options.networks:
        print(report(network, run_network(network, options)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
