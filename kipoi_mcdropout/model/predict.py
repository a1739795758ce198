"""Predictions with the model's uncertainty, without any mutation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from kipoi_mcdropout.arrays.moments import Moments
from kipoi_mcdropout.arrays.nested import Nested, n_rows, take
from kipoi_mcdropout.arrays.nested_variance import NestedVariance
from kipoi_mcdropout.dropout.locked_model import POINT, LockedModel
from kipoi_mcdropout.dropout.mask_bank import MaskBank
from kipoi_mcdropout.dropout.masks import check_seed
from kipoi_mcdropout.dropout.shared_passes import SharedPasses
from kipoi_mcdropout.engine.full import DEFAULT_MEMORY_BYTES, check_batch_size
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.model.ensemble import (
    Ensemble,
    check_balanced,
    check_draws,
)
from kipoi_mcdropout.outputs.targets import Targets
from kipoi_mcdropout.sequence.mutants import chunks


@dataclass(frozen=True)
class PredictionOptions:
    """What is predicted, and how.

    Parameters
    ----------
    n_draws : int
        At least 2, or 0 for the prediction with dropout off alone; `ensemble.OWN_DRAWS` until the run
        begins.
    seed : int
        0 <= seed < 2**64; all inputs of a draw see the same masks.
    targets : tuple of str or int
        Outputs to report, by label, index from 0, or shell pattern; empty for all.
    batch_size : int, optional
        Inputs in one forward pass; by default as many as fit into 1 GB, at most 32.
    keep_draws : bool
        Also return every draw.

    Raises
    ------
    InputError
        If n_draws, seed or batch_size is not as stated.
    """

    n_draws: int = 30
    seed: int = 0
    targets: tuple[str | int, ...] = ()
    batch_size: int | None = None
    keep_draws: bool = False

    def __post_init__(self) -> None:
        check_draws(self.n_draws)
        check_seed(self.seed)
        check_batch_size(self.batch_size)


@dataclass(frozen=True)
class PredictionSummary:
    """Statistics of predictions over the draws; `files.predictions.Predictions` describes them."""

    labels: tuple[str, ...]
    n_draws: int
    mean: NDArray[np.float64]
    var: NDArray[np.float64]
    mcse: NDArray[np.float64]
    point: NDArray[np.float64]
    n_nonfinite: NDArray[np.int64]
    draws: NDArray[np.float32] | None = None
    var_within: NDArray[np.float64] | None = None
    var_between: NDArray[np.float64] | None = None

    @property
    def sd(self) -> NDArray[np.float64]:
        """Standard deviation over the draws (ddof=1): the model's uncertainty, shape=(n, outputs).

        It does not shrink with more draws.
        """
        return np.sqrt(self.var)


def predict_batch(
    ensemble: Ensemble, x: Nested, options: PredictionOptions, masks: MaskBank
) -> PredictionSummary:
    """Mean and variance of a model's predictions under locked dropout.

    Parameters
    ----------
    ensemble : Ensemble
        The model, or its members; borrowed, never changed.
    x : nested numpy.ndarray, batch first
        All inputs of the model.
    options : PredictionOptions
    masks : MaskBank
        Of the seed of the options.

    Raises
    ------
    kipoi_mcdropout.errors.McDropoutError
        If the model cannot be run under locked dropout, there is no input, or an output that was asked
        for is not there; and if the number of draws is no multiple of the number of members.
    """
    first = ensemble.first
    x = first.arrays(x)
    if n_rows(x) == 0:
        raise InputError("at least one input is required; got an empty batch")
    check_balanced(options.n_draws, len(ensemble))
    ensemble.plan(x, options.n_draws)
    with first.locked.borrow():
        chosen = first.targets(first.example_outputs(x), options.targets or None)
        one = first.tensors(take(x, [0]))
        size = options.batch_size or first.locked.fitting(one, DEFAULT_MEMORY_BYTES)
    ensemble.check_targets(x, options.targets, chosen)
    several = len(ensemble) > 1 and options.n_draws > 0
    is_random = ensemble.is_random(x) if several else (True,)
    parts = []
    for rows in chunks(n_rows(x), size):
        points, draws = _outputs(ensemble, take(x, rows), options.n_draws, masks, chosen, is_random)
        parts.append(_summary(chosen.labels, points, draws, options.keep_draws, is_random))
    return _concatenate(parts)


def _outputs(
    ensemble: Ensemble,
    x: Nested,
    n_draws: int,
    masks: MaskBank,
    chosen: Targets,
    is_random: Sequence[bool],
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """The point prediction of each member, and the draws in order; float64, shape=(n, outputs)."""
    points: list[torch.Tensor] = []
    draws: list[torch.Tensor] = [torch.empty(0)] * n_draws
    for m, member in enumerate(ensemble.members):
        with member.locked.borrow():
            own = range(m, n_draws, len(ensemble))
            inputs = member.tensors(x)
            shared = SharedPasses(DEFAULT_MEMORY_BYTES) if is_random[m] and own else None

            def outputs(
                draw: int,
                locked: LockedModel = member.locked,
                inputs: Nested = inputs,
                shared: SharedPasses | None = shared,
            ) -> torch.Tensor:
                row = locked.outputs(inputs, draw, masks, selected=chosen.selected, shared=shared)
                return row.double().cpu()

            points.append(outputs(POINT))
            for draw in own:
                draws[draw] = outputs(draw) if is_random[m] else points[-1]
    return points, draws


def _summary(
    labels: tuple[str, ...],
    points: list[torch.Tensor],
    several: list[torch.Tensor],
    keep: bool,
    is_random: Sequence[bool],
) -> PredictionSummary:
    """Statistics of some inputs; each of `points` and `several` is float64, shape=(n, outputs)."""
    point = points[0] if len(points) == 1 else torch.stack(points).mean(dim=0)
    finite = torch.isfinite(point)
    point = point.masked_fill(~finite, math.nan)
    if not several:
        nothing = np.full(point.shape, math.nan)
        n_nonfinite = (~finite).long().numpy()
        return PredictionSummary(labels, 0, nothing, nothing, nothing, point.numpy(), n_nonfinite)
    draws = torch.stack(several)
    broken = ~torch.isfinite(draws)
    draws = draws.masked_fill(broken, math.nan)
    kept = draws.float().numpy() if keep else None
    n_nonfinite = broken.sum(dim=0).numpy()
    if len(points) == 1:
        moments = Moments.of(draws)
        return PredictionSummary(
            labels, len(draws), moments.mean.numpy(), moments.variance().numpy(), moments.mcse().numpy(),
            point.numpy(), n_nonfinite, kept,
        )  # fmt: skip
    of_members = [Moments.of(draws[m :: len(points)]) for m in range(len(points))]
    variances = [
        of_member.variance().numpy() if random else np.zeros(point.shape)
        for of_member, random in zip(of_members, is_random, strict=True)
    ]
    means = np.stack([of_member.mean.numpy() for of_member in of_members])
    parts = NestedVariance.of(means, np.stack(variances), len(draws) // len(points))
    return PredictionSummary(
        labels, len(draws), means.mean(axis=0), parts.total, np.sqrt(parts.of_mean), point.numpy(),
        n_nonfinite, kept, parts.within, parts.between,
    )  # fmt: skip


def _concatenate(parts: Sequence[PredictionSummary]) -> PredictionSummary:
    """One summary of all inputs, in the order of the parts."""

    def joined(name: str, axis: int = 0) -> Any:
        arrays = [getattr(part, name) for part in parts]
        return None if arrays[0] is None else np.concatenate(arrays, axis=axis)

    return PredictionSummary(
        parts[0].labels, parts[0].n_draws, joined("mean"), joined("var"), joined("mcse"),
        joined("point"), joined("n_nonfinite"), joined("draws", 1), joined("var_within"),
        joined("var_between"),
    )  # fmt: skip
