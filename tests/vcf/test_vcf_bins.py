"""Bins of profiles under --rc, --shifts and --indel_alignment, by networks whose answer is known."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from profile_world import LENGTH, TRACKS, profile_net, write_files
from torch import Tensor, nn
from torch.nn import functional as F
from variant_world import one_hot, random_sequence, write_fasta, write_vcf

import kipoi_mcdropout as mcd
from kipoi_mcdropout.cli import run
from kipoi_mcdropout.dropout.locked_model import locked_forward
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.files.read import read_provenance
from kipoi_mcdropout.files.read_tables import read_table
from kipoi_mcdropout.sequence.genome import Genome
from kipoi_mcdropout.vcf.bins import with_aligned_bins
from kipoi_mcdropout.vcf.place.chunks import AlleleWindows
from kipoi_mcdropout.vcf.place.placement import Placed
from kipoi_mcdropout.vcf.place.windows import Anchor, indel_of, window_behind
from kipoi_mcdropout.vcf.read.alleles import Edit

GENOME = random_sequence(400, 21)
CENTRE = (LENGTH - 1) // 2
DELETED, INSERTED = 5, "ACGTTA"
VALUES = ["ref_mean", "alt_mean", "effect_mean", "effect_sd", "ref_point", "alt_point", "effect_point"]


def record(pos: int, n_deleted: int = 0, inserted: str = "") -> str:
    ref = GENOME[pos - 1 : pos + n_deleted]
    if n_deleted or inserted:
        return f"1 {pos} . {ref} {ref[0]}{inserted} . . ."
    return f"1 {pos} . {ref} {'ACGT'['ACGT'.index(ref) - 1]} . . ."


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Two SNVs, a deletion and an insertion."""
    folder = tmp_path_factory.mktemp("bins")
    lines = [record(100), record(150, DELETED), record(200, 0, INSERTED), record(250)]
    return {
        "vcf": write_vcf(folder / "v.vcf", lines, {"1": len(GENOME)}),
        "fasta": write_fasta(folder / "g.fa", {"1": GENOME}),
    }


def table(model: mcd.Model, world: dict[str, Any], **words: Any) -> pd.DataFrame:
    """Rows of `score_variants`, by position; options of variants by their names."""
    names = ("rc", "shifts", "strand_pairs", "indel_alignment", "until")
    options = mcd.VariantOptions(**{n: words.pop(n) for n in names if n in words})
    running = mcd.RunOptions(engine=words.pop("engine", "full"))
    return mcd.score_variants(
        model, **world, n_draws=words.pop("n_draws", 3), options=options, running=running, **words
    ).table()


