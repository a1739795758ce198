"""The plots of a report, as SVG that is part of the file."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kipoi_mcdropout import plots
from kipoi_mcdropout.effects.score_names import PREFERRED_SCORES
from kipoi_mcdropout.errors import McDropoutError
from kipoi_mcdropout.files.read import has_draws
from kipoi_mcdropout.files.read_stream import iter_effects
from kipoi_mcdropout.mr.estimators.convention import CONVENTIONS, Convention
from kipoi_mcdropout.reports.draws import follow
from kipoi_mcdropout.reports.effects import EffectFacts
from kipoi_mcdropout.reports.evaluation import EvaluationFacts
from kipoi_mcdropout.reports.facts import Facts
from kipoi_mcdropout.reports.mr import MrFacts, instruments_of_result
from kipoi_mcdropout.reports.selection import Selection

_FOLLOWED = 5


@dataclass(frozen=True)
class Figure:
    """A drawing with all that those who cannot see it need.

    `uri` is a data: URI. `failed` says why there is no drawing, in place of it.
    """

    title: str
    caption: str
    alt: str
    group: str  # of figures that belong together: an output, or exposure and outcome
    uri: str = ""
    failed: str = ""
    wide: bool = False


def effect_figures(facts: Facts) -> list[Figure]:
    """Figures of the effects, of each selection of rows."""
    file, effects = facts.inputs.effects, facts.effects
    if file is None or effects is None:
        return []
    figures: list[Figure] = []
    for selection in facts.selections:
        figures += _ism(selection) if file.kind == "ism" else _variants(selection)
        figures += _of_any(selection)
        figures += _members(selection)
        if file.kind == "ism" and has_draws(file.path):
            figures += _convergence(file.path, selection, effects)
    return figures


def by_group(figures: Iterable[Figure]) -> list[tuple[str, list[Figure]]]:
    """Figures by the group they are of, in the order in which groups come first."""
    groups: dict[str, list[Figure]] = {}
    for figure in figures:
        groups.setdefault(figure.group, []).append(figure)
    return list(groups.items())


def _draw(
    title: str, caption: str, alt: str, group: str, draw: Callable[[], Any], wide: bool = False
) -> Iterator[Figure]:
    """A figure; one that cannot be drawn of these data says why, and the report goes on."""
    try:
        svg = plots.figure_bytes(draw(), "svg")
    except McDropoutError as error:
        yield Figure(title, caption, alt, group, failed=str(error))
        return
    uri = "data:image/svg+xml;base64," + base64.b64encode(svg).decode()
    yield Figure(title, caption, alt, group, uri, wide=wide)


def _ism(s: Selection) -> Iterator[Figure]:
    words: dict[str, Any] = {"output": s.output, "score": s.score}
    yield from _draw(
        f"Effects along {s.sequence}",
        "The sequence with the strongest effect. Each cell is a substitution; those with |z| below 2 "
        "are faded. The lower part shows how far the draws disagree.",
        f"Heat map of the effect of every substitution of sequence {s.sequence} on {s.output}, with a "
        "logo of the sequence above and the sd over draws below.",
        s.output,
        lambda: plots.plot_ism(s.one_sequence, **words),
        wide=True,
    )
    yield from _draw(
        f"Effects and intervals along {s.sequence}",
        "Mean effect of each substitution, with an interval that contains 95 % of the draws if they "
        "are normally distributed.",
        f"Effects of substitutions on {s.output} against position in {s.sequence}, with intervals.",
        s.output,
        lambda: plots.plot_effects(s.one_sequence, **words),
        wide=True,
    )


def _variants(s: Selection) -> Iterator[Figure]:
    words: dict[str, Any] = {"output": s.output, "score": s.score}
    if len(s.one_sequence):
        yield from _draw(
            f"Effects along {s.sequence}",
            "The contig with the strongest effect: mean effects, with an interval that contains 95 % "
            "of the draws if they are normally distributed.",
            f"Effects of alleles on {s.output} against position on {s.sequence}, with intervals.",
            s.output,
            lambda: plots.plot_effects(s.one_sequence, **words),
            wide=True,
        )
    yield from _draw(
        "Effect against certainty",
        "Each point is an allele: its effect, and how many sd that is from 0." + _thinned(s),
        f"Volcano plot for {s.output}: |z| of each allele against its effect; the strongest are named.",
        s.output,
        lambda: plots.plot_volcano(s.thinned, **words),
    )


def _of_any(s: Selection) -> Iterator[Figure]:
    words: dict[str, Any] = {"output": s.output, "score": s.score}
    what = (
        "Each point is a mutant's prediction, on the scale of log odds."
        if s.score == "logit"
        else "Each point is a mutant's prediction; large marks are the references. The line is "
        "p(1 - p), the largest variance that a probability can have."
    )
    yield from _draw(
        "Variance against mean of the prediction",
        what + _thinned(s),
        f"Variance of the prediction of {s.output} over the draws against its mean; colour: sequence.",
        s.output,
        lambda: plots.plot_mean_variance(s.thinned, **words),
    )
    if s.score in PREFERRED_SCORES:
        yield from _draw(
            "Why the masks are locked",
            "The sd of each effect with masks that reference and mutant share, against the sd that "
            "independent masks would give." + _thinned(s),
            f"Sd of effects on {s.output} under shared masks against that under independent ones.",
            s.output,
            lambda: plots.plot_ref_alt_covariance(s.thinned, **words),
        )


def _members(s: Selection) -> Iterator[Figure]:
    table = s.thinned
    if "effect_sd_between" not in table or table["effect_sd_between"].isna().all():
        return
    within, between = (
        float((table[f"effect_sd_{part}"] ** 2).median()) for part in ("within", "between")
    )
    share = between / max(within + between, 1e-300)
    yield from _draw(
        "Within and between the members",
        "The sd of each effect over the masks of one member, against that between the members (trained "
        f"networks). Of the variance of a typical effect (the median), {100 * share:.0f} % is between "
        "networks; more masks do not show that part, only more members do." + _thinned(s),
        f"Sd of effects on {s.output} between members against that within a member.",
        s.output,
        lambda: plots.plot_members(table, output=s.output, score=s.score),
    )


def _convergence(path: Path, s: Selection, facts: EffectFacts) -> Iterator[Figure]:
    top = facts.top[(facts.top["output"] == s.output) & (facts.top["score"] == s.score)]
    followed = follow(path, top, _FOLLOWED)
    if not followed:
        return
    table = pd.DataFrame([m.row for m in followed])
    draws = np.stack([m.draws for m in followed], axis=1)
    yield from _draw(
        "Mean and sd with the number of draws",
        f"The {len(followed)} strongest effects. Where the lines are flat, more draws add nothing.",
        f"Running mean and sd of the strongest effects on {s.output} against the number of draws.",
        s.output,
        lambda: plots.plot_convergence(
            table, draws, output=s.output, score=s.score, n_mutants=len(followed)
        ),
        wide=True,
    )


def _thinned(s: Selection) -> str:
    if len(s.thinned) >= s.n_rows:
        return ""
    return (
        f" The figure shows {len(s.thinned):,} of {s.n_rows:,} effects: the strongest, and an even "
        "selection of the others."
    )


def evaluation_figures(facts: EvaluationFacts) -> list[Figure]:
    """How right the most certain variants are, in each order."""
    return list(
        _draw(
            "Does the sd help?",
            "Left: the share of right signs (or, without measured effects, auPRC) in each order of "
            "certainty. Right: the difference of each order from that by |effect|, with its interval.",
            f"Sign accuracy against the share of variants kept, for {facts.name}, and the differences "
            "between the orders.",
            facts.name,
            lambda: plots.plot_evaluation(facts.rows),
            wide=True,
        )
    )


def mr_figures(facts: Facts, pair: MrFacts) -> list[Figure]:
    """Scatter, funnel and leave-one-out of a pair, where the effects of its instruments are known."""
    instruments = pair.instruments
    leave = facts.inputs.rows("leave_one_out")
    if instruments is None and facts.inputs.effects is not None and len(leave):
        mine = (leave["exposure"] == pair.exposure) & (leave["outcome"] == pair.outcome)
        pieces = iter_effects(facts.inputs.effects.path, (pair.exposure, pair.outcome))
        instruments = instruments_of_result(pieces, leave[mine], pair)
    if instruments is None:
        return []
    name = f"{pair.exposure} \u2192 {pair.outcome}"
    found = instruments
    convention: Convention = (
        "mendelianrandomization" if pair.first["convention"] == CONVENTIONS[1] else CONVENTIONS[0]
    )
    return [
        *_draw(
            "Outcome against exposure",
            "Each point is a mutant with both error bars, turned to a positive effect on the exposure. "
            "Each method has a line, and each group of mutations a colour.",
            f"Effects on {pair.outcome} against effects on {pair.exposure}, with a line for each "
            "method.",
            name,
            lambda: plots.plot_mr_scatter(
                found, convention=convention, groups=pair.group_of, advice=pair.advice
            ),
        ),
        *_draw(
            "Funnel",
            "The slope from each single mutant against its precision. Asymmetry is a sign that mutants "
            "change the outcome by other ways.",
            f"Funnel plot of the single-mutant slopes of {name}.",
            name,
            lambda: plots.plot_mr_funnel(found, convention=convention),
        ),
        *_draw(
            "Leave one out",
            "IVW estimate without one mutant or, if there are many mutants, without all mutants of one "
            "sequence.",
            f"IVW estimates of {name} with one mutant, or one sequence, left out in turn.",
            name,
            lambda: plots.plot_mr_leave_one_out(found, convention=convention),
        ),
    ]
