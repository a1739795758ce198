"""Effects of mutants that should mean nothing, and how other effects compare with them.

An effect is ranked among the effects of the background on the same output by the same score. All numbers
are compared as float32, as files hold them, so that a result has the same ranks wherever they are
computed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kipoi_mcdropout.arrays.array_types import FloatArray
from kipoi_mcdropout.arrays.nested_variance import NestedVariance
from kipoi_mcdropout.effects.columns import BACKGROUND_STATISTICS
from kipoi_mcdropout.effects.rounding import DIFFERENCES, difference_rounding
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.significance.ranks import Ranks
from kipoi_mcdropout.significance.sign_probability import independent_draws, sign_probability

if TYPE_CHECKING:
    from kipoi_mcdropout.effects.summary import EffectSummary

_NEEDED = ("effect_mean", "effect_point", "prob_positive", "ref_point", "alt_point")
_OF_MEMBERS = ("effect_sd_within", "effect_sd_between")
ROW_STATISTICS = (*_NEEDED, *_OF_MEMBERS)  # what the comparison reads of an effect
MIN_EFFECTS = 100


@dataclass(frozen=True)
class OutputBackground:
    """The background of one output and score.

    Attributes
    ----------
    effects : numpy.ndarray of float32, shape=(n,)
        Sorted. The mean over the draws; of a background without draws, the effect with dropout off.
    draws : numpy.ndarray of float32, shape=(draws, n)
        Each row sorted: the effects of that draw.
    """

    effects: NDArray[np.float32]
    draws: NDArray[np.float32]

    @classmethod
    def of(
        cls, effects: NDArray[np.float32], draws: NDArray[np.float32], floor: FloatArray | float = 0.0
    ) -> OutputBackground:
        """From effects in any order.

        Parameters
        ----------
        effects : numpy.ndarray of float32, shape=(n,)
            Those that are not finite are left out.
        draws : numpy.ndarray of float32, shape=(draws, n)
        floor : float, or array of shape=(n,)
            The largest effect that is only rounding, and counts as 0.
        """
        good = np.isfinite(effects) & np.isfinite(draws).all(axis=0)
        small = np.broadcast_to(floor, effects.shape)[good]
        return cls(
            np.sort(_floored(effects[good], small)), np.sort(_floored(draws[:, good], small), axis=1)
        )

    def __len__(self) -> int:
        return len(self.effects)


@dataclass(frozen=True)
class Run:
    """What must be known of a run to compare its effects: its draws and its precision."""

    n_draws: int
    n_members: int = 1
    eps: float = 0.0


@dataclass(frozen=True)
class Background:
    """Effects of a background, ready for comparison.

    Attributes
    ----------
    labels : tuple of str
        Of the outputs.
    scores : mapping of str to tuple of OutputBackground
        For each score, one for each label.
    provenance : dict
        How the background was made.
    """

    labels: tuple[str, ...]
    scores: Mapping[str, tuple[OutputBackground, ...]]
    provenance: dict[str, Any] = field(repr=False, default_factory=dict)

    def select(self, labels: Sequence[str], scores: Sequence[str]) -> Background:
        """The background of some outputs, in this order, and some scores.

        Raises
        ------
        InputError
            If one is missing, or has too few effects.
        """
        for what, wanted, there in (
            ("output", labels, self.labels), ("score", scores, tuple(self.scores)),
        ):  # fmt: skip
            if missing := [name for name in wanted if name not in there]:
                raise InputError(
                    f"the background has no {what} {missing[0]!r}; it has {', '.join(there[:10])}. Make "
                    f"a background with it (`kipoi mcdropout background`), or leave out this {what}"
                )
        columns = [self.labels.index(label) for label in labels]
        chosen = {score: tuple(self.scores[score][c] for c in columns) for score in scores}
        for score, outputs in chosen.items():
            for label, output in zip(labels, outputs, strict=True):
                if len(output) < MIN_EFFECTS:
                    raise InputError(
                        f"the background must have at least {MIN_EFFECTS} finite effects; it has "
                        f"{len(output)} for output {label!r} and score {score!r}. Make one with more "
                        "effects (--n_effects)"
                    )
        return replace(self, labels=tuple(labels), scores=chosen)

    def statistics(self, summary: EffectSummary, owner: NDArray[np.int64]) -> dict[str, FloatArray]:
        """BACKGROUND_STATISTICS of effects that were computed just now, each shape=(mutants, outputs).

        Parameters
        ----------
        summary : EffectSummary
            Of the outputs of this background, in their order, with its draws.
        owner : numpy.ndarray of int64, shape=(mutants,)
            Row of the reference of each mutant.
        """
        n_members = 1 if summary.member_means is None else len(summary.member_means)
        run = Run(summary.n_draws, n_members, summary.eps)
        values = {name: x[owner] for name, x in summary.reference.items()} | summary.mutant
        found = []
        for column in range(len(self.labels)):
            rows = {name: values[name][:, column] for name in ROW_STATISTICS if name in values}
            draws = None if summary.draws is None else summary.draws[:, :, column]
            found.append(self.of_output(column, summary.score.name, rows, draws, run))
        return {name: np.stack([one[name] for one in found], axis=1) for name in found[0]}

    def of_output(
        self,
        column: int,
        score: str,
        rows: Mapping[str, NDArray[Any]],
        draws: NDArray[Any] | None,
        run: Run,
    ) -> dict[str, FloatArray]:
        """BACKGROUND_STATISTICS of effects on one output.

        Parameters
        ----------
        column : int
            Of the output among `labels`.
        rows : mapping of str to numpy.ndarray, each shape=(rows,)
            ROW_STATISTICS; the parts of the sd only where there are several members.
        draws : numpy.ndarray, shape=(draws, rows), optional
            The effect of every draw; without them the sds of the percentiles are NaN.
        run : Run
        """
        background = self.scores[score][column]
        floor = rank_floor(rows, score, run.eps)
        effects = np.asarray(rows["effect_mean" if run.n_draws else "effect_point"], np.float32)
        ranks = Ranks.of(background.effects, _floored(effects, floor))
        unknown = np.full(len(effects), np.nan)
        found = dict.fromkeys(BACKGROUND_STATISTICS, unknown)
        found |= {
            "p_empirical": ranks.p_value(), "p_empirical_signed": ranks.p_value_signed(),
            "percentile": ranks.percentile(), "percentile_signed": ranks.percentile_signed(),
        }  # fmt: skip
        if run.n_draws and draws is not None:
            found |= _percentile_sds(background, _floored(np.asarray(draws, np.float32), floor), run)
        if run.n_draws:
            n = None
            if run.n_members > 1:
                within, between = (np.asarray(rows[name], np.float32) for name in _OF_MEMBERS)
                n = independent_draws(within, between, run.n_draws, run.n_members)
            sign = sign_probability(rows["prob_positive"], effects, run.n_draws, n)
            found |= {"sign_probability": sign.probability, "sign_probability_mcse": sign.mcse}
        return found


def rank_floor(rows: Mapping[str, NDArray[Any]], score: str, eps: float) -> FloatArray:
    """The largest effect of each row that is only rounding, shape=(rows,); 0 where it is not known.

    By the outputs with dropout off (`rounding.difference_rounding`), which every file has.
    """
    ref, alt = (np.asarray(rows[name], np.float32) for name in ("ref_point", "alt_point"))
    if score not in DIFFERENCES:
        return np.zeros(len(ref))
    none = np.zeros(len(ref))
    outputs: dict[str, Any] = {"ref_mean": ref, "alt_mean": alt, "ref_var": none, "alt_var": none}
    return np.nan_to_num(difference_rounding(outputs, DIFFERENCES[score], eps))


def _floored(effects: NDArray[np.float32], floor: FloatArray) -> NDArray[np.float32]:
    """Effects of which those that are only rounding are 0."""
    return np.where(np.abs(effects) <= floor, np.float32(0.0), effects)


def _percentile_sds(
    background: OutputBackground, draws: NDArray[np.float32], run: Run
) -> dict[str, FloatArray]:
    """Sd over the draws of the percentiles, each draw ranked among the background's effects of it."""
    of_size, signed = np.empty((2, *draws.shape))
    for draw, effects in enumerate(draws):
        ranks = Ranks.of(background.draws[draw], effects)
        of_size[draw], signed[draw] = ranks.percentile(), ranks.percentile_signed()
    return {"percentile_sd": _sd(of_size, run), "percentile_signed_sd": _sd(signed, run)}


def _sd(values: FloatArray, run: Run) -> FloatArray:
    """Sd over the draws, shape=(draws, rows) to (rows,), as that of the effects themselves.

    Of several members: the total of `NestedVariance`; draw d is of member d mod M.
    """
    if run.n_members == 1:
        sd: FloatArray = values.std(axis=0, ddof=1)
        return sd
    each = run.n_draws // run.n_members
    nested = values.reshape(each, run.n_members, -1)
    variances = np.full(nested.shape[1:], np.nan) if each == 1 else nested.var(axis=0, ddof=1)
    return np.sqrt(np.maximum(NestedVariance.of(nested.mean(axis=0), variances, each).total, 0.0))
