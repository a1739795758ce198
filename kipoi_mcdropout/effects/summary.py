"""What is known about the effects of some mutants, and what is asked about them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from kipoi_mcdropout.effects.columns import quantile_name
from kipoi_mcdropout.effects.rounding import FLOAT32_EPS
from kipoi_mcdropout.effects.scores import Score
from kipoi_mcdropout.effects.until import Until, check_until
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.model.ensemble import OWN_DRAWS, check_draws

Array = NDArray[np.float64]


@dataclass
class EffectSummary:
    """Statistics over the draws for one score (DESIGN: effects are scored within a draw).

    Attributes
    ----------
    reference : dict of numpy.ndarray of float64, each shape=(references, outputs)
        `ref_mean`, `ref_var` (ddof=1), `ref_point` (dropout off).
    mutant : dict of numpy.ndarray of float64, each shape=(mutants, outputs)
        `alt_mean`, `alt_var`, `alt_point`, `ref_alt_cov`, `effect_mean`, `effect_sd` (spread over the
        draws, ddof=1), `effect_mcse` (effect_sd / sqrt(n_draws)), `effect_point` (dropout off) and
        `prob_positive` (share of the draws with effect > 0, ties half; in a draw in which the outputs
        of reference and mutant differ by rounding alone, `rounding.output_rounding`, they are a tie).
        On the logit scale for the logit scores, else on that of the output. Where the mutants have
        different numbers of draws (`EffectOptions.until`), `reference` is empty and its statistics are
        here, over the draws of each mutant.
    counts : dict of numpy.ndarray of int32, each shape=(mutants, outputs)
        `n_nonfinite`: draws in which the model gave NaN or infinity; `n_saturated`: draws in which
        the score is infinite or undefined, since a probability is 0 or 1, or since a value and the
        pseudocount of log2fc are not above 0 together. Where one is not 0 the
        statistics are NaN: such draws are not averaged away. With n_draws = 0, where there are
        point effects only, they count the point prediction. Under `EffectOptions.until` there is
        `n_draws` too: the draws that the mutant has, of at most `n_draws` of the summary.
    quantiles : dict of float to numpy.ndarray, shape=(mutants, outputs)
        Of the effect over the draws, as asked for.
    draws : numpy.ndarray of float32, shape=(draws, mutants, outputs), or None
        The effects themselves, as asked for.
    member_means : numpy.ndarray of float64, shape=(members, mutants, outputs), or None
        The mean effect of each member, where the model has several (`members.summarize_members`). Then
        `reference` has `ref_var_within` and `ref_var_between` too, and `mutant` has
        `columns.MEMBER_STATISTICS`.
    eps : float
        Relative precision of the model's arithmetic: 1.2e-7 for float32, 0.0078 for bfloat16.
    """

    score: Score
    n_draws: int
    reference: dict[str, Array]
    mutant: dict[str, Array]
    counts: dict[str, NDArray[np.int32]]
    quantiles: dict[float, Array] = field(default_factory=dict)
    draws: NDArray[np.floating[Any]] | None = None
    member_means: Array | None = None
    eps: float = FLOAT32_EPS

    def per_mutant(self) -> dict[str, NDArray[Any]]:
        """Everything that has a value per mutant and output, by column name, mutants first."""
        columns: dict[str, NDArray[Any]] = dict(self.mutant)
        columns.update({quantile_name(q): values for q, values in self.quantiles.items()})
        columns.update({name: count.astype(np.float64) for name, count in self.counts.items()})
        if self.draws is not None:
            columns["effect_draws"] = np.moveaxis(self.draws, 0, -1)
        if self.member_means is not None:
            columns["effect_member_mean"] = np.moveaxis(self.member_means, 0, -1)
        return columns


class Ranking(Protocol):
    """Compares effects with those of a background; see `significance.background.Background`."""

    def statistics(self, summary: EffectSummary, owner: NDArray[np.int64], /) -> dict[str, Array]:
        """Further statistics of the effects, by name, each shape=(mutants, outputs)."""
        ...


@dataclass(frozen=True)
class EffectOptions:
    """What is computed about each mutant.

    `n_draws` may be OWN_DRAWS until the run begins; under `until` it is the most that a mutant gets.
    `ranking` adds statistics to each summary. It needs the draws of a block for a moment, whether they
    are kept or not.
    """

    scores: tuple[Score, ...]
    n_draws: int
    quantiles: tuple[float, ...] = ()
    keep_draws: bool = False
    until: Until | None = None
    ranking: Ranking | None = field(default=None, compare=False, repr=False)

    @property
    def holds_draws(self) -> bool:
        """Whether the effects of all draws of a block are in memory at a time."""
        return self.keep_draws or bool(self.quantiles) or self.ranking is not None

    def __post_init__(self) -> None:
        check_draws(self.n_draws)
        if not self.scores:
            raise InputError("at least one score is required; got none")
        names = [score.name for score in self.scores]
        if len(set(names)) < len(names):
            raise InputError(f"each score can be given only once; got {', '.join(names)}")
        for q in self.quantiles:
            if not 0 <= q <= 1:
                raise InputError(f"quantiles must lie between 0 and 1; got {q}")
        if self.n_draws != OWN_DRAWS:
            check_until(self.until, self.n_draws, self.keep_draws or bool(self.quantiles))

    def until_as_dict(self) -> dict[str, Any]:
        """`until` for the record of a run; nothing where all mutants have the same draws."""
        return {} if self.until is None else self.until.to_dict()

    @property
    def stops_early(self) -> bool:
        """Whether mutants may have fewer draws than `n_draws`."""
        return self.until is not None and not self.until.never


def concatenate(parts: Sequence[EffectSummary]) -> EffectSummary:
    """Summaries of consecutive mutants of the same reference as one."""
    first = parts[0]
    if len(parts) == 1:
        return first

    def join(pick: Callable[[EffectSummary], dict[Any, Any]]) -> dict[Any, Any]:
        return {name: np.concatenate([pick(part)[name] for part in parts]) for name in pick(first)}

    draws = [part.draws for part in parts if part.draws is not None]
    members = [part.member_means for part in parts if part.member_means is not None]
    return EffectSummary(
        first.score,
        first.n_draws,
        first.reference,
        join(lambda part: part.mutant),
        join(lambda part: part.counts),
        join(lambda part: part.quantiles),
        np.concatenate(draws, axis=1) if draws else None,
        np.concatenate(members, axis=1) if members else None,
        first.eps,
    )
