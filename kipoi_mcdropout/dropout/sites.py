"""Find every dropout site of a model and how its mask lies over the batch.

Passes over batches of different size show, for each dropout call, which axis is the batch, and
whether it has more than one row for each input. Where it has, the rows are followed from the input on
(row_labels.py). Copies of the whole input (both strands) share a mask; parts of it (positions, attention
heads) have their own masks. If this cannot be determined, the model is refused.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace

from torch import Tensor, nn

from kipoi_mcdropout.arrays.nested import Nested, take
from kipoi_mcdropout.arrays.precision import precision_note
from kipoi_mcdropout.dropout.batch_check import Observed, observe
from kipoi_mcdropout.dropout.call import MASK_KINDS, NOISE_KINDS
from kipoi_mcdropout.dropout.guarded import (
    find_guarded,
    idle_dropouts,
    refuse_torchscript,
)
from kipoi_mcdropout.dropout.named_parts import is_ignored
from kipoi_mcdropout.dropout.probe import Call, Probe, Recording, SeenCall, probe_inputs, training_flag
from kipoi_mcdropout.dropout.row_codes import found_rows
from kipoi_mcdropout.dropout.row_labels import RowTracker, ShapeRecorder
from kipoi_mcdropout.dropout.row_order import ONE_ROW, RowOrder, count, over_batch, row_order
from kipoi_mcdropout.errors import ModelError, NoRandomSiteError, UnlockableDropoutError

# Fewest axes with which the channel axis of a by-channel dropout is not the batch.
_MIN_DIM = {"dropout1d": 3, "dropout2d": 3, "dropout3d": 5}


@dataclass(frozen=True)
class Site:
    """One dropout call of the forward pass.

    `shape` is that of the mask: the tensor's own, except that the batch axis has one row for each
    part of an input (position, head) that the model puts into the batch; most often one.
    """

    index: int  # in call order, over the calls with p > 0
    name: str  # the module that calls it, as in named_modules(); "#2" marks its second call
    kind: str
    p: float  # of a mask that the model's code makes: of a zero; of noise: 0
    shape: tuple[int, ...]
    batch_axis: int | None  # None: what is dropped does not depend on the input
    rows: RowOrder = ONE_ROW  # what lies along the batch axis
    alpha: bool = False
    ignored: bool = False  # off, as requested: p is 0 here, not that of the call

    @property
    def is_mask(self) -> bool:
        """Whether the model's own code makes a mask of zeros and ones."""
        return self.kind in MASK_KINDS

    @property
    def is_noise(self) -> bool:
        """Whether the model's own code makes random numbers that are no mask."""
        return self.kind in NOISE_KINDS

    @property
    def copies(self) -> int:
        """How many copies of each input (strands) lie along the batch axis, all under one mask."""
        return count(self.rows, "copy")

    def over_batch(self, keep: Tensor, n: int) -> Tensor:
        """A mask of this site, shape=self.shape, so that it broadcasts over a batch of n inputs."""
        return keep if self.batch_axis is None else over_batch(keep, self.batch_axis, self.rows, n)

    def seen_shape(self, n: int) -> tuple[int, ...]:
        """Shape of the mask with all rows of a batch of n inputs."""
        if self.batch_axis is None:
            return self.shape
        sizes = list(self.shape)
        sizes[self.batch_axis] *= self.copies * n
        return tuple(sizes)


@dataclass(frozen=True)
class SitePlan:
    """All dropout sites of a model, for one shape of input."""

    sites: tuple[Site, ...]
    before_first_site: tuple[str, ...]  # leaf modules whose result no mask can change
    idle: dict[str, str]  # dropout modules that drop nothing, with the reason
    lifted: tuple[nn.Module, ...]  # run these with their own training flag on
    notes: tuple[str, ...]
    takes_one: bool = False  # whether the model runs on a batch of one


NO_SITES = SitePlan((), (), {}, (), ())


