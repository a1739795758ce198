"""Random masks that a model makes itself: stochastic depth, hand-made dropout.

Such code draws random numbers, turns them into zeros and ones, and multiplies:

    x * x.new_empty(len(x), 1, 1).bernoulli_(keep) / keep        # DropPath of timm and torchvision
    x / keep * (keep + torch.rand(len(x), 1, 1)).floor_()        # an older form
    x * (torch.rand(x.shape) > p) / (1 - p)

`RandomNumbers` follows the numbers from the call that makes them to the call that turns them into a
mask. There it asks for a locked mask in their place. While the model is only observed, each mask is
replaced by its mean, 1 - p: the result of code that does nothing but drop is then that of evaluation
mode. Numbers that become no mask are reported by `random_call`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from kipoi_mcdropout.dropout.call import DropoutCall

_EXCEEDS = ("gt", "ge", "greater", "greater_equal")
_FALLS_BELOW = ("lt", "le", "less", "less_equal")
_SAME_NUMBERS = frozenset(
    {
        "get", "view", "view_as", "reshape", "reshape_as", "unsqueeze", "squeeze", "flatten",
        "unflatten", "transpose", "permute", "movedim", "swapaxes", "t", "to", "type", "float",
        "double", "half", "bfloat16", "cuda", "cpu", "contiguous", "clone", "detach",
    }
)  # fmt: skip
_NO_NUMBERS = frozenset(
    {"size", "dim", "ndimension", "numel", "nelement", "stride", "len", "is_floating_point", "type_as"}
)
_ESCAPES = frozenset({"bool", "item", "tolist", "numpy", "float", "int", "index", "array"})
_BOOL_ONLY = frozenset(
    {
        "getitem", "setitem", "index_put", "masked_select", "masked_scatter", "nonzero", "and", "or",
        "xor", "logical_and", "logical_or", "logical_xor", "bitwise_and", "bitwise_or", "masked_fill",
        "where",
    }
)  # fmt: skip
_NOISE = frozenset(
    {
        torch.randn, torch.randint, torch.randperm, torch.randn_like, torch.randint_like,
        torch.multinomial, torch.normal, torch.poisson, Tensor.normal_, Tensor.random_,
        Tensor.exponential_, Tensor.multinomial, Tensor.geometric_, Tensor.cauchy_, Tensor.log_normal_,
    }
)  # fmt: skip


class _Mode(Protocol):
    def drop(self, call: DropoutCall) -> Tensor: ...

    def random_call(self, what: str) -> None: ...


@dataclass
class _Source:
    """The call that made some numbers, which can become one mask only."""

    function: str
    used: bool = False


@dataclass(frozen=True)
class _Uniform:
    """Numbers that are uniform between `offset` and `offset` + 1."""

    source: _Source
    offset: float = 0.0


@dataclass(frozen=True)
class _Mask:
    """Zeros and ones; where `mean` is set, the probability of a one in their place."""

    function: str
    mean: bool
    is_bool: bool


class RandomNumbers:
    """What becomes of random numbers within one forward pass."""

    def __init__(self, mode: _Mode) -> None:
        self.mode = mode
        self._marks = WeakTensorKeyDictionary()

    def call(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Result of a function of torch that is called while the model runs."""
        maker = _MAKERS.get(func)
        if maker is not None:
            return maker(self, func, args, kwargs)
        if func in _NOISE:
            self.mode.random_call(f"torch's {func.__name__}")
        if self._marks:
            for value in _flat((*args, *kwargs.values())):
                mark = self._marks.get(value) if isinstance(value, Tensor) else None
                if isinstance(mark, _Uniform):
                    return self._use_uniform(mark, value, func, args, kwargs)
                if isinstance(mark, _Mask):
                    return self._use_mask(mark, value, func, args, kwargs)
        return func(*args, **kwargs)

    def uniform(self, function: str, numbers: Tensor) -> Tensor:
        """Mark numbers as uniform between 0 and 1. Their values do not matter; they get the mean."""
        numbers.fill_(0.5)
        return self._marked(numbers, _Uniform(_Source(function)))

    def mask(self, function: str, p: float, like: Tensor, as_bool: bool = False) -> Tensor:
        """A mask of the shape, dtype and device of `like`, with zeros with probability p."""
        dtype = like.dtype if like.is_floating_point() else torch.get_default_dtype()
        mean = torch.full(like.shape, 1.0 - p, dtype=dtype, device=like.device)
        if not 0.0 < p < 1.0:
            return mean.bool() if as_bool else mean
        one_a_row = mean.numel() in (1, mean.shape[0] if mean.dim() else 1)
        call = DropoutCall("drop_path" if one_a_row else "mask", p, mean)
        result = self.mode.drop(call)
        is_mean = result is mean
        if as_bool and not is_mean:
            result = result.bool()
        return self._marked(result, _Mask(function, is_mean, as_bool))

    def _use_uniform(self, mark: _Uniform, u: Tensor, func: Any, args: Any, kwargs: Any) -> Any:
        name = func.__name__.strip("_")
        if name in _NO_NUMBERS:
            return func(*args, **kwargs)
        if name in _SAME_NUMBERS and args[0] is u:
            result = func(*args, **kwargs)
            return self._marked(result, mark) if isinstance(result, Tensor) else result
        other = self._number([x for x in args if x is not u]) if not kwargs else None
        if name in ("add", "radd", "iadd") and other is not None:
            return self._marked(func(*args), replace(mark, offset=mark.offset + other))
        source, again = mark.source, " a second time" if mark.source.used else ""
        if name in (*_EXCEEDS, *_FALLS_BELOW) and other is not None and not again:
            source.used = True
            above = min(max(1.0 - (other - mark.offset), 0.0), 1.0)  # probability of exceeding it
            exceeds = (name in _EXCEEDS) == (args[0] is u)
            return self.mask(source.function, 1.0 - above if exceeds else above, u, as_bool=True)
        if name == "floor" and 0.0 <= mark.offset <= 1.0 and not again:
            source.used = True
            result = self.mask(source.function, 1.0 - mark.offset, u)
            return self.copied(u, result) if func.__name__ == "floor_" else result
        self.mode.random_call(f"torch's {source.function}, whose numbers go into torch's {name}{again}")
        return func(*args, **kwargs)

    def _use_mask(self, mark: _Mask, mask: Tensor, func: Any, args: Any, kwargs: Any) -> Any:
        name = func.__name__.strip("_")
        if name in _ESCAPES and func.__name__ not in ("float", "bool") and len(args) == 1:
            self.mode.random_call(f"torch's {mark.function}, which decides what its code runs")
        if mark.mean and mark.is_bool:
            result = self._with_mean(mark, mask, func, args)
            if result is not None:
                return result
            if name in _BOOL_ONLY:
                self.mode.random_call(f"torch's {mark.function}, whose mask goes into torch's {name}")
                args = _replaced(args, mask, mask > 0.5)
        result = func(*args, **kwargs)
        if name in _SAME_NUMBERS and args[0] is mask and isinstance(result, Tensor):
            return self._marked(result, mark)
        return result

    def copied(self, x: Tensor, mask: Tensor) -> Tensor:
        """The mask in the memory of `x`, for functions that work in place."""
        return self._marked(x.copy_(mask), self._marks.get(mask))

    def _with_mean(self, mark: _Mask, mask: Tensor, func: Any, args: Any) -> Tensor | None:
        """Functions of a bool mask, given the probability of True; None for other functions."""
        name = func.__name__.strip("_")
        if name in ("invert", "logical_not", "bitwise_not"):
            return self._marked(1.0 - mask, mark)
        if func.__name__ == "bool" or (name == "to" and torch.bool in args):
            return mask
        if name in ("masked_fill", "setitem") and len(args) == 3 and args[1] is mask:
            x, _, value = args
            if isinstance(value, Tensor) and value.dim():
                return None
            mixed = x * (1.0 - mask) + value * mask
            replaced: Tensor = mixed if func.__name__ == "masked_fill" else x.copy_(mixed)
            return replaced
        if name == "where" and len(args) == 3:  # torch.where(mask, a, b) or a.where(mask, b)
            condition, a, b = args if args[0] is mask else (args[1], args[0], args[2])
            return condition * a + (1.0 - condition) * b if condition is mask else None
        return None

    def _number(self, values: list[Any]) -> float | None:
        """The only value, if it is one number, of Python or in a tensor; else None."""
        if len(values) != 1 or isinstance(values[0], bool):
            return None
        (value,) = values
        if isinstance(value, Tensor) and value.numel() == 1 and value not in self._marks:
            return float(value)
        return float(value) if isinstance(value, (int, float)) else None

    def _marked(self, x: Tensor, mark: Any) -> Tensor:
        if mark is not None:
            self._marks[x] = mark
        return x


