"""Whether the rows of a table are effects of single alleles, or of haplotypes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kipoi_mcdropout.errors import InputError

if TYPE_CHECKING:
    import pandas as pd


def check_single_alleles(table: pd.DataFrame, what: str) -> None:
    """Refuse effects of several alleles together, which would be taken for those of one.

    Raises
    ------
    InputError
        If a row is of a haplotype with more than one allele; `what` says who needs single alleles.
    """
    if "n_alleles" in table.columns and (n := int((table["n_alleles"] > 1).sum())):
        raise InputError(
            f"{what} needs effects of single alleles; {n} of {len(table)} rows are of haplotypes of "
            "several alleles (score_variants --phased). Run score_variants without --phased"
        )
