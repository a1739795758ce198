"""Passes over one batch that share what comes before the first random number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from kipoi_mcdropout.arrays.nested import Nested, leaves
from kipoi_mcdropout.dropout.memory import is_out_of_memory
from kipoi_mcdropout.dropout.prefix import (
    Key,
    Prefix,
    PrefixFinder,
    around_forward,
    usable_parts,
)
from kipoi_mcdropout.dropout.random_functions import unobserved

# Runs the model once; is given what to call when the model makes its first random number.
OnePass = Callable[[Callable[[], None] | None], Nested]


class Sharing:
    """What is known of a model for inputs of one shape.

    Attributes
    ----------
    prefix : Prefix or None
        None before the first pass.
    copies : set of Key
        Calls whose results are written into later in the pass: each pass gets a copy.
    is_checked : bool
        Whether a shared pass was compared with a plain one: equal, bit for bit.
    is_off : bool
        It was not equal, or failed: each pass is a plain one.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.prefix: Prefix | None = None
        self.copies: set[Key] = set()
        self.is_checked = False
        self.is_off = False


class SharedPasses:
    """Passes over one batch; the results of the prefix are kept for the next ones.

    Parameters
    ----------
    budget_bytes : int
        A result that does not fit is not kept.

    Attributes
    ----------
    n_reused : int
        Calls of modules that were not run, so far.
    """

    def __init__(self, budget_bytes: int) -> None:
        self.budget_bytes = budget_bytes
        self.n_reused = 0
        self._kept: dict[Key, tuple[Any, list[int]]] = {}  # results, and versions of their tensors
        self._sharing: Sharing | None = None
        self._calls: Counter[str] = Counter()

    def run(self, sharing: Sharing, one_pass: OnePass) -> Nested:
        """What the model returns for this batch; the same as of a plain pass, bit for bit."""
        if sharing.is_off:
            return one_pass(None)
        before = self.n_reused
        try:
            return self._shared(sharing, one_pass)
        except Exception as error:
            if sharing.is_checked or self.n_reused == before or is_out_of_memory(error):
                raise
            self._give_up(sharing)
        return one_pass(None)  # has the error too, if the model is at fault

    def _shared(self, sharing: Sharing, one_pass: OnePass) -> Nested:
        if sharing.prefix is None:
            finder = PrefixFinder(sharing.module)
            with finder.observing():
                outputs = one_pass(finder.random_begins)
            sharing.prefix = finder.prefix()
            return outputs
        self._sharing, before = sharing, self.n_reused
        self._calls.clear()
        parts = usable_parts(sharing.module)
        names = {name for name, _ in (*sharing.prefix.ends, *sharing.prefix.passed_over)}
        with around_forward({name: parts[name] for name in names}, self._around):
            outputs = one_pass(None)
        self._drop_changed(sharing)
        if self.n_reused > before and not sharing.is_checked:
            expected = one_pass(None)
            if not _is_equal(outputs, expected):
                self._give_up(sharing)
                return expected
            sharing.is_checked = True
        return outputs

    def _give_up(self, sharing: Sharing) -> None:
        sharing.is_off = True
        self._kept.clear()

    def _around(self, name: str, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        assert self._sharing is not None
        assert self._sharing.prefix is not None
        prefix, key = self._sharing.prefix, (name, self._calls[name])
        self._calls[name] += 1
        end = prefix.passed_over.get(key)
        if key in self._kept or end in self._kept:
            self.n_reused += 1
            self._calls += prefix.inside[key]
            return args[0] if key not in self._kept else self._result(key)
        output = forward(*args, **kwargs)
        if key in prefix.ends:
            self._keep(key, output)
        return output

    def _result(self, key: Key) -> Any:
        assert self._sharing is not None
        result, _ = self._kept[key]
        with unobserved():
            return _map(torch.clone, result) if key in self._sharing.copies else result

    def _keep(self, key: Key, output: Any) -> None:
        assert self._sharing is not None
        with unobserved():
            results = [output, *(result for result, _ in self._kept.values())]
            if sum(x.nbytes for result in results for x in _tensors(result)) > self.budget_bytes:
                return
            if key in self._sharing.copies:
                strides = [x.stride() for x in _tensors(output)]
                output = _map(torch.clone, output)
                if [x.stride() for x in _tensors(output)] != strides:  # another kernel may follow
                    return
            self._kept[key] = output, [x._version for x in _tensors(output)]

    def _drop_changed(self, sharing: Sharing) -> None:
        """Forget results that the rest of the pass has written into; from now on it gets copies."""
        for key, (result, versions) in list(self._kept.items()):
            if [x._version for x in _tensors(result)] != versions:
                sharing.copies.add(key)
                sharing.is_checked = False
                del self._kept[key]


def _tensors(result: Any) -> list[Tensor]:
    if isinstance(result, tuple):
        return [x for part in result for x in _tensors(part)]
    return [result] if isinstance(result, Tensor) else []


def _map(function: Callable[[Tensor], Tensor], result: Any) -> Any:
    if isinstance(result, tuple):
        parts = [_map(function, part) for part in result]
        return type(result)(*parts) if hasattr(result, "_fields") else type(result)(parts)
    return function(result) if isinstance(result, Tensor) else result


def _is_equal(a: Nested, b: Nested) -> bool:
    first, second = list(leaves(a)), list(leaves(b))
    return [path for path, _ in first] == [path for path, _ in second] and all(
        _is_equal_leaf(x, y) for (_, x), (_, y) in zip(first, second, strict=True)
    )


def _is_equal_leaf(x: Any, y: Any) -> bool:
    if not (isinstance(x, Tensor) and isinstance(y, Tensor)):
        return True  # not reported
    same = x.shape == y.shape and x.dtype == y.dtype
    return same and torch.allclose(x, y, rtol=0, atol=0, equal_nan=True)