def _flat(values: Iterable[Any]) -> Iterator[Any]:
    """Arguments, and what is in lists and tuples among them."""
    for value in values:
        if isinstance(value, (list, tuple)):
            yield from _flat(value)
        else:
            yield value


def _replaced(values: Any, old: Tensor, new: Tensor) -> Any:
    if isinstance(values, (list, tuple)):
        return type(values)(_replaced(value, old, new) for value in values)
    return new if values is old else values


def _probability(value: Any) -> float | None:
    """A probability that is the same everywhere; None where it is not."""
    if isinstance(value, Tensor):
        if value.numel() == 0 or not bool((value == value.reshape(-1)[0]).all()):
            return None
        value = value.reshape(-1)[0].item()
    return float(value)


_Maker = Callable[[RandomNumbers, Any, tuple[Any, ...], dict[str, Any]], Any]


def _rand(numbers: RandomNumbers, func: Any, args: Any, kwargs: Any) -> Any:
    make = torch.empty_like if func is torch.rand_like else torch.empty
    if kwargs.get("out") is not None:
        return _refused(numbers, func, args, kwargs, "with out=")
    kwargs = {name: value for name, value in kwargs.items() if name not in ("generator", "out")}
    return numbers.uniform(func.__name__, make(*args, **kwargs))


