"""Torch's functions that make random numbers, each with what is made in their place."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

if TYPE_CHECKING:
    from kipoi_mcdropout.dropout.random_numbers import RandomNumbers

# Their numbers cannot be locked.
LOST = frozenset(
    {
        torch.randperm, torch.multinomial, torch.poisson, Tensor.exponential_, Tensor.multinomial,
        Tensor.geometric_, Tensor.cauchy_, Tensor.log_normal_,
    }
)  # fmt: skip


def _probability(value: Any) -> float | None:
    """A probability that is the same everywhere; None where it is not."""
    if not isinstance(value, Tensor):
        return float(value)
    with unobserved():
        first = value.reshape(-1)[:1]
        return first.item() if len(first) and bool((value == first).all()) else None


def unobserved() -> Any:
    """A context in which numbers are looked at that are no part of what the model computes."""
    return _disable_current_modes()


_Maker = Callable[[Any, Any, tuple[Any, ...], dict[str, Any]], Any]  # RandomNumbers first


def _empty(func: Any, args: Any, kwargs: Any) -> Tensor:
    """Memory for what torch.rand, torch.randn and their kin would return."""
    kwargs = {name: value for name, value in kwargs.items() if name != "generator"}
    make = torch.empty_like if func.__name__.endswith("_like") else torch.empty
    return make(*args, **kwargs)


def _rand(numbers: RandomNumbers, func: Any, args: Any, kwargs: Any) -> Any:
    if kwargs.get("out") is not None:
        return _refused(numbers, func, args, kwargs, "with out=")
    return numbers.uniform(func.__name__, _empty(func, args, kwargs))


def _randn(numbers: RandomNumbers, func: Any, args: Any, kwargs: Any) -> Any:
    if kwargs.get("out") is not None:
        return _refused(numbers, func, args, kwargs, "with out=")
    like = _empty(func, args, kwargs)
    if not like.is_floating_point():
        return _refused(numbers, func, args, kwargs, "of complex numbers")
    return numbers.noise(func.__name__, "normal", like)


def _uniform_(numbers: RandomNumbers, _: Any, args: Any, kwargs: Any) -> Any:
    x, low, high = _bound(("x", "from", "to"), (0.0, 1.0), args, kwargs)
    return numbers.uniform("uniform_", x, float(low), float(high))


def _normal_(numbers: RandomNumbers, _: Any, args: Any, kwargs: Any) -> Any:
    x, mean, std = _bound(("x", "mean", "std"), (0.0, 1.0), args, kwargs)
    return numbers.written(x, _scaled(numbers, "normal_", x, mean, std))


def _normal(numbers: RandomNumbers, func: Any, args: Any, kwargs: Any) -> Any:
    """torch.normal of two tensors, of a tensor and a number, or of two numbers and a size."""
    mean, std, size = _bound(("mean", "std", "size"), (1.0, None), args, kwargs)
    if kwargs.get("out") is not None:
        return _refused(numbers, func, args, kwargs, "with out=")
    given = [x for x in (mean, std) if isinstance(x, Tensor)]
    if size is None and given:
        shape = torch.broadcast_shapes(*(x.shape for x in given))
        like = torch.empty(shape, dtype=given[0].dtype, device=given[0].device)
    else:
        options = {k: v for k, v in kwargs.items() if k in ("dtype", "device", "layout")}
        like = torch.empty(size, **options)
    return _scaled(numbers, "normal", like, mean, std)


def _scaled(numbers: RandomNumbers, function: str, like: Tensor, mean: Any, std: Any) -> Tensor:
    """Mean + std * noise."""
    noise = numbers.noise(function, "normal", like)
    for func, other, nothing in ((torch.mul, std, 1.0), (torch.add, mean, 0.0)):
        if isinstance(other, Tensor) or other != nothing:
            noise = numbers.call(func, (noise, other), {})
    return noise


def _bound(names: tuple[str, ...], defaults: tuple[Any, ...], args: Any, kwargs: Any) -> list[Any]:
    """Arguments in order, from those by place and by name; the first ones have no defaults."""
    values = dict(zip(names[-len(defaults) :], defaults, strict=True))
    values.update({name: kwargs[name] for name in names if name in kwargs})
    values.update(zip(names, args, strict=False))
    return [values[name] for name in names]


def _bernoulli(numbers: RandomNumbers, func: Any, args: Any, kwargs: Any) -> Any:
    """torch.bernoulli(probabilities), x.bernoulli(), x.bernoulli(p) and x.bernoulli_(p)."""
    x = args[0] if args else kwargs["input"]
    inside = func is Tensor.bernoulli_
    given = args[1] if len(args) > 1 else kwargs.get("p", 0.5 if inside else None)
    chance = x if given is None else given
    if kwargs.get("out") is not None or (isinstance(chance, Tensor) and numbers.is_random(chance)):
        return _refused(numbers, func, args, kwargs, "with out=, or with probabilities that are random")
    dtype = x.dtype if x.is_floating_point() or inside else torch.get_default_dtype()
    values = torch.tensor([0, 1], dtype=dtype, device=x.device)
    keep = _probability(chance)
    if keep is not None:
        result = numbers.mask(func.__name__, 1.0 - keep, x, values)
    else:
        result = _compared(numbers, func.__name__, chance.expand(x.shape), values)
    return numbers.written(x, result) if inside else result


def _compared(numbers: RandomNumbers, function: str, chance: Tensor, values: Tensor) -> Tensor:
    """Zeros and ones with probabilities that differ: uniform noise, compared with them."""
    noise = numbers.noise(function, "uniform", chance)
    bits = numbers.call(torch.lt, (noise, chance), {})
    result: Tensor = numbers.call(Tensor.to, (bits, values.dtype), {})
    return result


def _binomial(numbers: RandomNumbers, func: Any, args: Any, kwargs: Any) -> Any:
    count = args[0] if args else kwargs["count"]
    keep = _probability(args[1] if len(args) > 1 else kwargs["prob"])
    if keep is None or _probability(count) != 1.0:
        return _refused(numbers, func, args, kwargs, "with counts above 1 or probabilities that differ")
    values = torch.tensor([0, 1], dtype=count.dtype, device=count.device)
    return numbers.mask("binomial", 1.0 - keep, count, values)


def _randint(numbers: RandomNumbers, func: Any, args: Any, kwargs: Any) -> Any:
    """Of two whole numbers: a mask."""
    first = [x for x in args if isinstance(x, Tensor)]  # randint_like, random_
    ends = [x for x in args if isinstance(x, int)]
    ends += [kwargs[name] for name in ("low", "high", "from", "to") if name in kwargs]
    low, high = (0, *ends)[-2:] if ends else (0, 0)
    sizes = [x for x in (*args, kwargs.get("size")) if isinstance(x, (list, tuple))]
    if high - low != 2 or kwargs.get("out") is not None or not (first or sizes):
        return _refused(numbers, func, args, kwargs, "of other than two numbers")
    options = {k: v for k, v in kwargs.items() if k in ("dtype", "device")}
    if first:
        like = torch.empty_like(first[0], **options)
    else:
        like = torch.empty(sizes[0], **{"dtype": torch.int64, **options})
    values = torch.tensor([low, low + 1], dtype=like.dtype, device=like.device)
    result = numbers.mask(func.__name__, 0.5, like, values)
    return numbers.written(first[0], result) if func is Tensor.random_ else result


def _refused(numbers: RandomNumbers, func: Any, args: Any, kwargs: Any, why: str) -> Any:
    numbers.mode.random_call(f"torch's {func.__name__} {why}")
    return func(*args, **kwargs)


MAKERS: dict[Any, _Maker] = {
    torch.rand: _rand,
    torch.rand_like: _rand,
    torch.randn: _randn,
    torch.randn_like: _randn,
    torch.normal: _normal,
    torch.randint: _randint,
    torch.randint_like: _randint,
    torch.bernoulli: _bernoulli,
    torch.binomial: _binomial,
    Tensor.uniform_: _uniform_,
    Tensor.normal_: _normal_,
    Tensor.random_: _randint,
    Tensor.bernoulli: _bernoulli,
    Tensor.bernoulli_: _bernoulli,
}
