"""Writes sim_two_groups.csv: 50 mutants of two ratios (0.70 and 1.67), 6 without effect on the outcome,
and 4 that fit nothing; and sim_direct_effects.csv: 60 mutants of ratio 0.70, with small direct effects.

    python tests/mr/data/make_sim.py
"""

from pathlib import Path

import numpy as np
import pandas as pd


def write(name: str, ratio: np.ndarray, direct: float, rng: np.random.Generator) -> None:
    n = len(ratio)
    effect = rng.choice([-1, 1], n) * rng.uniform(0.1, 0.6, n)
    sx, sy = rng.uniform(0.008, 0.02, n), rng.uniform(0.01, 0.03, n)
    table = pd.DataFrame(
        {
            "SNP": [f"chr1:{1000 + i}:A:C" for i in range(n)],
            "effect_allele": "C",
            "other_allele": "A",
            "beta_exposure": effect + sx * rng.normal(size=n),
            "se_exposure": sx,
            "beta_outcome": ratio * effect + direct * rng.normal(size=n) + sy * rng.normal(size=n),
            "se_outcome": sy,
            "ratio": ratio,
        }
    )
    table.to_csv(Path(__file__).with_name(f"{name}.csv"), index=False)


write(
    "sim_two_groups",
    np.concatenate([np.repeat([0.70, 1.67, 0.0], [34, 16, 6]), [-2.0, 4.0, 3.0, -0.9]]),
    0.0,
    np.random.default_rng(20),
)
write("sim_direct_effects", np.full(60, 0.7), 0.03, np.random.default_rng(21))
