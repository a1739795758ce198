"""Measured and predicted effects of a result, with a record that says which model made it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

RECORD: dict[str, Any] = {
    "date": "2026-01-01T00:00:00+00:00",
    "model": {
        "name": "toy", "source": "py", "weights_sha256": "w", "code_sha256": "c", "settings_sha256": "s",
    },
    "files": {},
    "seed": 0,
    "n_draws": 30,
    "options": {"scores": ["diff"]},
}  # fmt: skip


def tables(
    n: int = 2000, seed: int = 0, scale: float = 1.0, n_sequences: int = 40
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Measured effects whose errors have heavy tails and grow with the predicted effect."""
    rng = np.random.default_rng(seed)
    mean = rng.normal(0, 1, n) * rng.choice([0.05, 1.0], n)
    sd = 0.05 + 0.2 * np.abs(mean) * rng.uniform(0.5, 1.5, n)
    error = scale * sd * rng.standard_t(4, n) * np.where(np.abs(mean) > 0.5, 3, 1)
    names = [f"chr1:{i}:A:C" for i in range(n)]
    measured = pd.DataFrame({"variant": names, "effect": mean + error})
    predicted = pd.DataFrame(
        {
            "variant": names, "sequence": np.arange(n) % n_sequences, "output": "DNase", "score": "diff",
            "effect_mean": mean, "effect_sd": sd,
        }
    )  # fmt: skip
    return measured.sample(frac=1, random_state=1), predicted
