"""Which axis of an output holds the tracks, and which the bins."""

from __future__ import annotations

from dataclasses import dataclass

from kipoi_mcdropout.errors import TargetError
from kipoi_mcdropout.outputs.labels import ArrayLabels


@dataclass(frozen=True)
class Axes:
    """The axes of one output without the batch; axes of length 1 hold nothing.

    Attributes
    ----------
    shape : tuple of int
    tracks, bins : int or None
        The axis; None where there is none.
    names : tuple of str
        Of the tracks; one where there is no axis of them, "" where it has no name.
    """

    shape: tuple[int, ...]
    tracks: int | None
    bins: int | None
    names: tuple[str, ...]

    @property
    def n_bins(self) -> int:
        """Bins of a track; 1 where there is no axis of them."""
        return 1 if self.bins is None else self.shape[self.bins]


def find_axes(
    labels: ArrayLabels, track_axis: int | None, wants_tracks: bool, wants_bins: bool, what: str
) -> Axes:
    """Tell the axes of an output.

    The tracks lie along the axis that has labels, or along `track_axis`; the bins along the other one.
    A lone axis without labels holds what is asked for: tracks, else bins, else tracks.

    Parameters
    ----------
    labels : ArrayLabels
        Of the output.
    track_axis : int, optional
        From 0 or from the end, without the batch.
    wants_tracks, wants_bins : bool
        Whether tracks are chosen, and whether bins are.
    what : str
        The output, in words.

    Raises
    ------
    TargetError
        If `track_axis` is no axis or is needed, or the output has more axes than tracks and bins.
    """
    shape, tracks = labels.shape, labels.axis
    long = [i for i, size in enumerate(shape) if size != 1]
    if labels.names and labels.axis is None and long:
        raise TargetError(
            f"{what} has shape {shape} and a name for each number, not for each track; give outputs "
            "(--outputs) with a name for each place along the axis of tracks"
        )
    if track_axis is not None:
        if not -len(shape) <= track_axis < len(shape):
            raise TargetError(
                f"track_axis must be an axis of {what}, of shape {shape} (without the batch); got "
                f"{track_axis}"
            )
        tracks = track_axis % len(shape)
    elif tracks is None and len(long) == 1 and (wants_tracks or not wants_bins):
        tracks = long[0]
    elif tracks is None and len(long) > 1:
        raise TargetError(
            f"{what} has shape {shape} (without the batch), and no labels say which axis holds the "
            f"tracks: give track_axis (--track_axis), one of {', '.join(map(str, long))}"
        )
    others = [i for i in long if i != tracks]
    if len(others) > 1:
        raise TargetError(
            f"{what} must have tracks and bins alone; it has shape {shape} (without the batch). Wrap "
            "the model in a module that returns such an output"
        )
    if tracks is not None and shape[tracks] == 1:
        tracks = None
    return Axes(shape, tracks, others[0] if others else None, _names(labels, tracks))


def _names(labels: ArrayLabels, tracks: int | None) -> tuple[str, ...]:
    if tracks is None:
        return labels.names if len(labels.names) == 1 else (labels.title,)
    if labels.names and labels.axis == tracks:
        return labels.names
    return tuple(map(str, range(labels.shape[tracks])))