def find_sites(
    module: nn.Module,
    call: Call,
    inputs: Nested,
    ignore: tuple[str, ...] = (),
    observed: Observed | None = None,
) -> SitePlan:
    """Probe the model and return its dropout sites.

    Parameters
    ----------
    module : nn.Module
        The model, borrowed (`borrow.borrowed`).
    call : callable
        Runs it on nested tensors, batch first.
    inputs : nested tensors
        At least one row; its first is used, with shuffled copies of it beside.
    ignore : tuple of str
        Names of modules whose dropout is left off, that of the modules inside them too.
    observed : Observed, optional
        What `batch_check.observe` found for these inputs, if that was called before.

    Raises
    ------
    NoRandomSiteError
        If no dropout with p > 0 is called.
    UnlockableDropoutError
        If a dropout, or other randomness, cannot be locked; it is named, with the remedy.
    ModelError
        If a dropout has p = 1, if the outputs of an input depend on the others in the batch, or if the
        model fails.
    """
    refuse_torchscript(module, ignore)
    rows = probe_inputs(inputs)
    few = take(rows, [0] if observed is not None and observed.takes_one else [0, 1])
    lifted, notes = find_guarded(module, call, few, ignore)
    with Probe(module, call) as probe, training_flag(lifted):
        if observed is None or lifted:
            observed = observe(probe, rows)
        two, other = observed.two, observed.other
        _check_same_calls(two, other, observed.n_other)
        layouts = _layouts(two, other, observed.n_other, ignore)
        if any(layout.order is None for layout in layouts):
            layouts = _followed(probe, rows, layouts)
    seen = {name for name, _ in two.calls}
    sites = [layout.site() for layout in layouts]
    idle = idle_dropouts(module, seen)
    notes += tuple(f"{site.name}: dropout is off, as requested" for site in sites if site.ignored)
    notes += (note,) if (note := precision_note(observed.eps)) else ()
    notes += _always_on(sites, lifted, probe)
    if all(site.ignored for site in sites):
        raise NoRandomSiteError(_nothing_random(module, idle))
    return SitePlan(
        _name_repeats(sites), tuple(two.before_first), idle, lifted, notes, observed.takes_one
    )


def _check_same_calls(two: Recording, other: Recording, n_other: int) -> None:
    if len(two.calls) != len(other.calls):
        raise UnlockableDropoutError(
            f"the number of dropout calls depends on the batch: {len(two.calls)} for 2 inputs, "
            f"{len(other.calls)} for {n_other}. Call all dropouts in every pass"
        )


@dataclass(frozen=True)
class _Layout:
    """A dropout call of a batch of two, and where its batch axis lies."""

    index: int
    name: str
    call: SeenCall
    axis: int | None
    rows_per_input: int = 1
    order: RowOrder | None = ONE_ROW  # None: not known yet
    ignored: bool = False

    @classmethod
    def of(cls, index: int, name: str, two: SeenCall, other: SeenCall, n_other: int) -> _Layout:
        """From the same call with two inputs and with another number of them."""
        layout = cls(index, name, two, None)
        if not 0 < two.p < 1 and two.kind not in NOISE_KINDS:
            raise ModelError(
                f"{layout.what} has p = {two.p}; required 0 <= p < 1 (at p = 1 no output depends on "
                "the input)"
            )
        shapes = two.mask_shape, other.mask_shape
        if len(shapes[0]) != len(shapes[1]):
            raise layout.no_batch_axis(shapes[1], n_other)
        axes = [i for i, (a, b) in enumerate(zip(*shapes, strict=True)) if a != b]
        if two.by_channel and (axes not in ([], [0]) or len(two.shape) < _MIN_DIM.get(two.kind, 2)):
            raise UnlockableDropoutError(
                f"{layout.what} was given shape {two.shape} for a batch of 2: the axis whose channels "
                "it drops is the batch. Required (batch, channels, ...); add the missing axis"
            )
        if not axes:
            return layout
        axis = axes[0]
        rows, left = divmod(shapes[0][axis], 2)
        if len(axes) > 1 or left or shapes[1][axis] != rows * n_other:
            raise layout.no_batch_axis(shapes[1], n_other)
        return replace(layout, axis=axis, rows_per_input=rows, order=_known_order(two, rows))

    @property
    def what(self) -> str:
        """The site in words."""
        return f"dropout site {self.index} ({self.call.kind} in module {self.name!r})"

    def no_batch_axis(self, other: tuple[int, ...], n_other: int) -> UnlockableDropoutError:
        """The error where no axis of the mask is the batch."""
        return UnlockableDropoutError(
            f"{self.what} sees masks of shape {self.call.mask_shape} and {other} for batches of 2 and "
            f"{n_other}: none of its axes is the batch, so the inputs cannot share a mask. Keep the "
            "batch as a separate axis before the dropout"
        )

    def with_order(self, followed: SeenCall) -> _Layout:
        """With the order of its rows, from a pass in which they were followed.

        Raises
        ------
        UnlockableDropoutError
            If it cannot be determined whether the rows of an input are copies of it.
        """
        if self.order is not None:
            return self
        assert self.axis is not None
        labels = followed.labels
        known = followed.mask_shape == self.call.mask_shape and labels and labels.axis == self.axis
        found = found_rows(labels, 2) if known else None
        order = None if found is None else row_order(*found, 2)
        if order is None:
            raise UnlockableDropoutError(
                f"{self.what} sees {self.rows_per_input} rows for each input. They may be copies of the "
                "whole input (such as both strands), which share a mask, or parts of it (positions, "
                "attention heads), which do not; this cannot be determined. Keep the batch as a "
                "separate axis before the dropout; to put both strands into the batch, call torch.cat "
                "on the input and its reverse complement"
            )
        return replace(self, order=order)

    def site(self) -> Site:
        """The site, its mask with one row for each part of an input."""
        call = self.call
        if self.ignored:
            return Site(self.index, self.name, call.kind, 0.0, call.mask_shape, None, ignored=True)
        site = Site(self.index, self.name, call.kind, call.p, call.mask_shape, None, alpha=call.alpha)
        if self.axis is not None and self.order is not None:
            shape = list(call.mask_shape)
            shape[self.axis] = count(self.order, "part")
            site = replace(site, shape=tuple(shape), batch_axis=self.axis, rows=self.order)
        whole = site.is_mask and math.prod(site.shape) == 1
        return replace(site, kind="drop_path") if whole else site


