"""What one random number may be, and the mean of such numbers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from kipoi_mcdropout.dropout.function_names import CONVERTS

_N_VALUES = 2**13  # equally likely ones, which stand for a continuous distribution


@dataclass(frozen=True, eq=False)
class Spread:
    """What each number of a tensor may be.

    Attributes
    ----------
    function : str
        That made the random numbers.
    roots : frozenset
        The calls that made them: two tensors without a common one are independent.
    order : object
        Tensors with the same one have what comes of one random number in the same place.
    values : Tensor, shape=(values,)
        In the type that the numbers have in a draw: all equally likely, or two with `chance`. None are
        known of sums and the like: the mean alone.
    chance : Tensor, optional
        Probability of the second of two values, for each number of the tensor.
    line : (kind, offset, scale), optional
        The numbers are `offset` + `scale` times those of a distribution, "uniform" or "normal".
    """

    function: str
    roots: frozenset[object]
    order: object
    values: Tensor
    chance: Tensor | None = None
    line: tuple[str, float, float] | None = None

    @property
    def is_known(self) -> bool:
        """Whether more than the mean is known."""
        return self.values.numel() > 0

    def mean(self, like: Tensor) -> Tensor:
        """The mean of each number, floating, in the shape of a tensor."""
        floating = self.values.dtype.is_floating_point
        dtype = self.values.dtype if floating else like.dtype
        if self.chance is None:
            return torch.full(
                like.shape, self.values.double().mean().item(), dtype=dtype, device=like.device
            )
        low, high = (self.values[i].item() for i in (0, 1))
        return (low + (high - low) * self.chance).to(dtype).expand(like.shape).clone()

    def at(self, i: int, like: Tensor) -> Tensor:
        """A tensor of the i-th value."""
        return self.values[i].expand(like.shape).clone()


@lru_cache(maxsize=8)
def quantiles(kind: str) -> Tensor:
    """Equally likely numbers of a distribution, "uniform" or "normal", float64."""
    middle = (torch.arange(_N_VALUES, dtype=torch.float64) + 0.5) / _N_VALUES
    return middle if kind == "uniform" else torch.special.ndtri(middle)


def below(kind: str, x: Tensor) -> Tensor:
    """Probability that a number of a distribution is below x."""
    return x.clamp(0.0, 1.0) if kind == "uniform" else torch.special.ndtr(x)


def one_number(values: list[Any], kwargs: dict[str, Any]) -> float | None:
    """The only other argument, if it is one number."""
    if len(values) != 1 or kwargs or isinstance(values[0], (bool, torch.dtype)):
        return None
    (value,) = values
    if isinstance(value, Tensor):
        return float(value) if value.numel() == 1 else None
    return float(value) if isinstance(value, (int, float)) else None


def line_after(
    name: str, line: tuple[str, float, float] | None, number: float | None, first: bool
) -> tuple[str, float, float] | None:
    """The line of the result of an operation with one number."""
    if line is None or (name in CONVERTS and number is None):
        return line
    return None if number is None and name != "neg" else moved_line(name, line, number or 0.0, first)


def moved_line(
    name: str, line: tuple[str, float, float], number: float, first: bool
) -> tuple[str, float, float] | None:
    """Offset and scale after adding, subtracting, multiplying, dividing; None for other operations.

    `first` says whether the random numbers come first.
    """
    kind, offset, scale = line
    if name == "add":
        return kind, offset + number, scale
    if name == "sub" and first:
        return kind, offset - number, scale
    if name == "rsub" or (name == "sub" and not first):
        return kind, number - offset, -scale
    if name == "neg":
        return kind, -offset, -scale
    if number != 0 and (name == "mul" or (name == "div" and first)):
        factor = number if name == "mul" else 1.0 / number
        return kind, offset * factor, scale * factor
    return None
