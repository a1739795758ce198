"""Windows of regions and sequences of a FASTA as inputs: against kipoiseq, and by hand."""

from __future__ import annotations

import gzip
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_models import Linear, array, fixed, with_schema
from torch import Tensor, nn

import kipoi_mcdropout as mcd
from kipoi_mcdropout.arrays.nested import concatenate
from kipoi_mcdropout.errors import InputError, InputWarning
from kipoi_mcdropout.model.settings import ModelSettings
from kipoi_mcdropout.sequence.bed import Interval
from kipoi_mcdropout.sequence.fasta import read_fasta
from kipoi_mcdropout.sequence.letters import letter_codes, reverse_complement
from kipoi_mcdropout.sequence.one_hot import OneHotLayout
from kipoi_mcdropout.sequence.region_windows import Window, WindowOptions, region_windows

_BASES = "".join(np.random.default_rng(5).choice(list("ACGT"), 3000))
GENOME = f"{_BASES[:92]}NNN{_BASES[95:510]}N{_BASES[511:1910]}NN{_BASES[1912:]}"
AnyLength = nn.Sequential(nn.Conv1d(4, 3, 3), nn.Dropout(), nn.AdaptiveAvgPool1d(1), nn.Flatten())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "g.fa").write_text(f">chr1\n{GENOME[:1700]}\n>chr2\n{GENOME[1700:].lower()}\n")
    return tmp_path


def _bed(folder: Path, *rows: str) -> Path:
    path = folder / "r.bed"
    path.write_text("".join("\t".join(row.split()) + "\n" for row in rows))
    return path


def _open(model: mcd.Model, source: mcd.Regions | mcd.FastaSequences) -> list[dict]:
    return list(source.open(model, 2).batches)


@pytest.mark.parametrize("use_strand", [False, True])
@pytest.mark.parametrize("length", [40, 41])
def test_windows_are_those_of_kipoiseq(length: int, use_strand: bool, folder: Path) -> None:
    pytest.importorskip("pybedtools")
    kipoiseq = pytest.importorskip("kipoiseq.dataloaders")
    rows = ["chr1 90 101", "chr1 90 102", "chr2 300 301", "chr2 100 340", "chr1 500 541", "chr1 600 640"]
    bed = _bed(folder, *(f"{row} name 0 {'+-'[i % 2]}" for i, row in enumerate(rows)))
    theirs = _bed(folder / "..", *rows) if not use_strand else bed
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loader = kipoiseq.SeqIntervalDl(
            str(theirs), str(folder / "g.fa"), auto_resize_len=length, use_strand=use_strand
        )
        expected = [loader[i] for i in range(len(rows))]
    model = mcd.Model(AnyLength, input_shape=(length, 4))
    batches = _open(model, mcd.Regions(folder / "g.fa", bed, use_strand=use_strand))
    assert [len(batch["inputs"]) for batch in batches] == [2, 2, 2]
    x = concatenate([batch["inputs"] for batch in batches])
    np.testing.assert_array_equal(x, np.stack([item["inputs"] for item in expected]))
    ranges = [item["metadata"]["ranges"] for item in expected]
    found = concatenate([batch["metadata"]["ranges"] for batch in batches])
    for name in ("chr", "start", "end", "strand"):
        assert found[name].tolist() == [getattr(where, name) for where in ranges], name
    assert (x == 0.25).all(axis=-1).any(), "N is there, and is 1/4 for each base"


@given(st.integers(0, 900), st.integers(1, 60), st.integers(1, 60))
def test_the_centre_stays(start: int, n_bp: int, length: int) -> None:
    """Of odd in odd and even in even both sides lose or gain the same; else they differ by one."""
    region = Interval("1", start, start + n_bp, summit=0)
    (window,) = region_windows([region], length, {"1": 2000}, Path("g.fa"), WindowOptions()).windows
    assert isinstance(window, Window)
    assert window.end - window.start == length
    left, right = start - window.start, window.end - (start + n_bp)
    assert 0 <= abs(left - right) <= 1
    assert (left == right) == ((n_bp - length) % 2 == 0)
    if n_bp == 1:
        assert left == length // 2
    assert window.name == f"1:{start}-{start + n_bp}"


