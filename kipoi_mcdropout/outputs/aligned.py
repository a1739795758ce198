"""Bins of several views of one sequence (strands, shifted windows), brought into line.

The window of the output moves with the sequence. So a base lies in other bins where the window is
shifted, or where the model reads the other strand. All bins are numbered here as in the output for the
strand and the window of the variant that nothing was done to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.outputs.reductions import Window

if TYPE_CHECKING:  # it imports `targets`, which imports this
    from kipoi_mcdropout.outputs.strand_pairs import StrandPairs


class View(NamedTuple):
    """A window that is moved to the right by some bins, and the strand that is read."""

    shift: int
    is_reverse: bool


@dataclass(frozen=True)
class BinViews:
    """The views of a sequence whose bins are averaged.

    Attributes
    ----------
    length : int
        Of the model's input, bp.
    shifts : tuple of int
        Of the windows, bp.
    rc : bool
        Whether both strands are read.
    pairs : StrandPairs or None
        Tracks that change places on the other strand.
    stitches : bool
        What lies behind an insertion or deletion is put back to its place.
    bin_bp : int or None
        Width of a bin; required with shifts, and to stitch.

    Raises
    ------
    InputError
        If `bin_bp` is missing, or a shift is no multiple of it.
    """

    length: int
    shifts: tuple[int, ...] = (0,)
    rc: bool = False
    pairs: StrandPairs | None = None
    stitches: bool = False
    bin_bp: int | None = None

    def __post_init__(self) -> None:
        moved = self.shifts != (0,)
        if (moved or self.stitches) and self.bin_bp is None:
            what = "shifts (--shifts)" if moved else "indel_alignment stitch (--indel_alignment)"
            raise InputError(
                f"{what} must know where a base lies in the output: give bin_bp (--bin_bp), the width "
                "of a bin: 32 for Borzoi, 128 for Enformer, 1 for a profile with a number for each base"
            )
        if self.bin_bp is not None and any(shift % self.bin_bp for shift in self.shifts):
            raise InputError(
                "with bins, shifts (--shifts) must be multiples of the width of a bin, so that the bins "
                f"can follow the variant; got {', '.join(map(str, self.shifts))} and bin_bp "
                f"{self.bin_bp}"
            )

    @property
    def views(self) -> tuple[View, ...]:
        """All of them: of each shift one strand, then the other."""
        shifts = [shift // (self.bin_bp or 1) for shift in self.shifts]
        return tuple(
            View(k, strand) for k in shifts for strand in ((False, True) if self.rc else (False,))
        )

    def check(self, n_bins: int, what: str) -> None:
        """Raise InputError where bins of this width cannot be those of an output of so many."""
        if self.bin_bp is None:
            return
        outside = self.length - n_bins * self.bin_bp
        if outside < 0 or outside % 2:
            raise InputError(
                f"bin_bp (--bin_bp) {self.bin_bp} does not fit {what}: {n_bins} bins of {self.bin_bp} "
                f"bp must lie in the middle of the input of {self.length} bp, with as many bp on the "
                "left as on the right"
            )


@dataclass(frozen=True)
class Alignment:
    """Where the numbers that the engine gives for a view belong.

    Attributes
    ----------
    views : BinViews
    n_bins : int
        Of the output.
    span : (int, int)
        First bin of each row that the engine gives, and the one after the last, as the model has them.
    frame : (int, int)
        The same of the bins that are compared or reduced.
    rows, reverse_rows : tuple of int
        Which rows of the engine are the tracks, and which they are on the other strand.
    n_rows : int
        Of the engine.
    """

    views: BinViews
    n_bins: int
    span: tuple[int, int]
    frame: tuple[int, int]
    rows: tuple[int, ...]
    reverse_rows: tuple[int, ...]
    n_rows: int

    @property
    def size(self) -> int:
        """Numbers of one input that the engine gives."""
        return self.n_rows * (self.span[1] - self.span[0])

    def forward(self, x: Tensor, view: View) -> Tensor:
        """The tracks and bins of a view as on the strand of the variant.

        Parameters
        ----------
        x : Tensor, shape=(..., engine's rows * bins of `span`)

        Returns
        -------
        Tensor, shape=(..., rows, bins of `span`)
            Turned round where the view is of the other strand.
        """
        x = x.reshape(*x.shape[:-1], self.n_rows, self.span[1] - self.span[0])
        rows = self.reverse_rows if view.is_reverse else self.rows
        if rows != tuple(range(self.n_rows)):
            x = x[..., list(rows), :]
        return x.flip(-1) if view.is_reverse else x

    def stitch(self, left: Tensor, right: Tensor, position: int, delta: int, view: View) -> Tensor:
        """`stitched` of what `forward` gives for the two windows of an allele in a view.

        `position` is counted in bp from the start of the window that is not shifted.
        """
        bin_bp = self.views.bin_bp or 1
        cropped = (self.views.length - self.n_bins * bin_bp) // 2
        return stitched(left, right, position - view.shift * bin_bp - cropped, delta, bin_bp)

    def framed(self, x: Tensor, view: View) -> Tensor:
        """Of what `forward` gives the bins of `frame`, shape=(..., rows * bins)."""
        first = self.n_bins - self.span[1] if view.is_reverse else self.span[0]
        start, end = self.frame
        return x.narrow(-1, start - view.shift - first, end - start).flatten(-2)


def align(
    views: BinViews, windows: Sequence[Window], rows: StrandRows, n_bins: int, what: str
) -> Alignment:
    """The alignment of the windows of an output.

    Raises
    ------
    InputError
        If the bins do not fit the input, or a window leaves the output where it follows the variant.
    """
    views.check(n_bins, what)
    frame = min(w.start for w in windows), max(w.end for w in windows)
    spans = [(0, n_bins)] if views.stitches else []
    for view in views.views:
        start, end = frame[0] - view.shift, frame[1] - view.shift
        if not 0 <= start < end <= n_bins:
            raise InputError(
                "shifts (--shifts) move the bins with the variant, and then the bins "
                f"{frame[0]}:{frame[1]} that are read become {start}:{end}; {what} has the bins "
                f"0:{n_bins}. Give a smaller window, such as center_bins (--center_bins), or smaller "
                "shifts"
            )
        spans.append((n_bins - end, n_bins - start) if view.is_reverse else (start, end))
    span = min(start for start, _ in spans), max(end for _, end in spans)
    return Alignment(views, n_bins, span, frame, rows.forward, rows.reverse, rows.n)


class StrandRows(NamedTuple):
    """Rows that are read of an output, so that both strands have theirs.

    `tracks` and `weights` are as in `BoundReadout`; `forward` and `reverse` say which of the `n` rows
    are the tracks (groups, classes) on one strand and on the other.
    """

    tracks: tuple[int, ...] | None
    weights: NDArray[np.float64] | None
    forward: tuple[int, ...]
    reverse: tuple[int, ...]
    n: int


def strand_rows(
    tracks: tuple[int, ...] | None,
    weights: NDArray[np.float64] | None,
    n_rows: int,
    labels: Sequence[str],
    pairs: StrandPairs | None,
) -> StrandRows:
    """The rows for both strands, of those for one.

    Parameters
    ----------
    tracks, weights
        As in `BoundReadout`.
    n_rows : int
    labels : sequence of str
        Of all tracks of the output.
    pairs : StrandPairs, optional

    Raises
    ------
    InputError
        If the pairs do not fit the tracks.
    """
    same = tuple(range(n_rows))
    if pairs is None:
        return StrandRows(tracks, weights, same, same, n_rows)
    partner = pairs.partners(labels)
    own = tuple(range(len(labels))) if tracks is None else tracks
    used = tuple(sorted({*own, *(partner[i] for i in own)}))
    place = {number: i for i, number in enumerate(used)}
    read = None if len(used) == len(labels) else used
    if weights is None:
        forward = tuple(place[i] for i in own)
        return StrandRows(read, None, forward, tuple(place[partner[i]] for i in own), len(used))
    both = np.zeros((len(used), 2 * n_rows))
    for i, of_track in zip(own, weights, strict=True):
        both[place[i], :n_rows] = of_track
        both[place[partner[i]], n_rows:] = of_track
    return StrandRows(read, both, same, tuple(range(n_rows, 2 * n_rows)), 2 * n_rows)


def stitched(left: Tensor, right: Tensor, position: int, delta: int, bin_bp: int) -> Tensor:
    """Profiles of an allele with an insertion or deletion, in the bins of the reference.

    Bins in front of it are those of the window that begins with the reference, bins behind it those of
    the window that ends with it, as baskerville (`stitch_preds` of `hound_snp.py`) joins them. Where the
    allele has no base, there is 0; the bin of the last base in front takes the largest number of the
    inserted bases and itself, as AlphaGenome (`align_alternate`) has both. Where the last base in front
    and the first behind lie in one bin, it is the mean of the two windows.

    Parameters
    ----------
    left, right : Tensor, shape=(..., bins)
        Of the two windows.
    position : int
        Of the first base that is inserted or deleted, bp from the beginning of the first bin.
    delta : int
        Inserted bases; negative for deleted ones.
    bin_bp : int
        Width of a bin.

    >>> one, other = torch.arange(6.0), torch.arange(10.0, 16.0)
    >>> stitched(one, other, 2, -2, 1).tolist()
    [0.0, 1.0, 0.0, 0.0, 14.0, 15.0]
    >>> stitched(one, other, 2, 1, 1).tolist()
    [0.0, 2.0, 12.0, 13.0, 14.0, 15.0]
    """
    n = left.shape[-1]
    front, behind = (position - 1) // bin_bp, (position + max(-delta, 0)) // bin_bp
    if front < 0:
        return right
    joined = right.clone()
    joined[..., :front] = left[..., :front]
    joined[..., front + 1 : behind] = 0
    if front < n:
        own = left[..., front]
        joined[..., front] = own if front < behind else (own + right[..., front]) / 2
        last = (position + max(delta, 0) - 1) // bin_bp
        if inserted := list(range(front + 1, min(last + 1, n))):
            largest = left[..., inserted].amax(-1)
            joined[..., front] = torch.maximum(joined[..., front], largest)
    return joined
