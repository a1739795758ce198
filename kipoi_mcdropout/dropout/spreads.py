"""What stands in place of random numbers in a pass without a draw: their mean.

Such passes are the point prediction, and those that only observe a model. Code that computes with the
mean in place of the numbers can go wrong: a mask of True and False has no mean of its own type, and the
log of a mean is not the mean of a log. So the values that one number may have are kept beside each
tensor of random numbers (its `Spread`). Operations on single elements are done on these values too, and
the model's code gets their mean.

    keep = torch.rand(n, 1) > p      # 1 - p, with the values False and True
    keep.float() / (1 - p)           # 1, with the values 0 and 1 / (1 - p)
    torch.sigmoid(torch.randn(n))    # 0.5, with the values of the sigmoid
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from kipoi_mcdropout.dropout.function_names import (
    COMPARES,
    CONVERTS,
    ELEMENTWISE,
    ESCAPES,
    INDEXES,
    LINEAR,
    MIXES,
    MOVES,
    NO_NUMBERS,
    base_name,
    flat,
    in_place,
    is_move,
    replaced,
)
from kipoi_mcdropout.dropout.spread import Spread, below, line_after, one_number

Found = list[tuple[Tensor, Spread]]
_SUMS = frozenset({"add", "sub", "rsub", "neg", "sum", "mean", "cat", "stack", *CONVERTS})


class _Mode(Protocol):
    def random_call(self, what: str) -> None: ...

    def no_mean(self, what: str) -> None: ...


class Spreads:
    """The spreads of the tensors of one pass.

    Parameters
    ----------
    mode : DropoutInterceptor
        Told of what cannot be locked, or has no mean.
    run : callable
        Calls a function of torch on other arguments.
    """

    def __init__(self, mode: _Mode, run: Callable[..., Any]) -> None:
        self.mode, self._run = mode, run
        self._spreads = WeakTensorKeyDictionary()

    def __bool__(self) -> bool:
        return len(self._spreads) > 0

    def get(self, x: Tensor) -> Spread | None:
        """The spread of a tensor, None of one that is not random."""
        spread: Spread | None = self._spreads.get(x)
        return spread

    def marked(self, x: Tensor, spread: Spread | None) -> Tensor:
        """A tensor with its spread, or with none."""
        if spread is not None:
            self._spreads[x] = spread
        else:
            self._spreads.pop(x, None)
        return x

    def call(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Result of a function of torch, with the mean in place of random numbers."""
        found = list(self._among(args, kwargs))
        if not found or base_name(func) in NO_NUMBERS:
            return func(*args, **kwargs)
        name, first = base_name(func), found[0][1]
        if func.__name__ in ESCAPES:
            return self._escape(first, func, args, kwargs)
        if is_move(name, args) and args[0] is found[0][0] and len(found) == 1:
            return self._move(first, name, func, args, kwargs)
        if name in INDEXES and not (name == "setitem" and self._is_whole_mask(args)):
            return self._index(found, name, func, args, kwargs)
        if name in ELEMENTWISE and all(spread.is_known for _, spread in found):
            return self._elementwise(found, name, func, args, kwargs)
        return self._other(found, name, func, args, kwargs)

    def _among(self, args: Any, kwargs: Any) -> Iterator[tuple[Tensor, Spread]]:
        seen: set[int] = set()
        for value in flat((*args, *kwargs.values())):
            if isinstance(value, Tensor) and id(value) not in seen:
                seen.add(id(value))
                spread = self._spreads.get(value)
                if spread is not None:
                    yield value, spread

    def _escape(self, spread: Spread, func: Any, args: Any, kwargs: Any) -> Any:
        self.mode.random_call(f"torch's {spread.function}, which decides what its code runs")
        return func(*args, **kwargs)

    def _move(self, spread: Spread, name: str, func: Any, args: Any, kwargs: Any) -> Any:
        """An operation that only moves numbers, such as `view` or `expand`."""
        result = func(*args, **kwargs)
        chances = None if spread.chance is None else func(spread.chance, *args[1:], **kwargs)
        order = spread.order if name in MOVES else object()
        if isinstance(result, Tensor):
            return self.marked(result, replace(spread, order=order, chance=chances))
        if isinstance(result, (tuple, list)):
            for i, part in enumerate(result):
                if isinstance(part, Tensor):
                    chance = None if chances is None else chances[i]
                    self.marked(part, replace(spread, order=object(), chance=chance))
        return result

    def _is_whole_mask(self, args: Any) -> bool:
        """Whether the arguments are those of x[mask] = number."""
        spread = self.get(args[1]) if isinstance(args[1], Tensor) else None
        whole = spread is not None and spread.values.dtype == torch.bool and spread.chance is not None
        return whole and not (isinstance(args[2], Tensor) and args[2].dim() > 0)

    def _index(self, found: Found, name: str, func: Any, args: Any, kwargs: Any) -> Any:
        """Numbers that are read or written, and masks that say which."""
        if name == "setitem" and args[0] is found[0][0] and len(found) == 1:
            func(*args, **kwargs)  # some numbers of a mask are set
            spread = found[0][1]
            chance, value = spread.chance, args[2]
            if chance is not None and not isinstance(value, Tensor) and value in spread.values.tolist():
                func(chance, args[1], 1.0 if value == spread.values[1].item() else 0.0)
                return None
            self.marked(args[0], None)
            return None
        self.mode.random_call(f"torch's {found[0][1].function}, whose mask goes into torch's {name}")
        return func(*self._real(found, args), **kwargs)

    def _real(self, found: Found, args: Any) -> Any:
        """The arguments with a possible draw in place of means."""
        for x, spread in found:
            if spread.chance is not None:
                args = replaced(
                    args, x, torch.where(spread.chance > 0.5, spread.values[1], spread.values[0])
                )
        return args

    def _elementwise(self, found: Found, name: str, func: Any, args: Any, kwargs: Any) -> Any:
        x, spread = found[0]
        tensors = [v for v in flat((*args, *kwargs.values())) if isinstance(v, Tensor)]
        others = [v for v in tensors if self.get(v) is None and v.numel() != 1]
        alike = all(s.order is spread.order and v.shape == x.shape for v, s in found)
        if name in CONVERTS and args[0] is not x:  # another tensor, to the type of these numbers
            return func(*replaced(args, x, spread.values), **kwargs)
        if name in CONVERTS or (alike and not others):
            return self._alone(found, name, func, args, kwargs)
        if name in COMPARES and spread.chance is None and len(found) == 1:
            return self._compared(x, spread, name, func, args, kwargs)
        if name == "div" and args[1] is found[-1][0] and not in_place(func):
            factor = self._run(torch.reciprocal, (args[1],), {})
            return self._run(torch.mul, (args[0], factor), kwargs)
        independent = len(frozenset().union(*(s.roots for _, s in found))) == sum(
            len(s.roots) for _, s in found
        )
        masks_alone = not others and all(s.chance is not None for _, s in found)
        if name in LINEAR and not masks_alone and (independent or name != "mul"):
            return self._other(found, name, func, args, kwargs)
        return self._expected(found, name, func, args, kwargs)

    def _alone(self, found: Found, name: str, func: Any, args: Any, kwargs: Any) -> Any:
        """A function of random numbers that are in the same places, and of single numbers."""
        x, spread = found[0]
        own = [self._single(v) for v in args]
        values = func(*own, **{name: self._single(v) for name, v in kwargs.items()})
        number = None if len(found) > 1 else one_number([v for v in args if v is not x], kwargs)
        if name in COMPARES and number is not None and spread.line is not None:
            return self._compared(x, spread, name, func, args, kwargs)
        line = line_after(name, spread.line, number, args[0] is x)
        after = replace(spread, values=values, line=line)
        target = x if in_place(func) and args[0] is x else None
        if name in LINEAR and values.dtype.is_floating_point:
            result = func(*args, **kwargs)
        else:
            result = after.mean(x)
            result = result if target is None else target.copy_(result)
        return self.marked(result, after)

    def _single(self, value: Any) -> Any:
        """An argument in a call on the values of a spread: these, or a single number."""
        if not isinstance(value, Tensor):
            return value
        spread = self.get(value)
        if spread is not None:
            return spread.values.clone()
        return value.reshape(()) if value.numel() == 1 else value.new_empty(0)  # its type matters

    def _compared(self, x: Tensor, spread: Spread, name: str, func: Any, args: Any, kwargs: Any) -> Any:
        """Noise that is compared with other numbers: a mask."""
        if spread.line is None or kwargs or len(args) != 2:
            self._no_mean([(x, spread)], name)
            return func(*args, **kwargs)
        kind, offset, scale = spread.line
        other = args[1] if args[0] is x else args[0]
        other = torch.as_tensor(other, device=x.device, dtype=torch.float64)
        chance = below(kind, (other - offset) / scale)
        chance = chance if (scale > 0) == ((name in ("lt", "le")) == (args[0] is x)) else 1.0 - chance
        chance = chance.expand(torch.broadcast_shapes(chance.shape, x.shape)).to(x.dtype)
        bits = torch.tensor([False, True], device=x.device)
        return self._two(spread, frozenset(spread.roots), bits, chance)

    def _two(self, spread: Spread, roots: frozenset[object], values: Tensor, chance: Tensor) -> Tensor:
        after = Spread(spread.function, roots, object(), values, chance)
        return self.marked(after.mean(chance), after)

    def _expected(self, found: Found, name: str, func: Any, args: Any, kwargs: Any) -> Any:
        """The mean of what the function gives for each of the two values of a mask."""
        masks = [(v, s) for v, s in found if s.chance is not None]
        group = [(v, s) for v, s in masks if s.order is masks[0][1].order] if masks else []
        rest = [(v, s) for v, s in found if all(v is not own for own, _ in group)]
        roots = group[0][1].roots if group else frozenset()
        if not group or kwargs or any(s.roots & roots for _, s in rest):
            self._no_mean(found, name)
            return self._other(found, name, func, args, kwargs)
        parts = []
        for i in (0, 1):
            given = args
            for v, s in group:
                given = replaced(given, v, s.at(i, v))
            if in_place(func) and given[0] is args[0]:
                given = (args[0].clone(), *args[1:]) if given is args else (args[0].clone(), *given[1:])
            part = self._run(func, given, kwargs)
            parts.append((given[0], self.get(given[0])) if name == "setitem" else (part, self.get(part)))
        return self._two_again(found, func, args, self._mixed(group, rest, parts, func, args))

    def _two_again(self, found: Found, func: Any, args: Any, result: Any) -> Any:
        """The mean of what is made of two masks: they may be a mask together, such as a product."""
        if len(found) != 2 or in_place(func) or self.get(result) is not None or len(args) != 2:
            return result
        (_, a), (_, b) = found
        if a.chance is None or b.chance is None:
            return result
        corners = torch.stack([func(x, y) for x in a.values for y in b.values]).unique()
        if len(corners) != 2:
            return result
        low, high = corners.tolist()
        chance = (result - low) / (high - low)
        return self.marked(result, Spread(a.function, a.roots | b.roots, object(), corners, chance))

    def _mixed(self, group: Any, rest: Any, parts: Any, func: Any, args: Any) -> Any:
        chance, spread = group[0][1].chance, group[0][1]
        (low, of_low), (high, of_high) = parts
        spreads = [s for s in (of_low, of_high) if s is not None]
        kinds = {s.values.dtype for s in spreads} | {p.dtype for p, s in parts if s is None}
        mean = low + (high.to(chance.dtype) - low.to(chance.dtype)) * chance
        if kinds == {torch.bool}:
            bits = torch.tensor([False, True], device=mean.device)
            roots = spread.roots.union(*(s.roots for _, s in rest))
            mean = self._two(spread, roots, bits, mean)
        elif not spreads and low.dtype.is_floating_point:
            mean = mean.to(low.dtype)
        if not in_place(func):
            return mean
        args[0].copy_(mean)
        self.marked(args[0], self.get(mean))
        return None if func.__name__ == "__setitem__" else args[0]

    def _other(self, found: Found, name: str, func: Any, args: Any, kwargs: Any) -> Any:
        """The function of the means: right where it is linear."""
        roots = [root for _, spread in found for root in spread.roots]
        linear = name in LINEAR or name in MIXES or (is_move(name, args) and self.get(args[0]) is None)
        if not linear or (len(set(roots)) < len(roots) and name not in _SUMS):
            self._no_mean(found, name)
        try:
            result = func(*args, **kwargs)
        except (RuntimeError, TypeError, NotImplementedError, ValueError):
            result = func(*self._real(found, args), **kwargs)
            self._no_mean(found, name)
        if in_place(func):
            self.marked(args[0], None)
        others = [v for v in flat((*args, *kwargs.values())) if isinstance(v, Tensor) and v.numel() > 1]
        if isinstance(result, Tensor) and all(self.get(v) is not None for v in others):
            mean_alone = replace(found[0][1], values=result.new_empty(0), chance=None, line=None)
            self.marked(result, replace(mean_alone, roots=frozenset(roots), order=object()))
        return result

    def _no_mean(self, found: Found, name: str) -> None:
        what = "mask goes" if found[0][1].chance is not None else "numbers go"
        self.mode.no_mean(
            f"torch's {found[0][1].function}, whose {what} into torch's {name}, so that there is no "
            "mean for the point prediction,"
        )