class Both(nn.Module):
    """Tracks of a network and of the other strand, with one mask for both: plus, minus, their sum."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(1)
            self.first, self.second = nn.Conv1d(4, 8, 5, padding=2), nn.Conv1d(8, 1, 3, padding=1)
        self.drop = nn.Dropout(0.3)

    def forward(self, x: Tensor) -> Tensor:
        both = torch.cat([x, x.flip(1, 2)])
        plus, minus = F.softplus(self.second(self.drop(torch.relu(self.first(both))))).chunk(2)
        return torch.cat([plus, minus.flip(2), plus + minus.flip(2)], dim=1)


@pytest.mark.parametrize("reduce", [["sum@20:30"], ["sum@20:30", "max@16"]])
def test_both_strands_of_a_network_that_treats_them_alike_are_one(
    world: dict[str, Any], reduce: list[str]
) -> None:
    model = mcd.Model(Both().eval(), outputs=TRACKS, input_shape=(4, LENGTH))
    words = {"scores": ["diff", "log2fc", "jsd", "sax"], "reduce": reduce}
    pairs = {"strand_pairs": {"plus": "minus"}, "rc": True}
    one = table(model, world, **words)
    both = table(model, world, **words, **pairs)
    assert list(both["output"]) == list(one["output"])
    np.testing.assert_allclose(both[VALUES], one[VALUES], rtol=1e-4, atol=2e-6)
    assert one["effect_mean"].abs().median() > 1e-3
    without = table(model, world, **words, rc=True)
    total = one["output"].str.startswith("total")
    np.testing.assert_allclose(without[VALUES][total], one[VALUES][total], rtol=1e-4, atol=2e-6)
    assert not np.allclose(without["ref_mean"][~total], one["ref_mean"][~total], rtol=1e-3)
    groups = {"track_groups": {"g": ["plus", "total"]}, **words}
    np.testing.assert_allclose(
        table(model, world, **groups, **pairs)[VALUES], table(model, world, **groups)[VALUES],
        rtol=1e-4, atol=2e-6,
    )  # fmt: skip


def of_plus(net: nn.Module, x: Tensor, draw: int) -> Tensor:
    """Its first track in one draw, shape=(n, bins)."""
    return locked_forward(net, x, draw, seed=0)[:, :LENGTH]


@pytest.mark.parametrize("engine", ["full", "incremental"])
def test_the_other_strand_is_turned_round_before_it_is_averaged(
    world: dict[str, Any], engine: str
) -> None:
    net = profile_net()
    model = mcd.Model(net, outputs=TRACKS, input_shape=(4, LENGTH))
    words = {"head": "profile", "tracks": "plus", "rc": True, "engine": engine}
    rows = table(model, world, reduce=["sum@10:18", "sum@3"], **words)
    window = one_hot(GENOME[99 - CENTRE : 99 - CENTRE + LENGTH])
    x = torch.from_numpy(np.stack([window, window[::-1, ::-1]]))
    draws = torch.stack([of_plus(net, x, draw) for draw in range(3)])
    average = (draws[:, 0] + draws[:, 1].flip(1)) / 2
    for output, bins in (("plus|sum@10:18", slice(10, 18)), ("plus|sum@3", slice(30, 33))):
        of_snv = rows[(rows["pos"] == 100) & (rows["output"] == output)]
        expected = average[:, bins].sum(1).mean()
        np.testing.assert_allclose(of_snv["ref_mean"], expected, rtol=1e-5)
    # Windows that lie evenly are reduced in the model's pass, and give the same.
    even, aligned = (table(model, world, reduce=r, **words) for r in ("sum@16", ["sum@16", "sum@1:2"]))
    aligned = aligned[aligned["output"] == "plus|sum@16"]
    np.testing.assert_allclose(even[VALUES], aligned[VALUES], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("reduce", "options", "is_moved"),
    [
        ("sum@16", {}, False),
        ("sum", {"rc": True}, False),
        (["sum@16", "max@20:44"], {"rc": True}, False),
        ("sum@3", {"rc": True}, True),
        (["sum@16", "max@20:45"], {"rc": True}, True),
        ("sum@16", {"rc": True, "strand_pairs": {"plus": "minus"}}, True),
        ("sum@16", {"indel_alignment": "stitch"}, True),
        ("sum@16", {"shifts": (0, 1)}, True),
    ],
)  # fmt: skip
def test_bins_leave_the_engine_only_where_that_makes_a_difference(
    reduce: Any, options: dict[str, Any], is_moved: bool
) -> None:
    plain = mcd.Model(profile_net(), outputs=TRACKS, input_shape=(4, LENGTH))
    model = plain.with_readout(head="profile", reduce=reduce, bin_bp=1)
    made = with_aligned_bins(model, mcd.VariantOptions(**options))
    assert (made is not model) == is_moved
    readout = made.settings.readout
    assert readout is not None
    assert readout.keeps_bins == is_moved
    assert pickle.loads(pickle.dumps(readout)) == readout
    assert with_aligned_bins(plain, mcd.VariantOptions(rc=True, shifts=(0, 1))) is plain


def test_the_bins_follow_the_variant_in_shifted_windows(world: dict[str, Any]) -> None:
    model = mcd.Model(profile_net(), outputs=TRACKS, input_shape=(4, LENGTH))
    words = {"head": "profile", "reduce": "sum@8", "bin_bp": 1, "n_draws": 0, "scores": ["diff", "l2"]}
    points = ["ref_point", "alt_point", "effect_point"]
    with pytest.raises(InputError, match=r"bin_bp .* is used with a window in bp"):
        table(model, world, **words)
    still = table(model, world, **{**words, "bin_bp": None})
    moved = table(model, world, **words, shifts=(0, 3, -2))
    np.testing.assert_allclose(moved[points], still[points], rtol=1e-5, atol=1e-6)
    assert still["effect_point"].abs().median() > 1e-3
    with pytest.raises(InputError, match=r"give bin_bp \(--bin_bp\)"):
        table(model, world, **{**words, "bin_bp": None}, shifts=(0, 3))
    with pytest.raises(InputError, match="the bins 0:64 that are read become -3:61"):
        table(model, world, **{**words, "reduce": "sum"}, shifts=(0, 3))


class Letters(nn.Module):
    """Where an A is and where a T is, summed over bins; `cropped` bp on each side have none."""

    def __init__(self, bin_bp: int = 1, cropped: int = 0) -> None:
        super().__init__()
        self.bin_bp, self.cropped = bin_bp, cropped
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        of = x[:, [0, 3], self.cropped : LENGTH - self.cropped] * self.scale
        return of.unflatten(2, (-1, self.bin_bp)).sum(3)


def letters(bin_bp: int = 1, cropped: int = 0) -> mcd.Model:
    net = Letters(bin_bp, cropped).eval()
    return mcd.Model(net, outputs=["A", "T"], input_shape=(4, LENGTH))


def aligned_by_hand(pos: int, letter: str) -> tuple[list[int], list[int]]:
    """A letter along the reference's window, and along the allele of the world with an indel there."""
    start = pos - 1 - CENTRE
    ref = [int(base == letter) for base in GENOME[start : start + LENGTH]]
    alt = list(ref)
    if pos == 150:
        alt[CENTRE + 1 : CENTRE + 1 + DELETED] = [0] * DELETED
    else:
        alt[CENTRE] = max(alt[CENTRE], int(letter in INSERTED))
    return ref, alt


