"""Follows rows through a forward pass: from which input, and which copy of it, each row comes.

Dropout needs this where a model puts several rows for each input into the batch. Copies of the whole
input, such as the reverse complement, share a mask; positions and attention heads do not.

Every tensor gets a code for each of its elements. An operation that only moves elements (view,
transpose, cat, flip, ...) is run on the codes too. Any other operation keeps the codes of the rows
along the batch axis, which is found by comparing the shapes with those of a pass over more inputs.
Tensors that cannot be followed have no code; if a dropout needs their code, the model is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

from kipoi_mcdropout.arrays.nested import Nested, leaves
from kipoi_mcdropout.dropout.row_codes import (
    CODE_DTYPE,
    NOBODY,
    SEVERAL,
    Labels,
    combined,
    compact,
    input_labels,
    number_copies,
    number_gathered,
    number_joined,
    number_places,
    number_repeats,
    pack,
    unpack,
)

_SAME = frozenset(
    {"clone", "contiguous", "to", "_to_copy", "alias", "detach", "lift_fresh", "type_as"}
)  # fmt: skip
_RESHAPES = frozenset(
    {"view", "reshape", "_unsafe_view", "_reshape_alias", "flatten", "unflatten", "view_as",
     "reshape_as", "squeeze", "unsqueeze", "ravel"}
)  # fmt: skip
_NORMS = frozenset({"batch_norm", "native_batch_norm", "_native_batch_norm_legit_no_training"})
_GATHERS = frozenset({"index_select", "index", "gather", "take_along_dim"})
_REPEATS = frozenset({"repeat", "tile", "expand", "expand_as", "broadcast_to", "repeat_interleave"})
_MOVES = frozenset(
    {"permute", "transpose", "t", "numpy_T", "mT", "adjoint", "movedim", "moveaxis", "swapaxes",
     "swapdims", "select", "slice", "narrow", "split", "split_with_sizes", "tensor_split", "chunk",
     "unbind", "flip", "fliplr", "flipud", "roll", "rot90", "unfold", "diagonal", *_REPEATS, *_GATHERS}
)  # fmt: skip
_JOINS = frozenset({"cat", "concat", "concatenate", "stack", "hstack", "vstack", "dstack"})


class ShapeRecorder(TorchDispatchMode):
    """Notes the operations of a pass and the shapes of their results."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations: list[tuple[str, tuple[tuple[int, ...], ...]]] = []

    def start(self, inputs: Nested) -> None:
        """Get ready for a pass over these inputs."""

    def labels(self, _x: Tensor) -> Labels | None:
        """Nothing is known of any tensor."""
        return None

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        self.operations.append((_name(func), tuple(tuple(x.shape) for x in _tensors(result))))
        return result


