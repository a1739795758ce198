"""What is read of a model's outputs: some tracks, a window of their bins, and one number of it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.outputs.aligned import BinViews
from kipoi_mcdropout.outputs.bins import (
    ALL_BINS,
    Bins,
    bins_of_bp,
    parse_range,
    whole_number,
)
from kipoi_mcdropout.outputs.groups import TrackGroups, as_groups
from kipoi_mcdropout.outputs.projection import Projection, as_projection
from kipoi_mcdropout.outputs.reductions import Reduction, parse_reduction
from kipoi_mcdropout.outputs.targets import as_targets


@dataclass(frozen=True)
class Readout:
    """Makes labelled numbers of the outputs of a model, in each draw, before they are scored.

    Parameters
    ----------
    head : str, optional
        Name of the output, of a model that has several.
    tracks : str, int, or sequence of them
        Tracks by label, number from 0, or pattern such as "DNASE*"; all by default.
    track_axis : int, optional
        Axis of the output (without the batch) that holds the tracks; needed only where it cannot be
        told from the labels.
    center_bins : int, optional
        Window of so many bins about the centre (`Bins`).
    center_bp, bin_bp : int, optional
        The same in bp, and the width of a bin in bp; `bin_bp` alone says where bins lie that are moved
        (`VariantOptions.shifts`, `VariantOptions.indel_alignment`).
    bins : str or tuple of int, optional
        "START:END", 0-based, END is not in it.
    track_groups : path or dict, optional
        Groups of tracks, of which the mean is reported (`groups.as_groups`); beside `tracks`, where
        these are given.
    projection : path, DataFrame or array, optional
        Weights of the tracks (`projection.as_projection`).
    projection_labels : sequence of str or path, optional
        Names of the outputs of a projection that has none.
    reduce : str or sequence of str
        One or several of sum, mean, max, logsumexp, each perhaps with a window of its own, such as
        "sum@32" (bins), "sum@512bp" or "sum@440:456". Required where the output has an axis of bins.

    Each track or group with each reduction is an output, called "DNASE:K562|sum@32".

    Raises
    ------
    InputError
        If an argument is not as stated.

    Examples
    --------
    >>> Readout(tracks="DNASE*", reduce=["sum", "max"], center_bins=32).reductions[0].name
    'sum@32'
    """

    head: str | None = None
    tracks: Any = ()
    track_axis: int | None = None
    center_bins: int | None = None
    center_bp: int | None = None
    bin_bp: int | None = None
    bins: Any = None
    track_groups: Any = None
    projection: Any = None
    projection_labels: Any = None
    reduce: Any = ()
    keeps_bins: bool = field(default=False, repr=False)  # profiles are compared before they are reduced
    views: BinViews | None = field(default=None, repr=False)  # whose bins are brought into line

    def __post_init__(self) -> None:
        if self.head is not None and not isinstance(self.head, str):
            raise InputError(f"head must be the name of an output; got {self.head!r}")
        for name in ("track_axis", "center_bins", "center_bp", "bin_bp"):
            if (value := getattr(self, name)) is not None:
                self._set(name, whole_number(value, name))
        self._set("tracks", as_targets(self.tracks, "tracks"))
        if self.track_groups is not None:
            self._set("track_groups", as_groups(self.track_groups))
        if self.projection is not None:
            self._set("projection", as_projection(self.projection, self.projection_labels))
        elif self.projection_labels is not None:
            raise InputError("projection_labels (--projection_labels) need a projection (--projection)")
        self._set("projection_labels", None)  # they are in the projection
        if self.projection is not None and self.track_groups is not None:
            raise InputError("give either track_groups or a projection: both combine tracks")
        self._set("reduce", (self.reduce,) if isinstance(self.reduce, str) else tuple(self.reduce or ()))
        self._set("bins", None if self.bins is None else parse_range(self.bins).word)
        self._check_windows()

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _check_windows(self) -> None:
        """Refuse windows that say two things, or that nothing is done with."""
        given = [n for n in ("center_bins", "center_bp", "bins") if getattr(self, n) is not None]
        if len(given) > 1:
            raise InputError(f"give one window of bins; got {' and '.join(given)}")
        reductions = self.reductions
        names = [reduction.name for reduction in reductions]
        if twice := [name for name in names if names.count(name) > 1]:
            raise InputError(f"each reduction can be given only once; got {twice[0]!r} twice")
        if given and not reductions:
            raise InputError(
                f"{given[0]} (--{given[0]}) is a window of bins, of which reduce (--reduce) makes one "
                "number: sum, mean, max or logsumexp"
            )
        if given and all("@" in text for text in self.reduce):
            raise InputError(
                f"{given[0]} is the window of reductions without one of their own; got {names}"
            )

    @property
    def uses_bin_bp(self) -> bool:
        """Whether a window is in bp."""
        names = [reduction.name for reduction in self.reductions]
        return self.center_bp is not None or any(name.endswith("bp") for name in names)

    @classmethod
    def of(cls, words: Mapping[str, Any], where: str) -> Readout | None:
        """A readout from its words; None where none is given.

        Raises
        ------
        InputError
            If a word is not known; `where` says who was asked.
        """
        given = {name: value for name, value in words.items() if value is not None}
        for name in given:
            if name not in WORDS:
                near = difflib.get_close_matches(name, WORDS, 1)
                hint = f"; is it {near[0]!r}?" if near else "."
                raise InputError(
                    f"{where} does not know the argument {name!r}{hint} Of the outputs it knows "
                    f"{', '.join(WORDS)}"
                )
        return cls(**given) if given else None

    def comparing(self) -> Readout:
        """The same for scores that compare profiles, before they are reduced."""
        return replace(self, keeps_bins=True)

    def aligning(self, views: BinViews) -> Readout:
        """The same for several views of each sequence, whose bins are brought into line first."""
        return replace(self, keeps_bins=True, views=views)

    @property
    def reductions(self) -> tuple[Reduction, ...]:
        """What is made of the bins of a track."""
        window = self._window()
        return tuple(parse_reduction(text, window, self.bin_bp) for text in self.reduce)

    def _window(self) -> Bins:
        """That of reductions without one of their own."""
        if self.bins is not None:
            return parse_range(self.bins)
        if self.center_bins is not None:
            return Bins(center=self.center_bins, word=str(self.center_bins))
        if self.center_bp is not None:
            n = bins_of_bp(self.center_bp, self.bin_bp)
            return Bins(center=n, word=f"{self.center_bp}bp")
        return ALL_BINS

    @property
    def wants_tracks(self) -> bool:
        """Whether tracks are chosen or combined."""
        combines = self.track_groups is not None or self.projection is not None
        return bool(self.tracks) or combines or self.track_axis is not None

    def to_dict(self) -> dict[str, Any]:
        """What was given, as plain values for the record of a run."""
        plain: dict[str, Any] = {}
        for name in WORDS:
            value = getattr(self, name)
            if isinstance(value, TrackGroups):
                value = {name: list(tracks) for name, tracks in value.groups}
            elif isinstance(value, Projection):
                value = {"labels": list(value.labels), "sha256": value.digest()}
            elif isinstance(value, tuple):
                value = list(value)
            if value not in (None, []):
                plain[name] = value
        return plain


# What a user can say.
WORDS = tuple(one.name for one in fields(Readout) if one.name not in ("keeps_bins", "views"))
