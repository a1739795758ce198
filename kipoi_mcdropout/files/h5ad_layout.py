"""Where the columns of a table of effects are in AnnData (.h5ad), and how that marks its parts in HDF5.

    /X                 (mutant, output): `effect_mean`
    /layers/NAME       (mutant, output): every other statistic, and `z`
    /obs               a row for each mutant: where it is, and its alleles
    /var               a row for each output and score
    /uns               the record of the run as JSON text, and a few of its values

The marks are those of AnnData's own description of its files ("on-disk format", version 0.1.0):
https://anndata.readthedocs.io/en/latest/fileformat-prose.html
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kipoi_mcdropout.effects.columns import OUTPUT_EPS

X = "effect_mean"
Z = "z"  # made for tables that lack it; not given back as a column of these
# What is said of a mutant, once for all outputs and scores.
WHOLE_NUMBERS = ("sequence", "pos", "position", "allele", "line")
CATEGORIES = ("name", "chrom", "strand", "ref", "alt", "kind", "flags")
TEXTS = ("id",)
OF_MUTANT = (*WHOLE_NUMBERS, *CATEGORIES, *TEXTS)
OF_OUTPUT = ("output", "score", OUTPUT_EPS)
INDEX = "_index"
COLUMNS = "columns"  # in uns: those of the table, in their order

ARRAY, TEXT_ARRAY = ("array", "0.2.0"), ("string-array", "0.2.0")
TEXT, NUMBER = ("string", "0.2.0"), ("numeric-scalar", "0.2.0")
CATEGORICAL, FRAME = ("categorical", "0.2.0"), ("dataframe", "0.2.0")
MAPPING, ROOT = ("dict", "0.1.0"), ("anndata", "0.1.0")


def mark(item: Any, encoding: tuple[str, str]) -> Any:
    """Say of a group or dataset of h5py what it is, as AnnData wants it; returns the item."""
    item.attrs["encoding-type"], item.attrs["encoding-version"] = encoding
    if encoding == CATEGORICAL:
        item.attrs["ordered"] = np.False_
    return item
