"""Predictions with the model's uncertainty, without any mutation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from kipoi_mcdropout.arrays.moments import Moments
from kipoi_mcdropout.arrays.nested import Nested, n_rows, take
from kipoi_mcdropout.dropout.locked_model import POINT
from kipoi_mcdropout.dropout.mask_bank import MaskBank
from kipoi_mcdropout.dropout.masks import check_n_draws, check_seed
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.model.adapter import KipoiModel
from kipoi_mcdropout.sequence.mutants import chunks


@dataclass(frozen=True)
class PredictionOptions:
    """What is predicted, and how.

    Parameters
    ----------
    n_draws : int
        At least 2, or 0 for the prediction with dropout off alone.
    seed : int
        0 <= seed < 2**64; all inputs of a draw see the same masks.
    targets : tuple of str or int
        Outputs to report, by label, index from 0, or shell pattern; empty for all.
    batch_size : int
        Inputs in one forward pass.
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
    batch_size: int = 32
    keep_draws: bool = False

    def __post_init__(self) -> None:
        check_n_draws(self.n_draws)
        check_seed(self.seed)
        if self.batch_size < 1:
            raise InputError(f"batch_size must be at least 1; got {self.batch_size}")


@dataclass(frozen=True)
class PredictionSummary:
    """Statistics of predictions over the draws.

    Attributes
    ----------
    labels : tuple of str
        Names of the outputs.
    n_draws : int
    mean, var : numpy.ndarray of float64, shape=(n, outputs)
        Over the draws; `var` has ddof=1.
    mcse : numpy.ndarray of float64, shape=(n, outputs)
        Monte Carlo error of `mean`, sd / sqrt(n_draws). It shrinks with more draws.
    point : numpy.ndarray of float64, shape=(n, outputs)
        The prediction with dropout off.
    n_nonfinite : numpy.ndarray of int64, shape=(n, outputs)
        Number of draws in which the model gave NaN or infinity; with n_draws = 0, whether the prediction
        with dropout off is one of these. The statistics are NaN there, and so is a `point` that is not
        finite.
    draws : numpy.ndarray of float32, shape=(draws, n, outputs), or None
        Every draw, if it was kept.
    """

    labels: tuple[str, ...]
    n_draws: int
    mean: NDArray[np.float64]
    var: NDArray[np.float64]
    mcse: NDArray[np.float64]
    point: NDArray[np.float64]
    n_nonfinite: NDArray[np.int64]
    draws: NDArray[np.float32] | None = None

    @property
    def sd(self) -> NDArray[np.float64]:
        """Standard deviation over the draws (ddof=1): the model's uncertainty, shape=(n, outputs).

        It does not shrink with more draws.
        """
        return np.sqrt(self.var)


def predict_batch(
    adapter: KipoiModel, x: Nested, options: PredictionOptions, masks: MaskBank
) -> PredictionSummary:
    """Mean and variance of a model's predictions under locked dropout.

    Parameters
    ----------
    adapter : KipoiModel
        Borrowed, never changed.
    x : nested numpy.ndarray, batch first
        All inputs of the model.
    options : PredictionOptions
    masks : MaskBank
        Of the seed of the options.

    Raises
    ------
    kipoi_mcdropout.errors.McDropoutError
        If the model cannot be run under locked dropout, there is no input, or an output that was asked
        for is not there.
    """
    x = adapter.arrays(x)
    if n_rows(x) == 0:
        raise InputError("at least one input is required; got an empty batch")
    with adapter.locked.borrow():
        adapter.locked.plan_for(adapter.tensors(take(x, slice(0, 1))), options.n_draws)
        chosen = adapter.targets(adapter.example_outputs(x), options.targets or None)
        parts = []
        for rows in chunks(n_rows(x), options.batch_size):
            inputs = adapter.tensors(take(x, rows))
            draws = [
                adapter.locked.outputs(inputs, draw, masks, selected=chosen.selected).double().cpu()
                for draw in (POINT, *range(options.n_draws))
            ]
            parts.append(_summary(chosen.labels, draws[0], draws[1:], options.keep_draws))
    return _concatenate(parts)


def _summary(
    labels: tuple[str, ...], point: torch.Tensor, several: list[torch.Tensor], keep: bool
) -> PredictionSummary:
    """Statistics of some inputs; `point` and each of `several` are float64, shape=(n, outputs)."""
    finite = torch.isfinite(point)
    point = point.masked_fill(~finite, math.nan)
    if not several:
        nothing = np.full(point.shape, math.nan)
        n_nonfinite = (~finite).long().numpy()
        return PredictionSummary(labels, 0, nothing, nothing, nothing, point.numpy(), n_nonfinite)
    draws = torch.stack(several)
    broken = ~torch.isfinite(draws)
    draws = draws.masked_fill(broken, math.nan)
    moments = Moments.of(draws)
    return PredictionSummary(
        labels,
        len(draws),
        moments.mean.numpy(),
        moments.variance().numpy(),
        moments.mcse().numpy(),
        point.numpy(),
        broken.sum(dim=0).numpy(),
        draws.float().numpy() if keep else None,
    )


def _concatenate(parts: Sequence[PredictionSummary]) -> PredictionSummary:
    """One summary of all inputs, in the order of the parts."""
    draws = [part.draws for part in parts if part.draws is not None]
    return PredictionSummary(
        parts[0].labels,
        parts[0].n_draws,
        np.concatenate([part.mean for part in parts]),
        np.concatenate([part.var for part in parts]),
        np.concatenate([part.mcse for part in parts]),
        np.concatenate([part.point for part in parts]),
        np.concatenate([part.n_nonfinite for part in parts]),
        np.concatenate(draws, axis=1) if draws else None,
    )
