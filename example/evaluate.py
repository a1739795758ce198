"""How well the trained network knows the truth, on sequences it has not seen."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from motifs import FACTORS
from simulate import training_sequences
from truth import OUTPUTS, UNKNOWN, site_occupancy, true_logits_of_codes

N_SEQUENCES = 3_000
N_MUTATED_SEQUENCES = 60
BOUND_OCCUPANCY = 0.5
_BATCH = 500


def one_hot(codes: np.ndarray) -> torch.Tensor:
    """One-hot of integer codes: shape (n, length, 4), float32; an unknown base is all zero."""
    table = torch.eye(UNKNOWN + 1)[:, :UNKNOWN]
    return table[torch.from_numpy(codes.astype(np.int64))]


class Network(Protocol):
    """What is needed of example/model/model.py's class."""

    training: bool

    def logits(self, seq: torch.Tensor) -> torch.Tensor: ...

    def train(self, mode: bool = True) -> Any: ...


def predicted_logits(network: Network, codes: np.ndarray) -> np.ndarray:
    """Logits with dropout off, shape (n_sequences, n_targets), float64."""
    was_training = network.training
    network.train(False)
    with torch.inference_mode():
        parts = [
            network.logits(one_hot(codes[i : i + _BATCH])).double().numpy()
            for i in range(0, len(codes), _BATCH)
        ]
    network.train(was_training)
    return np.concatenate(parts)


def all_substitutions(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every single-base substitution of one sequence.

    Returns
    -------
    mutants : numpy.ndarray, shape=(3 * length, length), dtype=int8
    positions : numpy.ndarray, shape=(3 * length,)
        The changed position (0-based) of each.
    """
    positions = np.repeat(np.arange(len(codes)), 3)
    shift = np.tile(np.array([1, 2, 3], dtype=np.int8), len(codes))
    mutants = np.repeat(codes[None, :], len(positions), axis=0)
    mutants[np.arange(len(positions)), positions] = (codes[positions] + shift) % 4
    return mutants, positions


def in_bound_sites(codes: np.ndarray, factor: str) -> np.ndarray:
    """Which positions of one sequence lie in an occupied motif of the factor: shape (length,)."""
    occupancy = site_occupancy(codes[None, :], factor)[0]
    inside = np.zeros(len(codes), dtype=bool)
    width = len(codes) - len(occupancy) + 1
    for start in np.flatnonzero(occupancy > BOUND_OCCUPANCY):
        inside[start : start + width] = True
    return inside


def slope(exposure: np.ndarray, outcome: np.ndarray) -> dict[str, float]:
    """Least-squares slope and intercept of outcome on exposure."""
    fitted = np.polyfit(exposure, outcome, 1)
    return {"slope": round(float(fitted[0]), 4), "intercept": round(float(fitted[1]), 4)}


def _correlations(predicted: np.ndarray, true: np.ndarray) -> dict[str, float]:
    return {
        name: round(float(np.corrcoef(predicted[:, i], true[:, i])[0, 1]), 4)
        for i, name in enumerate(OUTPUTS)
    }


def _substitution_effects(
    network: Network, sequences: np.ndarray
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Predicted and true logit differences of all substitutions, and which lie in sites."""
    predicted: list[np.ndarray] = []
    true: list[np.ndarray] = []
    inside: dict[str, list[np.ndarray]] = {factor: [] for factor in FACTORS}
    for codes in sequences:
        mutants, positions = all_substitutions(codes)
        together = np.concatenate([codes[None, :], mutants])
        for effects, logits in (
            (predicted, predicted_logits(network, together)),
            (true, true_logits_of_codes(together)),
        ):
            effects.append(logits[1:] - logits[0])
        for factor in FACTORS:
            inside[factor].append(in_bound_sites(codes, factor)[positions])
    stacked = {factor: np.concatenate(parts) for factor, parts in inside.items()}
    return np.concatenate(predicted), np.concatenate(true), stacked


def evaluate(
    network: Network,
    random: np.random.RandomState,
    length: int,
    n_sequences: int = N_SEQUENCES,
    n_mutated: int = N_MUTATED_SEQUENCES,
) -> dict[str, Any]:
    """Correlations with the truth, and the slope of DNase on FOXA2 effects against the planted.

    All on the logit scale with dropout off, rounded to four digits.
    """
    codes = training_sequences(random, n_sequences, length)
    held_out = _correlations(predicted_logits(network, codes), true_logits_of_codes(codes))
    known = codes[(codes != UNKNOWN).all(axis=1)][:n_mutated]
    predicted, true, inside = _substitution_effects(network, known)
    exposure, outcome = OUTPUTS.index("FOXA2"), OUTPUTS.index("DNase")
    everywhere = np.ones(len(true), dtype=bool)
    slopes = {}
    for name, rows in (
        ("in_FOXA2_sites", inside["FOXA2"]),
        ("in_HNF4A_sites", inside["HNF4A"] & ~inside["FOXA2"]),
        ("all", everywhere),
    ):
        slopes[name] = {
            "n_substitutions": int(rows.sum()),
            "model": slope(predicted[rows, exposure], predicted[rows, outcome]),
            "truth": slope(true[rows, exposure], true[rows, outcome]),
        }
    attenuation = {name: slope(true[:, i], predicted[:, i])["slope"] for i, name in enumerate(OUTPUTS)}
    return {
        "correlation_of_logits": held_out,
        "correlation_of_substitution_effects": _correlations(predicted, true),
        "predicted_per_true_effect": attenuation,
        "DNase_on_FOXA2_effects": slopes,
    }
