"""Bins that are brought into line, by numbers worked by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from kipoi_mcdropout.errors import InputError, TargetError
from kipoi_mcdropout.outputs.aligned import BinViews, View, stitched
from kipoi_mcdropout.outputs.bound import bind
from kipoi_mcdropout.outputs.labels import ArrayLabels
from kipoi_mcdropout.outputs.readout import Readout
from kipoi_mcdropout.outputs.strand_pairs import StrandPairs, as_strand_pairs

TRACKS = ("plus", "minus", "total")


def read(view: View, views: BinViews, x: torch.Tensor, **words: object) -> torch.Tensor:
    """What is compared of a view, shape=(rows, bins), of an output, shape=(tracks, bins)."""
    labels = ArrayLabels(tuple(x.shape), "", TRACKS, 0)
    bound = bind(Readout(**words).aligning(views), labels, "the output")
    profiles = bound.profiles(range(len(bound.labels)))
    assert profiles is not None
    assert profiles.alignment is not None
    given = bound.values(x[None]).flatten(1)
    assert given.shape[1] == profiles.size
    aligned = profiles.alignment.framed(profiles.alignment.forward(given, view), view)
    return profiles.rows(aligned)[0]


X = torch.arange(24.0).reshape(3, 8)  # of 8 bins; track t has 8 t to 8 t + 7


def test_the_other_strand_is_read_backwards() -> None:
    views = BinViews(8, rc=True)
    words = {"reduce": "sum@1:4", "tracks": ["plus", "total"]}
    assert read(View(0, False), views, X, **words).tolist() == [[1, 2, 3], [17, 18, 19]]
    assert read(View(0, True), views, X, **words).tolist() == [[6, 5, 4], [22, 21, 20]]
    assert views.views == (View(0, False), View(0, True))


@pytest.mark.parametrize("tracks", ["plus", ["plus", "minus"], ()])
def test_tracks_change_places_on_the_other_strand(tracks: object) -> None:
    views = BinViews(8, rc=True, pairs=StrandPairs((("plus", "minus"),)))
    names = [tracks] if isinstance(tracks, str) else list(tracks or TRACKS)
    one = read(View(0, False), views, X, reduce="sum@1:3", tracks=tracks)
    other = read(View(0, True), views, X, reduce="sum@1:3", tracks=tracks)
    rows = {"plus": 0, "minus": 8, "total": 16}
    partner = {"plus": 8, "minus": 0, "total": 16}
    assert one.tolist() == [[rows[name] + 1, rows[name] + 2] for name in names]
    assert other.tolist() == [[partner[name] + 6, partner[name] + 5] for name in names]


def test_groups_and_projections_of_tracks_that_change_places() -> None:
    views = BinViews(8, rc=True, pairs=StrandPairs((("plus", "minus"),)))
    groups = {"a": ["plus", "total"]}
    assert read(View(0, False), views, X, reduce="sum@0:2", track_groups=groups).tolist() == [[8, 9]]
    assert read(View(0, True), views, X, reduce="sum@0:2", track_groups=groups).tolist() == [[19, 18]]
    weights = np.array([[1.0, 10.0, 0.0]])
    words = {"reduce": "sum@0:2", "projection": weights, "projection_labels": ["p"]}
    assert read(View(0, True), views, X, **words).tolist() == [[15 + 70, 14 + 60]]


def test_the_bins_follow_the_variant_in_shifted_windows() -> None:
    views = BinViews(16, (0, 4, -2), rc=True, bin_bp=2)
    assert views.views[2:] == (View(2, False), View(2, True), View(-1, False), View(-1, True))
    words = {"reduce": "sum@3:5", "tracks": "plus"}
    assert read(View(2, False), views, X, **words).tolist() == [[1, 2]]
    assert read(View(-1, False), views, X, **words).tolist() == [[4, 5]]
    # Read on the other strand, the bins 1 and 2 are 6 and 5 of 8.
    assert read(View(2, True), views, X, **words).tolist() == [[6, 5]]


@pytest.mark.parametrize(
    ("views", "words", "said"),
    [
        (lambda: BinViews(8, (0, 1)), {}, r"--shifts\) must know where .* give bin_bp"),
        (lambda: BinViews(8, stitches=True), {}, r"stitch .* give bin_bp"),
        (lambda: BinViews(16, (0, 3), bin_bp=2), {}, "multiples of the width of a bin, .* 0, 3 and bin"),
        (lambda: BinViews(8, (0, 2), bin_bp=1), {}, "the bins 0:8 that are read become -2:6"),
        (lambda: BinViews(16, (0, 2), bin_bp=1), {"center_bins": 8}, "become -2:6"),
        (lambda: BinViews(7, stitches=True, bin_bp=1), {}, r"\(--bin_bp\) 1 does not fit the output"),
        (lambda: BinViews(9, stitches=True, bin_bp=1), {}, "as many bp on the left as on the right"),
        (
            lambda: BinViews(8, rc=True, pairs=StrandPairs((("plus", "mnius"),))), {},
            "track 'mnius' names none",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_brought_into_line_is_refused(views, words, said) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises((InputError, TargetError), match=said):
        read(View(0, False), views(), X, reduce="sum", **words)


def test_pairs_of_strands_by_label_number_and_pattern(tmp_path: Path) -> None:
    labels = ["a+", "b.+", "b.-", "a-", "c"]
    assert StrandPairs((("*+", "*-"),)).partners(labels) == (3, 2, 1, 0, 4)
    assert StrandPairs((("0", "a-"), ("b.+", "b.-"))).partners(labels) == (3, 2, 1, 0, 4)
    path = tmp_path / "pairs.tsv"
    path.write_text("*+\t*-\n\n")
    assert as_strand_pairs(path) == StrandPairs((("*+", "*-"),)) == as_strand_pairs({"*+": "*-"})
    assert as_strand_pairs([("a+", "a-")]).partners(labels) == (3, 1, 2, 0, 4)


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        ([], "at least one pair"),
        ([("a*", "b")], "the same number of *"),
        ([("a+", "")], "two labels"),
        (["ab"], "pairs of tracks"),
        ([("x+", "x-")], "'x.' names none"),
        ([("x*", "y*")], r"'x\*' names none"),
        ([("*+", "*~")], "'a~' names none"),
        ([("a+", "a-"), ("a-", "b.-")], "'a-' is in two"),
        ([("a+", "0")], "the other strand of itself; got 'a\\+'"),
    ],
)
def test_pairs_that_do_not_fit_are_refused(pairs: list, said: str, tmp_path: Path) -> None:
    with pytest.raises((InputError, TargetError), match=said):
        as_strand_pairs(pairs).partners(["a+", "a-", "b.+", "b.-"])
    path = tmp_path / "p.tsv"
    path.write_text("a b\n")
    with pytest.raises(InputError, match="line 1: two columns, separated by a tab"):
        as_strand_pairs(path)
    with pytest.raises(InputError, match="cannot be read"):
        as_strand_pairs(tmp_path / "none.tsv")


LEFT, RIGHT = torch.arange(1.0, 9.0), torch.arange(11.0, 19.0)


@pytest.mark.parametrize(
    ("position", "delta", "bin_bp", "expected"),
    [
        (3, -2, 1, [1, 2, 3, 0, 0, 16, 17, 18]),  # bases 3 and 4 are gone
        (3, 1, 1, [1, 2, 4, 14, 15, 16, 17, 18]),  # the inserted base lies in bin 3 of the left window
        (3, 3, 1, [1, 2, 6, 14, 15, 16, 17, 18]),
        (6, 5, 1, [1, 2, 3, 4, 5, 8, 17, 18]),  # some inserted bases lie outside of the output
        (9, -2, 4, [1, 2, (3 + 13) / 2, 14, 15, 16, 17, 18]),  # within a bin
        (9, -4, 4, [1, 2, 3, 14, 15, 16, 17, 18]),  # from bin 2 to bin 3
        (9, -9, 4, [1, 2, 3, 0, 15, 16, 17, 18]),  # bin 3 is gone
        (8, -4, 4, [1, 2, 0, 14, 15, 16, 17, 18]),  # bin 2 is gone
        (8, 4, 4, [1, 3, 13, 14, 15, 16, 17, 18]),  # a bin more
        (9, 8, 4, [1, 2, 8, 14, 15, 16, 17, 18]),  # bins 3 and 4 of the left window; 8 = (3 + 13) / 2
        (0, -2, 1, [11, 12, 13, 14, 15, 16, 17, 18]),  # in front of the output
        (9, -2, 1, [1, 2, 3, 4, 5, 6, 7, 8]),  # behind it
    ],
)
def test_stitching_by_hand(position: int, delta: int, bin_bp: int, expected: list[float]) -> None:
    one, other = LEFT.clone(), RIGHT.clone()
    assert stitched(one, other, position, delta, bin_bp).tolist() == expected
    assert one.equal(LEFT)
    assert other.equal(RIGHT)
