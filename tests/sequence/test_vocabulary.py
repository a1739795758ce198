"""The tokens of the bases, as a user says them and as the files of tokenizers do."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.sequence.vocabulary import Vocabulary, as_vocabulary

SPECIAL = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4}
SINGLE = {**SPECIAL, "A": 5, "C": 6, "G": 7, "T": 8}


@pytest.mark.parametrize(
    "given",
    [
        "A=7,C=8,G=9,T=10,N=11,prefix=0+2,suffix=1",
        " A = 7, T=10 , G=9,C=8, N=11, suffix=1,prefix=0+2 ",
        "a=7,c=8,g=9,t=10,n=11,prefix=0+2,suffix=1",
        Vocabulary.of({"T": 10, "N": 11, "A": 7, "C": 8, "G": 9}, [0, 2], [1]),
    ],
)
def test_a_vocabulary_is_the_same_however_it_is_said(given: Any) -> None:
    vocabulary = as_vocabulary(given)
    assert vocabulary.tokens == (("A", 7), ("C", 8), ("G", 9), ("T", 10), ("N", 11))
    assert vocabulary.ends() == ((0, 2), (1,))
    assert str(vocabulary) == "A=7,C=8,G=9,T=10,N=11,prefix=0+2,suffix=1"
    assert as_vocabulary(str(vocabulary)) == vocabulary


def test_rna_and_letters_that_are_no_base() -> None:
    vocabulary = as_vocabulary({"U": 3, "R": 9, "A": 0, "N": 4, "C": 1, "G": 2})
    assert (vocabulary.alphabet, vocabulary.letters) == ("ACGU", "ACGUNR")
    assert as_vocabulary("A=0,C=1,G=2,T=3,prefix=").ends() == ((), ())


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ("A=7,C=8,G=9", "T is missing. Give it as A=7"),
        ("A=7,C=8,G=9,T=9", "a token of its own for each letter"),
        ("A=7,C=8,G=9,T=10,A=11", "one token a letter; 'A' has two"),
        ({"A": 7, "C": 8, "G": 9, "T": 10, "a": 11}, "one token a letter; 'A' has two"),
        ("A=7,C=8,G=9,T=10,U=11", "of T or of U, not of both"),
        ("A=7,C=8,G=9,T=10,X=11", "other IUPAC letters; got 'X'"),
        ("A=7,C=8,G=9,T=ten", "must be like A=7.*got 'T=ten'"),
        ("A=7,C=8,G=9,T=10,prefix=x", "got 'prefix=x'"),
        ({"A": 7.0, "C": 8, "G": 9, "T": 10}, "whole numbers as tokens; 'A' has 7.0"),
        ("no/such/folder", "no/such/folder is not there.*give the token of each base"),
        (7, "a dict .* a text .* or the path of a tokenizer; got int"),
        ({"".join(x): i for i, x in enumerate(itertools.product("ACGT", repeat=3))},
         r"64 k-mers of 3 bases \(AAA, AAC, AAG, ...\). A substitution would change the tokens"),
    ],
)  # fmt: skip
def test_what_is_no_vocabulary_is_refused(given: Any, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        as_vocabulary(given)


def folder(path: Path, **files: Any) -> Path:
    """A folder with JSON files, or with vocab.txt."""
    for name, content in files.items():
        if name == "vocab_txt":
            (path / "vocab.txt").write_text("\n".join(content) + "\n")
        else:
            (path / f"{name}.json").write_text(json.dumps(content))
    return path


def word_level(**more: Any) -> dict[str, Any]:
    """A tokenizer.json as HuggingFace's library writes it."""
    return {
        "version": "1.0",
        "added_tokens": [{"id": i, "content": name, "special": True} for name, i in SPECIAL.items()],
        "pre_tokenizer": {"type": "Split", "pattern": {"Regex": ""}, "behavior": "Isolated"},
        "post_processor": None,
        "model": {"type": "WordLevel", "vocab": dict(SINGLE), "unk_token": "[UNK]"},
        **more,
    }


TEMPLATE = {
    "type": "TemplateProcessing",
    "single": [
        {"SpecialToken": {"id": "[CLS]", "type_id": 0}},
        {"Sequence": {"id": "A", "type_id": 0}},
        {"SpecialToken": {"id": "[SEP]", "type_id": 0}},
    ],
    "special_tokens": {
        "[CLS]": {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]},
        "[SEP]": {"id": "[SEP]", "ids": [3], "tokens": ["[SEP]"]},
    },
}
BERT = {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]}


