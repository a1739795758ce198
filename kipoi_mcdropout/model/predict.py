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
from kipoi_mcdropout.arrays.nested import n_rows, take
from kipoi_mcdropout.dropout.locked_model import POINT
from kipoi_mcdropout.dropout.mask_bank import MaskBank
from kipoi_mcdropout.dropout.masks import check_n_draws
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.model.adapter import KipoiModel
from kipoi_mcdropout.model.choose_inputs import Inputs, array_inputs
from kipoi_mcdropout.model.model import as_model
from kipoi_mcdropout.sequence.mutants import chunks


@dataclass(frozen=True)
class Predictions:
    """Predictions over the draws, each array float64 of shape=(n, outputs).

    `sd` (ddof=1) is the model's uncertainty and does not shrink with more draws; `mcse` is the Monte
    Carlo error of `mean`; `point` is the prediction with dropout off. `n_nonfinite` counts the draws in
    which the model gave NaN or infinity (with n_draws = 0, the point prediction); the statistics, and a
    `point` that is not finite, are NaN there. `draws`, if kept, is float32 of
    shape=(draws, n, outputs).
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
        """Standard deviation over the draws (ddof=1)."""
        return np.sqrt(self.var)


def mc_predict(
    model: Any,
    x: Inputs,
    n_draws: int = 30,
    seed: int = 0,
    *,
    targets: str | int | Sequence[str | int] | None = None,
    label_axis: int | None = None,
    batch_size: int = 32,
    keep_draws: bool = False,
    ignore: Sequence[str] = (),
) -> Predictions:
    """Mean and variance of a model's predictions under locked dropout.

    Parameters
    ----------
    model : Model, nn.Module, or what `kipoi.get_model` returns
        Borrowed, never changed.
    x : numpy.ndarray, or dict or list of them, batch first; or Regions, or FastaSequences
        All inputs of the model, or the files to read them from.
    n_draws : int
        At least 2, or 0 for `point` alone: the other statistics are NaN then, and the model needs no
        dropout.
    seed : int
        0 <= seed < 2**64; all inputs of a draw see the same masks.
    targets : str, int, or sequence of them, optional
        Outputs to report, by label, index or shell pattern.
    label_axis : int, optional
        The axis of an output (without the batch) that the model's column labels name, where more than
        one has their length.
    batch_size : int
        Inputs in one forward pass.
    keep_draws : bool
        Also return every draw.
    ignore : sequence of str
        Modules whose dropout is left off, and that of the modules inside them.

    Raises
    ------
    kipoi_mcdropout.errors.McDropoutError
        If the model cannot be run under locked dropout, or an argument is not as stated.
    """
    check_n_draws(n_draws)
    if batch_size < 1:
        raise InputError(f"batch_size must be at least 1; got {batch_size}")
    if not isinstance(model, KipoiModel):
        ready = as_model(model, ignore=tuple(ignore), label_axis=label_axis)
        model, x = ready.adapter, array_inputs(ready, x)
    adapter: KipoiModel = model
    x = adapter.arrays(x)
    if n_rows(x) == 0:
        raise InputError("at least one input is required; got an empty batch")
    masks = MaskBank(seed)
    with adapter.locked.borrow():
        adapter.locked.plan_for(adapter.tensors(take(x, slice(0, 1))), n_draws)
        chosen = adapter.targets(adapter.example_outputs(x), targets)
        parts = []
        for rows in chunks(n_rows(x), batch_size):
            inputs = adapter.tensors(take(x, rows))
            draws = [
                adapter.locked.outputs(inputs, draw, masks, selected=chosen.selected).double().cpu()
                for draw in (POINT, *range(n_draws))
            ]
            parts.append(_summary(chosen.labels, draws[0], draws[1:], keep_draws))
    return _concatenate(parts)


def _summary(
    labels: tuple[str, ...], point: torch.Tensor, several: list[torch.Tensor], keep: bool
) -> Predictions:
    finite = torch.isfinite(point)
    point = point.masked_fill(~finite, math.nan)
    if not several:
        nothing = np.full(point.shape, math.nan)
        n_nonfinite = (~finite).long().numpy()
        return Predictions(labels, 0, nothing, nothing, nothing, point.numpy(), n_nonfinite)
    draws = torch.stack(several)
    broken = ~torch.isfinite(draws)
    draws = draws.masked_fill(broken, math.nan)
    moments = Moments.of(draws)
    return Predictions(
        labels,
        len(draws),
        moments.mean.numpy(),
        moments.variance().numpy(),
        moments.mcse().numpy(),
        point.numpy(),
        broken.sum(dim=0).numpy(),
        draws.float().numpy() if keep else None,
    )


def _concatenate(parts: Sequence[Predictions]) -> Predictions:
    draws = [part.draws for part in parts if part.draws is not None]
    return Predictions(
        parts[0].labels,
        parts[0].n_draws,
        np.concatenate([part.mean for part in parts]),
        np.concatenate([part.var for part in parts]),
        np.concatenate([part.mcse for part in parts]),
        np.concatenate([part.point for part in parts]),
        np.concatenate([part.n_nonfinite for part in parts]),
        np.concatenate(draws, axis=1) if draws else None,
    )
