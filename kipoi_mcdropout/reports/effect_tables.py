"""Tables of effects, outputs, sites, draws and the ledger."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from kipoi_mcdropout.effects.row_identity import mutant_names
from kipoi_mcdropout.reports.browser.facts import BrowserFacts
from kipoi_mcdropout.reports.draws import DrawFacts, FollowedMutant
from kipoi_mcdropout.reports.effects import STRONG_Z, EffectFacts, outputs_worth_showing
from kipoi_mcdropout.reports.genes import GeneFacts
from kipoi_mcdropout.reports.ledger import LedgerFacts
from kipoi_mcdropout.reports.numbers import decimals
from kipoi_mcdropout.reports.tables import (
    Cell,
    Column,
    Table,
    build,
    counts,
    interval_cells,
    numbers,
    p_values,
    prose,
    shares,
    text,
)

_WHERE = {
    "name": ("Sequence", "Name of the sequence, from the dataloader"),
    "place": ("Position", "Position in the genome, from 1"),
    "position": ("Offset", "Position in the sequence, from 0"),
    "id": ("ID", "Position in the VCF, from 1"),
    "change": ("Change", "Reference > mutant"),
    "kind": ("Kind", ""),
    "flags": ("Flags", "edge_padded: the window runs over the contig's end; unknown_bases: it has N"),
    "output": ("Output", "Of the model"),
    "score": ("Score", "How the effect is measured"),
}
GENE_HINT = "Genes that the position lies in; else the nearest gene, and how far away it is"
_NEEDLESS = ("kind", "flags", "id", "score", "name")  # left out where all rows are alike


def top_effects(
    facts: EffectFacts, browser: BrowserFacts | None = None, genes: GeneFacts | None = None
) -> Table:
    """The table of top effects.

    Its rows have data-output and data-score for the filters. Where the browser shows their place they
    have data-region and data-locus.
    """
    top = facts.top
    effect = facts.effect
    places = decimals(top[effect], spread=top["effect_sd"], spread_digits=3)
    columns = [counts("#", top["rank"], f"Rank by |{facts.rank_by}|"), *_where(top)]
    if genes is not None:
        columns.append(text("Gene", _genes(top, genes), GENE_HINT))
    columns.append(numbers("Effect", top[effect], places, "Mean over the draws"))
    if not facts.point_only:
        columns += _with_spread(top, places)
    if "q_value" in top:
        columns.append(p_values("q", top["q_value"], "Benjamini and Hochberg, over the whole table"))
    by = "effect / sd" if facts.rank_by == "z" else "effect"
    caption = (
        f"{len(top):,} of {facts.n_ranked:,} effects ({facts.score}), those with the largest |{by}|"
        if len(top) < facts.n_ranked
        else f"All {len(top):,} effects ({facts.score}), by |{by}|"
    )
    rows = [{"output": o, "score": s} for o, s in zip(top["output"], top["score"], strict=True)]
    if browser is not None and browser.regions:
        for attributes, (_, row) in zip(rows, top.iterrows(), strict=True):
            if place := browser.place_of(row):
                attributes |= {"region": place[0].locus, "locus": place[1]}
    return replace(build(caption, columns), row_attributes=rows)


def regions_table(facts: EffectFacts, browser: BrowserFacts, genes: GeneFacts | None) -> Table:
    """The regions of the browser, each with its strongest effect."""
    regions, best = browser.regions, facts.top.iloc[[region.best for region in browser.regions]]
    effect = facts.effect
    columns = [text("Region", [region.locus for region in regions], "First and last base, from 1")]
    if browser.is_ism:
        columns.append(text("Sequence", [region.name for region in regions]))
    if genes is not None:
        columns.append(text("Gene", _genes(best, genes), GENE_HINT))
    columns += [
        text("Strongest change", mutant_names(best), "On the forward strand"),
        text("Output", best["output"]),
        numbers("Effect", best[effect], decimals(facts.top[effect])),
    ]
    if not facts.point_only:
        columns += [
            numbers("sd", best["effect_sd"], decimals(facts.top["effect_sd"])),
            numbers("z", best["z"], _z_places(facts.top["z"])),
        ]
    caption = f"Regions of the genome browser, by the |{facts.rank_by}| of their strongest effect"
    table = build(caption, columns)
    return replace(table, row_attributes=[{"region": r.locus, "locus": r.locus} for r in regions])


def _genes(rows: pd.DataFrame, genes: GeneFacts) -> list[str]:
    return [genes.of_row(row) for _, row in rows.iterrows()]


def _where(top: pd.DataFrame) -> list[tuple[Column, list[Cell]]]:
    columns = []
    top = top.assign(change=top["ref"] + " > " + top["alt"])
    if top["pos"].notna().all():
        top["place"] = top["chrom"] + ":" + top["pos"].astype(int).astype(str)
    for name, (label, hint) in _WHERE.items():
        if name not in top or top[name].isna().all() or (top[name].astype(str) == "").all():
            continue
        if name in _NEEDLESS and len(top) > 1 and top[name].nunique() == 1:
            continue
        column = counts if name == "position" else text
        columns.append(column(label, top[name], hint))
    return columns


def _with_spread(top: pd.DataFrame, places: int | None) -> list[tuple[Column, list[Cell]]]:
    mean, sd, mcse = (top[f"effect_{name}"].astype(float) for name in ("mean", "sd", "mcse"))
    return [
        numbers("sd", sd, places, "Spread of the effect over the draws: the model's uncertainty"),
        (Column("Effect \u00b1 sd", "interval"), _drawings(top["score"], mean, sd)),
        numbers("z", top["z"], _z_places(top["z"]), "effect / sd; more draws do not make it larger"),
        shares(
            "P(> 0)",
            top["prob_positive"],
            "Share of the draws with a positive effect; an effect of 0 counts half",
        ),
        numbers("mcse", mcse, decimals(mcse, 2), "Monte Carlo error of the effect: sd / \u221adraws"),
        numbers("Point", top["effect_point"], places, "The effect with dropout off"),
    ]


def _drawings(score: pd.Series, mean: pd.Series, sd: pd.Series) -> list[Cell]:
    """Mean and sd, each score on an axis of its own."""
    cells: dict[Any, Cell] = {}
    for name in score.unique():
        rows = score.index[score == name]
        m, s = mean[rows], sd[rows]
        cells.update(zip(rows, interval_cells(list(m - s), list(m), list(m + s)), strict=True))
    return [cells[row] for row in score.index]


def _z_places(z: pd.Series) -> int:
    return 2 if not len(z) or float(np.nanmax(np.abs(z.fillna(0)))) < 100 else 1


def outputs_table(facts: EffectFacts) -> Table:
    """A row per output and score: how many effects, how large, how sure."""
    rows = outputs_worth_showing(facts)
    places = decimals(rows["mean_abs"])
    columns = [
        text("Output", rows["output"]),
        text("Score", rows["score"]),
        counts("Effects", rows["n"]),
        numbers("Mean |effect|", rows["mean_abs"], places),
        numbers("Largest |effect|", rows["max_abs"], decimals(rows["max_abs"])),
    ]
    if not facts.point_only:
        columns += [
            numbers("Mean sd", rows["mean_sd"], places),
            numbers("Largest |z|", rows["max_abs_z"], 1),
            counts(f"|z| \u2265 {STRONG_Z:g}", rows["n_strong"]),
            shares("Share", rows["n_strong"] / rows["n"].clip(lower=1)),
        ]
    if facts.n_nan:
        columns.append(counts("NaN", rows["n_nan"]))
    left = len(facts.outputs) - len(rows)
    more = f" (the {len(rows):,} of {len(facts.outputs):,} with the largest |z|)" if left else ""
    return build(f"Effects by output and score{more}", columns)


def sites_table(record: dict[str, Any]) -> Table:
    """The dropout sites in call order."""
    sites = record.get("sites", [])
    units = [int(np.prod(site["mask_shape"])) for site in sites]
    columns = [
        counts(
            "Site", [site["site"] for site in sites], "Order of the calls in the forward pass, from 0"
        ),
        text("Module", [site["name"] for site in sites]),
        text("Kind", [site["kind"] for site in sites]),
        numbers("p", [site["p"] for site in sites], 2, "Probability with which a unit is dropped"),
        text("Mask", [" \u00d7 ".join(map(str, site["mask_shape"])) for site in sites]),
        counts("Units", units, "Shape of the mask; in a draw, all inputs share it"),
    ]
    return build("Dropout sites, all locked: one mask a draw, shared by all inputs", columns)


def skipped_table(ledger: LedgerFacts) -> Table:
    """Skipped alleles by reason."""
    rows = ledger.reasons
    columns = [
        text("Reason", rows["reason"]),
        counts("Alleles", rows["n"]),
        prose("In words", rows["words"]),
    ]
    if (rows["examples"] != "").any():
        columns.append(text("At", rows["examples"]))
    return build("Skipped alleles by reason", columns)


def failed_table(ledger: LedgerFacts) -> Table:
    """Sequences that the model failed with."""
    rows = ledger.failed
    columns = [
        counts("Number", rows["sequence"], "Order in the dataloader, from 0"),
        text("Sequence", rows["name"]),
        prose("Reason", rows["reason"]),
    ]
    return build("Sequences that are left out", columns)


def schedule_table(draws: DrawFacts) -> Table:
    """What other numbers of draws would give."""
    n = [row[0] for row in draws.schedule]
    columns = [
        counts("Draws", n),
        shares("mcse / sd", [row[1] for row in draws.schedule]),
        shares("Error of the sd", [row[2] for row in draws.schedule]),
    ]
    table = build("Monte Carlo error by number of draws", columns)
    return replace(table, row_attributes=[{"current": "yes"} if k == draws.n_draws else {} for k in n])


def followed_table(draws: DrawFacts) -> Table:
    """Mean and sd of a few effects as draws come in."""
    mutants, points = draws.followed, draws.checkpoints
    values = {n: [m.running(n) for m in mutants] for n in points}
    places = decimals([m for m, _ in values[points[-1]]], spread=[s for _, s in values[points[-1]]])
    columns = [
        text("Mutant", [mutant_name(m) for m in mutants]),
        text("Output", [m.row["output"] for m in mutants]),
    ]
    columns += [numbers(f"Mean, {n}", [m for m, _ in values[n]], places) for n in points]
    columns += [numbers(f"sd, {n}", [s for _, s in values[n]], places) for n in points]
    return build("Mean and sd of the strongest effects over the first draws", columns)


def mutant_name(mutant: FollowedMutant) -> str:
    """What the mutant is called, as in the plots."""
    row = {key: value for key, value in mutant.row.items() if key != "sequence"}
    table = pd.DataFrame([row])
    return str(mutant_names(table.assign(sequence=row["name"]))[0])
