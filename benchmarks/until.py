"""What --until saves, and what it costs: time, draws and errors against a fixed number of draws.

    OMP_NUM_THREADS=1 python benchmarks/until.py

Effects of all substitutions of windows of the example, by turns with a fixed number of draws and with
--until, in one process. Ratios of processor time are medians of those within a turn. "off" is by how
much a mean effect differs from that with all draws, in its own mcse and in the sd; "other side" counts
the mutants that are on the other side of the threshold than with all draws.

    python benchmarks/until.py --simulate

prints the bias of mean and sd, and how often mean +- 1.96 mcse holds the true mean, for draws of known
distributions with sd 1: normal; skewed (exponential); rare (0 in 9 draws of 10).
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from kipoi_mcdropout.effects.until import Until

EXAMPLE = Path(__file__).resolve().parent.parent / "example"
_MEANS = (0.0, 0.5, 1.0, 2.0, 4.0)


def get_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--until", type=float, default=0.15)
    parser.add_argument("--thresholds", type=float, nargs="*", default=[0.02, 0.05, 0.1])
    parser.add_argument("--n_draws", type=int, default=127)
    parser.add_argument("--sequences", type=int, default=2)
    parser.add_argument("--engines", nargs="+", default=["incremental"])
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--simulate", action="store_true")
    return parser


def run(x: Any, model: Any, engine: str, n_draws: int, **until: Any) -> tuple[Any, float]:
    """The table of effects, and the processor time."""
    import kipoi_mcdropout as mcd
    from kipoi_mcdropout.runs.ism.mutate import MutationOptions

    start = time.process_time()
    effects = mcd.ism(
        model, x, n_draws=n_draws, targets=["FOXA2", "DNase"], options=MutationOptions(**until),
        running=mcd.RunOptions(engine=engine),
    )  # fmt: skip
    return effects.table(), time.process_time() - start


def compare(options: argparse.Namespace) -> None:
    sys.path.insert(0, str(EXAMPLE / "model"))
    import kipoi

    import kipoi_mcdropout as mcd

    model = kipoi.get_model(str(EXAMPLE / "model"), source="dir")
    data = {name: str(EXAMPLE / "data" / file) for name, file in FILES.items()}
    batch = next(model.default_dataloader(**data).batch_iter(batch_size=options.sequences))
    x, ready = batch["inputs"], mcd.Model(model)
    run(x, ready, "full", 2)  # what is loaded once
    print("engine threshold time draws min..max off/mcse off/sd other_side")
    for engine in options.engines:
        for threshold in [None, *options.thresholds]:
            ratios = []
            for _ in range(options.turns):
                fixed, slow = run(x, ready, engine, options.n_draws)
                ours, fast = run(
                    x, ready, engine, options.n_draws, until=options.until, threshold=threshold
                )
                ratios.append(fast / slow)
            errors = _errors(ours, fixed, threshold, options.n_draws)
            print(engine, threshold, f"{statistics.median(ratios):.2f}", *errors)


FILES = {"fasta_file": "genome.fa", "intervals_file": "regions.bed"}


def _errors(ours: Any, fixed: Any, threshold: float | None, most: int) -> list[str]:
    """Share of draws, and the differences between the means; those that have fewer draws alone."""
    n = ours["n_draws"].to_numpy()
    fewer = (n < most) & (ours["effect_mcse"] > 0).to_numpy()
    off = (ours["effect_mean"] - fixed["effect_mean"]).to_numpy()[fewer]
    in_mcse = np.sqrt(np.mean((off / ours["effect_mcse"].to_numpy()[fewer]) ** 2))
    in_sd = np.sqrt(np.mean((off / fixed["effect_sd"].clip(lower=1e-9).to_numpy()[fewer]) ** 2))
    found = [f"{n.mean() / most:.2f}", f"{n.min()}..{n.max()}", f"{in_mcse:.2f}", f"{in_sd:.2f}"]
    if threshold is not None:
        beyond = [table["effect_mean"].abs().to_numpy() >= threshold for table in (ours, fixed)]
        found.append(f"{(beyond[0] != beyond[1]).sum()} of {beyond[1].sum()} beyond")
    return found


def draws_of(kind: str, most: int, n: int) -> np.ndarray:
    """Draws with mean 0 and sd 1, shape=(most, n)."""
    random = np.random.default_rng(0)
    if kind == "normal":
        return random.standard_normal((most, n))
    if kind == "skewed":
        return random.exponential(size=(most, n)) - 1
    share, spread = 0.1, 0.3
    mean, second = share, share * (1 + spread**2)
    values = (random.random((most, n)) < share) * random.normal(1, spread, (most, n))
    return (values - mean) / np.sqrt(second - mean**2)


def simulate(options: argparse.Namespace, n: int = 20_000) -> None:
    print("draws threshold/sd mean/sd n_used bias_of_mean/sd bias_of_sd coverage fixed_coverage")
    rare_mean = 0.1 / np.sqrt(0.1 * 1.09 - 0.01)  # of draws that are mostly 0
    for kind in ("normal", "skewed", "rare"):
        x = draws_of(kind, options.n_draws, n)
        for threshold in (None, 0.25, 1.0, 2.0):
            until = Until(options.until, () if threshold is None else (threshold,))
            for mean in _MEANS if kind != "rare" else (rare_mean,):
                row = _stopped(x + mean, until, mean)
                print(kind, threshold, f"{mean:.2g}", *row)


def _stopped(x: np.ndarray, until: Until, mean: float) -> list[str]:
    used, means, sds = np.zeros(x.shape[1], int), np.zeros(x.shape[1]), np.zeros(x.shape[1])
    for k in until.checkpoints(len(x)):
        m, s = x[:k].mean(0), x[:k].std(0, ddof=1)
        now = (used == 0) & (until.settled(m, s, k) | (k == len(x)))
        used[now], means[now], sds[now] = k, m[now], s[now]
    same = max(2, round(used.mean()))  # as many draws as on average, for all
    fixed = np.abs(x[:same].mean(0) - mean) <= 1.96 * x[:same].std(0, ddof=1) / np.sqrt(same)
    covered = np.abs(means - mean) <= 1.96 * sds / np.sqrt(used)
    bias = f"{(means - mean).mean():+.3f}", f"{sds.mean() - 1:+.3f}"
    return [f"{used.mean():.0f}", *bias, f"{covered.mean():.3f}", f"{fixed.mean():.3f}"]


if __name__ == "__main__":
    given = get_parser().parse_args()
    simulate(given) if given.simulate else compare(given)