def _layouts(two: Recording, other: Recording, n_other: int, ignore: tuple[str, ...]) -> list[_Layout]:
    pairs = enumerate(zip(two.calls, other.calls, strict=True))
    return [
        _Layout(i, name, a, None, ignored=True)
        if is_ignored(name, ignore)
        else _Layout.of(i, name, a, b, n_other)
        for i, ((name, a), (_, b)) in pairs
    ]


def _known_order(call: SeenCall, rows: int) -> RowOrder | None:
    """Order of the rows of an input where it needs no search."""
    if rows == 1:
        return ONE_ROW
    if call.rows_per_input == rows:  # the heads of torch's own attention, input after input
        return (("input", 0), ("part", rows))
    return None


def _followed(probe: Probe, rows: Nested, layouts: list[_Layout]) -> list[_Layout]:
    """Run the model again and follow the rows of its tensors."""
    shapes = ShapeRecorder()
    probe.record(rows, shapes)
    seen = probe.record(take(rows, [0, 1]), RowTracker(shapes))
    if len(seen.calls) != len(layouts):
        raise UnlockableDropoutError(
            f"two passes over the same input call {len(layouts)} and {len(seen.calls)} dropouts. Call "
            "all of them in every pass"
        )
    return [layout.with_order(call) for layout, (_, call) in zip(layouts, seen.calls, strict=True)]


def _name_repeats(sites: list[Site]) -> tuple[Site, ...]:
    """Number the calls of a module that is called more than once."""
    total = Counter(site.name for site in sites)
    seen: Counter[str] = Counter()
    named = []
    for site in sites:
        seen[site.name] += 1
        suffix = f"#{seen[site.name]}" if total[site.name] > 1 else ""
        named.append(replace(site, name=site.name + suffix))
    return tuple(named)


def _always_on(sites: list[Site], lifted: tuple[nn.Module, ...], probe: Probe) -> tuple[str, ...]:
    """Notes about random numbers that evaluation mode does not switch off."""
    off = [label for label, part in probe.parts.items() if any(part is module for module in lifted)]
    own = [site.name for site in sites if (site.is_mask or site.is_noise) and not site.ignored]
    return tuple(
        f"{name}: random in evaluation mode, too; with dropout off each random number is its mean"
        for name in dict.fromkeys(own)
        if name not in off
    )


def _nothing_random(module: nn.Module, idle: dict[str, str]) -> str:
    found = "; ".join(f"{name}: {why}" for name, why in idle.items())
    return (
        f"nothing is random in the model ({type(module).__name__}): its forward pass calls no dropout "
        f"with p > 0, so there is no uncertainty to compute{f' ({found})' if found else ''}. Use a "
        "model with dropout; or give several trained networks (folds, replicates) as members "
        "(--member); or use the method 'mutation' of kipoi-interpret for effects alone"
    )
