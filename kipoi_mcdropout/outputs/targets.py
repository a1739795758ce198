"""The choice of some of the outputs of a model by their labels."""

from __future__ import annotations

import fnmatch
import glob
import numbers
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kipoi_mcdropout.errors import TargetError
from kipoi_mcdropout.outputs.labels import OutputLabels

if TYPE_CHECKING:  # results are read without torch
    from torch import Tensor

    from kipoi_mcdropout.outputs.profiles import Profiles

MAX_UNASKED = 100_000  # outputs that are all taken where none were asked for
_SHOWN = 10  # labels listed in an error


@dataclass(frozen=True)
class Targets:
    """The model outputs that are reported."""

    labels: tuple[str, ...]
    columns: tuple[int, ...]  # of `flatten_outputs`
    n_outputs: int  # of the model
    eps: float = 0.0  # relative precision of the model's arithmetic; 0: that of the outputs' type
    profiles: Profiles | None = None  # what the model gives, where profiles are compared

    @property
    def selected(self) -> Tensor | None:
        """Columns of what the model gives as an index tensor; None for all of them."""
        if self.profiles is not None:
            return None
        import torch

        everything = self.columns == tuple(range(self.n_outputs))
        return None if everything else torch.tensor(self.columns, dtype=torch.int64)


def as_targets(wanted: Any, name: str = "targets") -> tuple[str | int, ...]:
    """What a user asks for, as a tuple: a single label or number counts as one; None is all.

    `name` is the user's word for it.

    Raises
    ------
    TargetError
        If something is neither text nor a whole number.
    """
    if wanted is None:
        return ()
    if isinstance(wanted, (str, numbers.Number)):
        wanted = (wanted,)
    targets: list[str | int] = []
    for target in wanted:
        if isinstance(target, (bool, np.bool_)) or not isinstance(target, (str, int, np.integer)):
            raise TargetError(
                f"{name} must be labels, numbers from 0, or patterns with *; got {target!r}"
            )
        targets.append(target if isinstance(target, str) else int(target))
    return tuple(targets)


def select_targets(labels: Sequence[str], wanted: str | int | Sequence[str | int] | None) -> Targets:
    """Choose outputs by label, by index from 0, or by a shell pattern such as "FOXA*".

    A label that is matched exactly wins over reading it as an index or a pattern. Outputs keep the
    model's order and are taken once.

    Parameters
    ----------
    labels : sequence of str
        Of all outputs; an `OutputLabels` makes only those that are chosen.
    wanted : str, int, or sequence of them, optional
        All by default, where there are at most 100,000.

    Raises
    ------
    TargetError
        If a wanted target names no output, or all of very many outputs would be taken unasked.
    """
    targets = as_targets(wanted)
    if not targets:
        if len(labels) > MAX_UNASKED:
            raise TargetError(
                f"the model has {len(labels)} outputs for each input, {_shown(labels)}: choose tracks "
                "and reduce their bins (--tracks, --reduce), or choose some outputs with targets "
                "(--target), by label, number or pattern; '*' takes all"
            )
        return Targets(tuple(labels), tuple(range(len(labels))), len(labels))
    chosen: set[int] = set()
    for target in targets:
        chosen.update(find_targets(labels, target))
    columns = tuple(sorted(chosen))
    return Targets(tuple(labels[i] for i in columns), columns, len(labels))


def find_targets(labels: Sequence[str], target: str | int, what: str = "target") -> list[int]:
    """Numbers of the labels that a label, a number from 0, or a pattern names.

    Raises
    ------
    TargetError
        If there is none; `what` is the user's word for it.
    """
    found = _find(labels, target)
    if not found:
        raise TargetError(_names_nothing(labels, target, what))
    return found


def _names_nothing(labels: Sequence[str], target: str | int, what: str) -> str:
    if isinstance(target, str) and (numbered := _match(labels, f"{glob.escape(target)}#*")):
        several = ", ".join(repr(labels[i]) for i in numbered[:_SHOWN])
        return f"{what} {target!r} names {len(numbered)} outputs; name one of them: {several}"
    of = "outputs" if what == "target" else f"{what}s"
    return (
        f"{what} {target!r} names none of the model's {len(labels)} {of}; give a label, an "
        f"index from 0 to {len(labels) - 1}, or a pattern with *. Labels: {_shown(labels)}"
    )


def _shown(labels: Sequence[str]) -> str:
    return ", ".join(labels[:_SHOWN]) + (", ..." if len(labels) > _SHOWN else "")


def _find(labels: Sequence[str], target: str | int) -> list[int]:
    if isinstance(target, int):
        return [target] if 0 <= target < len(labels) else []
    if isinstance(labels, OutputLabels):
        exact = labels.find(target)
    else:
        exact = [i for i, label in enumerate(labels) if label == target]
    if exact:
        return exact
    if target.isascii() and target.isdigit():
        return [int(target)] if int(target) < len(labels) else []
    return _match(labels, target)


def _match(labels: Sequence[str], pattern: str) -> list[int]:
    if isinstance(labels, OutputLabels):
        return labels.match(pattern)
    return [i for i, label in enumerate(labels) if fnmatch.fnmatchcase(label, pattern)]
