"""Tables of effects as a run writes them, made of simulated draws: every statistic has its draws."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

OUTPUTS = ("FOXA2", "DNase")


def ism_table(
    n_sequences: int = 2,
    length: int = 12,
    outputs: tuple[str, ...] = OUTPUTS,
    n_draws: int = 20,
    seed: int = 0,
    scores: tuple[str, ...] = ("diff",),
) -> tuple[pd.DataFrame, np.ndarray]:
    """A table as `read_effects` gives of ISM, and its draws, shape=(n_draws, rows).

    A motif of four bases in the middle of each sequence matters; elsewhere mutants do next to nothing.
    """
    random = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    draws = []
    for sequence in range(n_sequences):
        reference = random.choice(list("ACGT"), length)
        base = random.normal(0, 1) + random.normal(0, 0.3, (n_draws, len(outputs)))
        for position in range(length):
            inside = abs(position - length // 2) < 2
            for alt in "ACGT":
                if alt == reference[position]:
                    continue
                size, spread = (random.normal(-1.0, 0.3), 0.25) if inside else (0.0, 0.02)
                change = random.normal(size, spread, (n_draws, 1)) * np.linspace(1, 0.7, len(outputs))
                for i, output in enumerate(outputs):
                    for score in scores:
                        row, own = _row(base[:, i], base[:, i] + change[:, i], score)
                        draws.append(own)
                        place = {"sequence": sequence, "name": f"region_{sequence}", "chrom": "chr1"}
                        place |= {"pos": 1000 * sequence + position + 1, "position": position}
                        place |= {"ref": reference[position], "alt": alt, "output": output}
                        rows.append(place | {"score": score, "n_draws": n_draws} | row)
    return pd.DataFrame(rows), np.array(draws).T


def _row(ref: np.ndarray, alt: np.ndarray, score: str) -> tuple[dict[str, float], np.ndarray]:
    if score == "diff":
        ref, alt = 1 / (1 + np.exp(-ref)), 1 / (1 + np.exp(-alt))
    effect = alt - ref
    sd = float(effect.std(ddof=1))
    return {
        "ref_mean": ref.mean(), "ref_var": ref.var(ddof=1), "alt_mean": alt.mean(),
        "alt_var": alt.var(ddof=1), "ref_alt_cov": np.cov(ref, alt)[0, 1],
        "effect_mean": effect.mean(), "effect_sd": sd, "effect_mcse": sd / len(effect) ** 0.5,
    }, effect  # fmt: skip


def vcf_table(n: int = 40, seed: int = 1) -> pd.DataFrame:
    """A table as `score_variants -t` writes it, of one output, with an insertion and IDs for some."""
    table, _ = ism_table(1, (n + 2) // 3, ("FOXA2",), seed=seed)
    table = table.drop(columns=["sequence", "name", "position"])[:n].copy()
    table["id"] = [f"rs{i}" if i % 2 else "." for i in range(n)]
    table.loc[table["effect_mean"].abs().idxmax(), "alt"] = "ACCT"
    table["z"] = table["effect_mean"] / table["effect_sd"]
    return table


def of(table: pd.DataFrame, output: str = "FOXA2", sequence: int | None = None) -> pd.DataFrame:
    """The rows of an output, and of a sequence."""
    rows = table[table["output"] == output]
    if sequence is not None:
        rows = rows[rows["sequence"] == sequence]
    return rows.reset_index(drop=True)
