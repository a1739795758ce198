"""Random numbers that a model's own code makes: stochastic depth, hand-made dropout, noise.

    x * x.new_empty(len(x), 1, 1).bernoulli_(keep) / keep        # DropPath of timm and torchvision
    x / keep * (keep + torch.rand(len(x), 1, 1)).floor_()        # an older form
    x * (torch.rand(x.shape) > p) / (1 - p)
    x + sigma * torch.randn_like(x)                              # noise

`RandomNumbers` gives locked numbers in their place, through `drop` of its mode. Uniform numbers that are
compared with one number are a mask of zeros and ones, drawn as such; all others are noise. So it is not
known yet, when they are made, what uniform numbers are: they are NaN until they are used.

While the model is only observed, and for the point prediction, each number is replaced by its mean
(spreads.py): the result of code that does nothing but drop is then that of evaluation mode. Numbers that
cannot be locked are reported by `random_call`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from kipoi_mcdropout.dropout.call import DropoutCall
from kipoi_mcdropout.dropout.function_names import (
    COMPARES,
    CONVERTS,
    ESCAPES,
    NO_NUMBERS,
    PICKS,
    REPEATS,
    base_name,
    flat,
    in_place,
    is_move,
    replaced,
)
from kipoi_mcdropout.dropout.random_functions import LOST, MAKERS, unobserved
from kipoi_mcdropout.dropout.spread import Spread, moved_line, quantiles
from kipoi_mcdropout.dropout.spreads import Spreads

_EXCEEDS = ("gt", "ge")


class _Mode(Protocol):
    def drop(self, call: DropoutCall) -> Tensor: ...

    def random_call(self, what: str) -> None: ...

    def no_mean(self, what: str) -> None: ...


@dataclass(eq=False)
class _Source:
    """The call that made some uniform numbers, and what they have turned out to be."""

    function: str
    base: Tensor
    is_mask: bool = False
    numbers: Tensor | None = None  # where they are noise


@dataclass(frozen=True, eq=False)
class _Step:
    """An operation on numbers that are not known yet."""

    func: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    x: Tensor  # the numbers among the arguments


@dataclass(frozen=True, eq=False)
class _Unknown:
    """Uniform numbers between `offset` and `offset + scale`, which are not drawn yet."""

    source: _Source
    line: tuple[str, float, float] = ("uniform", 0.0, 1.0)
    steps: tuple[_Step, ...] = ()  # from the source's numbers to these
    once: tuple[Tensor, int] | None = None  # before the first repetition of numbers, after so many steps


class RandomNumbers:
    """What becomes of random numbers within one forward pass."""

    def __init__(self, mode: _Mode) -> None:
        self.mode = mode
        self._unknown = WeakTensorKeyDictionary()
        self._spreads = Spreads(mode, self.call)

    def call(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Result of a function of torch that is called while the model runs."""
        maker = MAKERS.get(func)
        if maker is not None:
            return maker(self, func, args, kwargs)
        if func in LOST:
            self.mode.random_call(f"torch's {func.__name__}")
        if self._unknown:
            found = [x for x in flat((*args, *kwargs.values())) if self._is_unknown(x)]
            if found:
                return self._use(found, func, args, kwargs)
        if self._spreads:
            return self._spreads.call(func, args, kwargs)
        return func(*args, **kwargs)

    # --- what is made ----------------------------------------------------------------------------

    def uniform(self, function: str, base: Tensor, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Uniform numbers, not known yet, in the memory of `base`."""
        base.fill_(torch.nan)
        self._spreads.marked(base, None)
        unknown = _Unknown(_Source(function, base))
        if (low, high) == (0.0, 1.0):
            self._unknown[base] = unknown
            return base
        steps = (
            _Step(torch.mul, (base, high - low), {}, base),
            _Step(torch.add, (base, low), {}, base),
        )
        self._unknown[base] = replace(unknown, line=("uniform", low, high - low), steps=steps)
        return base

    def noise(self, function: str, kind: str, like: Tensor) -> Tensor:
        """Numbers of the distribution "uniform" or "normal", as many as in a tensor."""
        mean = torch.full_like(like, 0.5 if kind == "uniform" else 0.0)
        numbers = self.mode.drop(DropoutCall(f"{kind}_noise", 0.0, mean))
        if numbers is not mean:
            return numbers
        values = quantiles(kind).to(like)
        spread = Spread(function, frozenset({object()}), object(), values, None, (kind, 0.0, 1.0))
        return self._spreads.marked(numbers, spread)

    def mask(self, function: str, p: float, like: Tensor, values: Tensor) -> Tensor:
        """As many of two values as there are numbers in `like`; the first with probability p."""
        dtype = like.dtype if like.is_floating_point() else torch.get_default_dtype()
        if not 0.0 < p < 1.0:
            return values[0 if p > 0 else 1].expand(like.shape).clone()
        mean = torch.full_like(like, 1.0 - p, dtype=dtype)  # "like": which rows it has is known then
        result = self.mode.drop(DropoutCall("mask", p, mean))
        if result is not mean:
            return torch.where(result > 0.5, values[1], values[0])
        return self.by_chance(function, mean.clone(), values)

    def by_chance(self, function: str, chance: Tensor, values: Tensor) -> Tensor:
        """The mean of two values, the second of which has this probability."""
        spread = Spread(function, frozenset({object()}), object(), values, chance)
        return self._spreads.marked(spread.mean(chance), spread)

    def written(self, x: Tensor, numbers: Tensor) -> Tensor:
        """Numbers in the memory of `x`, for functions that work in place."""
        x.copy_(numbers)
        self._unknown.pop(x, None)
        return self._spreads.marked(x, self._spreads.get(numbers))

    def is_random(self, x: Tensor) -> bool:
        """Whether a tensor holds random numbers itself."""
        return self._is_unknown(x) or self._spreads.get(x) is not None

    # --- what is done with uniform numbers -------------------------------------------------------

    def _is_unknown(self, x: Any) -> bool:
        return isinstance(x, Tensor) and x in self._unknown

    def _use(self, found: list[Tensor], func: Any, args: Any, kwargs: Any) -> Any:
        name = base_name(func)
        if name in NO_NUMBERS:
            return func(*args, **kwargs)
        u = found[0]
        unknown = self._unknown[u]
        if len(found) == 1 and unknown.source.numbers is None:
            done, result = self._still_unknown(unknown, u, name, func, args, kwargs)
            if done:
                return result
            done, result = self._as_mask(unknown, u, name, func, args, kwargs)
            if done:
                return result
        for x in {id(x): x for x in found}.values():
            numbers = self._drawn(self._unknown[x], name)
            if in_place(func) and x is args[0]:
                self.written(x, numbers)
            else:
                args = replaced(args, x, numbers)
                kwargs = {k: numbers if v is x else v for k, v in kwargs.items()}
        return self.call(func, args, kwargs)

    def _still_unknown(
        self, unknown: _Unknown, u: Tensor, name: str, func: Any, args: Any, kwargs: Any
    ) -> tuple[bool, Any]:
        """Operations after which the numbers are still uniform: moves, and those with one number."""
        if func.__name__ in ESCAPES or not args or (name in CONVERTS and args[0] is not u):
            return False, None
        line, once = unknown.line, unknown.once
        other = _number([x for x in args if x is not u], kwargs, self)
        if name in PICKS:  # some numbers may be taken twice
            return False, None
        if is_move(name, args) and args[0] is u:
            result = func(*args, **kwargs)
            if not isinstance(result, Tensor):
                return name == "get", result
            if once is None and (name in REPEATS or result.numel() != u.numel()):
                once = (u, len(unknown.steps)) if name in REPEATS else None
                if once is None:  # a part of the numbers
                    return False, None
        elif name in CONVERTS:
            result = func(*args, **kwargs)
            if not result.is_floating_point():
                return False, None
        else:
            moved = moved_line(name, line, other or 0.0, args[0] is u)
            if moved is None or (other is None and name != "neg"):
                return False, None
            line, result = moved, func(*args, **kwargs)
        steps = (*unknown.steps, _Step(func, args, kwargs, u))
        self._unknown[result] = _Unknown(unknown.source, line, steps, once)
        return True, result

    def _as_mask(
        self, unknown: _Unknown, u: Tensor, name: str, func: Any, args: Any, kwargs: Any
    ) -> tuple[bool, Any]:
        """A comparison with one number, and `floor`: they make a mask."""
        source, (_, offset, scale) = unknown.source, unknown.line
        other = _number([x for x in args if x is not u], kwargs, self)
        like = u if unknown.once is None else unknown.once[0]
        if source.is_mask:
            return False, None
        if name in COMPARES and other is not None:
            below = min(max((other - offset) / scale, 0.0), 1.0)  # probability of it
            below = below if scale > 0 else 1.0 - below
            p = below if (name in _EXCEEDS) == (args[0] is u) else 1.0 - below
            values = torch.tensor([False, True], device=u.device)
        elif name == "floor" and scale == 1.0 and 0.0 <= offset <= 1.0:
            p, values = 1.0 - offset, torch.tensor([0.0, 1.0], dtype=u.dtype, device=u.device)
        else:
            return False, None
        source.is_mask = True
        result = self.mask(source.function, p, like, values)
        if unknown.once is not None:
            for step in unknown.steps[unknown.once[1] :]:
                if is_move(base_name(step.func), step.args):
                    result = self.call(step.func, replaced(step.args, step.x, result), step.kwargs)
        return True, self.written(u, result) if in_place(func) else result

    def _drawn(self, unknown: _Unknown, name: str) -> Tensor:
        """The numbers, as noise."""
        source = unknown.source
        if source.is_mask:
            self.mode.random_call(
                f"torch's {source.function}, whose numbers go into torch's {name} a second time"
            )
            source.numbers, source.is_mask = torch.full_like(source.base, 0.5), False
        if source.numbers is None:
            source.numbers = self.noise(source.function, "uniform", source.base)
        numbers = source.numbers
        for step in unknown.steps:
            args = replaced(step.args, step.x, numbers)
            if in_place(step.func):
                args = (self.call(torch.clone, (numbers,), {}), *args[1:])
            numbers = self.call(step.func, args, step.kwargs)
        return numbers


def _number(values: list[Any], kwargs: dict[str, Any], numbers: RandomNumbers) -> float | None:
    """The only value, if it is one number, of Python or in a tensor; else None."""
    if len(values) != 1 or kwargs or isinstance(values[0], bool):
        return None
    (value,) = values
    if isinstance(value, Tensor) and value.numel() == 1 and not numbers.is_random(value):
        with unobserved():
            return float(value)
    return float(value) if isinstance(value, (int, float)) else None