def test_a_model_of_any_length_takes_that_of_the_regions(folder: Path) -> None:
    model = mcd.Model(AnyLength, input_shape=(4, None))
    one = mcd.Regions(folder / "g.fa", _bed(folder, "chr1 10 47", "chr1 20 57"))
    assert _open(model, one)[0]["inputs"].shape == (2, 4, 37)
    for bare in (mcd.Model(AnyLength, category_axis=0), mcd.Model(AnyLength)):
        assert _open(bare, one)[0]["inputs"].shape == (2, 4, 37)
    assert len(mcd.ism(model, one, n_draws=2).table("0")) == 2 * 3 * 37
    several = mcd.Regions(folder / "g.fa", _bed(folder, "chr1 10 47", "chr1 20 58"))
    with pytest.raises(InputError, match=r"give length, in bp .*: the regions have 37 to 38 bp"):
        several.open(model)
    with pytest.raises(InputError, match=r"any length, .*: the regions have 37 to 38 bp"):
        several.open(mcd.Model(AnyLength))
    told = mcd.Model(AnyLength, input_shape=(4, None), length=30)
    assert _open(told, several)[0]["inputs"].shape == (2, 4, 30)


def test_a_model_of_any_length_takes_that_of_the_sequences(folder: Path) -> None:
    model = mcd.Model(AnyLength, input_shape=(4, None))
    path = folder / "s.fa"
    path.write_text(">a\nACGTACG\n>b\nTTTTTTT\n>c\nAAAAAAA\n")
    batches = _open(model, mcd.FastaSequences(path))
    assert [batch["inputs"].shape for batch in batches] == [(2, 4, 7), (1, 4, 7)]
    assert batches[1]["metadata"]["name"].tolist() == ["c"]
    path.write_text(">a\nACGTACG\n>b\nTTTTT\n")
    with pytest.raises(InputError, match=r"s.fa have 5 to 7 bp, and all must have one length"):
        mcd.FastaSequences(path).open(model)
    told = mcd.Model(AnyLength, input_shape=(4, None), length=7)
    with pytest.raises(InputError, match=r"sequence b \(line 3\) has 5 bp"):
        mcd.FastaSequences(path).open(told)


@pytest.mark.parametrize(
    ("shape", "alphabet"), [((4, 6), "ACGT"), ((6, 4), "ACGT"), ((4, 1, 6), "AGCT"), ((1, 6, 4), "TGCA")]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_layout_is_that_of_the_model(
    shape: tuple[int, ...], alphabet: str, dtype: torch.dtype, folder: Path
) -> None:
    (folder / "s.fa").write_text(">a\nacgtNa\n")
    net = nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(24, 1)).to(dtype)
    for unknown, of_n in (("uniform", 0.25), ("zero", 0.0)):
        model = mcd.Model(net, input_shape=shape, alphabet=alphabet, unknown=unknown)
        x = _open(model, mcd.FastaSequences(folder / "s.fa"))[0]["inputs"]
        assert x.shape == (1, *shape)
        assert x.dtype == (np.float32 if dtype == torch.float32 else np.float64)
        by_letter = np.moveaxis(x[0], shape.index(4), 0).reshape(4, 6)
        for row, letter in zip(by_letter, alphabet, strict=True):
            expected = [of_n if base == "N" else float(base == letter) for base in "ACGTNA"]
            assert row.tolist() == expected


def test_padding_at_both_ends(folder: Path) -> None:
    model = mcd.Model(AnyLength, input_shape=(20, 4), unknown="zero")
    regions = mcd.Regions(folder / "g.fa", _bed(folder, "chr1 0 4", "chr1 1698 1700", "chr1 20 24"))
    with pytest.warns(InputWarning, match="2 of 3 windows run over an end .* chr1:0-4, chr1:1698-1700"):
        first, last = _open(model, regions)
    known = first["inputs"].any(axis=-1)
    assert not known[0, :8].any()
    assert not known[1, -9:].any()
    inside = [base != "N" for base in GENOME[1689:1700]]
    assert known[1, :11].tolist() == inside
    assert last["metadata"]["ranges"]["start"].tolist() == [12]


