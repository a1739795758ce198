"""Effects under several members: trained networks of one ensemble (folds, replicates, checkpoints).

A draw is a member and its masks: draw d is of member d mod M. Reference and all mutants of a draw go
through the same member under the same masks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from kipoi_mcdropout.arrays.nested_variance import NestedVariance, nested_covariance
from kipoi_mcdropout.dropout.locked_model import POINT
from kipoi_mcdropout.effects.rounding import DIFFERENCES, difference_rounding
from kipoi_mcdropout.effects.rounds import summarize_in_rounds
from kipoi_mcdropout.effects.summarize import summarize_effects
from kipoi_mcdropout.effects.summary import Array, EffectOptions, EffectSummary
from kipoi_mcdropout.effects.until import check_until
from kipoi_mcdropout.engine.full import DrawBlock, Engine
from kipoi_mcdropout.errors import McDropoutError
from kipoi_mcdropout.model.ensemble import check_balanced
from kipoi_mcdropout.outputs.targets import Targets
from kipoi_mcdropout.sequence.mutants import MutantBatch


@dataclass(frozen=True)
class Member:
    """One trained network, ready to run.

    `borrow` holds its torch module in evaluation mode. `is_random` is False where it has no dropout: all
    its draws are then its point prediction, which is computed once.
    """

    engine: Engine
    borrow: Callable[[], AbstractContextManager[object]]
    is_random: bool = True
    name: str = ""  # put in front of its errors


def summarize_members(
    members: Sequence[Member],
    batch: MutantBatch,
    targets: Targets,
    options: EffectOptions,
    progress: Callable[[int], None] | None = None,
) -> list[EffectSummary]:
    """`summarize_effects` over the draws of all members, and the comparison with a background.

    One member is run after the other, so that only one needs to be in memory at a time. With one member
    the result is that of `summarize_effects`, bit for bit.

    Raises
    ------
    InputError
        If `options.n_draws` is no multiple of the number of members, or there are several and
        mutants are to have different numbers of draws (`options.until`).
    McDropoutError
        Of `summarize_effects`, with the name of the member in front.
    """
    ranking = options.ranking
    if ranking is None:
        return _summaries(members, batch, targets, options, progress)
    with_draws = replace(options, keep_draws=options.n_draws > 0)
    summaries = _summaries(members, batch, targets, with_draws, progress)
    for summary in summaries:
        summary.mutant |= ranking.statistics(summary, batch.owner)
        if not options.keep_draws:
            summary.draws = None
    return summaries


def _summaries(
    members: Sequence[Member],
    batch: MutantBatch,
    targets: Targets,
    options: EffectOptions,
    progress: Callable[[int], None] | None,
) -> list[EffectSummary]:
    """The summary of each score over the draws of all members."""
    if len(members) == 1:
        (member,) = members
        summarize = summarize_in_rounds if options.stops_early else summarize_effects
        with member.borrow():
            return summarize(member.engine, batch, targets, options, progress)
    check_until(options.until, options.n_draws, n_members=len(members))
    each = check_balanced(options.n_draws, len(members))
    own = replace(options, quantiles=(), keep_draws=options.keep_draws or bool(options.quantiles))
    parts = []
    for number, member in enumerate(members):
        draws = range(number, options.n_draws, len(members))
        with _named(member.name), member.borrow():
            if each and not member.is_random:
                parts.append(_constant(member.engine, batch, targets, own, each, progress))
            else:
                parts.append(
                    summarize_effects(member.engine, batch, targets, own, progress, draws)
                )
    return [_joined(of_score, batch.owner, options) for of_score in zip(*parts, strict=True)]


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Puts the name of a member in front of its errors."""
    try:
        yield
    except McDropoutError as error:
        if name:
            error.args = (f"{name}: {error}",)
        raise


