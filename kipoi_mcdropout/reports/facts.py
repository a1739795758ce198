"""All facts of a report, as plain values, independent of HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.files.genes.read import check_annotation
from kipoi_mcdropout.files.read_stream import iter_effects
from kipoi_mcdropout.reports.browser.facts import (
    MOST_REGIONS,
    BrowserFacts,
    gather_browser,
    gather_regions,
)
from kipoi_mcdropout.reports.cautions import (
    Caution,
    cautions,
    cautions_of_evaluations,
    cautions_of_genes,
)
from kipoi_mcdropout.reports.draws import DrawFacts, gather_draws
from kipoi_mcdropout.reports.effects import EffectFacts, RankBy, gather_effects
from kipoi_mcdropout.reports.evaluation import EvaluationFacts, gather_evaluations
from kipoi_mcdropout.reports.genes import GeneFacts, gather_genes
from kipoi_mcdropout.reports.inputs import EffectKind, Inputs, find_inputs
from kipoi_mcdropout.reports.ledger import LedgerFacts, gather_ledger
from kipoi_mcdropout.reports.mr import MrFacts, gather_mr
from kipoi_mcdropout.reports.selection import Selection, select_rows


@dataclass(frozen=True)
class Facts:
    """What a report says.

    `kind`, `record`, `effects`, `ledger` and `draws` are None where no effects were given; `draws` is
    None too where there are point effects only. `selections` are the rows for figures. `browser` is None
    where no effects were given, `genes` where no annotation was.
    """

    inputs: Inputs
    kind: EffectKind | None
    record: dict[str, Any] | None
    effects: EffectFacts | None
    ledger: LedgerFacts | None
    draws: DrawFacts | None
    mr: list[MrFacts]
    cautions: list[Caution]
    selections: list[Selection] = field(default_factory=list)
    evaluations: list[EvaluationFacts] = field(default_factory=list)
    browser: BrowserFacts | None = None
    genes: GeneFacts | None = None


def gather(
    paths: Sequence[str | Path],
    *,
    top: int = 200,
    rank_by: RankBy = "z",
    annotation: str | Path | None = None,
    n_regions: int = MOST_REGIONS,
) -> Facts:
    """Read what was given, piece by piece, and gather the facts.

    Parameters
    ----------
    paths : sequence of str or Path
        A result of `ism`, or a table of `score_variants` (and of its skipped alleles), tables of `mr`,
        or folders that have these, and tables of `evaluate`.
    top : int
        Rows of the table of top effects.
    rank_by : "z" or "effect"
        What makes them the top.
    annotation : str or Path, optional
        Genes, as `files.genes.read_genes` takes them.
    n_regions : int
        Regions of the genome browser at most; 0 leaves it out.

    Raises
    ------
    InputError
        If a file is none of these, they do not belong together, or the annotation cannot be used.
    """
    if annotation is not None:
        check_annotation(annotation)
    inputs = find_inputs(paths)
    mr, evaluations = gather_mr(inputs), gather_evaluations(inputs)
    file = inputs.effects
    if file is None:
        if annotation is not None:
            raise InputError(
                f"the annotation {annotation} gives genes to effects, and there are none among the "
                "inputs. Leave it out, or give the result of `ism` or the table of `score_variants` too"
            )
        found = [*cautions(None, None, None, mr), *cautions_of_evaluations(evaluations)]
        return Facts(inputs, None, None, None, None, None, mr, found, evaluations=evaluations)
    effects = gather_effects(iter_effects(file.path), top, rank_by)
    ledger = gather_ledger(inputs, effects)
    selections = select_rows(file.path, effects)
    draws = gather_draws(file.path, effects, selections)
    found = cautions(effects, ledger, draws, mr, file.record)
    found += cautions_of_evaluations(evaluations)
    places = gather_regions(effects, n_regions)
    genes = gather_genes(annotation, effects.top, places)
    found += cautions_of_genes(genes)
    browser = gather_browser(file.path, effects, places, None if genes is None else genes.genes)
    return Facts(
        inputs, file.kind, file.record, effects, ledger, draws, mr, found, selections, evaluations,
        browser, genes,
    )  # fmt: skip
