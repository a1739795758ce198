"""Windows of changed positions: where they lie, and what they hold, for a block of mutants.

All mutants of a block have windows of the same width and the same relative position at every layer,
so one slice or one matrix product serves them all. A window may hang over the ends of the sequence;
what lies there is "outside" and is kept at zero difference.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kipoi_mcdropout.engine.incremental.few_channels import FewChannels
from kipoi_mcdropout.engine.incremental.masked import Masked
from kipoi_mcdropout.engine.incremental.zeros import any_not_zero

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Span:
    """Changed positions [start, end) of each mutant, 0-based; may hang over the ends."""

    start: Ints
    end: Ints

    @classmethod
    def union(cls, spans: list[Span]) -> Span:
        """Smallest spans that cover the given ones."""
        start = np.minimum.reduce([span.start for span in spans])
        return cls(start, np.maximum.reduce([span.end for span in spans]))


@dataclass
class Place:
    """Where the windows of a block lie at one node."""

    start: Ints  # shape=(mutants,)
    width: int
    length: int  # of the position axis
    offsets: tuple[int, ...] = ()  # of the window in that of each source; the rule says how
    # Row numbers by what was asked for; places with the same windows share one.
    _cache: dict[object, Tensor] = field(default_factory=dict)

    def forget(self) -> None:
        """Let go of row numbers; they are made again when they are asked for."""
        self._cache.clear()

    def positions(self, begin: int = 0, width: int | None = None) -> Ints:
        """Positions of the window, or of [start + begin, start + begin + width), (mutants, width)."""
        width = self.width if width is None else width
        return self.start[:, None] + begin + np.arange(width)

    def outside(self, device: torch.device, begin: int = 0, width: int | None = None) -> Tensor:
        """Flat numbers (mutant * width + offset) of what lies off the sequence."""
        key = ("outside", begin, width)
        if key not in self._cache:
            positions = self.positions(begin, width)
            flat = np.flatnonzero((positions < 0) | (positions >= self.length))
            self._cache[key] = torch.from_numpy(flat).to(device)
        return self._cache[key]

    def index(
        self,
        device: torch.device,
        owner: Ints | None,
        begin: int = 0,
        width: int | None = None,
        of: str = "reference",
    ) -> Tensor:
        """Flat numbers (owner * length + position) into a reference, clamped to the sequence.

        Those who ask for other owners, or for none, must say `of` what.
        """
        key = (of, begin, width)
        if key not in self._cache:
            positions = np.clip(self.positions(begin, width), 0, self.length - 1)
            if owner is not None:
                positions = positions + owner[:, None] * self.length
            self._cache[key] = torch.from_numpy(positions.ravel()).to(device)
        return self._cache[key]


class Window:
    """What a node's windows hold: the difference to the reference, the value itself, or both.

    shape=(draws, mutants, width, channels), draws = 1 where no mask has been met yet.

    Parameters
    ----------
    delta, new : Tensor, optional
        Difference, value.
    clean : bool
        Whether delta is zero outside.
    masked : Masked, optional
        What delta is the product of; it is made when it is asked for.
    products : dict of int to Tensor, optional
        What linear operations, by node, give for delta, where that is needed in further draws.
    """

    def __init__(
        self,
        delta: Tensor | None = None,
        new: Tensor | None = None,
        clean: bool = False,
        masked: Masked | None = None,
        products: dict[int, Tensor] | None = None,
    ) -> None:
        self._delta, self.new, self.clean, self.masked = delta, new, clean, masked
        self.products: dict[int, Tensor] = {} if products is None else products

    def copy(self) -> Window:
        """Another one that holds the same tensors."""
        return Window(self._delta, self.new, self.clean, self.masked, self.products)

    @property
    def delta(self) -> Tensor | None:
        """The difference; None where only the value is held."""
        if self._delta is None and self.masked is not None:
            self._delta = self.masked.product()
        return self._delta

    @delta.setter
    def delta(self, delta: Tensor | None) -> None:
        self._delta = delta
        if delta is None:
            self.masked = None


def gather(source: Tensor, index: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Rows of (draws, rows, channels) by number, as (draws, mutants, width, channels)."""
    draws = source.shape[0]
    picked = source.index_select(1, index) if draws > 1 else source[0].index_select(0, index)
    return picked.view(draws, *shape)


