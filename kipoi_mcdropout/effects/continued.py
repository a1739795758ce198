"""Accumulators of some of the mutants, which go on with more draws."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kipoi_mcdropout.arrays.moments import Moments, PairedMoments
from kipoi_mcdropout.effects.accumulator import Accumulator

_COUNTED = ("positive", "nonfinite", "saturated")  # a single 0 as long as nothing was counted
_OF_REFERENCE = "ref_point"


def taken(
    accumulator: Accumulator,
    mutants: NDArray[np.int64],
    references: NDArray[np.int64] | None = None,
    owner: NDArray[np.int64] | None = None,
) -> Accumulator:
    """An accumulator of some of the mutants, with all draws that they have.

    Parameters
    ----------
    mutants : numpy.ndarray of int64
        Rows.
    references : numpy.ndarray of int64, optional
        Rows of the references that stay; all by default.
    owner : numpy.ndarray of int64, shape=(mutants,), optional
        The reference of each mutant among those that stay.
    """
    assert accumulator.pairs is not None
    assert accumulator.effects is not None
    pairs, points = accumulator.pairs, accumulator.points
    device = pairs.comoment.device
    rows = torch.from_numpy(mutants)
    on_device = rows.to(device)
    own = copy.copy(accumulator)
    own.owner = accumulator.owner[rows] if owner is None else torch.from_numpy(owner)
    own.unchanged = accumulator.unchanged[rows]

    def of_reference(values: Tensor) -> Tensor:
        return values if references is None else values[torch.from_numpy(references).to(device)]

    def of_mutant(values: Tensor) -> Tensor:
        return values[on_device]

    own.pairs = PairedMoments(
        Moments(pairs.ref.n, of_reference(pairs.ref.mean), of_reference(pairs.ref.m2)),
        _some(pairs.alt, on_device),
        of_mutant(pairs.comoment),
        own.owner.to(device),
    )
    own.effects = _some(accumulator.effects, on_device)
    for name in _COUNTED:
        counts = getattr(accumulator, name)
        setattr(own, name, of_mutant(counts) if counts.ndim else counts)
    own.points = {
        name: of_reference(values) if name == _OF_REFERENCE else of_mutant(values)
        for name, values in points.items()
    }
    return own


def joined(pieces: Sequence[Accumulator]) -> Accumulator:
    """One accumulator of the mutants of several, of the same references and draws."""
    first = pieces[0]
    assert first.pairs is not None
    assert first.effects is not None
    whole = copy.copy(first)
    whole.owner = torch.cat([piece.owner for piece in pieces])
    whole.unchanged = torch.cat([piece.unchanged for piece in pieces])
    whole.eps = max(piece.eps for piece in pieces)
    pairs = [piece.pairs for piece in pieces if piece.pairs is not None]
    effects = [piece.effects for piece in pieces if piece.effects is not None]
    whole.pairs = PairedMoments(
        first.pairs.ref,
        _together([of_piece.alt for of_piece in pairs]),
        torch.cat([of_piece.comoment for of_piece in pairs]),
        torch.cat([of_piece.owner for of_piece in pairs]),
    )
    whole.effects = _together(effects)
    for name in _COUNTED:
        counts = [
            getattr(piece, name).to(of_piece.mean.device).expand(of_piece.mean.shape)
            for piece, of_piece in zip(pieces, effects, strict=True)
        ]
        setattr(whole, name, torch.cat(counts))
    whole.points = {
        name: values if name == _OF_REFERENCE else torch.cat([piece.points[name] for piece in pieces])
        for name, values in first.points.items()
    }
    return whole


def _some(moments: Moments, rows: Tensor) -> Moments:
    return Moments(moments.n, moments.mean[rows], moments.m2[rows])


def _together(parts: Sequence[Moments]) -> Moments:
    mean = torch.cat([part.mean for part in parts])
    return Moments(parts[0].n, mean, torch.cat([part.m2 for part in parts]))
