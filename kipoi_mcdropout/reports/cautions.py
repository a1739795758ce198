"""Warnings to read before using the numbers of a report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from kipoi_mcdropout.effects.draws_enough import TOLERANCE, draws_for_sd
from kipoi_mcdropout.effects.score_names import NO_EFFECT
from kipoi_mcdropout.reports.draws import DrawFacts
from kipoi_mcdropout.reports.effects import SHIFTED_SD, EffectFacts
from kipoi_mcdropout.reports.evaluation import EvaluationFacts
from kipoi_mcdropout.reports.genes import GeneFacts
from kipoi_mcdropout.reports.ledger import LedgerFacts
from kipoi_mcdropout.reports.mr import MrFacts
from kipoi_mcdropout.sequence.contig_names import some_names

_MAX_SHIFTED = 0.05  # share of an output's rows
_MAX_WRONG_REF = 0.1  # share of the alleles whose REF was compared
_FLAGS = {
    "edge_padded": (
        "at the end of a contig",
        "Their windows run over the end of the contig and are filled with N. The model has not seen "
        "such sequences in training.",
    ),
    "unknown_bases": (
        "in windows with unknown bases",
        "Their windows contain N, which most models have rarely seen in training.",
    ),
}


class Caution(NamedTuple):
    """A heading, its meaning and what to do, and the id of the section with the details."""

    title: str
    text: str
    section: str


def cautions(
    effects: EffectFacts | None,
    ledger: LedgerFacts | None,
    draws: DrawFacts | None,
    mr: Sequence[MrFacts],
    record: dict[str, Any] | None = None,
) -> list[Caution]:
    """All reasons for caution, gravest first; empty where there are none."""
    found: list[Caution] = []
    if effects is not None:
        found += _of_effects(effects)
    if ledger is not None:
        found += _of_ledger(ledger)
    if draws is not None and not draws.enough:
        found.append(_of_few_draws(draws))
    if record is not None and (ignored := record.get("options", {}).get("ignore")):
        found.append(
            Caution(
                "Dropout left off as asked",
                f"--ignore {' '.join(map(str, ignored))}: the sd does not include the uncertainty that "
                "these modules would add.",
                "sites",
            )
        )
    for pair in mr:
        if pair.warnings:
            n = len(pair.warnings)
            found.append(
                Caution(
                    f"Mendelian randomization, {pair.exposure} \u2192 {pair.outcome}: "
                    f"{n} warning{'s' if n > 1 else ''}",
                    f"{', '.join(code for code, _ in pair.warnings)}. They are explained above the "
                    "estimates.",
                    "mr",
                )
            )
    return found


def cautions_of_evaluations(evaluations: Sequence[EvaluationFacts]) -> list[Caution]:
    """Reasons for caution in comparisons with measured effects."""
    return [
        Caution(
            f"Against measured effects, {one.name}: {len(one.warnings)} "
            f"warning{'s' if len(one.warnings) > 1 else ''}",
            " ".join(words for _, words in one.warnings),
            "measured",
        )
        for one in evaluations
        if one.warnings
    ]


def cautions_of_genes(genes: GeneFacts | None) -> list[Caution]:
    """Contigs of the top effects on which the annotation has no gene."""
    if genes is None or not genes.missing:
        return []
    n = len(genes.missing)
    return [
        Caution(
            f"The annotation has no gene on {n} contig{'s' if n > 1 else ''}",
            f"{genes.file} has no gene on {some_names(genes.missing)}, where top effects lie; it has "
            f"genes on {some_names(genes.genes.contigs)}. If these are other names of the same contigs, "
            "rename them in the annotation. If the annotation is of another genome, give the right one.",
            "effects",
        )
    ]


def _of_few_draws(draws: DrawFacts) -> Caution:
    title, remedy = f"Few draws: {draws.n_draws}", f"--n_draws {draws_for_sd(TOLERANCE)} or more"
    if draws.n_members > 1:
        title = f"Few members: {draws.n_members}, with {draws.n_draws} draws"
        remedy = "more members; more draws of these help only where the members hardly differ"
    return Caution(
        title,
        f"They determine each sd to {100 * draws.sd_error:.0f} % only, and leave every mean effect with "
        f"a Monte Carlo error of {100 * draws.mcse_to_sd:.0f} % of its sd. Run with {remedy}.",
        "draws",
    )


def _of_effects(effects: EffectFacts) -> list[Caution]:
    found = []
    if effects.n_rows == 0:
        found.append(Caution("No effects", "The result has no rows: nothing was scored.", "effects"))
    elif effects.point_only:
        text = "The run had --n_draws 0: effects were computed with dropout off and have no uncertainty."
        found.append(Caution("Point effects only", text, "effects"))
    if effects.n_nan:
        found.append(
            Caution(
                f"{effects.n_nan:,} effects are NaN",
                "The model's output, or the logit of a probability that is 0 or 1, was not finite in "
                "some draw (columns n_nonfinite and n_saturated). The score diff does not use logits.",
                "effects",
            )
        )
    if effects.n_no_spread:
        found.append(
            Caution(
                f"{effects.n_no_spread:,} effects do not vary over the draws"
                if effects.n_no_spread > 1
                else "1 effect does not vary over the draws",
                "No dropout changes these effects: they have no z and are not ranked by it.",
                "effects",
            )
        )
    found += _of_shifts(effects)
    if effects.n_rows and set(effects.outputs["score"]) <= NO_EFFECT:
        found.append(
            Caution(
                "No score of this result is an effect",
                "The result has only predictions (ref, alt), so z is the z of a prediction. Run with "
                "--scores diff for effects.",
                "effects",
            )
        )
    return found


def _of_shifts(effects: EffectFacts) -> list[Caution]:
    """Outputs whose mean over draws is not near the prediction with dropout off."""
    if effects.point_only or not effects.n_rows:
        return []
    outputs = effects.outputs
    known = (outputs["n"] - outputs["n_nan"]).clip(lower=1)
    shares = (outputs["n_shifted"] / known).to_numpy(float)
    worst = outputs.iloc[int(shares.argmax())]
    if shares.max() <= _MAX_SHIFTED:
        return []
    return [
        Caution(
            f"Dropout shifts the predictions of {worst['output']}",
            f"In {100 * shares.max():.0f} % of its rows ({worst['score']}) the mean over draws lies "
            f"more than {SHIFTED_SD:g} sd from the value with dropout off. The model is normally used "
            "with dropout off, so the mean and the sd over draws describe another model. Compare "
            "effect_point.",
            "effects",
        )
    ]


def _of_ledger(ledger: LedgerFacts) -> list[Caution]:
    return [*_of_skipped(ledger), *_of_flags(ledger)]


def _of_flags(ledger: LedgerFacts) -> list[Caution]:
    """Scored alleles whose windows have padding or unknown bases."""
    found = []
    for flag, (title, text) in _FLAGS.items():
        if n := ledger.flags.get(flag, 0):
            share = f"Of {ledger.scored:,} scored alleles ({100 * n / max(ledger.scored, 1):.0f} %)."
            heading = f"{n:,} allele{'s' if n > 1 else ''} {title}"
            found.append(Caution(heading, f"{share} {text}", "ledger"))
    return found


def _of_skipped(ledger: LedgerFacts) -> list[Caution]:
    if ledger.kind == "ism":
        found = []
        if n := len(ledger.failed):
            text = "The model failed on them, and --on_error skip left them out. See the ledger below."
            found.append(Caution(f"{n:,} sequence{'s' if n > 1 else ''} failed", text, "ledger"))
        if ledger.without_base:
            text = "The reference is N at these positions."
            found.append(Caution(f"{ledger.without_base:,} positions were not mutated", text, "ledger"))
        return found
    if ledger.skipped is None:
        text = (
            "This table does not say which alleles were skipped. Give the table of "
            "score_variants --skipped as well; the annotated VCF has it as INFO MCD_SKIP."
        )
        return [Caution("Skipped alleles are not known", text, "ledger")]
    if ledger.skipped:
        text = f"Of {ledger.alleles:,} alleles. Each has its reason in the ledger below."
        n = ledger.skipped
        found = [Caution(f"{n:,} allele{'s were' if n > 1 else ' was'} skipped", text, "ledger")]
        return [*_of_another_genome(ledger), *found]
    return []


def _of_another_genome(ledger: LedgerFacts) -> list[Caution]:
    """Many wrong REFs: the others may agree by chance."""
    counts = dict(zip(ledger.reasons["reason"], ledger.reasons["n"], strict=True))
    wrong, compared = counts.get("ref_mismatch", 0), ledger.scored + counts.get("ref_mismatch", 0)
    if wrong <= _MAX_WRONG_REF * compared:
        return []
    text = (
        f"{wrong:,} of {compared:,} REF differ from the genome. With the wrong genome a quarter of the "
        "SNVs agree by chance, and their effects mean nothing. Check which assembly the VCF belongs "
        "to."
    )
    return [Caution("The genome may be another assembly", text, "ledger")]
