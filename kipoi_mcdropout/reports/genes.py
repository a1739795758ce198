"""Genes of the effects in a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.files.genes import Genes, read_genes
from kipoi_mcdropout.reports.browser.regions import Region, has_places


@dataclass(frozen=True)
class GeneFacts:
    """The genes of an annotation, and how its contigs fit those of the top effects.

    `aliases` has the contigs that the annotation calls by another name, `missing` those on which it has
    no gene.
    """

    genes: Genes
    file: str
    aliases: dict[str, str]
    missing: list[str]

    def of_row(self, row: pd.Series) -> str:
        """The genes that an effect lies in, or the nearest; "" where its contig has none."""
        if pd.isna(row["pos"]):
            return ""
        start = int(row["pos"]) - 1
        return self.genes.label(str(row["chrom"]), start, start + len(row["ref"]))


def gather_genes(
    annotation: str | Path | None, top: pd.DataFrame, regions: Sequence[Region]
) -> GeneFacts | None:
    """Read the annotation of the top effects; None where none is given.

    Raises
    ------
    InputError
        If it cannot be read, or the effects have no place on a genome.
    """
    if annotation is None:
        return None
    if len(top) and not has_places(top):
        raise InputError(
            "an annotation needs effects with positions on a genome; this result has none. Leave the "
            "annotation out, or run `ism` with --regions and a genome (-f)"
        )
    genes = read_genes(annotation, [region.around for region in regions])
    contigs = sorted(top.loc[top["pos"].notna(), "chrom"].astype(str).unique()) if len(top) else []
    names = {chrom: genes.contig_of(chrom) for chrom in contigs}
    return GeneFacts(
        genes,
        Path(annotation).name,
        {chrom: name for chrom, name in names.items() if name not in (None, chrom) and name},
        [chrom for chrom, name in names.items() if name is None],
    )