WORDS: dict[str, Any] = {
    "n_draws": 0, "scores": ["diff", "l2"], "bin_bp": 1, "indel_alignment": "stitch",
}  # fmt: skip


@pytest.mark.parametrize("cropped", [0, 8])
def test_what_lies_behind_an_indel_is_put_back(world: dict[str, Any], cropped: int) -> None:
    behind = f"sum@{45 - cropped}:{55 - cropped}"
    around = f"sum@{20 - cropped}:{50 - cropped}"
    reduce = [behind, around, f"sum@{10 - cropped}:{20 - cropped}"]
    stitched = table(letters(1, cropped), world, reduce=reduce, **WORDS)
    plain = table(letters(1, cropped), world, reduce=reduce, n_draws=0, scores=["diff", "l2"])
    for pos in (150, 200):
        for letter in "AT":
            ref, alt = (np.array(x) for x in aligned_by_hand(pos, letter))
            for output, bins in ((behind, slice(45, 55)), (around, slice(20, 50))):
                of_output = stitched["output"] == f"{letter}|{output}"
                rows = stitched[(stitched["pos"] == pos) & of_output]
                delta = alt[bins] - ref[bins]
                expected = [delta.sum(), np.sqrt((delta**2).sum())]
                assert list(rows["effect_point"]) == pytest.approx(expected)
                assert list(rows["alt_point"]) == [alt[bins].sum()] * 2
        distances = plain[plain["output"].str.endswith(behind) & (plain["score"] == "l2")]
        moved = distances["effect_point"][distances["pos"] == pos]
        assert (moved > 0).all(), "without it, all that lies behind moves"
    snv = plain["pos"].isin([100, 250])
    pd.testing.assert_frame_equal(stitched[snv], plain[snv], check_exact=True)


