"""Which mutants serve as instruments.

Choosing mutants by the same noisy effects that are then used to estimate favours those whose noise
points away from zero (the winner's curse). With ``select_draws="half"`` the first half of the draws
chooses and the second half estimates, so that the noise of the two has nothing in common. The standard
errors, which are weights, still come from all draws: those of a half are noisy, and neighbouring mutants
share their noise. In the example that alone moved IVW from 0.80 to 0.84, as mutants of one site got more
than their share of the weight.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from kipoi_mcdropout.arrays.array_types import FloatArray
from kipoi_mcdropout.effects.z import z_ratio
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.mr.pairs.instruments import ZERO_VARIANCE_RTOL, Instruments
from kipoi_mcdropout.mr.pairs.spread import spread_of_draws

SelectDraws = Literal["all", "half"]
MIN_DRAWS_TO_SPLIT = 4  # 2 in each half, the least that has a variance


def select_instruments(
    instruments: Instruments,
    *,
    min_z: float | None = None,
    one_per_position: bool = False,
    min_distance_bp: int | None = None,
    top_n: int | None = None,
    select_draws: SelectDraws = "all",
) -> Instruments:
    """Keep mutants by the strength of their exposure effect.

    Steps are applied in the order of the arguments. Rows that are not selected stay, with
    ``mr_keep`` False and the step as ``reason``. The provenance gets an entry "selection" with
    every option and the number of rows left after each step.

    Parameters
    ----------
    instruments : Instruments
    min_z : float, optional
        Least ``|effect| / sd`` of the exposure, sd over draws whatever `se_type` is.
    one_per_position : bool
        Of the alternatives at one position keep the strongest.
    min_distance_bp : int, optional
        Going from the strongest down, drop mutants nearer than this to one already kept on their
        chromosome, or, where their place on the genome is not known, in their sequence.
    top_n : int, optional
        Keep the n strongest.
    select_draws : "all" or "half"
        "half": select on the first half of the draws, and return effects of the second half.

    Raises
    ------
    InputError
        Options out of range, positions or draws missing where needed, or nothing left.
    """
    _check_options(min_z, min_distance_bp, top_n, select_draws)
    chooser, used, split = _split(instruments, select_draws)
    by_strength = one_per_position or any(x is not None for x in (min_z, min_distance_bp, top_n))
    z = exposure_z(chooser) if by_strength else np.zeros(len(chooser))
    steps: dict[str, Callable[[NDArray[np.bool_]], NDArray[np.bool_]]] = {}
    if select_draws == "half":
        steps["zero_variance_in_selection_draws"] = lambda keep: keep & chooser.mr_keep
    if min_z is not None:
        steps["below_min_z"] = lambda keep: keep & (z >= min_z)
    if one_per_position:
        steps["weaker_alternative"] = lambda keep: _spaced(used, z, keep, 1)
    if min_distance_bp is not None:
        steps["near_a_stronger_one"] = lambda keep: _spaced(used, z, keep, min_distance_bp)
    if top_n is not None:
        steps["not_in_top_n"] = lambda keep: _strongest(z, keep, top_n)
    keep, reason, left = used.mr_keep, used.reason, {"usable": used.n_kept}
    for name, step in steps.items():
        passed = step(keep)
        reason = np.where(keep & ~passed, name, reason)
        keep, left[name] = passed, int(passed.sum())
    options = {
        "min_z": min_z, "one_per_position": one_per_position, "min_distance_bp": min_distance_bp,
        "top_n": top_n, "select_draws": select_draws, **split, "left_after": left,
    }  # fmt: skip
    if "selection" in used.provenance:
        options["before"] = used.provenance["selection"]
    selected = used.with_keep(keep, reason, {**used.provenance, "selection": options})
    selected.kept(1, "the selection of instruments")
    return selected


def exposure_z(instruments: Instruments) -> FloatArray:
    """``|effect| / sd`` of the exposure, shape=(n,); see `z.z_ratio` where the sd is 0."""
    of_draws = instruments.with_se_type("sd") if instruments.se_type == "mcse" else instruments
    return np.abs(z_ratio(instruments.beta_exposure, of_draws.se_exposure))


def from_draw_subset(instruments: Instruments, draws: NDArray[Any] | slice) -> Instruments:
    """The same mutants with effects and standard errors of some of the draws.

    Raises
    ------
    InputError
        No draws are there.
    """
    if instruments.draws_exposure is None or instruments.draws_outcome is None:
        raise InputError(
            "splitting the draws requires the effects of each draw; got only means and standard "
            "errors. Run ism with --keep_draws, and pass the draws with the instruments."
        )
    new: dict[str, Any] = {"n_draws": None}
    for side in ("exposure", "outcome"):
        part = getattr(instruments, f"draws_{side}")[draws]
        new[f"draws_{side}"] = part
        new[f"beta_{side}"] = part.mean(axis=0)
        of_mean, n_members = instruments.se_type == "mcse", instruments.n_members
        new[f"se_{side}"] = spread_of_draws(part, n_members, of_mean)
        other = spread_of_draws(part, n_members, not of_mean) if n_members > 1 else None
        new[f"other_se_{side}"] = other
    return replace(instruments, **new, zero_variance_rtol=ZERO_VARIANCE_RTOL)


def _split(
    instruments: Instruments, select_draws: str
) -> tuple[Instruments, Instruments, dict[str, Any]]:
    if select_draws == "all":
        return instruments, instruments, {}
    half = _half(instruments)
    chooser = from_draw_subset(instruments, slice(0, half))
    split = {"n_draws_selection": half, "n_draws_estimation": (instruments.n_draws or 0) - half}
    return chooser, use_half(instruments), split


def use_half(instruments: Instruments) -> Instruments:
    """Effects of the second half of the draws, which ``select_draws="half"`` estimates with.

    The standard errors are those of all draws.
    """
    return _with_se_of(instruments, from_draw_subset(instruments, slice(_half(instruments), None)))


def _half(instruments: Instruments) -> int:
    """How many draws choose; the others estimate."""
    n_draws = instruments.n_draws or 0
    if instruments.draws_exposure is not None and n_draws < MIN_DRAWS_TO_SPLIT:
        raise InputError(
            f"at least {MIN_DRAWS_TO_SPLIT} draws are required to split them; got {n_draws}."
        )
    members = instruments.n_members
    half = n_draws // members // 2 * members  # whole rounds of the members
    if instruments.draws_exposure is not None and half == 0:
        raise InputError(
            f"each of the {members} members needs at least 2 draws, so that they can be split; got "
            f"{n_draws} draws in all."
        )
    return half


def _with_se_of(whole: Instruments, part: Instruments) -> Instruments:
    """`part` with standard errors by the sd over all draws; what has none in the part stays out.

    The mcse is for as many draws as the part has; with several members it is that of the part.
    """
    new: dict[str, Any] = {}
    for side in ("exposure", "outcome"):
        sd = spread_of_draws(getattr(whole, f"draws_{side}"), whole.n_members, False)
        mcse, other = sd * (part.n_draws or 1) ** -0.5, None
        of_mean = whole.se_type == "mcse"
        if whole.n_members > 1:
            mcse = getattr(part.with_se_type("mcse"), f"se_{side}")
            other = sd if of_mean else mcse
        new |= {f"se_{side}": mcse if of_mean else sd, f"other_se_{side}": other}
    return part.with_se(**new)


def _strongest(z: FloatArray, keep: NDArray[np.bool_], top_n: int) -> NDArray[np.bool_]:
    order = np.argsort(-np.where(keep, z, -np.inf), kind="stable")[: min(top_n, int(keep.sum()))]
    passed = np.zeros_like(keep)
    passed[order] = True
    return passed


def _spaced(
    instruments: Instruments, z: FloatArray, keep: NDArray[np.bool_], distance_bp: int
) -> NDArray[np.bool_]:
    """Thinning: from the strongest down, keep what is at least `distance_bp` from all kept."""
    if instruments.position is None:
        raise InputError(
            "selection by position or distance requires the positions of the instruments; got none. "
            "Leave this selection out, or give instruments with positions."
        )
    group = instruments.chrom if instruments.chrom is not None else instruments.sequence
    names = np.zeros(len(z), int) if group is None else group
    taken: dict[Any, list[int]] = defaultdict(list)
    passed = np.zeros_like(keep)
    for row in np.argsort(-z, kind="stable"):
        if not keep[row]:
            continue
        position, near = int(instruments.position[row]), taken[names[row]]
        at = bisect_left(near, position)
        neighbours = near[max(0, at - 1) : at + 1]
        if all(abs(position - other) >= distance_bp for other in neighbours):
            insort(near, position)
            passed[row] = True
    return passed


def _check_options(
    min_z: float | None, min_distance_bp: int | None, top_n: int | None, select_draws: str
) -> None:
    if min_z is not None and not min_z >= 0:
        raise InputError(f"min_z must not be negative; got {min_z}.")
    for name, value in (("min_distance_bp", min_distance_bp), ("top_n", top_n)):
        if value is not None and value < 1:
            raise InputError(f"{name} must be at least 1; got {value}.")
    if select_draws not in ("all", "half"):
        raise InputError(f"select_draws must be 'all' or 'half'; got {select_draws!r}.")