class RowTracker(TorchDispatchMode):
    """Labels the tensors of one pass.

    Parameters
    ----------
    larger : ShapeRecorder
        Of a pass over more inputs: the axes whose sizes differ from it are the batch.
    """

    def __init__(self, larger: ShapeRecorder) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._larger = iter(larger.operations)
        self._lost = False  # the two passes have gone different ways
        self._n_operations = 0
        self._labels = WeakTensorKeyDictionary()
        self._inputs: list[Tensor] = []

    def start(self, inputs: Nested) -> None:
        """Label the model's inputs, nested tensors with the batch first."""
        self._inputs = [x for _, x in leaves(inputs)]
        for x in self._inputs:
            self._labels[x] = input_labels(x)

    def labels(self, x: Tensor) -> Labels | None:
        """What is known of a tensor."""
        return None if self._lost else self._labels.get(x)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        known = [] if self._lost else [self._known(x) for x in _tensors((args, kwargs))]
        result = func(*args, **kwargs)
        try:
            self._follow(func, args, kwargs, [x for x in known if x is not None], list(_tensors(result)))
        except (RuntimeError, NotImplementedError):  # an unusual tensor: sparse, nested, quantized
            self._lost = True
        return result

    def _follow(
        self, func: Any, args: Any, kwargs: Any, known: list[Labels], results: list[Tensor]
    ) -> None:
        axes = self._batch_axes(func, results)
        if self._lost or not known:
            return
        self._n_operations += 1
        ancestors = 0
        for labels in known:
            ancestors |= labels.ancestors | 1 << labels.number
        moved = self._moved(func, args, kwargs, results)
        for i, (x, axis) in enumerate(zip(results, axes, strict=True)):
            codes = moved[i] if moved is not None else _computed(func, known, x, axis)
            if len(axis) == 1 and codes is not None:
                self._labels[x] = Labels(codes, axis[0], self._n_operations, ancestors)

    def _known(self, x: Tensor) -> Labels | None:
        """Labels of a tensor; an input that has come back from numpy is recognized by its values."""
        if x in self._labels:
            labels: Labels | None = self._labels[x]
            return labels
        for leaf in self._inputs:
            if x.shape == leaf.shape and x.device == leaf.device and bool((x == leaf).all()):
                return input_labels(x)
        return None

    def _batch_axes(self, func: Any, results: list[Tensor]) -> list[list[int]]:
        name, shapes = next(self._larger, ("", ()))
        if name != _name(func) or [len(s) for s in shapes] != [x.dim() for x in results]:
            self._lost = True
            return [[] for _ in results]
        pairs = zip(shapes, results, strict=True)
        return [[i for i, (a, b) in enumerate(zip(s, x.shape, strict=True)) if a != b] for s, x in pairs]

    def _moved(
        self, func: Any, args: Any, kwargs: Any, results: list[Tensor]
    ) -> Sequence[Tensor | None] | None:
        """Codes of the results of an operation that only moves elements, None of any other."""
        name = _name(func)
        try:
            if name in _JOINS:
                return [self._joined(func, args, kwargs)]
            labels = self._known(args[0]) if args and isinstance(args[0], Tensor) else None
            if labels is None:
                return None
            if name in _SAME or name in _RESHAPES:
                return [labels.codes.reshape(results[0].shape)]
            if name in ("constant_pad_nd", "pad"):
                return [torch.nn.functional.pad(labels.codes, args[1], value=NOBODY)]
            if name in _MOVES:
                codes = list(_tensors(func(labels.codes, *args[1:], **kwargs)))
                if name in _REPEATS and self._is_an_input(args[0], labels):
                    codes = [number_repeats(name, codes[0], labels.codes)]
                if name in _GATHERS:
                    codes = [number_gathered(codes[0], labels.codes)]
                return codes
            if name == "linear" and _same_along_last(labels.codes):
                return [labels.codes[..., :1].expand(results[0].shape)]
            if name in _NORMS:  # element by element in evaluation mode
                return [labels.codes, *(None for _ in results[1:])]
        except (RuntimeError, TypeError, ValueError, IndexError, NotImplementedError):
            return None  # an operation that takes no integers, or changes its input's shape in place
        return None

    def _joined(self, func: Any, args: Any, kwargs: Any) -> Tensor:
        operands = list(args[0])
        known = [self._known(x) for x in operands]
        codes = [
            labels.codes if labels else x.new_full((), NOBODY, dtype=CODE_DTYPE).expand(x.shape)
            for x, labels in zip(operands, known, strict=True)
        ]
        if all(labels is not None for labels in known) and len(operands) > 1:
            sure = [labels for labels in known if labels is not None]
            if self._are_copies(operands, sure):
                codes = number_copies(codes)
            elif not (_are_pieces(operands) or _are_steps(sure)):
                codes = [number_joined(c, i) for i, c in enumerate(codes)]
        moved: Tensor = func(codes, *args[1:], **kwargs)
        return moved

    def _are_copies(self, operands: list[Tensor], known: list[Labels]) -> bool:
        """Whether each tensor is the whole input with its elements in another order."""
        first = operands[0]
        alike = all(x.shape == first.shape for x in operands)
        if not alike or len({labels.axis for labels in known}) > 1:
            return False
        if not self._is_whole(first, known[0]):
            return False
        values = [_contents(x, labels.axis) for x, labels in zip(operands, known, strict=True)]
        owners = [[row[0] for row in labels.rows()] for labels in known]
        return all(
            torch.equal(v, values[0]) and o == owners[0] for v, o in zip(values, owners, strict=True)
        )

    def _is_whole(self, x: Tensor, labels: Labels) -> bool:
        """Whether each row has as many elements as the input, or the values of an input."""
        size = x.numel() // x.shape[labels.axis]
        if bool((x == x.reshape(-1)[:1]).all()):  # nothing can be told from equal values
            return False
        return size >= max(leaf[0].numel() for leaf in self._inputs) or self._is_an_input(x, labels)

    def _is_an_input(self, x: Tensor, labels: Labels) -> bool:
        """Whether each row has the values of its owner in one of the model's inputs, in any order."""
        owners = [row[0] for row in labels.rows()]
        if any(owner in (NOBODY, SEVERAL) for owner in owners):
            return False
        size = x.numel() // x.shape[labels.axis]
        leaves_alike = [leaf for leaf in self._inputs if leaf[0].numel() == size]
        values = _contents(x, labels.axis) if leaves_alike else x
        return any(torch.equal(values, _contents(leaf, 0)[owners].to(values)) for leaf in leaves_alike)


