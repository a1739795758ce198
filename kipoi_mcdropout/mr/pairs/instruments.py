"""The data that every Mendelian-randomization method takes: one row per mutant, with two effects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kipoi_mcdropout.arrays.array_types import FloatArray
from kipoi_mcdropout.effects.rounding import SHARE_OF_LARGEST
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.mr.pairs.checks import (
    check_correlation,
    check_draws,
    check_draws_mean,
    check_float_row,
    check_names,
    check_not_negative,
    check_row,
    check_se_type,
    frozen,
    zero_variance,
)
from kipoi_mcdropout.mr.pairs.spread import spread_of_draws

SeType = Literal["sd", "mcse"]

# An sd that is only rounding would give one mutant all the weight.
ZERO_VARIANCE_RTOL = SHARE_OF_LARGEST

_SIDES = ("exposure", "outcome")
_PER_ROW = ("beta_exposure", "se_exposure", "beta_outcome", "se_outcome")
_OTHER = ("other_se_exposure", "other_se_outcome")
_NAMED = ("effect_allele", "other_allele", "sequence", "chrom", "position", "reason")


@dataclass(frozen=True, eq=False)
class Instruments:
    """Effects of mutants on an exposure and an outcome, checked once and immutable.

    Effects are those of the effect allele (ALT) against the other allele (REF). Nothing is oriented
    or dropped here: methods orient themselves, and rows that must not be used stay, with
    ``mr_keep`` False and a ``reason``.

    Parameters
    ----------
    snp : sequence of str, shape=(n,)
        Unique names.
    beta_exposure, beta_outcome : array, shape=(n,), float64
        Effect of the mutant on each output, mean over draws.
    se_exposure, se_outcome : array, shape=(n,), float64
        Their uncertainty, of the kind that `se_type` says.
    effect_allele, other_allele : sequence of str, shape=(n,), optional
    exposure, outcome : str
        Names of the two outputs; they must differ.
    se_type : "sd", "mcse" or None
        "sd": spread over draws, the model's uncertainty. "mcse": the Monte Carlo error of the mean,
        sd / sqrt(n_draws) of one model. None: summary data that does not come from draws.
    n_draws : int, optional
        The fewest of a mutant, where they have different numbers (--until).
    draws_exposure, draws_outcome : array, shape=(n_draws, n), optional
        Effects of each draw; draw t of both comes from the same masks.
    n_members : int
        Trained networks that the draws are of: draw t is of member t mod n_members.
    other_se_exposure, other_se_outcome : array, shape=(n,), optional
        The uncertainty of the kind that `se_type` does not say: the mcse beside the sd, and the other
        way round. Needed where there are several members, or mutants with different numbers of draws,
        since the mcse is then not sd / sqrt(n_draws).
    correlation : array, shape=(n, n), optional
        Correlation of the outcome effects. Left out, it is taken from the draws when a method asks
        for it.
    sequence, chrom, position : sequence, shape=(n,), optional
        Where the mutant is; `position` in bp on `chrom`, or in `sequence` where there is no `chrom`,
        of whatever base the table has (only differences are used).
    mr_keep, reason : sequence, shape=(n,), optional
        Rows to use, and why not.
    provenance : mapping
        What was done to get here; selection adds to it.
    zero_variance_rtol : float
        A row whose se is at most this fraction of the largest |beta| or se of that output is kept
        out.

    Raises
    ------
    InputError
        Unequal lengths, no rows, duplicated names, non-finite numbers, negative se, exposure equal
        to outcome, or draws that do not belong to the betas.
    """

    snp: NDArray[np.str_]
    beta_exposure: FloatArray
    se_exposure: FloatArray
    beta_outcome: FloatArray
    se_outcome: FloatArray
    effect_allele: NDArray[Any] | None = None
    other_allele: NDArray[Any] | None = None
    exposure: str = "exposure"
    outcome: str = "outcome"
    se_type: SeType | None = None
    n_draws: int | None = None
    draws_exposure: FloatArray | None = None
    draws_outcome: FloatArray | None = None
    n_members: int = 1
    other_se_exposure: FloatArray | None = None
    other_se_outcome: FloatArray | None = None
    correlation: FloatArray | None = None
    sequence: NDArray[Any] | None = None
    chrom: NDArray[Any] | None = None
    position: NDArray[Any] | None = None
    mr_keep: NDArray[np.bool_] = None  # type: ignore[assignment]  # None only as an argument
    reason: NDArray[Any] = None  # type: ignore[assignment]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    zero_variance_rtol: float = ZERO_VARIANCE_RTOL

    def __post_init__(self) -> None:
        n = len(self.snp)
        self._set("provenance", dict(self.provenance))
        self._set("snp", frozen(np.asarray(self.snp, dtype=str)))
        check_names(self.snp, self.exposure, self.outcome)
        for name in _PER_ROW:
            self._set(name, check_float_row(getattr(self, name), name, self.snp))
        for name in ("se_exposure", "se_outcome"):
            check_not_negative(getattr(self, name), name, self.snp)
        for name in _OTHER:
            if getattr(self, name) is not None:
                self._set(name, check_float_row(getattr(self, name), name, self.snp))
                check_not_negative(getattr(self, name), name, self.snp)
        for name in _NAMED:
            if getattr(self, name) is not None:
                self._set(name, frozen(check_row(getattr(self, name), name, n)))
        self._set_draws()
        self._set_correlation()
        check_se_type(self.se_type, self.n_draws)
        self._set_keep()

    def __len__(self) -> int:
        return len(self.snp)

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _set_draws(self) -> None:
        if (self.draws_exposure is None) != (self.draws_outcome is None):
            raise InputError(
                "draws of both the exposure and the outcome are required, or of neither; got one. "
                "Pass draws_exposure and draws_outcome from the same run."
            )
        if self.draws_exposure is None:
            return
        for side in _SIDES:
            draws = check_draws(getattr(self, f"draws_{side}"), side, len(self))
            check_draws_mean(draws, getattr(self, f"beta_{side}"), side)
            self._set(f"draws_{side}", frozen(draws))
        counts = {len(self.draws_exposure), len(self.draws_outcome)}  # type: ignore[arg-type]
        if len(counts | ({self.n_draws} if self.n_draws is not None else set())) > 1:
            raise InputError(
                f"one number of draws is required; got {sorted(counts)} draws and "
                f"n_draws={self.n_draws}."
            )
        self._set("n_draws", counts.pop())
        if self.n_members < 1 or self.n_draws is None or self.n_draws % self.n_members:
            raise InputError(
                f"the draws must be as many of each member; got {self.n_draws} draws of "
                f"{self.n_members} members."
            )

    def _set_correlation(self) -> None:
        if self.correlation is None:
            return
        self._set("correlation", frozen(check_correlation(self.correlation, len(self))))

    def _set_keep(self) -> None:
        keep = (
            np.ones(len(self), bool)
            if self.mr_keep is None
            else check_row(self.mr_keep, "mr_keep", len(self))
        )
        keep = keep.astype(bool)
        reason = np.full(len(self), "", object) if self.reason is None else self.reason.astype(object)
        for side in _SIDES:
            beta, se = getattr(self, f"beta_{side}"), getattr(self, f"se_{side}")
            out = keep & zero_variance(beta, se, self.zero_variance_rtol)
            keep, reason = keep & ~out, np.where(out, f"zero_variance_{side}", reason)
        self._set("mr_keep", frozen(keep))
        self._set("reason", frozen(reason))

    @property
    def n_kept(self) -> int:
        """Number of rows that methods use."""
        return int(self.mr_keep.sum())

    def _derived(self, **changes: Any) -> Instruments:
        """A copy with changes that need no check: what is a zero was decided on the whole table."""
        new = object.__new__(Instruments)
        for name, value in (vars(self) | changes).items():
            if name in changes and isinstance(value, np.ndarray):
                value.flags.writeable = False
            new._set(name, value)
        return new

    def take(self, index: NDArray[Any] | Sequence[int]) -> Instruments:
        """Rows by integer index (each at most once) or boolean mask, with all that belongs to them."""
        rows = np.arange(len(self))[np.asarray(index)]
        if len(np.unique(rows)) < len(rows):
            raise InputError("each row can be taken only once; some rows were asked for twice.")
        new: dict[str, Any] = {"snp": self.snp[rows]}
        for name in (*_PER_ROW, *_OTHER, *_NAMED, "mr_keep"):
            value = getattr(self, name)
            new[name] = None if value is None else value[rows]
        for name in ("draws_exposure", "draws_outcome"):
            value = getattr(self, name)
            new[name] = None if value is None else value[:, rows]
        if self.correlation is not None:
            new["correlation"] = self.correlation[np.ix_(rows, rows)]
        return self._derived(**new)

    def with_keep(
        self, mr_keep: NDArray[np.bool_], reason: NDArray[Any], provenance: Mapping[str, Any]
    ) -> Instruments:
        """The same rows with another choice of those to use, and the record of how it was made."""
        return self._derived(
            mr_keep=mr_keep.astype(bool), reason=reason.astype(object), provenance=dict(provenance)
        )

    def kept(self, at_least: int = 1, what: str = "this analysis") -> Instruments:
        """Only the rows to be used.

        Raises
        ------
        InputError
            Fewer than `at_least` are left; the message counts the reasons.
        """
        if self.n_kept < at_least:
            raise InputError(
                f"{what} requires at least {at_least} instrument{'s' if at_least > 1 else ''}; "
                f"{self.n_kept} of {len(self)} {'is' if self.n_kept == 1 else 'are'} "
                f"left{self._why_out()}. Select more mutants, or use a less strict selection."
            )
        return self.take(np.flatnonzero(self.mr_keep))

    def _why_out(self) -> str:
        counts = Counter(str(r) for r, k in zip(self.reason, self.mr_keep, strict=True) if not k)
        return " (kept out: " + ", ".join(f"{n} {r}" for r, n in counts.items()) + ")" if counts else ""

    def flip(self, mask: ArrayLike) -> Instruments:
        """Count the other allele in the rows of `mask`: signs, alleles and correlation follow."""
        mask = np.asarray(mask, bool)
        sign = np.where(mask, -1.0, 1.0)
        new: dict[str, Any] = {
            name: None if getattr(self, name) is None else getattr(self, name) * sign
            for name in ("beta_exposure", "beta_outcome", "draws_exposure", "draws_outcome")
        }
        if self.correlation is not None:
            new["correlation"] = self.correlation * np.outer(sign, sign)
        if self.effect_allele is not None and self.other_allele is not None:
            new["effect_allele"] = np.where(mask, self.other_allele, self.effect_allele)
            new["other_allele"] = np.where(mask, self.effect_allele, self.other_allele)
        return self._derived(**new)

    def oriented(self) -> Instruments:
        """Every exposure effect positive (or zero), as MR-Egger needs."""
        return self.flip(self.beta_exposure < 0)

    def with_se_type(self, se_type: SeType) -> Instruments:
        """The same instruments with the other kind of uncertainty.

        By what was given (other_se_exposure); else by the factor sqrt(n_draws), or with several members
        by the draws.

        Raises
        ------
        InputError
            The kind or the number of draws is not known; or, with several members, neither the other
            uncertainty nor the draws are there.
        """
        if self.se_type is None or self.n_draws is None:
            raise InputError(
                "sd and mcse can only be converted into each other if se_type and n_draws are known; "
                f"got se_type={self.se_type}, n_draws={self.n_draws}."
            )
        check_se_type(se_type, self.n_draws)
        if (self.n_members > 1 or self.has_both_spreads) and se_type != self.se_type:
            return self._derived(**self._other_spread(se_type), se_type=se_type)
        factor = {("sd", "mcse"): self.n_draws**-0.5, ("mcse", "sd"): self.n_draws**0.5}.get(
            (self.se_type, se_type), 1.0
        )
        return self._derived(
            se_exposure=self.se_exposure * factor,
            se_outcome=self.se_outcome * factor,
            se_type=se_type,
        )

    @property
    def has_both_spreads(self) -> bool:
        """Whether sd and mcse are both there, as they need not differ by one factor."""
        return self.other_se_exposure is not None and self.other_se_outcome is not None

    def _other_spread(self, se_type: SeType) -> dict[str, FloatArray]:
        """The standard errors of the other kind, and those of this kind as the others."""
        new: dict[str, FloatArray] = {}
        of_sides = (
            ("exposure", self.se_exposure, self.other_se_exposure, self.draws_exposure),
            ("outcome", self.se_outcome, self.other_se_outcome, self.draws_outcome),
        )
        for side, mine, other, draws in of_sides:
            if other is None and draws is not None:
                other = spread_of_draws(draws, self.n_members, se_type == "mcse")
            if other is None:
                raise InputError(
                    "with several members the mcse is not sd / sqrt(n_draws), so one cannot be made of "
                    "the other. Give both (other_se_exposure, other_se_outcome), or the draws; "
                    "mr.instruments takes both from the effects."
                )
            new |= {f"se_{side}": other, f"other_se_{side}": mine}
        return new

    def with_se(self, **se: FloatArray) -> Instruments:
        """The same rows, and the same choice of those to use, with other standard errors."""
        return self._derived(**se)

    def without_draws(self) -> Instruments:
        """Summary data only; a correlation that was given stays."""
        return self._derived(draws_exposure=None, draws_outcome=None)

    def reversed(self) -> Instruments:
        """Exposure and outcome exchanged, to estimate the other direction."""
        swapped: dict[str, Any] = {
            "exposure": self.outcome,
            "outcome": self.exposure,
            "correlation": None,
        }
        for name in ("beta", "se", "other_se", "draws"):
            swapped[f"{name}_exposure"] = getattr(self, f"{name}_outcome")
            swapped[f"{name}_outcome"] = getattr(self, f"{name}_exposure")
        other = {f"zero_variance_{a}": f"zero_variance_{b}" for a, b in (_SIDES, _SIDES[::-1])}
        swapped["reason"] = np.array([other.get(r, r) for r in self.reason], dtype=object)
        return self._derived(**swapped)

    def by_sequence(self) -> dict[str, Instruments]:
        """One record per sequence, in order of appearance; InputError where they are not known."""
        if self.sequence is None:
            raise InputError("the sequence of each instrument is required; got none. Pass sequence=...")
        names = self.sequence.astype(str)
        return {name: self.take(names == name) for name in dict.fromkeys(names.tolist())}
