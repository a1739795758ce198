"""Processor time of the bootstrap of each MR method: 1,000 resamples of 500 mutants.

    python benchmarks/mr_speed.py [--mutants 500] [--draws 100] [--n-bootstrap 1000]

Prints a row per method: seconds of processor time with draws resampled, and with draws and mutants
resampled. 30 % of the mutants have another ratio, so that robust methods have something to do.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from kipoi_mcdropout.mr import Instruments, mr_bootstrap
from kipoi_mcdropout.mr.estimators.points import POINT_ESTIMATORS


def simulate(n: int, n_draws: int) -> Instruments:
    """Mutants with independent noise over draws."""
    rng = np.random.default_rng(0)
    effect = rng.normal(0, 1, n)
    ratio = np.where(rng.random(n) < 0.3, 0.9, 0.5)
    x = effect + 0.5 * rng.normal(size=(n_draws, n))
    y = ratio * effect + 0.3 * rng.normal(size=(n_draws, n))
    return Instruments(
        snp=np.array([f"m{i}" for i in range(n)]),
        beta_exposure=x.mean(0),
        se_exposure=x.std(0, ddof=1) / n_draws**0.5,
        beta_outcome=y.mean(0),
        se_outcome=y.std(0, ddof=1) / n_draws**0.5,
        se_type="mcse",
        draws_exposure=x,
        draws_outcome=y,
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mutants", type=int, default=500)
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--n-bootstrap", type=int, default=1000)
    args = parser.parse_args()
    data = simulate(args.mutants, args.draws)
    print("| method | draws, s | draws and mutants, s |")
    print("|---|---|---|")
    for method in POINT_ESTIMATORS:
        seconds = []
        for resample in ("draws", "both"):
            start = time.process_time()
            mr_bootstrap(data, method, resample=resample, n_bootstrap=args.n_bootstrap)
            seconds.append(time.process_time() - start)
        print(f"| {method} | {seconds[0]:.2f} | {seconds[1]:.2f} |", flush=True)


if __name__ == "__main__":
    main()