def _computed(func: Any, known: list[Labels], result: Tensor, axes: list[int]) -> Tensor | None:
    """Codes of what was computed from labelled tensors: those of their rows."""
    if len(axes) != 1:
        return None
    axis = axes[0]
    if torch.Tag.pointwise in func.tags and _broadcast_shape(known) == tuple(result.shape):
        return combined([labels.codes.broadcast_to(result.shape) for labels in known])
    lined = [labels for labels in known if labels.codes.shape[labels.axis] == result.shape[axis]]
    if not lined:
        return None
    shape = [-1 if i == axis else 1 for i in range(result.dim())]
    columns = [
        torch.tensor([pack(*row) for row in labels.rows()], dtype=CODE_DTYPE, device=result.device)
        for labels in lined
    ]
    codes = combined([column.reshape(shape) for column in columns]).expand(result.shape)
    return _kept_apart(codes, lined, result, axis)


def _broadcast_shape(known: list[Labels]) -> tuple[int, ...]:
    return tuple(np.broadcast_shapes(*(labels.codes.shape for labels in known)))


def _same_along_last(codes: Tensor) -> bool:
    """Whether a layer that mixes what lies along the last axis mixes what has one code."""
    codes = compact(codes)
    return bool((codes == codes[..., :1]).all())


def _kept_apart(codes: Tensor, known: list[Labels], result: Tensor, axis: int) -> Tensor:
    """Where tensors were stacked along another axis than the batch, and it is still there: say so.

    Whether what lies along it is still the copies that were stacked is not known.
    """
    for labels in known:
        marks = pack(0, *unpack(compact(labels.codes))[1:])
        if marks.dim() != result.dim() or labels.axis != axis:
            continue
        for i in range(result.dim()):
            others = [j for j in range(result.dim()) if j != i]
            if i == axis or marks.shape[i] != result.shape[i] or marks.shape[i] == 1:
                continue
            if len(marks.amax(others).unique()) == marks.shape[i]:  # one tensor at each place
                return number_places(codes, i)
    return codes


def _are_pieces(operands: list[Tensor]) -> bool:
    """Whether the tensors lie side by side in one tensor, as what chunk or unbind returns."""
    first = operands[0]
    shared = {x.untyped_storage().data_ptr() for x in operands}
    alike = all((x.shape, x.stride()) == (first.shape, first.stride()) for x in operands)
    if len(shared) > 1 or not alike:
        return False
    steps = [x.storage_offset() - first.storage_offset() for x in operands]
    extents = [size * stride for size, stride in zip(first.shape, first.stride(), strict=True)]
    return any(e > 0 and steps == [i * e for i in range(len(steps))] for e in extents)


def _are_steps(known: list[Labels]) -> bool:
    """Whether each tensor was computed from its neighbour, as the steps of a recurrent layer.

    Of two tensors the second may be a changed copy of the first.
    """
    if len(known) < 3 or any(labels.number == 0 for labels in known):
        return False

    def follows(a: Labels, b: Labels) -> bool:
        return bool(b.ancestors >> a.number & 1)

    pairs = list(pairwise(known))
    return all(follows(a, b) for a, b in pairs) or all(follows(b, a) for a, b in pairs)


def _contents(x: Tensor, axis: int) -> Tensor:
    """What does not change when a row's elements change places: its sorted values.

    Of integers (bases as numbers) it is how often each occurs: a complement such as 3 - x renames them.
    """
    rows = x.movedim(axis, 0).flatten(1)
    if not x.is_floating_point() and x.dtype != torch.bool:
        rows = torch.stack([_occurrences(row) for row in rows])
    return rows.sort(dim=1).values


def _occurrences(row: Tensor) -> Tensor:
    _, which, counts = row.unique(return_inverse=True, return_counts=True)
    counted: Tensor = counts[which]
    return counted


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors(item)


def _name(func: Any) -> str:
    return str(func._schema.name).split("::")[-1]
