"""Kinds, reasons, and the one spelling of an allele."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kipoi_mcdropout.vcf.read.alleles import (
    REASONS,
    Edit,
    kind_of,
    normalised,
    reference_differs,
    trim,
    unscorable,
)

DNA = st.text("ACGT", min_size=1, max_size=6)


@pytest.mark.parametrize(
    ("ref", "alt", "reason"),
    [
        ("A", ".", "no_alt"),
        ("A", "*", "overlapping_deletion"),
        ("A", "<DEL>", "symbolic"),
        ("A", "<*>", "symbolic"),
        ("A", "<NON_REF>", "symbolic"),
        ("G", "G]17:198982]", "breakend"),
        ("G", "]13:123456]T", "breakend"),
        ("G", "G.", "breakend"),
        ("G", ".A", "breakend"),
        ("A", "a", "alt_is_ref"),
        ("ACG", "ACG", "alt_is_ref"),
        ("A", "N", "ambiguous_base"),
        ("N", "A", "ambiguous_base"),
        ("AC", "AR", "ambiguous_base"),
        ("A", "C-", "malformed_allele"),
        ("1", "C", "malformed_allele"),
    ],
)
def test_alleles_without_a_sequence_have_their_reason(ref: str, alt: str, reason: str) -> None:
    skip = unscorable(ref, alt)
    assert skip is not None
    assert skip.reason == reason
    assert reason in REASONS


@pytest.mark.parametrize(
    ("ref", "alt", "kind"),
    [
        ("A", "C", "snv"),
        ("a", "c", "snv"),
        ("CAT", "CGT", "snv"),
        ("AC", "GT", "mnv"),
        ("ACG", "TCT", "mnv"),
        ("A", "ATT", "insertion"),
        ("CAG", "CATAG", "insertion"),
        ("ATT", "A", "deletion"),
        ("GAC", "GC", "deletion"),
        ("ACG", "TT", "delins"),
        ("A", "CC", "delins"),
    ],
)
def test_kinds(ref: str, alt: str, kind: str) -> None:
    assert unscorable(ref, alt) is None
    assert kind_of(Edit(5, ref.upper(), alt.upper())) == kind


@pytest.mark.parametrize(
    ("ref", "genome", "reason"),
    [
        ("ACG", "ACG", None),
        ("acg", "ACG", None),
        ("A", "C", "ref_mismatch"),
        ("A", "R", "ambiguous_base"),
        ("C", "R", "ref_mismatch"),
        ("AC", "AN", "ambiguous_base"),
        ("AC", "A", "ref_mismatch"),
    ],
)
def test_reference_is_compared_with_the_genome(ref: str, genome: str, reason: str | None) -> None:
    skip = reference_differs(ref, genome)
    assert (skip.reason if skip else None) == reason


def apply(genome: str, edit: Edit) -> str:
    assert genome[edit.position : edit.position + len(edit.ref)] == edit.ref
    return genome[: edit.position] + edit.alt + genome[edit.position + len(edit.ref) :]


@given(st.text("AC", min_size=8, max_size=20), st.data())
def test_trimming_and_normalising_keep_the_edited_genome(genome: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(genome) - 1))
    ref = genome[start : data.draw(st.integers(start + 1, len(genome)))]
    alt = data.draw(st.text("AC", min_size=1, max_size=6).filter(lambda text: text != ref))
    edit = Edit(start, ref, alt)
    edited = apply(genome, edit)
    short, one = trim(edit), normalised(edit, genome.__getitem__)
    assert apply(genome, short) == edited
    assert apply(genome, one) == edited
    if short.ref and short.alt:
        assert short.ref[0] != short.alt[0]
        assert short.ref[-1] != short.alt[-1]


@given(st.text("AC", min_size=6, max_size=14), st.data())
def test_all_spellings_of_an_indel_normalise_to_the_same(genome: str, data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 3))
    start = data.draw(st.integers(0, len(genome) - size))
    edited = genome[:start] + genome[start + size :]
    spellings = {
        normalised(Edit(i, genome[i : i + size], ""), genome.__getitem__)
        for i in range(len(genome) - size + 1)
        if genome[:i] + genome[i + size :] == edited
    }
    assert len(spellings) == 1
    (one,) = spellings
    assert one.position == 0 or len(one.alt) == 1


def test_normalising_moves_left_over_a_repeat_and_keeps_the_base_before() -> None:
    genome = "GGGCACACATT"
    assert normalised(Edit(6, "ACA", "A"), genome.__getitem__) == Edit(2, "GCA", "G")
    assert normalised(Edit(8, "A", "ACA"), genome.__getitem__) == Edit(2, "G", "GCA")
    assert normalised(Edit(1, "GG", "G"), genome.__getitem__) == Edit(0, "G", "")