def test_wide_bins_behind_an_indel_are_exact(world: dict[str, Any]) -> None:
    reduce = ["sum@10:16", "sum@0:7"]  # of 16 bins of 4 bp; the variant lies in bin 7
    words = {**WORDS, "bin_bp": 4, "reduce": reduce}
    stitched = table(letters(4), world, **words)
    indel = stitched["pos"].isin([150, 200])
    assert (stitched["effect_point"][indel] == 0).all()
    plain = table(letters(4), world, reduce=reduce, n_draws=0, scores=["diff", "l2"])
    assert (plain["effect_point"][indel] != 0).any()
    with pytest.raises(InputError, match="16 bins of 8 bp must lie in the middle of the input of 64 bp"):
        table(letters(4), world, **{**words, "bin_bp": 8})


def test_stitching_on_both_strands_and_in_shifted_windows(world: dict[str, Any]) -> None:
    words = {**WORDS, "reduce": "sum@40"}
    one = table(letters(), world, **words)
    views = {"rc": True, "strand_pairs": {"A": "T"}, "shifts": (0, 4, -3)}
    every = table(letters(), world, **words, **views)
    np.testing.assert_allclose(every["effect_point"], one["effect_point"], atol=1e-6)
    np.testing.assert_allclose(every["alt_point"], one["alt_point"], atol=1e-6)
    assert (one["effect_point"] != 0).any()


@pytest.mark.parametrize("engine", ["full", "incremental"])
def test_stitching_goes_on_within_each_draw(world: dict[str, Any], engine: str) -> None:
    net = profile_net()
    model = mcd.Model(net, outputs=TRACKS, input_shape=(4, LENGTH))
    words = {**WORDS, "n_draws": 4, "head": "profile", "tracks": "plus", "reduce": "sum@16"}
    rows = table(model, world, **words, engine=engine)
    start = 149 - CENTRE
    edited = GENOME[:150] + GENOME[150 + DELETED :]
    ref, left, right = (
        one_hot(text[i : i + LENGTH])
        for text, i in ((GENOME, start), (edited, start), (edited, start - DELETED))
    )
    x = torch.from_numpy(np.stack([ref, left, right]))
    profiles = [of_plus(net, x, draw).double() for draw in range(4)]
    sums = []
    for of_ref, of_left, of_right in profiles:
        behind = CENTRE + 1 + DELETED
        alt = torch.cat([of_left[: CENTRE + 1], torch.zeros(DELETED), of_right[behind:]])
        sums.append([of_ref[24:40].sum(), alt[24:40].sum(), (alt - of_ref)[24:40].norm()])
    ref_sums, alt_sums, distances = np.array(sums).T
    diff, l2 = (rows[(rows["pos"] == 150) & (rows["score"] == name)].iloc[0] for name in ("diff", "l2"))
    assert diff["effect_mean"] == pytest.approx((alt_sums - ref_sums).mean(), rel=1e-4)
    assert diff["effect_sd"] == pytest.approx((alt_sums - ref_sums).std(ddof=1), rel=1e-3)
    assert l2["effect_mean"] == pytest.approx(distances.mean(), rel=1e-4)
    until = table(model, world, **{**words, "n_draws": 40}, engine=engine, until=0.1)
    most = table(model, world, **{**words, "n_draws": 40}, engine=engine)
    same = until["n_draws"] == 40
    assert same.any()
    assert not same.all()
    np.testing.assert_allclose(until["effect_mean"][same], most["effect_mean"][same], rtol=1e-5)


def test_windows_that_end_with_the_reference(tmp_path: Path) -> None:
    with Genome(write_fasta(tmp_path / "g.fa", {"1": GENOME})) as genome:
        for alt, ref in ((GENOME[50] + "TTGA", GENOME[50]), (GENOME[50], GENOME[50:55]), ("T" * 12, "")):
            edit = Edit(50, ref, alt)
            edited = GENOME[:50] + alt + GENOME[50 + len(ref) :]
            for start in (20, 45, 49):
                end = start + 30 + len(alt) - len(ref)
                found = window_behind(genome, Anchor("1", start), edit, 30).tobytes().decode()
                assert found == edited[end - 30 : end]
    assert indel_of(Anchor("1", 20), Edit(50, "ACG", "A")) == (31, -2)
    assert indel_of(Anchor("1", 20), Edit(50, "A", "ATT")) == (31, 2)
    assert indel_of(Anchor("1", 20), Edit(50, "ACA", "A")) == (31, -2)  # the first A stays
    assert indel_of(Anchor("1", 20), Edit(50, "ACGT", "GT")) == (30, -2)
    assert indel_of(Anchor("1", 20), Edit(50, "AC", "GTTT")) == (52 - 20, 2)  # two bases are replaced


