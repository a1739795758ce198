"""The answer in words. `mr`, its table, the report and the plot all show these."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from kipoi_mcdropout.mr.estimators.estimate import Estimate

if TYPE_CHECKING:
    from kipoi_mcdropout.mr.groups.find import Groups

SHORT_NAMES = {
    "ivw": "IVW",
    "egger": "MR-Egger",
    "ivw_robust": "robust IVW",
    "conmix": "contamination mixture",
    "weighted_median": "weighted median",
    "weighted_mode": "weighted mode",
    "lasso": "MR-Lasso",
    "maxlik": "maximum likelihood",
    "ivw_radial": "radial IVW",
}
HOW = {
    "ivw_bootstrap_draws": "IVW, interval from a bootstrap over draws",
    "ivw_bootstrap_both": "IVW, interval from a bootstrap over draws and mutants",
    "ivw_bootstrap_sequences": "IVW, interval from a bootstrap over draws and sequences",
    "ivw": "IVW",
}
WIDENED = "_widened"
_WIDER = ", and wider because a minority may have another ratio"
_NUMBERS = ("no", "one", "two", "three", "four")
_SAME = 0.03  # methods nearer than this, relatively, share a number


def answer_words(
    kind: str,
    exposure: str,
    outcome: str,
    n_instruments: int,
    points: dict[str, float] | None = None,
    groups: Groups | None = None,
    shown: Estimate | None = None,
) -> str:
    """Sentences for an answer of this kind; see `kipoi_mcdropout.mr.groups.answer`."""
    if kind == "too_few" or points is None or groups is None:
        return (
            f"cannot tell: {n_instruments} instruments are too few to compare methods. At least 10 are "
            "required."
        )
    if kind == "one_number" and shown is not None:
        low, high = min(points.values()), max(points.values())
        how = HOW[shown.method.removesuffix(WIDENED)]
        how += _WIDER if shown.method.endswith(WIDENED) else ""
        return (
            f"{outcome} changes by {number(shown)} per unit of {exposure} ({how}). The "
            f"methods agree ({low:.2f} to {high:.2f}), and there is one group of mutations."
        )
    differ = max(points.values()) - min(points.values()) > _SAME * _size(points)
    listed = f"methods disagree: {methods_words(points)}" if differ else ""
    if kind == "ratios_differ":
        spread = f"the ratios of mutations differ by {100 * groups.c2**0.5:.0f} % (sd)"
        listed = "; ".join(part for part in (spread, listed) if part)
    parts = [part for part in (listed, groups_words(groups)) if part]
    return f"no single number: {'; '.join(parts)}"


def noise_words(flattened: float, most: float, n_draws: int | None) -> str:
    """That the exposure effects are too noisy, and what to do."""
    remedy = "Use stronger mutations (--min_z)"
    if n_draws is not None:
        remedy += f", or about {int(np.ceil(n_draws * flattened / most))} draws"
    return (
        f"cannot tell: the noise of the exposure effects makes slopes about {100 * flattened:.0f} % too "
        f"small. {remedy}."
    )


def number(estimate: Estimate) -> str:
    """Estimate and 95 % interval."""
    return f"{estimate.estimate:.2f} ({estimate.ci_lower:.2f} to {estimate.ci_upper:.2f})"


def methods_words(points: dict[str, float]) -> str:
    """Estimates with the methods that give them, the largest first: ``0.80 (IVW, MR-Egger), ...``."""
    step = _SAME * _size(points)
    bundles: list[list[str]] = []
    for name in sorted(points, key=lambda n: -points[n]):
        if bundles and abs(points[bundles[-1][0]] - points[name]) <= step:
            bundles[-1].append(name)
        else:
            bundles.append([name])
    return ", ".join(
        f"{np.mean([points[n] for n in names]):.2f} ({', '.join(SHORT_NAMES[n] for n in names)})"
        for names in bundles
    )


def groups_words(groups: Groups) -> str:
    """``two groups of mutations: 0.72 (0.68 to 0.76; n = 189) and 1.63 (...; n = 71)``, and the rest."""
    found = groups.groups
    noun = "group" if len(found) == 1 else "groups"
    listed = [
        f"{g.estimate.estimate:.2f} ({g.estimate.ci_lower:.2f} to {g.estimate.ci_upper:.2f}; "
        f"n = {len(g.snp)})"
        for g in found
    ]
    text = f"{_NUMBERS[len(found)]} {noun} of mutations"
    text += f": {' and '.join(listed)}" if listed else ""
    rest = []
    for name, count in groups.table["group"].value_counts().items():
        if not str(name).isdigit():
            rest.append(f"{count} {_rest(str(name), int(count))}")
    return text + (f"; {', '.join(rest)}" if rest else "")


def _rest(name: str, count: int) -> str:
    verb = {"no group": ("fits", "fit"), "no effect on the outcome": ("has", "have")}[name]
    return f"mutation{'' if count == 1 else 's'} {verb[count != 1]} {name}"


def _size(points: dict[str, float]) -> Any:
    return np.median(np.abs(list(points.values())))
