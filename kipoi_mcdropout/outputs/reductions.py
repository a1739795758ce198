"""What makes one number of the bins of a track: a sum, mean, maximum or logsumexp over a window."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.outputs.bins import Bins, parse_window

KINDS = ("sum", "mean", "max", "logsumexp")


@dataclass(frozen=True)
class Reduction:
    """One number of the bins in a window.

    Attributes
    ----------
    kind : {"sum", "mean", "max", "logsumexp"}
    bins : Bins
        The window.

    Raises
    ------
    InputError
        If there is no such kind.
    """

    kind: str
    bins: Bins

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(
                f"a reduction must be one of {', '.join(KINDS)}, maybe with a window such as sum@32; "
                f"got {self.kind!r}"
            )

    @property
    def name(self) -> str:
        """As it stands in the name of an output: "sum", "sum@32"."""
        return f"{self.kind}@{self.bins.word}" if self.bins.word else self.kind

    def apply(self, x: Tensor, dim: int) -> Tensor:
        """The reduction along an axis that has the bins of the window alone."""
        if self.kind == "sum":
            return x.sum(dim)
        if self.kind == "mean":
            return x.mean(dim)
        return x.amax(dim) if self.kind == "max" else torch.logsumexp(x, dim)


@dataclass(frozen=True)
class Window:
    """A reduction, and the bins that it takes: from `start` to the one before `end`."""

    reduction: Reduction
    start: int
    end: int

    def after(self, first: int) -> Window:
        """The same counted from another bin."""
        return Window(self.reduction, self.start - first, self.end - first)

    def of(self, x: Tensor, dim: int) -> Tensor:
        """Its bins along an axis."""
        return x.narrow(dim, self.start, self.end - self.start)


def parse_reduction(text: str, default: Bins, bin_bp: int | None) -> Reduction:
    """A reduction from its name; `default` is the window of one that names none.

    >>> parse_reduction("max@10:20", Bins(), None).name
    'max@10:20'

    Raises
    ------
    InputError
        If it is no reduction, or its window is none.
    """
    if not isinstance(text, str):
        raise InputError(f"reduce must be names such as sum or sum@32; got {text!r}")
    kind, at, window = text.partition("@")
    return Reduction(kind, parse_window(window, bin_bp) if at else default)
