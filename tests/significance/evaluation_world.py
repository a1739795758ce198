"""Predicted and measured effects whose truth is known."""

from __future__ import annotations

import numpy as np
import pandas as pd


def tables(
    n: int = 600, seed: int = 0, sd_says_something: bool = True
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Predicted and measured effects, three substitutions a position; the label is a large effect.

    Errors have the sd that is predicted, or else an sd that has nothing to do with it.
    """
    rng = np.random.default_rng(seed)
    mean, sd = rng.normal(size=n), rng.uniform(0.2, 2, n)
    effect = mean + (sd if sd_says_something else rng.permutation(sd)) * rng.normal(size=n)
    names = [f"chr1:{i // 3}:A:{'CGT'[i % 3]}" for i in range(n)]
    positive = np.round(30 * np.clip(0.5 + mean / sd / 4, 0, 1)) / 30
    predicted = pd.DataFrame(
        {"variant": names, "effect_mean": mean, "effect_sd": sd, "prob_positive": positive}
    )
    label = (np.abs(effect) > 1).astype(int)
    measured = pd.DataFrame({"variant": names, "effect": effect, "large": label})
    return predicted, measured.sample(frac=1, random_state=1)