class _OneForAll:
    """An engine of a network in which nothing is random: the point prediction is also its draw."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def run(
        self, batch: MutantBatch, draws: Sequence[int], selected: Tensor | None = None
    ) -> Iterator[DrawBlock]:
        """See `Engine.run`."""
        n = len(draws)
        for block in self.engine.run(batch, [POINT], selected):
            ref, alt = block.ref, block.alt
            yield DrawBlock(block.mutants, ref.expand(n, *ref.shape[1:]), alt.expand(n, *alt.shape[1:]))


def _constant(
    engine: Engine,
    batch: MutantBatch,
    targets: Targets,
    options: EffectOptions,
    n_draws: int,
    progress: Callable[[int], None] | None,
) -> list[EffectSummary]:
    """Of a member in which nothing is random: one pass stands for all its draws."""

    def report(done: int) -> None:  # the point and one draw are counted for all draws
        if progress is not None:
            progress(done * (n_draws + 1) // 2)

    summaries = summarize_effects(_OneForAll(engine), batch, targets, options, report, [0])
    for summary in summaries:
        summary.n_draws = n_draws
        broken = np.isnan(summary.mutant["effect_mean"])
        for name in ("alt_var", "ref_alt_cov", "effect_sd", "effect_mcse"):
            summary.mutant[name] = np.where(broken, np.nan, 0.0)
        summary.reference["ref_var"] = np.where(np.isnan(summary.reference["ref_mean"]), np.nan, 0.0)
        for count in summary.counts.values():
            count *= n_draws
        if summary.draws is not None:
            summary.draws = np.repeat(summary.draws, n_draws, axis=0)
    return summaries


def _joined(
    parts: Sequence[EffectSummary], owner: NDArray[np.int64], options: EffectOptions
) -> EffectSummary:
    """The summary of all draws from those of each member."""
    each = parts[0].n_draws

    def of_reference(name: str) -> Array:
        return np.stack([part.reference[name] for part in parts])

    def of_mutant(name: str) -> Array:
        return np.stack([part.mutant[name] for part in parts])

    ref_means, alt_means = of_reference("ref_mean"), of_mutant("alt_mean")
    effects = of_mutant("effect_mean")
    ref = NestedVariance.of(ref_means, of_reference("ref_var"), each)
    alt = NestedVariance.of(alt_means, of_mutant("alt_var"), each)
    effect = NestedVariance.of(effects, of_mutant("effect_sd") ** 2, each)
    covariance = of_mutant("ref_alt_cov")
    mutant = {
        "alt_mean": alt_means.mean(axis=0),
        "alt_var": alt.total,
        "alt_point": of_mutant("alt_point").mean(axis=0),
        "ref_alt_cov": nested_covariance(ref_means[:, owner], alt_means, covariance, each),
        "effect_mean": effects.mean(axis=0),
        "effect_sd": np.sqrt(effect.total),
        "effect_mcse": np.sqrt(effect.of_mean),
        "effect_point": of_mutant("effect_point").mean(axis=0),
        "prob_positive": of_mutant("prob_positive").mean(axis=0),
        "alt_var_within": alt.within,
        "alt_var_between": alt.between,
        "effect_sd_within": np.sqrt(effect.within),
        "effect_sd_between": np.sqrt(effect.between),
        "sign_agreement": _sign_agreement(parts, owner),
    }
    reference = {
        "ref_mean": ref_means.mean(axis=0),
        "ref_var": ref.total,
        "ref_point": of_reference("ref_point").mean(axis=0),
        "ref_var_within": ref.within,
        "ref_var_between": ref.between,
    }
    counts = {
        name: np.stack([part.counts[name] for part in parts]).sum(axis=0).astype(np.int32)
        for name in parts[0].counts
    }
    draws = _in_order([part.draws for part in parts if part.draws is not None])
    kept = None if draws is None or not options.keep_draws else draws.astype(np.float32)
    return EffectSummary(
        parts[0].score, options.n_draws, reference, mutant, counts,
        _quantiles(draws, effects, options), kept, effects, max(part.eps for part in parts),
    )  # fmt: skip


def _sign_agreement(parts: Sequence[EffectSummary], owner: NDArray[np.int64]) -> Array:
    """Share of the members whose mean effect has the sign of the overall mean; no effect counts half.

    Where the overall mean is 0 there is no sign to agree with, and each counts half.
    """
    signs = []
    for part in parts:
        sign = np.sign(part.mutant["effect_mean"])
        if part.score.name in DIFFERENCES:
            outputs = {name: part.reference[name][owner] for name in ("ref_mean", "ref_var")}
            outputs |= {name: part.mutant[name] for name in ("alt_mean", "alt_var")}
            known = {name: np.nan_to_num(values) for name, values in outputs.items()}
            floor = difference_rounding(known, DIFFERENCES[part.score.name], part.eps)
            sign = np.where(np.abs(part.mutant["effect_mean"]) <= floor, 0.0, sign)
        signs.append(sign)
    ours = np.stack(signs)
    of_all = np.sign(np.mean([part.mutant["effect_mean"] for part in parts], axis=0))
    agreement = np.mean(np.where((ours == 0) | (of_all == 0), 0.5, ours == of_all), axis=0)
    return np.where(np.isnan(of_all), np.nan, agreement)


def _quantiles(draws: NDArray[Any] | None, effects: Array, options: EffectOptions) -> dict[float, Array]:
    if draws is None or len(draws) == 0:
        return {q: np.full(effects.shape[1:], np.nan) for q in options.quantiles}
    return {q: np.quantile(draws, q, axis=0) for q in options.quantiles}


def _in_order(parts: Sequence[NDArray[Any]]) -> NDArray[Any] | None:
    """The draws of all members, shape=(draws, mutants, outputs): draw d is of member d mod M."""
    if not parts:
        return None
    return np.stack(parts, axis=1).reshape(-1, *parts[0].shape[1:])
