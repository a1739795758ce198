"""Instruments for the tests: reference data, and simulated draws."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kipoi_mcdropout.mr import Instruments

DATA = Path(__file__).parent / "data"


def read_instruments(path: Path, correlation: Path | None = None) -> Instruments:
    table = pd.read_csv(path)
    rho = None
    if correlation is not None:
        rho = pd.read_csv(correlation, index_col=0).to_numpy()
    return Instruments(
        snp=table["SNP"].to_numpy(str),
        beta_exposure=table["beta_exposure"].to_numpy(),
        se_exposure=table["se_exposure"].to_numpy(),
        beta_outcome=table["beta_outcome"].to_numpy(),
        se_outcome=table["se_outcome"].to_numpy(),
        correlation=rho,
    )


def from_draws(
    x: NDArray[np.float64], y: NDArray[np.float64], se_type: str = "sd", **more: object
) -> Instruments:
    """Instruments whose effects are the means of draws, shape=(n_draws, n)."""
    n_draws, n = x.shape
    scale = 1.0 if se_type == "sd" else n_draws**-0.5
    fields = dict(
        snp=[f"m{i}" for i in range(n)],
        beta_exposure=x.mean(0),
        se_exposure=x.std(0, ddof=1) * scale,
        beta_outcome=y.mean(0),
        se_outcome=y.std(0, ddof=1) * scale,
        se_type=se_type,
        draws_exposure=x,
        draws_outcome=y,
    )
    return Instruments(**(fields | more))  # type: ignore[arg-type]


def simulated(
    n: int = 20, n_draws: int = 50, slope: float = 0.5, seed: int = 0, **more: object
) -> Instruments:
    """Mutants whose outcome effects are `slope` times their exposure effects, plus noise per draw."""
    rng = np.random.default_rng(seed)
    effect = rng.normal(0, 1, n)
    x = effect + 0.3 * rng.normal(size=(n_draws, n))
    y = slope * effect + 0.2 * rng.normal(size=(n_draws, n))
    return from_draws(x, y, **more)  # type: ignore[arg-type]