@pytest.mark.parametrize(
    ("processor", "ends"),
    [
        (None, ((), ())),
        (TEMPLATE, ((2,), (3,))),
        (BERT, ((2,), (3,))),
        ({"type": "ByteLevel", "trim_offsets": True}, ((), ())),
        ({"type": "Sequence", "processors": [{"type": "ByteLevel"}, TEMPLATE]}, ((2,), (3,))),
    ],
)
def test_tokenizer_json(tmp_path: Path, processor: Any, ends: Any) -> None:
    folder(tmp_path, tokenizer=word_level(post_processor=processor))
    for path in (tmp_path, tmp_path / "tokenizer.json"):
        for given in (path, str(path)):
            vocabulary = as_vocabulary(given)
            assert vocabulary.tokens == (("A", 5), ("C", 6), ("G", 7), ("T", 8), ("N", 1))
            assert vocabulary.ends() == ends


def test_n_is_a_token_of_its_own_where_there_is_one(tmp_path: Path) -> None:
    tokenizer = word_level()
    tokenizer["model"]["vocab"]["N"] = 9
    assert as_vocabulary(folder(tmp_path, tokenizer=tokenizer)).tokens[-1] == ("N", 9)


@pytest.mark.parametrize("family", ["Bert", "Esm"])
def test_a_list_of_tokens(tmp_path: Path, family: str) -> None:
    names = {"Bert": ["[PAD]", "[UNK]", "[CLS]", "[SEP]"], "Esm": ["<pad>", "<unk>", "<cls>", "<eos>"]}
    config = {"tokenizer_class": f"{family}Tokenizer", "cls_token": {"content": names[family][2]}}
    folder(tmp_path, vocab_txt=[*names[family], "T", "G", "C", "A"], tokenizer_config=config)
    vocabulary = as_vocabulary(tmp_path)
    assert vocabulary.tokens == (("A", 7), ("C", 6), ("G", 5), ("T", 4), ("N", 1))
    assert vocabulary.ends() == ((2,), (3,))
    assert as_vocabulary(tmp_path / "vocab.txt") == vocabulary


def test_tokens_around_a_sequence_are_asked_for_where_nothing_says_them(tmp_path: Path) -> None:
    folder(
        tmp_path, vocab={**SINGLE, "N": 9}, tokenizer_config={"tokenizer_class": "CharacterTokenizer"}
    )
    vocabulary = as_vocabulary(tmp_path)
    assert vocabulary.tokens[-1] == ("N", 9)
    with pytest.raises(InputError, match=r"before and after a sequence.*A=5,C=6,G=7,T=8,N=9,prefix=0"):
        vocabulary.ends()


def test_special_tokens_map_names_the_unknown_token(tmp_path: Path) -> None:
    folder(tmp_path, vocab={**SINGLE, "?": 11}, special_tokens_map={"unk_token": "?"})
    assert as_vocabulary(tmp_path).tokens[-1] == ("N", 11)


KMERS = {"".join(kmer): i for i, kmer in enumerate(itertools.product("ACGT", repeat=6))}
BPE = {"A": 5, "C": 6, "G": 7, "T": 8, "AA": 9, "CAG": 10, "TTTT": 11}


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({"vocab_txt": ["[CLS]", *KMERS]}, "4096 k-mers of 6 bases .*Models of k-mers cannot"),
        ({"vocab_txt": ["<cls>", *KMERS, *"ACGTN"]}, "4096 k-mers of 6 bases"),
        ({"tokenizer": {"model": {"type": "BPE", "vocab": BPE, "merges": ["A A"]}}},
         r"3 tokens of several bases \(AA, CAG, TTTT, ...\), as byte pair encoding \(BPE\)"),
        ({"tokenizer": {"model": {"type": "BPE", "vocab": {"A": 0, "AC": 1}}}}, "byte pair encoding"),
        ({"tokenizer": {"model": {"type": "Unigram", "vocab": [["A", 0.0], ["AC", -1.0], ["ACG", -2]]}}},
         "2 tokens of several bases"),
        ({"vocab": {**SINGLE, "##A": 9}}, "tokens such as '##A' beside single letters"),
        ({"vocab": {x: i for i, x in enumerate("LAGVSERTIDPKQNFYMHWC")}}, "amino acids among them"),
        ({"vocab": {**SINGLE, "U": 9}}, "of T or of U, not of both"),
        ({"vocab": {**SINGLE, "A": "5"}}, "a whole number for each token"),
        ({"tokenizer": {"model": {"type": "WordLevel", "vocab": SINGLE},
                        "post_processor": {"type": "TemplateProcessing"}}}, "another form .KeyError"),
        ({"tokenizer": []}, "must be a JSON file of a tokenizer, an object"),
        ({}, "has none of them"),
    ],
)  # fmt: skip
def test_tokenizers_that_are_not_of_single_bases_are_refused(
    tmp_path: Path, files: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(InputError, match=complaint) as caught:
        as_vocabulary(folder(tmp_path, **files))
    assert str(tmp_path) in str(caught.value)


def test_a_file_that_is_no_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "vocab.json").write_text("{")
    with pytest.raises(
        InputError, match=r"vocab.json must be a JSON file of a tokenizer; it cannot be read"
    ):
        as_vocabulary(tmp_path)
