"""Capture a model as a graph of ATen operations by watching it run.

Two passes, over two and over three inputs, are recorded below torch's dispatcher, so modules, functional
calls, operators and views look alike; integers that differ between the passes are the batch. Dropout
calls become `site` nodes. A model is refused (`CaptureError`) if its code depends on the data, changes a
tensor through a view, or takes values out of torch.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from kipoi_mcdropout.arrays.nested import Nested, leaves, map_nested, take
from kipoi_mcdropout.dropout.call import DropoutCall
from kipoi_mcdropout.dropout.calls import DropoutInterceptor
from kipoi_mcdropout.dropout.locked_model import LockedModel
from kipoi_mcdropout.dropout.named_parts import user_line
from kipoi_mcdropout.dropout.probe import training_flag
from kipoi_mcdropout.dropout.random_functions import MAKERS
from kipoi_mcdropout.dropout.sites import SitePlan
from kipoi_mcdropout.engine.incremental.capture_error import CaptureError
from kipoi_mcdropout.engine.incremental.graph import (
    Affine,
    Drop,
    Graph,
    Node,
    Ref,
    link_users,
    map_leaves,
    walk,
)
from kipoi_mcdropout.engine.incremental.operators import looks_at_data, operator_name, usual

_ESCAPES = frozenset(
    {
        Tensor.numpy, Tensor.tolist, Tensor.item, Tensor.__bool__, Tensor.__float__, Tensor.__int__,
        Tensor.__index__, Tensor.__array__, Tensor.data_ptr, Tensor.untyped_storage,
        Tensor.__contains__, Tensor.apply_, Tensor.map_,
    }
)  # fmt: skip


def capture(model: LockedModel, inputs: Nested, sites: SitePlan) -> Graph:
    """Graph of the model, within `model.borrow()`.

    Parameters
    ----------
    model : LockedModel
    inputs : nested tensors
        Two or more rows, the first two different from each other.
    sites : SitePlan
        The model's dropout sites; NO_SITES to capture it with dropout off.

    Raises
    ------
    CaptureError
        Saying why it cannot be captured.
    """
    pair = take(inputs, [0, 1])
    with training_flag(sites.lifted):
        two = _record(model, pair, sites)
        three = _record(model, take(inputs, [1, 0, 1]), sites)
    return _merge(two, three)


def _record(model: LockedModel, inputs: Nested, sites: SitePlan) -> _Recorder:
    used = model.used(inputs)
    own = map_nested(torch.clone, inputs)
    recorder = _Recorder(own)
    handles = recorder.follow(model)
    try:
        with recorder, _SiteMarker(recorder, sites):
            output = used.select(model.call(own))
    except CaptureError:
        raise
    except Exception as error:  # whatever a model's code does under observation
        raise CaptureError(
            f"the model does not run under observation ({type(error).__name__}: {error})"
        ) from error
    finally:
        for handle in handles:
            handle.remove()
    if recorder.failure is not None:
        raise recorder.failure
    recorder.finish(output)
    return recorder


class _SiteMarker(DropoutInterceptor):
    """Makes each dropout call a node of its own, and refuses to let values out of torch.

    So is each call that makes random numbers; with dropout off they are refused.
    """

    def __init__(self, recorder: _Recorder, sites: SitePlan) -> None:
        super().__init__()
        self.recorder, self.sites = recorder, sites.sites

    def drop(self, call: DropoutCall) -> Tensor:
        if not self.sites:
            return call.x
        if self.recorder.n_sites < len(self.sites) and self.sites[self.recorder.n_sites].ignored:
            self.recorder.n_sites += 1
            return call.x
        x = call.x
        if call.is_mask or call.is_noise:  # of its shape alone
            x = torch.zeros(tuple(x.shape), dtype=x.dtype, device=x.device)
        marked = x.clone()  # the last node recorded; renamed
        self.recorder.mark_site(call)
        return marked

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func in MAKERS and not self.sites:
            what = f"its code makes random numbers by torch's {func.__name__}"
            self.recorder.fail(what + self.recorder.where())
        if func in _ESCAPES:
            if any(self.recorder.is_tracked(x) for x in walk(list(args))):
                self.recorder.fail(
                    f"the model's code looks at its data by Tensor.{func.__name__}"
                    f"{self.recorder.where()}"
                )
            self.recorder.reads_weights = True
        return super().__torch_function__(func, types, args, kwargs)


class _Recorder(TorchDispatchMode):
    """Nodes of one pass. Tensors are known by identity; all are kept alive so that none is reused."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Torch's hook: with False it does not import its compiler, which takes seconds."""
        return False

    def __init__(self, inputs: Nested) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.nodes: list[Node] = []
        self.output: Any = None
        self.failure: CaptureError | None = None
        self.n_sites = 0
        self.reads_weights = False  # or other tensors that do not come from the inputs
        self._alive: list[Tensor] = []
        self._node_of: dict[int, int] = {}
        self._stale: set[int] = set()
        self._running: list[str] = []
        self._model_name = ""
        self.input_paths: dict[str, int] = {}
        for path, x in leaves(inputs):
            self.input_paths[path] = self._add("input", None, (), {}, x, path=path).index

    def follow(self, model: LockedModel) -> list[Any]:
        """Keep track of which module is running; returns the hooks to remove."""
        handles = []
        self._model_name = type(model.module).__name__
        for label, part in model.module.named_modules():
            if isinstance(part, torch.jit.ScriptModule):
                continue

            def enter(_: object, __: object, label: str = label) -> None:
                self._running.append(label)

            def leave(*_: object) -> None:
                self._running.pop()

            handles.append(part.register_forward_pre_hook(enter))
            handles.append(part.register_forward_hook(leave, always_call=True))
        return handles

    def fail(self, reason: str) -> None:
        """Refuse the model; remembered in case its code swallows the exception."""
        self.failure = CaptureError(reason)
        raise self.failure

    def where(self) -> str:
        """The module that is running, and the user's line of code."""
        module = f" in module {self._running[-1] or self._model_name!r}" if self._running else ""
        frames = reversed(list(traceback.walk_stack(None)))
        return f"{module}{user_line(frames)}"

    def is_tracked(self, value: Any) -> bool:
        """Whether a value depends on the model's inputs."""
        return isinstance(value, Tensor) and id(value) in self._node_of

    def mark_site(self, call: DropoutCall) -> None:
        """The node recorded last is a dropout site."""
        node = self.nodes[-1]
        node.name, node.target, node.args = "site", None, node.args[:1]
        node.drop = Drop(self.n_sites, call.kind, call.p, call.by_channel, call.alpha)
        self.n_sites += 1

    def finish(self, output: Any) -> None:
        """Remember the model's result."""
        parts = [x for _, x in leaves(output)]
        untracked = [x for x in parts if not self.is_tracked(x)]
        if untracked:
            self.fail("an output of the model is not made by torch operations from its inputs")
        self.output = [self._ref(x) for x in parts]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        func, kwargs = usual(func), kwargs or {}
        tensors = [x for x in walk((list(args), kwargs)) if isinstance(x, Tensor)]
        depends = any(id(x) in self._node_of for x in tensors)
        if looks_at_data(func, tensors, [*args[1:], *kwargs.values()]):
            if depends:
                self.fail(f"the model's code looks at its data by torch's {func}{self.where()}")
            self.reads_weights = True
        if func._schema.is_mutable:
            return self._mutation(func, args, kwargs, depends)
        given, named = map_leaves(self._argument, (tuple(args), kwargs))
        result = func(*args, **kwargs)
        if isinstance(result, Tensor):
            if any(result is x for x in tensors):
                return result
            self._add(operator_name(func), func, given, named, result)
        elif isinstance(result, (tuple, list)) and all(isinstance(x, Tensor) for x in result):
            whole = self._add(operator_name(func), func, given, named, None)
            for i, part in enumerate(result):
                self._add("getitem", _getitem, (Ref(whole.index), i), {}, part)
        elif depends:
            self.fail(f"the model's code looks at its data by torch's {func}{self.where()}")
        else:
            self.reads_weights = True
        return result

    def _mutation(self, func: Any, args: Any, kwargs: Any, depends: bool) -> Any:
        """An in-place operation, recorded as its counterpart that returns a new tensor."""
        target = args[0] if args else None
        name = operator_name(func)
        if not isinstance(target, Tensor) or not name.endswith("_") or "out" in kwargs:
            self.fail(f"torch's {func} writes into a tensor that was handed to it")
        assert isinstance(target, Tensor)
        packet = getattr(torch.ops.aten, name[:-1], None)
        pure = getattr(packet, func._overloadname, None) if packet is not None else None
        if pure is None or (depends and id(target) not in self._node_of):
            self.fail(f"torch's {func} writes into a tensor that is kept by the model")
        given, named = map_leaves(self._argument, (tuple(args), kwargs))
        shape_before = target.shape
        result = func(*args, **kwargs)
        if result is not target or target.shape != shape_before:
            self.fail(f"torch's {func} changes the shape of a tensor in place")
        storage = target.untyped_storage()._cdata
        self._stale |= {
            id(x) for x in self._alive if x is not target and x.untyped_storage()._cdata == storage
        }
        source = args[1] if name == "copy_" else None
        if isinstance(source, Tensor) and (source.shape, source.dtype) == (
            target.shape,
            target.dtype,
        ):
            self._node_of[id(target)] = self._argument(source).index
        else:
            self._add(operator_name(func)[:-1], pure, given, named, target)
        return result

    def _argument(self, value: Any) -> Any:
        return self._ref(value) if self.is_tracked(value) else value

    def _ref(self, x: Tensor) -> Ref:
        if id(x) in self._stale:
            self.fail("the model writes into a tensor of which it goes on using another view")
        return Ref(self._node_of[id(x)])

    def _add(
        self, name: str, target: Any, args: Any, kwargs: Any, result: Tensor | None, path: str = ""
    ) -> Node:
        module = self._running[-1] if self._running else ""
        shape = None if result is None else tuple(result.shape)
        node = Node(len(self.nodes), name, target, args, kwargs, shape, module, path)
        self.nodes.append(node)
        if result is not None:
            self._alive.append(result)
            self._node_of[id(result)] = node.index
        return node