def test_the_windows_of_a_chunk_travel_to_other_processes() -> None:
    length = 6
    windows = [np.frombuffer(text, np.uint8) for text in (b"ACGTAC", b"ACTTAC", b"ACGGTA", b"CGGTAC")]
    placed = [
        Placed("snv", (), Edit(2, "G", "T"), Anchor("1", 0), (windows[0],), (windows[1],)),
        Placed(
            "insertion", (), Edit(2, "G", "GG"), Anchor("1", 0), (windows[0],), (windows[2],),
            indel_of(Anchor("1", 0), Edit(2, "G", "GG")), (windows[3],),
        ),
    ]  # fmt: skip
    made = AlleleWindows.of([(None, i, one) for i, one in enumerate(placed)])  # type: ignore[misc]
    again = pickle.loads(pickle.dumps(made))
    assert again.indels.tolist() == [[0, 0], [3, 1]]
    for name in ("references", "alleles", "behind", "owner"):
        np.testing.assert_array_equal(getattr(again, name), getattr(made, name))
    assert again.behind.shape == (1, 1, length)


@pytest.mark.parametrize(
    ("options", "words", "said"),
    [
        ({"strand_pairs": {"A": "T"}}, {"reduce": "sum"}, r"used with rc \(--rc\)"),
        ({"strand_pairs": {"A": "T"}, "rc": True}, {}, r"strand_pairs .* with reduce"),
        ({"indel_alignment": "stitch"}, {}, r"stitch .* with reduce"),
        ({"indel_alignment": "stitch"}, {"reduce": "sum"}, r"stitch .* give bin_bp"),
        ({"indel_alignment": "best"}, {"reduce": "sum"}, "indel_alignment must be one of"),
        ({"strand_pairs": {"A": "C"}, "rc": True}, {"reduce": "sum"}, "track 'C' names none"),
    ],
)  # fmt: skip
def test_what_is_missing_is_named(
    world: dict[str, Any], options: dict[str, Any], words: dict[str, Any], said: str
) -> None:
    with pytest.raises((InputError, ValueError), match=said):
        table(letters(), world, n_draws=0, **options, **words)


def test_the_command_and_its_record(world: dict[str, Any], tmp_path: Path) -> None:
    code, weights = write_files(tmp_path)
    pairs = tmp_path / "pairs.tsv"
    pairs.write_text("plus\tminus\n")
    out = tmp_path / "out.tsv"
    args = [
        "score_variants", f"{code}:Profile", "--weights", str(weights), "--length", str(LENGTH),
        "--outputs", *TRACKS, "-i", str(world["vcf"]), "-f", str(world["fasta"]), "-t", str(out),
        "--n_draws", "2", "--head", "profile", "--reduce", "sum@8", "--bin_bp", "1", "--rc",
        "--strand_pairs", str(pairs), "--shifts=0,2", "--indel_alignment", "stitch", "--quiet",
    ]  # fmt: skip
    run(args[0], f"kipoi mcdropout {args[0]}", args[1:])
    model = mcd.Model(profile_net(), outputs=TRACKS, input_shape=(4, LENGTH))
    options = {"rc": True, "shifts": (0, 2), "strand_pairs": pairs, "indel_alignment": "stitch"}
    same = table(
        model, world, n_draws=2, head="profile", reduce="sum@8", bin_bp=1, engine="auto", **options
    )
    found = read_table(out)
    np.testing.assert_allclose(found["effect_mean"], same["effect_mean"], rtol=1e-5, atol=1e-7)
    record = read_provenance(out)["options"]
    assert record["indel_alignment"] == "stitch"
    assert record["strand_pairs"] == [["plus", "minus"]]
