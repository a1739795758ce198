"""A model's outputs as one row of labelled numbers per input, and the choice of some of them."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from kipoi_mcdropout.errors import ModelError, TargetError
from kipoi_mcdropout.nested import Nested, leaves

_SHOWN = 10  # labels listed in an error


def flatten_outputs(outputs: Nested, n: int, selected: Tensor | None = None) -> Tensor:
    """Outputs of a batch as a matrix.

    Parameters
    ----------
    outputs : nested tensors, each shape=(n, ...)
    n : int
        Number of inputs.
    selected : Tensor of int64, optional
        Columns to keep.

    Returns
    -------
    Tensor, shape=(n, outputs)
        All leaves in order, each flattened in C order; floating point.
    """
    parts = []
    for path, leaf in leaves(outputs):
        if not isinstance(leaf, Tensor) or leaf.dim() == 0 or leaf.shape[0] != n:
            came = tuple(leaf.shape) if isinstance(leaf, Tensor) else type(leaf).__name__
            raise ModelError(
                f"model output {path!r} must be a tensor with the batch of {n} first; got {came}"
            )
        parts.append(leaf.reshape(n, -1))
    matrix = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
    if not matrix.is_floating_point():
        matrix = matrix.to(torch.float32)
    return matrix if selected is None else matrix[:, selected]


def default_labels(outputs: Nested, names: Sequence[str] | None = None) -> list[str]:
    """A label per column of `flatten_outputs`.

    `names` (e.g. a model's column labels) are used where they fit: one per column, or one per column
    of the last axis. Else columns are numbered, "0", "1", ... or "i,j" in an output with more axes,
    after the output's own name where there are several.
    """
    labels = []
    for path, leaf in leaves(outputs):
        shape = tuple(leaf.shape[1:])
        index = [",".join(map(str, i)) for i in np.ndindex(shape)] or ["0"]
        labels += [f"{path}/{i}" if path else i for i in (index if shape else ["0"])]
    if names is not None and len(names) == len(labels):
        return [str(name) for name in names]
    shapes = [tuple(leaf.shape[1:]) for _, leaf in leaves(outputs)]
    if names is not None and len(shapes) == 1 and shapes[0] and len(names) == shapes[0][-1]:
        return [
            ",".join([*map(str, i[:-1]), str(names[i[-1]])]) if i[:-1] else str(names[i[-1]])
            for i in np.ndindex(shapes[0])
        ]
    return labels


@dataclass(frozen=True)
class Targets:
    """The model outputs that are reported."""

    labels: tuple[str, ...]
    columns: tuple[int, ...]  # of `flatten_outputs`
    n_outputs: int  # of the model

    @property
    def selected(self) -> Tensor | None:
        """Columns as an index tensor; None for all of them."""
        everything = self.columns == tuple(range(self.n_outputs))
        return None if everything else torch.tensor(self.columns, dtype=torch.int64)


def select_targets(labels: Sequence[str], wanted: Sequence[str | int] | None) -> Targets:
    """Choose outputs by label, by index from 0, or by a shell pattern such as "FOXA*".

    A label that is matched exactly wins over reading it as an index or a pattern. Outputs keep the
    model's order and are taken once.

    Raises
    ------
    TargetError
        If a wanted target names no output.
    """
    if wanted is None or len(wanted) == 0:
        return Targets(tuple(labels), tuple(range(len(labels))), len(labels))
    chosen: set[int] = set()
    for target in wanted:
        found = _find(labels, target)
        if not found:
            shown = ", ".join(labels[:_SHOWN]) + (", ..." if len(labels) > _SHOWN else "")
            raise TargetError(
                f"target {target!r} names none of the model's {len(labels)} outputs; give a label, an "
                f"index from 0 to {len(labels) - 1}, or a pattern with *. Labels: {shown}"
            )
        chosen.update(found)
    columns = tuple(sorted(chosen))
    return Targets(tuple(labels[i] for i in columns), columns, len(labels))


def _find(labels: Sequence[str], target: str | int) -> list[int]:
    if isinstance(target, (int, np.integer)):
        return [int(target)] if 0 <= target < len(labels) else []
    exact = [i for i, label in enumerate(labels) if label == target]
    if exact:
        return exact
    if target.isascii() and target.isdigit():
        return [int(target)] if int(target) < len(labels) else []
    return [i for i, label in enumerate(labels) if fnmatch.fnmatchcase(label, target)]
