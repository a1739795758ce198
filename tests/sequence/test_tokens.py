"""Tokens as codes and back; letters that are no base; complements in every alphabet."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from token_models import CLS, IDS, PAD, SEP, tokens

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.sequence.layout import Encoding, layout_from_dict
from kipoi_mcdropout.sequence.letters import check_bases, letter_codes, reverse_complement
from kipoi_mcdropout.sequence.one_hot import OneHotLayout
from kipoi_mcdropout.sequence.tokens import NO_CODE, TokenLayout
from kipoi_mcdropout.sequence.vocabulary import Vocabulary

VOCABULARY = Vocabulary.of(IDS)
SPECIAL = st.lists(st.sampled_from([CLS, SEP, PAD, -1]), max_size=4).map(tuple)


@given(
    st.text("ACGTN", min_size=1, max_size=20), SPECIAL, SPECIAL, st.sampled_from([np.int64, np.int16])
)
def test_what_is_read_is_written_again(
    text: str, before: tuple[int, ...], after: tuple[int, ...], dtype: type
) -> None:
    x = tokens(text, before, after)[None].astype(dtype)
    ((layout, codes),) = Encoding(vocabulary=VOCABULARY).read(x)
    assert layout.n_positions == len(text)
    assert layout.shape == x.shape[1:]
    assert "".join(layout.letters()[code] for code in codes) == text
    written = layout.encode(codes[None], x.dtype)
    assert written.dtype == x.dtype
    np.testing.assert_array_equal(written, x)
    assert layout_from_dict(layout.to_dict()) == layout


def test_each_sequence_of_a_batch_has_its_own_bases() -> None:
    x = np.stack([tokens("ACGTN", after=(SEP, PAD, PAD)), tokens("NTGCAAT")])
    (first, one), (second, two) = Encoding(vocabulary=VOCABULARY).read(x)
    assert (first.n_positions, second.n_positions) == (5, 7)
    assert (one.tolist(), two.tolist()) == ([0, 1, 2, 3, 4], [4, 3, 2, 1, 0, 0, 3])
    with pytest.raises(InputError, match=r"bases at places 1 to 5.*sequence 1 has tokens 0, 11"):
        first.codes(x)


@pytest.mark.parametrize(
    ("x", "complaint"),
    [
        (
            [[0, 7, 8, 5, 9, 1]],
            r"tokens between bases .*sequence 0 has token 5 at place 3 of its tokens$",
        ),
        ([[0, 7, 8, 1], [0, 1, 1, 1]], "sequence 1 must have tokens of the vocabulary .*A=7,C=8"),
        ([[0.0, 7, 8, 1]], r"must be tokens: whole numbers.*got shape \(1, 4\), float64"),
        ([[[0, 1]]], r"must be tokens: whole numbers.*got shape \(1, 1, 2\)"),
        ([[True, False]], "must be tokens: whole numbers"),
    ],
)
def test_what_is_no_sequence_of_tokens_is_refused(x: list, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        list(Encoding(vocabulary=VOCABULARY).read(np.array(x)))


def test_a_token_that_may_be_n_is_asked_for() -> None:
    without = Vocabulary.of({base: IDS[base] for base in "ACGT"})
    with pytest.raises(
        InputError, match=r"token 11 at place 3 of its tokens. If it stands for N, add N=11"
    ):
        list(Encoding(vocabulary=without).read(tokens("ACNGT")[None]))
    layout = TokenLayout(without.tokens, 3)
    assert layout.unknown() == NO_CODE
    with pytest.raises(InputError, match=r"sequence 0 has no base at position 1.*no token of N"):
        layout.encode(np.array([[0, NO_CODE, 1]], np.uint8), np.dtype(np.int64))
    with pytest.raises(InputError, match="unknown is for one-hot"):
        layout.unknown("zero")


COMPLEMENT = {"A": "T", "C": "G", "G": "C", "T": "A", "N": "N"}
LAYOUTS = {
    "ACGT": OneHotLayout((4, 20), 0),
    "TNGCA": OneHotLayout((20, 5), 1, "TNGCA"),
    "UGCA": OneHotLayout((4, 20), 0, "UGCA"),
    "tokens": TokenLayout(VOCABULARY.tokens, 20),
    "RNA tokens": TokenLayout(Vocabulary.of({"A": 3, "C": 1, "G": 0, "U": 2, "N": 9}).tokens, 20),
}


@pytest.mark.parametrize("name", LAYOUTS)
@given(text=st.text("ACGTN", min_size=20, max_size=20))
def test_the_reverse_complement_is_that_of_the_letters(name: str, text: str) -> None:
    layout = LAYOUTS[name]
    table = letter_codes(layout, layout.unknown())
    codes = table[np.frombuffer(text.encode(), np.uint8)][None]
    np.testing.assert_array_equal(codes, table[np.frombuffer(text.lower().encode(), np.uint8)][None])
    other = "".join(COMPLEMENT[base] for base in reversed(text))
    expected = table[np.frombuffer(other.encode(), np.uint8)][None]
    np.testing.assert_array_equal(reverse_complement(codes, layout), expected)
    letters = np.array(layout.letters())
    assert "".join(letters[codes[0]]).replace("U", "T") == text


def test_t_and_u_are_one_base() -> None:
    rna, dna = LAYOUTS["UGCA"], LAYOUTS["ACGT"]
    for layout, code in ((rna, 0), (dna, 3)):
        table = letter_codes(layout, layout.unknown())
        assert [int(table[ord(x)]) for x in "TUtu"] == [code] * 4


def test_letters_that_stand_for_several_bases_have_complements() -> None:
    vocabulary = Vocabulary.of({**IDS, "R": 20, "Y": 21, "B": 22})
    layout = TokenLayout(vocabulary.tokens, 4)
    assert layout.letters() == list("ACGTNRYB")
    codes = np.array([[5, 6, 7, 0]], np.uint8)  # R, Y, B, A
    assert reverse_complement(codes, layout).tolist() == [[3, 7, 5, 6]]  # there is no V


@pytest.mark.parametrize("alphabet", ["ACGT", "TGCA", "ACGTN", "NACGU", "UGCA"])
def test_alphabets_of_a_genome(alphabet: str) -> None:
    assert check_bases(alphabet) == alphabet


@pytest.mark.parametrize("alphabet", ["ACG", "ACGX", "ACGTU", "ACGT-", "ACGTNX"])
def test_other_alphabets_are_refused(alphabet: str) -> None:
    with pytest.raises(InputError, match="A, C, G and T"):
        check_bases(alphabet)


def test_n_has_a_channel_of_its_own_or_not() -> None:
    four, five = LAYOUTS["ACGT"], LAYOUTS["TNGCA"]
    assert (four.unknown(), four.unknown("uniform"), four.unknown("zero")) == (5, 5, 4)
    assert five.unknown() == 1
    assert (four.n_bases, five.n_bases) == (4, 4)
    with pytest.raises(InputError, match="N has a channel of its own in the alphabet TNGCA"):
        five.unknown("zero")
    with pytest.raises(InputError, match='unknown must be "uniform" or "zero"'):
        four.unknown("one")