def _uniform_(numbers: RandomNumbers, func: Any, args: Any, kwargs: Any) -> Any:
    x, *ends = args
    ends += [kwargs[name] for name in ("from", "to") if name in kwargs]
    if ends not in ([], [0, 1]):
        return _refused(numbers, func, args, kwargs, f"between {ends}")
    return numbers.uniform("uniform_", x)


def _bernoulli(numbers: RandomNumbers, func: Any, args: Any, kwargs: Any) -> Any:
    """torch.bernoulli(probabilities), x.bernoulli(), x.bernoulli(p) and x.bernoulli_(p)."""
    x = args[0] if args else kwargs["input"]
    in_place = func is Tensor.bernoulli_
    given = args[1] if len(args) > 1 else kwargs.get("p", 0.5 if in_place else None)
    keep = _probability(x if given is None else given)
    if keep is None or kwargs.get("out") is not None:
        return _refused(numbers, func, args, kwargs, "with probabilities that differ")
    mask = numbers.mask(func.__name__, 1.0 - keep, x)
    return numbers.copied(x, mask) if in_place else mask


def _binomial(numbers: RandomNumbers, func: Any, args: Any, kwargs: Any) -> Any:
    count = args[0] if args else kwargs["count"]
    keep = _probability(args[1] if len(args) > 1 else kwargs["prob"])
    if keep is None or _probability(count) != 1.0:
        return _refused(numbers, func, args, kwargs, "with counts above 1 or probabilities that differ")
    return numbers.mask("binomial", 1.0 - keep, count)


def _refused(numbers: RandomNumbers, func: Any, args: Any, kwargs: Any, why: str) -> Any:
    numbers.mode.random_call(f"torch's {func.__name__} {why}")
    return func(*args, **kwargs)


_MAKERS: dict[Any, _Maker] = {
    torch.rand: _rand,
    torch.rand_like: _rand,
    Tensor.uniform_: _uniform_,
    torch.bernoulli: _bernoulli,
    Tensor.bernoulli: _bernoulli,
    Tensor.bernoulli_: _bernoulli,
    torch.binomial: _binomial,
}
