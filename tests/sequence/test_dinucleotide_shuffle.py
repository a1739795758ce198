"""The shuffle keeps every dinucleotide, and draws all such sequences equally often."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from kipoi_mcdropout.sequence.dinucleotide_shuffle import shuffle_dinucleotides


def shuffled(text: str, random: np.random.Generator) -> str:
    codes = np.frombuffer(text.encode(), np.uint8)
    found = shuffle_dinucleotides(codes, codes != ord("N"), random)
    return found.tobytes().decode()


def pairs(text: str) -> Counter[str]:
    return Counter(a + b for a, b in itertools.pairwise(text))


@given(st.text("ACGT", min_size=1, max_size=80), st.integers(0, 2**32))
def test_dinucleotides_and_ends_are_kept(text: str, seed: int) -> None:
    found = shuffled(text, np.random.default_rng(seed))
    assert pairs(found) == pairs(text)
    assert (found[0], found[-1]) == (text[0], text[-1])


def all_with(left: Counter[str], path: str) -> set[str]:
    """All sequences that begin with a path and use each of the dinucleotides that are left once."""
    if left.total() == 0:
        return {path}
    following = [pair for pair in left if pair[0] == path[-1] and left[pair]]
    return {one for pair in following for one in all_with(left - Counter([pair]), path + pair[1])}


def test_every_sequence_with_the_same_dinucleotides_is_drawn_equally_often() -> None:
    text = "ACCGATACGAGT"
    same = all_with(pairs(text), text[0])
    assert len(same) > 20
    random = np.random.default_rng(5)
    drawn = Counter(shuffled(text, random) for _ in range(100 * len(same)))
    assert set(drawn) == same
    assert scipy.stats.chisquare([drawn[one] for one in same]).pvalue > 0.01


def test_positions_without_a_base_stay() -> None:
    text = "ACGTTGCAACCNNTTGACAGTAN"
    found = shuffled(text, np.random.default_rng(1))
    assert found != text
    assert [base == "N" for base in found] == [base == "N" for base in text]
    for run, before in zip(found.split("N"), text.split("N"), strict=True):
        assert pairs(run) == pairs(before)


def test_short_and_unmixable_sequences_are_themselves() -> None:
    for text in ("A", "AC", "ACG", "AAAAAA", "NNN"):
        assert shuffled(text, np.random.default_rng(0)) == text