def test_strands_that_are_none(folder: Path) -> None:
    model = mcd.Model(AnyLength, input_shape=(20, 4))
    bed = _bed(folder, "chr1 30 50 peak 0 0.7")
    assert _open(model, mcd.Regions(folder / "g.fa", bed))[0]["metadata"]["ranges"]["strand"] == ["*"]
    with pytest.raises(InputError, match=r"must be a strand.* that of region peak is '0.7'"):
        mcd.Regions(folder / "g.fa", bed, use_strand=True).open(model)


class TwoInputs(nn.Module):
    """The sequence, and a number that scales it; a vector that is added."""

    def __init__(self) -> None:
        super().__init__()
        self.body = fixed(Linear(2))
        self.kinds = nn.Embedding(3, 2)

    def forward(self, seq: Tensor, organism: Tensor, weight: Tensor) -> Tensor:
        return self.body(seq) * weight + self.kinds(organism)


def _two_inputs(kind: type) -> object:
    items = {
        "seq": array(name="seq", shape=(4, 40)), "organism": array(name="organism", shape=()),
        "weight": array(name="weight", shape=(2,)),
    }  # fmt: skip
    schema = items if kind is dict else list(items.values())
    return with_schema(TwoInputs().eval(), array("a", "b"), schema)


@pytest.mark.parametrize("kind", [dict, list])
def test_other_inputs_are_the_same_for_all(kind: type, folder: Path) -> None:
    torch.manual_seed(0)
    loaded = _two_inputs(kind)
    model = mcd.Model(loaded, model_input="seq").with_extra_inputs(organism=2, weight=[0.5, 2])
    regions = mcd.Regions(folder / "g.fa", _bed(folder, "chr1 30 70", "chr1 35 75", "chr2 5 45"))
    first, _ = _open(model, regions)
    x = first["inputs"]
    assert isinstance(x, kind)
    seq, organism, weight = x.values() if kind is dict else x
    assert seq.shape == (2, 4, 40)
    assert organism.tolist() == [2, 2]
    assert organism.dtype.kind == "i"
    assert weight.tolist() == [[0.5, 2.0]] * 2
    effects = mcd.ism(model, regions, n_draws=2, targets="a")
    everything = [batch["inputs"] for batch in _open(model, regions)]
    by_hand = mcd.ism(
        mcd.Model(loaded, model_input="seq"), concatenate(everything), n_draws=2, targets="a"
    )
    assert effects.table()["effect_mean"].tolist() == by_hand.table()["effect_mean"].tolist()
    assert effects.provenance["options"]["inputs"]["extra_inputs"] in (
        {"organism": 2, "weight": [0.5, 2.0]}, {"1": 2, "2": [0.5, 2.0]},
    )  # fmt: skip
    one_number = mcd.Model(loaded, model_input="seq").with_extra_inputs(organism=2, weight=3)
    assert one_number.sequences.place.extra["weight" if kind is dict else 2].tolist() == [3, 3]


def test_other_inputs_of_a_bare_module_are_arguments_of_its_forward(folder: Path) -> None:
    torch.manual_seed(0)
    net = TwoInputs().eval()
    regions = mcd.Regions(folder / "g.fa", _bed(folder, "chr1 30 70"))
    model = mcd.Model(net, input_shape=(4, 40), model_input="seq")
    scored = mcd.mc_predict(model.with_extra_inputs(weight=[1.0, 1.0], organism=1), regions, n_draws=2)
    assert scored.mean.shape == (1, 2)
    unnamed = mcd.Model(net, input_shape=(4, 40)).with_extra_inputs(weight=[1.0, 1.0], organism=1)
    with pytest.raises(InputError, match="must name the argument of the model's forward"):
        regions.open(unnamed)


