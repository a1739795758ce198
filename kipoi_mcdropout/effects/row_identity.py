"""The sequence and the variant of the genome that a row of a table of effects belongs to."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

# On the genome DNA is written, also where the model's alphabet is that of RNA.
_COMPLEMENT = str.maketrans("ACGTUacgtu", "TGCAAtgcaa")


def sequence_names(table: pd.DataFrame) -> pd.Series:
    """A name per row that tells sequences apart: `name`, with the number where two share it.

    In the table of a VCF, which has no sequences, a chromosome is one.
    """
    if "sequence" not in table:
        return table["chrom"].astype(str) if "chrom" in table else pd.Series("all", table.index)
    number = table["sequence"].astype(str)
    if "name" not in table or table["name"].isna().any():
        return number
    name = table["name"].astype(str)
    pairs = pd.DataFrame({"name": name, "number": number}).drop_duplicates()
    shared = name.isin(pairs["name"][pairs["name"].duplicated()])
    unique: pd.Series = name.where(~shared, name + " (" + number + ")")
    return unique


def genomic_variants(table: pd.DataFrame) -> pd.DataFrame | None:
    """`chrom`, `pos` (1-based), `ref` and `alt` of each row on the forward strand of the genome.

    The alleles of a window on the strand "-" are those of its own strand; here they are complemented.

    Returns
    -------
    DataFrame or None
        None where the place on the genome is not known of all rows: no columns `chrom` and `pos`, or
        empty ones, as those of sequences without a range.
    """
    columns = ("chrom", "pos", "ref", "alt")
    if not set(columns) <= set(table.columns) or table[["chrom", "pos"]].isna().any(axis=None):
        return None
    ref, alt = table["ref"].astype(str), table["alt"].astype(str)
    if "strand" in table:
        minus = (table["strand"].astype(object) == "-").to_numpy(bool)
        ref, alt = (_complemented(alleles, minus) for alleles in (ref, alt))
    chrom, pos = table["chrom"].astype(str), table["pos"].astype(np.int64)
    named = {"chrom": chrom, "pos": pos, "ref": ref, "alt": alt}
    variants: pd.DataFrame = pd.DataFrame(named, index=table.index)
    return variants


def _complemented(alleles: pd.Series, minus: NDArray[np.bool_]) -> pd.Series:
    if not minus.any():
        return alleles
    other = alleles.map({a: a.translate(_COMPLEMENT)[::-1] for a in alleles.unique()})
    turned: pd.Series = alleles.where(~minus, other)
    return turned


def variant_names(variants: pd.DataFrame) -> pd.Series:
    """``chrom:pos:ref:alt`` of each row of `genomic_variants`."""
    return joined_by_colons(variants)


def joined_by_colons(table: pd.DataFrame) -> pd.Series:
    """The cells of each row with ":" between; column by column, as joining row by row takes long."""
    texts = table.astype(str)
    joined: pd.Series = texts.iloc[:, 0].str.cat(texts.iloc[:, 1:], sep=":").rename(None)
    return joined


def mutant_names(table: pd.DataFrame) -> pd.Series:
    """What to call the mutant of each row, for people to read.

    ``chrom:pos:ref:alt`` where the place on the genome is known of all rows. Else it must not look like
    one: ``NAME at POSITION ref>alt``, with the position from 0 in the sequence of that name.
    """
    if (variants := genomic_variants(table)) is not None:
        return variant_names(variants)
    position = table["position"] if "position" in table else table["pos"]
    alleles = table["ref"].astype(str) + ">" + table["alt"].astype(str)
    return sequence_names(table) + " at " + position.astype(int).astype(str) + " " + alleles


def first_of_each_variant(table: pd.DataFrame, variants: pd.DataFrame) -> NDArray[np.bool_]:
    """Which rows to use so that each variant counts once, shape=(rows,).

    Where windows overlap, or one is given twice, the same variant is in several sequences. It is used
    in the one in which it lies nearest to the middle of the mutated positions: there the model sees most
    of what surrounds it. Of equals the first row is used.

    Parameters
    ----------
    table : DataFrame
        Rows of one output and score, all of the sequences' mutants.
    variants : DataFrame
        `genomic_variants` of it.
    """
    off_centre = np.zeros(len(table))
    if "sequence" in table and "position" in table:
        position = table["position"].astype(np.float64)
        by_sequence = position.groupby(table["sequence"].to_numpy())
        middle = (by_sequence.transform("min") + by_sequence.transform("max")) / 2
        off_centre = (position - middle).abs().to_numpy()
    order = np.argsort(off_centre, kind="stable")
    again = variants.iloc[order].duplicated().to_numpy()
    first = np.zeros(len(table), bool)
    first[order[~again]] = True
    return first