def clear_outside(x: Tensor, outside: Tensor, value: float = 0.0) -> Tensor:
    """Put `value` at the given flat numbers of (draws, mutants, width, channels), in place."""
    if len(outside):
        x.view(x.shape[0], -1, x.shape[3]).index_fill_(1, outside, value)
    return x


class BlockContext:
    """Everything a rule may ask while it runs on a block of mutants.

    Parameters
    ----------
    owner : numpy.ndarray of int64, shape=(mutants,)
        Row of the reference activations of each mutant.
    places : dict
        (node, lane) -> Place.
    reference : callable
        (node, lane) -> activations of the references, (draws, references, positions, channels).
    masks : callable
        (node) -> multipliers of a dropout site, (draws, positions or 1, channels).
    shared : set of (node, lane)
        Windows that are used more than once, which must not be overwritten.
    paths : Counter
        Counts the ways to compute that were taken.
    """

    def __init__(self, owner, places, reference, masks, shared, device, paths) -> None:  # type: ignore
        self.owner: Ints = owner
        self.places: dict[tuple[int, int], Place] = places
        self.reference = reference
        self.masks = masks
        self.shared: set[tuple[int, int]] = shared
        self.device: torch.device = device
        self.paths: Counter[str] = paths

    @property
    def n_mutants(self) -> int:
        """Mutants in the block."""
        return len(self.owner)

    def reference_window(self, key: tuple[int, int], begin: int = 0, width: int | None = None) -> Tensor:
        """The reference's activations on the window (draws, mutants, width, channels); a new tensor."""
        place, source = self.places[key], self.reference(*key)
        index = place.index(self.device, self.owner, begin, width)
        shape = (self.n_mutants, place.width if width is None else width, source.shape[3])
        return gather(source.flatten(1, 2), index, shape)

    def position_window(self, key: tuple[int, int], source: Tensor) -> Tensor:
        """(draws, positions, channels) on the window of a node: (draws, mutants, width, channels)."""
        place = self.places[key]
        index = place.index(self.device, None, of="positions")
        return gather(source, index, (self.n_mutants, place.width, source.shape[2]))

    def everywhere(self, source: Tensor) -> Tensor:
        """(draws, 1, channels), the same at all positions, as it is broadcast against windows."""
        return source[:, :, None]

    def new(self, key: tuple[int, int], window: Window) -> Tensor:
        """Values of the mutants on the window."""
        if window.new is None:
            assert window.delta is not None
            reference = self.reference_window(key)
            if reference.shape[0] >= window.delta.shape[0]:
                window.new = reference.add_(window.delta)
            else:
                window.new = reference + window.delta
            if key not in self.shared:
                window.delta = None
        return window.new

    def delta(self, key: tuple[int, int], window: Window) -> Tensor:
        """Differences to the reference on the window, zero outside the sequence."""
        if window.delta is None:
            assert window.new is not None
            reference = self.reference_window(key)
            if reference.shape[0] >= window.new.shape[0]:
                window.delta = torch.sub(window.new, reference, out=reference)
            else:
                window.delta = window.new - reference
            window.clean = False
            if key not in self.shared:
                window.new = None
        if not window.clean:
            clear_outside(window.delta, self.places[key].outside(self.device))
            window.clean = True
        return window.delta

    def differs(self, key: tuple[int, int], window: Window) -> Tensor:
        """Whether the mutants differ from the reference on their windows, bool, (draws, mutants)."""
        if window.delta is None:
            assert window.new is not None
            delta = self.delta(key, Window(new=window.new))
        else:
            delta = self.delta(key, window)
        return any_not_zero(delta.flatten(2))

    def few_channels(self, rows: Tensor, outputs: int, dense: float = 1.0) -> FewChannels | None:  # noqa: ARG002
        """See FewChannels.of; here it is not looked at."""
        return None

    def may_overwrite(self, key: tuple[int, int]) -> bool:
        """Whether the windows of a node have a single user."""
        return key not in self.shared


def embed(x: Tensor, begin: int, width: int, out: Tensor | None = None) -> Tensor:
    """Put (draws, mutants, w, channels) into windows of `width` at `begin`, over zeros or `out`."""
    if begin == 0 and x.shape[2] == width and out is None:
        return x
    if out is None:
        out = x.new_zeros(x.shape[0], x.shape[1], width, x.shape[3])
    low, high = max(begin, 0), min(begin + x.shape[2], width)
    if high > low:
        out[:, :, low:high] = x[:, :, low - begin : high - begin]
    return out
