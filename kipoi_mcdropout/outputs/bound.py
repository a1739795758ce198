"""A readout for outputs of one shape: what it takes, how its numbers are called, and its tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kipoi_mcdropout.errors import InputError, TargetError
from kipoi_mcdropout.outputs.aligned import Alignment, align, strand_rows
from kipoi_mcdropout.outputs.axes import Axes, find_axes
from kipoi_mcdropout.outputs.labels import ArrayLabels
from kipoi_mcdropout.outputs.profiles import Profiles
from kipoi_mcdropout.outputs.readout import Readout
from kipoi_mcdropout.outputs.reductions import Window
from kipoi_mcdropout.outputs.targets import find_targets


@dataclass(frozen=True, eq=False)
class BoundReadout:
    """What a readout does with an output of one shape.

    Attributes
    ----------
    axes : Axes
        Of the output.
    tracks : tuple of int, or None
        Those that are used; None for all.
    weights : numpy.ndarray, shape=(tracks, rows), or None
        How the tracks that are used make the rows (tracks, groups, classes of a projection); None where
        they are the rows.
    rows : tuple of str
        Names of the rows.
    windows : tuple of Window
        Empty where the output has no bins.
    labels : tuple of str
        Of all numbers: each row with each window.
    keeps_bins : bool
        The bins are not reduced yet: they are compared first.
    alignment : Alignment or None
        How the bins of several views are brought into line, before all else.
    """

    axes: Axes
    tracks: tuple[int, ...] | None
    weights: NDArray[np.float64] | None
    rows: tuple[str, ...]
    windows: tuple[Window, ...]
    labels: tuple[str, ...]
    keeps_bins: bool = False
    alignment: Alignment | None = None
    _tensors: dict[tuple[torch.device, torch.dtype], Tensor] = field(default_factory=dict, repr=False)

    @property
    def span(self) -> tuple[int, int]:
        """The bins that any window takes, in any view: first, and one after the last."""
        if self.alignment is not None:
            return self.alignment.span
        return min(w.start for w in self.windows), max(w.end for w in self.windows)

    def profiles(self, columns: Sequence[int]) -> Profiles | None:
        """What is made of the bins afterwards, for some of the labels; None where none are kept."""
        if not self.keeps_bins:
            return None
        start, end = self.span if self.alignment is None else self.alignment.frame
        windows = tuple(w.after(start) for w in self.windows)
        return Profiles(len(self.rows), end - start, windows, tuple(columns), self.alignment)

    def values(self, x: Tensor) -> Tensor:
        """The numbers of a batch, shape=(n, labels), of the output, shape=(n, *axes.shape).

        Where bins are kept, shape=(n, rows, bins of `span`).
        """
        x, bins = self._rows_of(x)
        if bins is None:
            return x
        if self.keeps_bins:
            return x if bins == 2 else x.transpose(1, 2)
        first = self.span[0]
        parts = [w.reduction.apply(w.after(first).of(x, bins), bins) for w in self.windows]
        return parts[0] if len(parts) == 1 else torch.stack(parts, dim=2).flatten(1)

    def _rows_of(self, x: Tensor) -> tuple[Tensor, int | None]:
        """The rows with the bins of `span`, and the axis of the bins.

        Parameters
        ----------
        x : Tensor, shape=(n, *axes.shape)

        Returns
        -------
        Tensor
            Floating point, shape=(n, rows, bins) or (n, bins, rows), whichever needs no copy; (n, rows)
            where there are no bins.
        """
        axes = self.axes
        x = x if x.is_floating_point() else x.to(torch.float64)
        if x.dtype in (torch.float16, torch.bfloat16):  # a sum of many such numbers would be coarse
            x = x.float()
        for axis in reversed(range(len(axes.shape))):
            if axis not in (axes.tracks, axes.bins):
                x = x.select(axis + 1, 0)
        if axes.tracks is None:
            x, tracks, bins = x.unsqueeze(1), 1, 2
        else:
            before = axes.bins is not None and axes.tracks < axes.bins
            tracks, bins = (1, 2) if before or axes.bins is None else (2, 1)
        x = self._chosen(x, tracks)
        if axes.bins is not None and self.span != (0, axes.n_bins):
            start, end = self.span
            x = x.narrow(bins, start, end - start)
        if self.weights is not None:
            if tracks != x.dim() - 1:
                x, bins = x.transpose(1, 2), 1
            x = torch.matmul(x, self._cached(x.device, x.dtype))
        return x, None if axes.bins is None else bins

    def _chosen(self, x: Tensor, axis: int) -> Tensor:
        """The tracks that are used, along their axis."""
        if self.tracks is None:
            return x
        first, n = self.tracks[0], len(self.tracks)
        if self.tracks == tuple(range(first, first + n)):
            return x.narrow(axis, first, n)
        return x.index_select(axis, self._cached(x.device, torch.int64))

    def _cached(self, device: torch.device, dtype: torch.dtype) -> Tensor:
        """Numbers of the tracks, or the weights, on a device."""
        key = device, dtype
        if key not in self._tensors:
            source = self.tracks if dtype == torch.int64 else self.weights
            self._tensors[key] = torch.as_tensor(np.asarray(source), dtype=dtype, device=device)
        return self._tensors[key]


def bind(readout: Readout, labels: ArrayLabels, what: str) -> BoundReadout:
    """Make a readout fit an output.

    Parameters
    ----------
    readout : Readout
    labels : ArrayLabels
        Shape and labels of the output.
    what : str
        The output, in words.

    Raises
    ------
    TargetError
        If a track is not there, or the axis of tracks is not known.
    InputError
        If there are bins and no reduction, or a reduction and no bins; if a window lies outside; or if
        a projection or a group does not fit.
    """
    reductions = readout.reductions
    axes = find_axes(labels, readout.track_axis, readout.wants_tracks, bool(reductions), what)
    if axes.bins is None and readout.keeps_bins:
        raise InputError(
            f"{what} has no axis of bins, so profiles cannot be compared: its shape is {axes.shape} "
            "(without the batch). Use a score of single values, such as diff"
        )
    if axes.bins is None and reductions:
        raise InputError(
            f"{what} has no axis of bins, so there is nothing to reduce: its shape is {axes.shape} "
            "(without the batch). Leave out reduce (--reduce) and the window"
        )
    if axes.bins is not None and not reductions:
        raise InputError(
            f"{what} has {axes.n_bins} bins for each track: say how they become one number with reduce "
            "(--reduce): sum, mean, max or logsumexp"
        )
    tracks, weights, rows = _rows(readout, axes.names)
    windows = tuple(Window(r, *r.bins.of(axes.n_bins, what)) for r in reductions)
    alignment = None
    if (views := readout.views) is not None:
        both = strand_rows(tracks, weights, len(rows), axes.names, views.pairs)
        tracks, weights = both.tracks, both.weights
        alignment = align(views, windows, both, axes.n_bins, what)
    names = [w.reduction.name for w in windows] or [""]
    return BoundReadout(
        axes, tracks, weights, rows, windows,
        tuple("|".join(filter(None, (row, name))) or "0" for row in rows for name in names),
        readout.keeps_bins, alignment,
    )  # fmt: skip


def _rows(
    readout: Readout, names: Sequence[str]
) -> tuple[tuple[int, ...] | None, NDArray[np.float64] | None, tuple[str, ...]]:
    """Tracks that are used, their weights in the rows, and the names of the rows."""
    chosen = sorted({i for track in readout.tracks for i in find_targets(names, track, "track")})
    if readout.projection is not None:
        used = chosen or list(range(len(names)))
        weights = readout.projection.matrix([names[i] for i in used])
        return _all_or(used, names), weights, readout.projection.labels
    if readout.track_groups is None:
        return _all_or(chosen, names), None, tuple(names[i] for i in chosen) or tuple(names)
    groups = readout.track_groups.members(names)
    rows = (*(names[i] for i in chosen), *readout.track_groups.names)
    if both := {names[i] for i in chosen} & set(readout.track_groups.names):
        raise TargetError(
            f"a group of tracks must not be called as a track that is reported; got {sorted(both)[0]!r}"
        )
    used = sorted({*chosen, *(i for group in groups for i in group)})
    place = {number: i for i, number in enumerate(used)}
    weights = np.zeros((len(used), len(rows)))
    for row, members in enumerate([*([i] for i in chosen), *groups]):
        weights[[place[i] for i in members], row] = 1 / len(members)
    return _all_or(used, names), weights, rows


def _all_or(chosen: Sequence[int], names: Sequence[str]) -> tuple[int, ...] | None:
    return None if len(chosen) in (0, len(names)) else tuple(chosen)
