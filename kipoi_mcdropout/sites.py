"""Find every dropout site of a model and how its mask lies over the batch.

Passes with two and with three inputs show, for each dropout call, which axis is the batch, and
whether it has more than one row per input (a batch doubled inside the model, attention heads).
Nothing is assumed about the model's layout.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from torch import Tensor, nn

from kipoi_mcdropout.dropout_calls import DropoutCall
from kipoi_mcdropout.errors import ModelError, NoRandomSiteError, UnlockableDropoutError
from kipoi_mcdropout.hidden_dropout import (
    find_guarded,
    idle_dropouts,
    refuse_torchscript,
    refuse_unseen,
)
from kipoi_mcdropout.nested import Nested, take
from kipoi_mcdropout.probe import Call, Probe, probe_pair, same_output, training_flag

# Fewest axes with which the channel axis of a by-channel dropout is not the batch.
_MIN_DIM = {"dropout1d": 3, "dropout2d": 3, "dropout3d": 5}


@dataclass(frozen=True)
class Site:
    """One dropout call of the forward pass.

    `shape` is that of the mask: the tensor's own, except that the batch axis has one row for each
    row of an input that is masked by itself.
    """

    index: int  # in call order, over the calls with p > 0
    name: str  # the module that calls it, as in named_modules(); "#2" marks its second call
    kind: str
    p: float
    shape: tuple[int, ...]
    batch_axis: int | None  # None: what is dropped does not depend on the input
    copies: int = 1  # times the whole batch stands along the axis (strands), all under one mask
    alpha: bool = False


@dataclass(frozen=True)
class SitePlan:
    """All dropout sites of a model, for one shape of input."""

    sites: tuple[Site, ...]
    before_first_site: tuple[str, ...]  # leaf modules whose result no mask can change
    idle: dict[str, str]  # dropout modules that drop nothing, with the reason
    lifted: tuple[nn.Module, ...]  # run these with their own training flag on
    notes: tuple[str, ...]


NO_SITES = SitePlan((), (), {}, (), ())


def find_sites(module: nn.Module, call: Call, inputs: Nested, ignore: tuple[str, ...] = ()) -> SitePlan:
    """Probe the model and return its dropout sites.

    Parameters
    ----------
    module : nn.Module
        The model, borrowed (`borrow.borrowed`).
    call : callable
        Runs it on nested tensors, batch first.
    inputs : nested tensors
        At least one row; its first is used, with a shuffled copy of it beside.
    ignore : tuple of str
        Names of modules to leave as they are although they look like dropout.

    Raises
    ------
    NoRandomSiteError
        If no dropout with p > 0 is called.
    UnlockableDropoutError
        If a dropout, or other randomness, cannot be locked; it is named, with the remedy.
    ModelError
        If a dropout has p = 1.
    """
    refuse_torchscript(module, ignore)
    pair = probe_pair(inputs)
    with Probe(module, call) as probe:
        quiet = probe.record(pair)
        _refuse_other_randomness(quiet.random)
        lifted, notes = find_guarded(probe, pair, quiet, ignore)
        with training_flag(lifted):
            two = probe.record(pair)
            three = probe.record(take(pair, [0, 1, 0]))
            swapped = probe.record(take(pair, [1, 0]))
        if not same_output(two.output, quiet.output):
            raise UnlockableDropoutError(
                "two passes over the same input differ with every dropout off: the model has "
                "randomness that is no dropout. Remove it, or replace it by nn.Dropout"
            )
        seen = {name for name, _ in two.calls}
        refuse_unseen(probe, seen, ignore)
    if not len(two.calls) == len(three.calls) == len(swapped.calls):
        raise UnlockableDropoutError(
            f"the number of dropout calls depends on the batch: {len(two.calls)} for two inputs, "
            f"{len(three.calls)} for three. Call the dropouts unconditionally"
        )
    calls = zip(two.calls, three.calls, swapped.calls, strict=True)
    sites = [_site(i, name, a, b, c) for i, ((name, a), (_, b), (_, c)) in enumerate(calls)]
    idle = idle_dropouts(module, seen)
    if not sites:
        raise NoRandomSiteError(_nothing_random(module, idle))
    return SitePlan(_name_repeats(sites), tuple(three.before_first), idle, lifted, notes)


def _refuse_other_randomness(random: list[tuple[str, str]]) -> None:
    if random:
        where, function = random[0]
        raise UnlockableDropoutError(
            f"module {where!r} calls torch's {function} in evaluation mode: randomness that is no "
            "dropout cannot be locked. Remove it, or replace it by nn.Dropout"
        )


def _site(index: int, name: str, two: DropoutCall, three: DropoutCall, swapped: DropoutCall) -> Site:
    """Layout of a mask from the same call with two inputs, with three, and with the two swapped."""
    what = f"dropout site {index} ({two.kind} in module {name!r})"
    if not 0 < two.p < 1:
        raise ModelError(
            f"{what} has p = {two.p}; required 0 <= p < 1 (at p = 1 no output depends on the input)"
        )
    shape, other = two.mask_shape(), three.mask_shape()
    axes = [i for i, (a, b) in enumerate(zip(shape, other, strict=True)) if a != b]
    if two.by_channel and (axes not in ([], [0]) or two.x.dim() < _MIN_DIM.get(two.kind, 2)):
        raise UnlockableDropoutError(
            f"{what} was given shape {tuple(two.x.shape)} for a batch of 2: the axis whose channels "
            "it drops is the batch. Required (batch, channels, ...); add the missing axis"
        )
    site = Site(index, name, two.kind, two.p, shape, None, alpha=two.alpha)
    if not axes:
        return site
    axis = axes[0]
    if len(axes) > 1 or shape[axis] % 2 or other[axis] * 2 != shape[axis] * 3:
        raise UnlockableDropoutError(
            f"{what} sees masks of shape {shape} and {other} for batches of 2 and 3: no axis of it "
            "is the batch, so no mask can be shared by all inputs. Keep the batch an axis of its own "
            "before the dropout"
        )
    rows = shape[axis] // 2
    grouped = rows > 1 and _is_grouped(two, swapped, axis, rows, what)
    own = rows if grouped else 1
    mask_shape = (*shape[:axis], own, *shape[axis + 1 :])
    return replace(site, shape=mask_shape, batch_axis=axis, copies=rows // own)


def _is_grouped(two: DropoutCall, swapped: DropoutCall, axis: int, rows: int, what: str) -> bool:
    """Whether the rows of an input lie together (heads), or the whole batch is repeated (strands)."""
    if two.rows_per_input == rows:
        return True

    def rows_of(call: DropoutCall, *sizes: int) -> Tensor:
        return call.x.movedim(axis, 0).flatten(1).unflatten(0, sizes)

    grouped = same_output(rows_of(two, 2, rows).flip(0), rows_of(swapped, 2, rows))
    repeated = same_output(rows_of(two, rows, 2).flip(1), rows_of(swapped, rows, 2))
    if grouped == repeated:
        raise UnlockableDropoutError(
            f"{what} sees {rows} rows per input and their order cannot be told. Reshape so that the "
            "batch is an axis of its own before the dropout"
        )
    return grouped


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


def _nothing_random(module: nn.Module, idle: dict[str, str]) -> str:
    found = "; ".join(f"{name}: {why}" for name, why in idle.items())
    return (
        f"nothing is random in the model ({type(module).__name__}): its forward pass calls no dropout "
        f"with p > 0, so there is no uncertainty to compute{f' ({found})' if found else ''}. Use a "
        "model with dropout, or the method 'mutation' of kipoi-interpret for effects alone"
    )