def _getitem(parts: Any, i: int) -> Any:
    return parts[i]


def _merge(two: _Recorder, three: _Recorder) -> Graph:
    """One graph for any batch from passes over two and three inputs."""
    if [node.name for node in two.nodes] != [node.name for node in three.nodes]:
        raise CaptureError("the operations depend on the size of the batch")
    nodes = []
    for a, b in zip(two.nodes, three.nodes, strict=True):
        if a.target is not b.target or a.drop != b.drop or (a.shape is None) != (b.shape is None):
            raise CaptureError(f"operation {a.name} depends on the size of the batch")
        args, kwargs = _unify((a.args, a.kwargs), (b.args, b.kwargs), a.name)
        shape = None if a.shape is None else _unify(a.shape, b.shape, a.name)
        nodes.append(Node(a.index, a.name, a.target, args, kwargs, shape, a.module, a.path, a.drop))
    if two.output != three.output:
        raise CaptureError("the outputs depend on the size of the batch")
    kept = link_users(nodes, [ref.index for ref in two.output])
    reads_weights = two.reads_weights or three.reads_weights
    return Graph(kept, two.output, two.input_paths, reads_weights)


def _unify(a: Any, b: Any, name: str) -> Any:
    """Argument of a node for any batch from its values at n = 2 and n = 3."""
    if isinstance(a, (list, tuple)):
        if type(a) is not type(b) or len(a) != len(b):
            raise CaptureError(f"an argument of {name} depends on the size of the batch")
        unified = [_unify(x, y, name) for x, y in zip(a, b, strict=True)]
        return unified if isinstance(a, list) else tuple(unified)
    if isinstance(a, dict):
        if a.keys() != b.keys():
            raise CaptureError(f"an argument of {name} depends on the size of the batch")
        return {key: _unify(a[key], b[key], name) for key in a}
    if isinstance(a, Tensor):
        same = a is b or (isinstance(b, Tensor) and a.shape == b.shape and torch.equal(a, b))
        if not same:
            raise CaptureError(f"a constant that {name} takes depends on the data or the batch")
        return a
    if type(a) is type(b) and (a == b or (a != a and b != b)):  # NaN is alike, too
        return a
    if type(a) is int and type(b) is int:
        return Affine(b - a, a - 2 * (b - a))
    raise CaptureError(f"an argument of {name} depends on the size of the batch")
