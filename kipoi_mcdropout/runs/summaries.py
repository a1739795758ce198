"""Effect summaries as plain values for the store, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from kipoi_mcdropout.effects.scores import SCORES, Score
from kipoi_mcdropout.effects.summary import EffectSummary

_GROUPS = ("reference", "mutant", "counts")


def encode_summaries(
    summaries: Sequence[EffectSummary], dtype: type[np.floating[Any]]
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Values for JSON, and arrays by name; numbers as `dtype`, counts as they are."""
    about = {
        "scores": [[summary.score.name, summary.n_draws] for summary in summaries],
        "quantiles": list(summaries[0].quantiles),
        "eps": summaries[0].eps,
    }
    arrays: dict[str, NDArray[Any]] = {}
    for s, summary in enumerate(summaries):
        for group in _GROUPS:
            for name, values in getattr(summary, group).items():
                arrays[f"{s}/{group}/{name}"] = values if group == "counts" else values.astype(dtype)
        for q, values in enumerate(summary.quantiles.values()):
            arrays[f"{s}/quantiles/{q}"] = values.astype(dtype)
        if summary.draws is not None:
            arrays[f"{s}/draws"] = summary.draws
        if summary.member_means is not None:
            arrays[f"{s}/member_means"] = summary.member_means.astype(dtype)
    return about, arrays


def decode_summaries(
    about: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]
) -> list[EffectSummary]:
    """What `encode_summaries` was given. Scores of the user's own can be named but not computed."""
    summaries = []
    for s, (name, n_draws) in enumerate(about["scores"]):
        reference, mutant, counts = (_named(arrays, f"{s}/{group}/") for group in _GROUPS)
        quantiles = {q: arrays[f"{s}/quantiles/{i}"] for i, q in enumerate(about["quantiles"])}
        score = SCORES.get(name, Score(name, _not_stored))
        draws, means = arrays.get(f"{s}/draws"), arrays.get(f"{s}/member_means")
        eps = float(about["eps"])
        summaries.append(
            EffectSummary(score, n_draws, reference, mutant, counts, quantiles, draws, means, eps)
        )
    return summaries


def _named(arrays: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, Any]:
    return {key.removeprefix(prefix): arrays[key] for key in arrays if key.startswith(prefix)}


def _not_stored(ref: Tensor, alt: Tensor) -> Tensor:
    raise NotImplementedError("a score that was read from a store cannot be computed")
