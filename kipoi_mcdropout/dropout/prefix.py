"""Which calls of modules come before the first random number of a forward pass.

No mask can change their results, so one result serves all draws of a batch. A call qualifies if it has
ended before the model makes its first random number, and leaves no trace but its result: it writes to
none of its inputs, keeps nothing in an attribute, calls no hook, and returns memory of its own. Of such
calls the outermost are taken. Of an nn.Sequential that is not done at that point it is the last child
that qualifies, since the Sequential only passes on what the children before it return.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from kipoi_mcdropout.dropout.random_functions import unobserved

Key = tuple[str, int]  # name of a module, number of its call in the pass, from 0
Around = Callable[..., Any]  # (name, forward, *args, **kwargs) -> what the module returns
_VALUES = (int, float, str, bool, type(None))


@dataclass(frozen=True)
class Prefix:
    """The calls that are shared by all passes over a batch."""

    ends: frozenset[Key]  # their results are kept
    passed_over: Mapping[Key, Key]  # calls that are left out, once the result of another is kept
    inside: Mapping[Key, Counter[str]]  # of both: how often each module is called within


@contextmanager
def around_forward(parts: Mapping[str, nn.Module], around: Around) -> Iterator[None]:
    """Within it, each of the modules runs by `around`; as they were afterwards."""
    own = {name: part.__dict__.get("forward") for name, part in parts.items()}
    try:
        for name, part in parts.items():
            part.__dict__["forward"] = partial(around, name, part.forward)
        yield
    finally:
        for name, part in parts.items():
            if own[name] is None:
                part.__dict__.pop("forward", None)
            else:
                part.__dict__["forward"] = own[name]


@dataclass(eq=False)
class _Call:
    """A call of a module in the pass that is observed."""

    key: Key
    part: nn.Module
    inputs: list[tuple[Tensor, int | None]] = field(default_factory=list)  # while it runs
    held: set[int] = field(default_factory=set)  # memory of what its children hold, so far
    children: list[_Call] = field(default_factory=list)
    good: bool = False  # its result can be kept
    ends: bool = False  # its result can be kept in place of all that its parent has done so far
    traceless: bool = True  # keeps nothing in an attribute, and calls no hook

    def names(self) -> Counter[str]:
        """How often each module is called within, this call left out."""
        found = Counter(child.key[0] for child in self.children)
        for child in self.children:
            found += child.names()
        return found


class PrefixFinder:
    """Observes one pass; `random_begins` is called when the model makes its first random number."""

    def __init__(self, module: nn.Module) -> None:
        self._parts = usable_parts(module)
        self._hooked = {part for part in self._parts.values() if _has_hooks(part)}
        self._sequentials = {name for name, part in self._parts.items() if _only_passes_on(part)}
        self._calls: Counter[str] = Counter()
        self._tops: list[_Call] = []
        self._running: list[_Call] = []
        self._random = False

    def random_begins(self) -> None:
        """The model makes random numbers from here on."""
        self._random = True

    @contextmanager
    def observing(self) -> Iterator[None]:
        """Within it, the model is run once."""
        with around_forward(self._parts, self._around):
            yield

    def prefix(self) -> Prefix:
        """What was found."""
        ends: set[Key] = set()
        passed_over: dict[Key, Key] = {}
        inside: dict[Key, Counter[str]] = {}
        todo = list(self._tops)
        while todo:
            call = todo.pop()
            if call.good:
                ends.add(call.key)
                inside[call.key] = call.names()
                continue
            last = max((i for i, child in enumerate(call.children) if child.ends), default=-1)
            for i, child in enumerate(call.children):
                if i > last:
                    todo.append(child)
                    continue
                inside[child.key] = child.names()
                if i == last:
                    ends.add(child.key)
                else:
                    passed_over[child.key] = call.children[last].key
        return Prefix(frozenset(ends), passed_over, inside)

    def _around(self, name: str, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if self._random:
            return forward(*args, **kwargs)
        call = _Call((name, self._calls[name]), self._parts[name])
        self._calls[name] += 1
        parent = self._running[-1] if self._running else None
        (self._tops if parent is None else parent.children).append(call)
        with unobserved():
            call.inputs = [(x, _version(x)) for x in _tensors((args, kwargs))]
            before = _state(call.part)
        self._running.append(call)
        try:
            output = forward(*args, **kwargs)
        finally:
            self._running.pop()
        if not self._random:
            with unobserved():
                self._judge(call, parent, output, before)
        call.inputs = []
        return output

    def _judge(self, call: _Call, parent: _Call | None, output: Any, before: list[Any]) -> None:
        hooked = not self._hooked.isdisjoint(call.part.modules())
        call.traceless = not hooked and _same_state(before, _state(call.part))
        held = _storages(x for x, _ in before if isinstance(x, Tensor))
        call.good = call.traceless and _is_apart(output, call.inputs, held)
        if parent is not None and parent.key[0] in self._sequentials:
            parent.held |= held
            traceless = all(child.traceless for child in parent.children)
            call.ends = traceless and _is_apart(output, parent.inputs, parent.held)


def usable_parts(module: nn.Module) -> dict[str, nn.Module]:
    """Every submodule whose forward method can be replaced, by its name."""
    return {
        name: part
        for name, part in module.named_modules()
        if not isinstance(part, torch.jit.ScriptModule)
    }


def _only_passes_on(part: nn.Module) -> bool:
    """Whether a module only hands what each child returns to the next one, and nothing else sees it."""
    return (
        type(part).forward is nn.Sequential.forward
        and "forward" not in part.__dict__
        and all(type(child).__call__ is nn.Module.__call__ for child in part.children())
    )


def _has_hooks(part: nn.Module) -> bool:
    return bool(part._forward_hooks or part._forward_pre_hooks)


def _is_apart(output: Any, inputs: list[tuple[Tensor, int | None]], held: set[int]) -> bool:
    """Whether a result can be kept: it has memory of its own, and the inputs are as they were."""
    untouched = all(version is not None and _version(x) == version for x, version in inputs)
    taken = held | _storages(x for x, _ in inputs)
    return untouched and _is_plain(output) and not (_storages(_tensors(output)) & taken)


def _is_plain(output: Any) -> bool:
    """Whether a result is made of tensors and of values that nobody can change."""
    if isinstance(output, tuple):
        return all(_is_plain(x) for x in output)
    if isinstance(output, Tensor):
        return type(output) is Tensor and output.layout == torch.strided and not output.is_nested
    return isinstance(output, _VALUES)


def _tensors(values: Any) -> Iterator[Tensor]:
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, Mapping):
        yield from _tensors(list(values.values()))
    elif isinstance(values, (list, tuple, set)):
        for value in values:
            yield from _tensors(value)


def _storages(tensors: Any) -> set[int]:
    return {x.untyped_storage()._cdata for x in tensors if x.layout == torch.strided and x.numel()}


def _version(x: Tensor) -> int | None:
    """How often a tensor was written into; None for those of inference mode, which do not know."""
    return None if x.is_inference() else x._version


def _state(part: nn.Module) -> list[tuple[Any, Any]]:
    """All that a module and those within it hold, each with what tells whether it was changed."""
    found: list[tuple[Any, Any]] = []
    for module in part.modules():
        for name, value in module.__dict__.items():
            if name != "forward":
                _note(value, found)
    return found


def _note(value: Any, found: list[tuple[Any, Any]]) -> None:
    if isinstance(value, Tensor):
        found.append((value, _version(value)))
    elif isinstance(value, _VALUES):
        found.append((None, value))
    elif isinstance(value, Mapping):
        found.append((None, tuple(map(str, value))))
        for item in value.values():
            _note(item, found) if isinstance(item, Tensor) else found.append((item, None))
    elif isinstance(value, (list, tuple, set)):
        found.append((None, len(value)))
        for item in value:
            _note(item, found) if isinstance(item, Tensor) else found.append((item, None))
    else:
        found.append((value, None))


def _same_state(a: list[tuple[Any, Any]], b: list[tuple[Any, Any]]) -> bool:
    return len(a) == len(b) and all(
        x is y and (m == n or (m != m and n != n)) for (x, m), (y, n) in zip(a, b, strict=True)
    )