EXTRA = {
    "no sequence": (None, {"organism": 1, "weight": 1}, "has the inputs seq, organism, weight"),
    "missing": ("seq", {"organism": 1}, "other inputs beside the sequence: weight"),
    "unknown": ("seq", {"organism": 1, "weight": 1, "cell": 2}, "extra_inputs has cell; the inputs"),
    "shape": ("seq", {"organism": 1, "weight": [1, 2, 3]}, r"weight must have the shape \(2,\)"),
    "text": ("seq", {"organism": "human", "weight": 1}, "must be numbers.*organism is 'human'"),
    "ragged": ("seq", {"organism": 1, "weight": [[1], [1, 2]]}, "must be numbers"),
}


@pytest.mark.parametrize("case", EXTRA)
def test_other_inputs_that_do_not_fit(case: str, folder: Path) -> None:
    model_input, values, message = EXTRA[case]
    model = mcd.Model(_two_inputs(dict), model_input=model_input).with_extra_inputs(**values)
    with pytest.raises(InputError, match=message):
        mcd.Regions(folder / "g.fa", _bed(folder, "chr1 30 70")).open(model)


def test_extra_inputs_of_a_model_without_others(folder: Path) -> None:
    loaded = with_schema(fixed(Linear(2)), array("a", "b"), {"seq": array(name="seq", shape=(4, 40))})
    model = mcd.Model.of(loaded, ModelSettings(extra_inputs={"organism": 1}))
    with pytest.raises(InputError, match=r"has organism; the inputs .* are none"):
        mcd.Regions(folder / "g.fa", _bed(folder, "chr1 30 70")).open(model)


def test_a_vcf_takes_other_inputs_too(folder: Path) -> None:
    torch.manual_seed(0)
    base = GENOME[49]
    alt = "A" if base != "A" else "C"
    header = "##fileformat=VCFv4.2\n##contig=<ID=chr1,length=1700>\n"
    columns = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    text = f"{header}{columns}chr1\t50\t.\t{base}\t{alt}\t.\t.\t.\n"
    (folder / "in.vcf").write_text(text)
    model = mcd.Model(_two_inputs(dict), model_input="seq").with_extra_inputs(organism=2, weight=1)
    effects = mcd.score_variants(model, folder / "in.vcf", folder / "g.fa", n_draws=2)
    window = mcd.Regions(folder / "g.fa", _bed(folder, "chr1 30 70"))  # POS is at (40 - 1) // 2
    ism = mcd.ism(model, window, n_draws=2).table("a")
    row = ism[(ism["pos"] == 50) & (ism["alt"] == alt)]
    assert effects.table("a")["effect_mean"].tolist() == pytest.approx(
        row["effect_mean"].tolist(), abs=1e-6
    )


def test_sequences_of_a_fasta(tmp_path: Path) -> None:
    path = tmp_path / "a.fa.gz"
    path.write_bytes(gzip.compress(b"; a comment\n\n>a b c\r\nac\r\n\r\ng t\r\n>\nA\n> b\nN"))
    assert [tuple(sequence) for sequence in read_fasta(path)] == [
        ("a", b"ACGT", 3),
        ("", b"A", 7),
        ("b", b"N", 9),
    ]
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(InputError, match="cannot be read as FASTA"):
        list(read_fasta(path))
    with pytest.raises(InputError, match="must be a file on disk"):
        list(read_fasta("/dev/null"))


def test_codes_of_letters() -> None:
    rna, five = OneHotLayout((4, 7), 0, "ACGU"), OneHotLayout((5, 7), 0, "ACGTN")
    table = letter_codes(rna, 9)
    assert table[np.frombuffer(b"ACGTUacgtuN", np.uint8)].tolist() == [0, 1, 2, 3, 3, 0, 1, 2, 3, 3, 9]
    assert reverse_complement(np.array([0, 1, 3, 9], np.uint8), rna).tolist() == [9, 0, 2, 3]
    assert letter_codes(five, 9)[ord("n")] == 4
