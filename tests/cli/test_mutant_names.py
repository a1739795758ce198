"""A mutant's name looks like a place on the genome where it is one, and only there."""

from __future__ import annotations

import pandas as pd

from kipoi_mcdropout.effects.row_identity import mutant_names

ROWS = pd.DataFrame(
    {
        "sequence": [0, 0, 1], "name": ["chr7", "chr7", "site"], "position": [240, 241, 3],
        "ref": ["A", "C", "G"], "alt": ["T", "G", "A"],
    }
)  # fmt: skip


def test_without_a_range_a_name_is_no_coordinate() -> None:
    assert mutant_names(ROWS).tolist() == ["chr7 at 240 A>T", "chr7 at 241 C>G", "site at 3 G>A"]
    unknown = ROWS.assign(chrom=None, pos=None, strand=None)
    assert mutant_names(unknown).tolist() == mutant_names(ROWS).tolist()


def test_with_a_range_it_is_that_of_a_vcf() -> None:
    """1-based, and with the alleles of the forward strand."""
    known = ROWS.assign(chrom="chr1", pos=[1241, 1242, 90], strand=["+", "*", "-"])
    assert mutant_names(known).tolist() == ["chr1:1241:A:T", "chr1:1242:C:G", "chr1:90:C:T"]
