"""Windows against a genome that was edited by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from variant_world import random_sequence, write_fasta

from kipoi_mcdropout.sequence.genome import Genome
from kipoi_mcdropout.sequence.letters import letter_codes, reverse_complement
from kipoi_mcdropout.sequence.one_hot import OneHotLayout
from kipoi_mcdropout.vcf.place.windows import (
    allele_window,
    anchor_about,
    centre_of,
    fits,
    over_edge,
    reference_window,
)
from kipoi_mcdropout.vcf.read.alleles import Edit, normalised

SEQUENCE = random_sequence(300, 1)


@pytest.fixture(scope="module")
def genome(tmp_path_factory: pytest.TempPathFactory) -> Genome:
    folder = tmp_path_factory.mktemp("genome")
    return Genome(write_fasta(folder / "g.fa", {"c": SEQUENCE}))


def cut(text: str, start: int, length: int) -> str:
    """A window of a text, padded with "-": written apart from the package."""
    return "".join(text[i] if 0 <= i < len(text) else "-" for i in range(start, start + length))


@given(st.integers(0, 299), st.integers(1, 12), st.text("ACGT", min_size=0, max_size=12),
       st.integers(1, 60), st.integers(-5, 5))  # fmt: skip
def test_windows_are_cut_from_the_edited_genome(
    genome: Genome, position: int, n_ref: int, alt: str, length: int, shift: int
) -> None:
    ref = SEQUENCE[position : position + n_ref]
    edit = Edit(position, ref, alt)
    assume(fits(edit, length, (shift,)))
    edited = SEQUENCE[:position] + alt + SEQUENCE[position + len(ref) :]
    start = position - centre_of(length) + shift
    anchor = anchor_about("c", edit.position, length)
    reference = reference_window(genome, anchor, length, shift).tobytes().decode()
    mutant = allele_window(genome, anchor, edit, length, shift).tobytes().decode()
    assert reference == cut(SEQUENCE, start, length)
    assert mutant == cut(edited, start, length)
    index = centre_of(length) - shift
    assert reference[index : index + len(ref)] == ref
    assert mutant[index : index + len(alt)] == alt
    for text in (reference, mutant):
        assert over_edge(np.frombuffer(text.encode(), np.uint8)) == ("-" in text)


@given(st.integers(1, 280), st.integers(1, 5))
def test_spellings_of_a_variant_have_the_same_windows_once_normalised(
    genome: Genome, position: int, size: int
) -> None:
    """Every spelling of one deletion, found by trying them all."""
    edited = SEQUENCE[:position] + SEQUENCE[position + size :]
    spellings = [
        Edit(i - 1, SEQUENCE[i - 1 : i + size], SEQUENCE[i - 1])
        for i in range(max(1, position - 10), position + 10)
        if SEQUENCE[:i] + SEQUENCE[i + size :] == edited
    ]
    windows = set()
    for spelling in spellings:
        edit = normalised(spelling, SEQUENCE.__getitem__)
        anchor = anchor_about("c", edit.position, 30)
        windows.add((anchor, allele_window(genome, anchor, edit, 30).tobytes()))
    assert len(windows) == 1


@pytest.mark.parametrize(("length", "index"), [(1, 0), (2, 0), (3, 1), (20, 9), (21, 10), (1000, 499)])
def test_centre(length: int, index: int) -> None:
    assert centre_of(length) == index


def test_an_allele_that_reaches_the_end_of_the_window_fits_and_one_base_more_does_not() -> None:
    assert fits(Edit(50, "A", "C" * 11), 21)
    assert not fits(Edit(50, "A", "C" * 12), 21)
    assert not fits(Edit(50, "A", "C" * 11), 21, (0, -1))
    assert fits(Edit(50, "A", "C" * 11), 21, (0, 1))


def test_reverse_complement_of_codes_leaves_unknown_bases_unknown() -> None:
    layout = OneHotLayout((4, 7), 0)
    table = letter_codes(layout, 5)
    codes = table[np.frombuffer(b"ACGTNa-", np.uint8)]
    assert codes.tolist() == [0, 1, 2, 3, 5, 0, 5]
    assert reverse_complement(codes[None], layout).tolist() == [[5, 3, 5, 0, 1, 2, 3]]
