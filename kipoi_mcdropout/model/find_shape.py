"""Find out what shape a network's input has, by running it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from kipoi_mcdropout.arrays.nested import leaves
from kipoi_mcdropout.dropout.locked_model import POINT
from kipoi_mcdropout.dropout.mask_bank import MaskBank
from kipoi_mcdropout.errors import InputError, ModelForwardError

if TYPE_CHECKING:
    from kipoi_mcdropout.model.adapter import KipoiModel
    from kipoi_mcdropout.model.extra_inputs import SequenceInput

_L = None  # the length, in a layout
_ROWS = 3  # a batch that no layer takes for one input without a batch, or for a number of bases
_FIRST_LENGTH = 1000  # bp
_LONGEST = 2**21
_OTHER = 7  # added to a length that fits, to see whether any length does


class OpenLengthError(InputError):
    """The model takes windows of several lengths, and none was given."""


def find_input_shape(
    model: KipoiModel,
    place: SequenceInput,
    category_axis: int | None,
    n_letters: int,
    length: int | None,
) -> tuple[int, ...]:
    """Shape of one input (without the batch) of a network that does not say it.

    The network is run on sequences in each usual layout: (4, length), (length, 4), (4, 1, length),
    (1, 4, length). The length, where it is not given, is found from the first linear layer that does not
    fit, if one length alone fits.

    Parameters
    ----------
    place : SequenceInput
        What the model takes beside the sequence.
    category_axis : int, optional
        The axis of the bases, which leaves the layouts that have it; those of two axes come first.
    length : int, optional
        In bp.

    Raises
    ------
    InputError
        If no layout fits, or several do.
    OpenLengthError
        If several lengths fit.
    """
    layouts = [(n_letters, _L), (_L, n_letters), (n_letters, 1, _L), (1, n_letters, _L)]
    if category_axis is not None:
        layouts = [
            layout
            for layout in layouts
            if -len(layout) <= category_axis < len(layout) and layout[category_axis] == n_letters
        ]
    with model.locked.borrow():
        probes = [_Probe(model, place, layout) for layout in layouts]
        lengths = {probe: [length] if length else probe.lengths() for probe in probes}
        fits = [
            (probe, n) for probe, found in lengths.items() for n in found if n and probe.runs(n)
        ]
    if category_axis is not None:  # it is said for the usual two axes, if these fit
        fits = [(probe, n) for probe, n in fits if len(probe.layout) == 2] or fits
    return _only(fits, probes, length)


def _only(
    fits: list[tuple[_Probe, int]], probes: list[_Probe], length: int | None
) -> tuple[int, ...]:
    by_probe = {probe: [n for p, n in fits if p is probe] for probe, _ in fits}
    if not by_probe:
        tried = ", ".join(f"{probe.words(length)} {probe.problem}" for probe in probes)
        raise InputError(
            "the shape of the model's input cannot be found out; give input_shape (--input_shape), such "
            f"as 4,500. Tried: {tried or 'nothing: no usual layout has this category_axis'}"
        )
    if len(by_probe) > 1:
        shapes = " and ".join(str(probe.shape(ns[0])) for probe, ns in by_probe.items())
        raise InputError(
            f"the model takes inputs of shape {shapes}: say which by input_shape (--input_shape), or "
            "category_axis (--category_axis)"
        )
    probe, found = next(iter(by_probe.items()))
    if length is None and probe.any_length:
        raise OpenLengthError(
            f"the model takes windows of any length, of shape {probe.words(None)}: give length "
            "(--length), in bp"
        )
    if len(found) > 1:
        raise OpenLengthError(
            f"the model takes windows of {found[0]} to {found[-1]} bp, of shape {probe.words(None)}, "
            "all the same to its layers: give the length with which it was trained (--length), in bp"
        )
    return probe.shape(found[0])


@dataclass(eq=False)
class _Probe:
    """A network run on inputs of one layout, within `borrow()`."""

    model: KipoiModel
    place: SequenceInput
    layout: tuple[int | None, ...]
    any_length: bool = False
    problem: str = "fails"
    _known: dict[int, int | None] = field(default_factory=dict)

    def shape(self, length: int) -> tuple[int, ...]:
        """Shape of one input."""
        return tuple(length if size is _L else size for size in self.layout)

    def words(self, length: int | None) -> str:
        """The shape for people to read."""
        known = "length" if length is None else length
        return f"({', '.join(str(known if size is _L else size) for size in self.layout)})"

    def runs(self, length: int) -> bool:
        """Whether the network takes such inputs."""
        return self._side(length) == 0

    def lengths(self) -> list[int]:
        """First and last length that the network takes; [] if none is found."""
        low, high = 0, _FIRST_LENGTH  # too short, too long
        while (side := self._side(high)) is not None and side < 0:
            low, high = high, 2 * high
            if high > _LONGEST:
                return []
        if side is None:
            return []
        if side == 0 and self.runs(high + _OTHER) and self.runs(2 * high):
            self.any_length = True
            return [high]
        first = self._first(low, high, lambda n: self._at_least(n, 0))
        last = self._first(first, 2 * high, lambda n: self._at_least(n, 1)) - 1
        return [] if not self.runs(first) else [first] if last == first else [first, last]

    def _first(self, low: int, high: int, holds: Any) -> int:
        """The first length in (low, high] for which something holds, as it does for all longer ones."""
        if low and holds(low):
            return low
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if holds(middle) else (middle, high)
        return high

    def _at_least(self, length: int, side: int) -> bool:
        found = self._side(length)
        return found is not None and found >= side

    def _side(self, length: int) -> int | None:
        """-1 for a length that is too short, 0 for one that fits, 1 for too long; None: cannot tell."""
        if length not in self._known:
            self._known[length] = self._run(length)
        return self._known[length]

    def _run(self, length: int) -> int | None:
        x = np.zeros((_ROWS, *self.shape(length)), self.model.input_dtype)
        inputs = self.place.inputs(x)
        with _linear_layers(self.model.locked.module) as seen, self.model.whole_outputs():
            try:
                outputs = self.model.locked.raw_outputs(self.model.tensors(inputs), POINT, MaskBank(0))
            except (ModelForwardError, InputError, RuntimeError, ValueError, TypeError) as error:
                return self._failed(error, seen)
        if all(len(leaf.shape) > 0 and leaf.shape[0] == _ROWS for _, leaf in leaves(outputs)):
            return 0
        self.problem = "gives outputs that are not one for each input"
        return None

    def _failed(self, error: Exception, seen: list[tuple[int, int]]) -> int | None:
        if seen and seen[-1][0] != seen[-1][1]:
            wanted, came = seen[-1]
            self.problem = f"gives {came} numbers to a linear layer of {wanted}"
            return -1 if came < wanted else 1
        self.problem = f"fails ({' '.join(str(error).split())[:100]})"
        short = "smaller" in str(error) or "too small" in str(error) or "greater than" in str(error)
        return -1 if short else None


@contextlib.contextmanager
def _linear_layers(module: nn.Module) -> Iterator[list[tuple[int, int]]]:
    """What linear layers want and get in their last dimension, in the order of the calls."""
    seen: list[tuple[int, int]] = []

    def look(layer: nn.Linear, inputs: tuple[Any, ...]) -> None:
        if inputs and isinstance(inputs[0], torch.Tensor):
            seen.append((layer.in_features, inputs[0].shape[-1]))

    hooks = [
        part.register_forward_pre_hook(look)
        for part in module.modules()
        if isinstance(part, nn.Linear)
    ]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()
