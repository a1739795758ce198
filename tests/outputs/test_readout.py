"""What is read of outputs, against numbers worked by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from kipoi_mcdropout.errors import InputError, TargetError
from kipoi_mcdropout.outputs.bins import Bins
from kipoi_mcdropout.outputs.bound import BoundReadout, bind
from kipoi_mcdropout.outputs.labels import ArrayLabels
from kipoi_mcdropout.outputs.projection import Projection
from kipoi_mcdropout.outputs.readout import Readout
from kipoi_mcdropout.outputs.reductions import parse_reduction

NAMES = ("DNASE:K562", "DNASE:GM12878", "CAGE:K562")
# Two inputs, three tracks, six bins.
X = torch.tensor(
    [
        [[0, 1, 2, 3, 4, 5], [1, 1, 1, 1, 1, 1], [9, 0, 4, 2, 0, 1]],
        [[5, 4, 3, 2, 1, 0], [2, 0, 2, 0, 2, 0], [0, 0, 0, 8, 0, 0]],
    ],
    dtype=torch.float32,
)


def fitted(tracks_last: bool = False, **words: object) -> BoundReadout:
    shape, axis = ((6, 3), 1) if tracks_last else ((3, 6), 0)
    return bind(Readout(**words), ArrayLabels(shape, "", NAMES, axis), "the output")  # type: ignore[arg-type]


def values(**words: object) -> list[list[float]]:
    """The numbers; the same where the tracks are the last axis."""
    found = fitted(**words).values(X)
    turned = fitted(tracks_last=True, **words).values(X.transpose(1, 2))
    assert torch.equal(found, turned)
    return [[round(number, 4) for number in row] for row in found.tolist()]


def test_sum_of_all_bins() -> None:
    assert values(reduce="sum") == [[15, 6, 16], [15, 6, 8]]
    assert fitted(reduce="sum").labels == tuple(f"{name}|sum" for name in NAMES)


def test_window_about_the_centre_and_several_reductions() -> None:
    # bins 2 and 3
    assert values(reduce=["sum", "mean", "max"], center_bins=2, tracks="DNASE:K562") == [
        [5, 2.5, 3], [5, 2.5, 3],
    ]  # fmt: skip
    bound = fitted(reduce=["sum", "max@1:3"], center_bins=2, tracks=[0, "CAGE*"])
    assert bound.labels == (
        "DNASE:K562|sum@2", "DNASE:K562|max@1:3", "CAGE:K562|sum@2", "CAGE:K562|max@1:3",
    )  # fmt: skip
    assert bound.values(X).tolist() == [[5, 2, 6, 4], [5, 4, 8, 0]]
    assert bound.span == (1, 4)


def test_logsumexp_by_hand() -> None:
    (first, _) = values(reduce="logsumexp@2", tracks=["DNASE:K562", 1])
    assert first == [round(math.log(math.exp(2) + math.exp(3)), 4), round(math.log(2 * math.e), 4)]


def test_a_window_that_cannot_lie_evenly_has_one_bin_more_on_the_right() -> None:
    assert Bins(center=3).of(6, "x") == (1, 4)
    assert Bins(center=2).of(5, "x") == (1, 3)
    assert Bins(center=3).of(5, "x") == (1, 4)
    assert Bins(center=1).of(896, "x") == (447, 448)


def test_window_in_bp() -> None:
    assert values(reduce="sum", center_bp=64, bin_bp=32, tracks=0) == [[5], [5]]
    assert fitted(reduce="sum", center_bp=64, bin_bp=32, tracks=0).labels == ("DNASE:K562|sum@64bp",)
    assert fitted(reduce="sum@128bp", bin_bp=32).windows[0].end == 5


def test_mean_over_groups_beside_tracks(tmp_path: Path) -> None:
    table = tmp_path / "groups.tsv"
    table.write_text("group\ttrack\tnote\nK562\tDNASE:K562\t.\nK562\t2\t.\nall\t*\t.\n")
    bound = fitted(track_groups=table, reduce="sum")
    assert bound.labels == ("K562|sum", "all|sum")
    assert values(track_groups=table, reduce="sum") == [
        [15.5, round(37 / 3, 4)],
        [11.5, round(29 / 3, 4)],
    ]
    both = {"dnase": "DNASE*"}
    assert fitted(track_groups=both, tracks="CAGE*", reduce="max").labels == (
        "CAGE:K562|max",
        "dnase|max",
    )
    # the maximum of the mean profile: (0.5, 1, 1.5, 2, 2.5, 3) and (3.5, 2, 2.5, 1, 1.5, 0)
    assert values(track_groups=both, tracks="CAGE*", reduce="max") == [[9, 3], [8, 3.5]]


def test_projection_from_all_its_forms(tmp_path: Path) -> None:
    weights = np.array([[1.0, -1.0, 0.0], [0.5, 0.0, 2.0]])  # outputs x tracks
    np.save(tmp_path / "p.npy", weights)
    shuffled = [2, 0, 1]
    lines = ["track\tA\tB"] + [f"{NAMES[i]}\t{weights[0, i]}\t{weights[1, i]}" for i in shuffled]
    (tmp_path / "p.tsv").write_text("\n".join(lines) + "\n")
    (tmp_path / "names.txt").write_text("A\nB\n")
    frame = pd.DataFrame(weights.T, index=list(NAMES), columns=["A", "B"]).iloc[shuffled]
    expected = [[15 - 6, 7.5 + 32], [15 - 6, 7.5 + 16]]
    for projection, labels in (
        (tmp_path / "p.npy", ["A", "B"]), (tmp_path / "p.npy", tmp_path / "names.txt"),
        (tmp_path / "p.tsv", None), (frame, None), (weights, ("A", "B")),
    ):  # fmt: skip
        words = {"projection": projection, "projection_labels": labels, "reduce": "sum"}
        assert values(**words) == expected
        assert fitted(**words).labels == ("A|sum", "B|sum")


def test_projection_of_outputs_without_bins() -> None:
    x = torch.tensor([[1.0, 2.0, 4.0]])
    readout = Readout(projection=np.array([[1.0, 1.0, 1.0]]), projection_labels=["all"])
    bound = bind(readout, ArrayLabels((3,), "", NAMES, 0), "the output")
    assert bound.labels == ("all",)
    assert bound.values(x).tolist() == [[7]]


def test_a_profile_without_tracks_is_called_by_its_reduction_and_head() -> None:
    x = torch.arange(8.0).reshape(2, 4)
    bound = bind(Readout(reduce="sum@2"), ArrayLabels((4,)), "the output")
    assert bound.labels == ("sum@2",)
    assert bound.values(x).tolist() == [[3], [11]]
    titled = bind(Readout(reduce=["sum", "max"]), ArrayLabels((1, 4, 1), "profile"), "the output")
    assert titled.labels == ("profile|sum", "profile|max")
    assert titled.values(x.reshape(2, 1, 4, 1)).tolist() == [[6, 3], [22, 7]]
    one_bin = bind(Readout(reduce="sum", track_axis=0), ArrayLabels((3, 4)), "the output")
    assert one_bin.labels == ("0|sum", "1|sum", "2|sum")


def test_whole_numbers_and_half_precision_are_summed_in_more_digits() -> None:
    counts = bind(Readout(reduce="sum"), ArrayLabels((4,)), "the output")
    assert counts.values(torch.ones(1, 4, dtype=torch.int64)).dtype == torch.float64
    many = bind(Readout(reduce="sum"), ArrayLabels((1000,)), "the output")
    assert many.values(torch.ones(1, 1000, dtype=torch.bfloat16)).tolist() == [[1000.0]]


def test_the_record_says_what_was_read() -> None:
    readout = Readout(
        head="human", tracks=["DNASE*", 3], reduce="sum", center_bp=64, bin_bp=32,
        track_groups={"a": [0]},
    )  # fmt: skip
    assert readout.to_dict() == {
        "head": "human", "tracks": ["DNASE*", 3], "reduce": ["sum"], "center_bp": 64, "bin_bp": 32,
        "track_groups": {"a": [0]},
    }  # fmt: skip
    one, other = (Readout(projection=np.array([[1.0, x]])).to_dict()["projection"] for x in (1, 2))
    assert one["sha256"] != other["sha256"]
    assert one["labels"] == ["0"]


@pytest.mark.parametrize(
    ("words", "error", "said"),
    [
        ({"tracks": "RNA*", "reduce": "sum"}, TargetError, r"track 'RNA\*' names none of the"),
        ({"tracks": 3, "reduce": "sum"}, TargetError, "index from 0 to 2"),
        ({"reduce": "sum", "bins": "2:9"}, InputError, "2:9 lie outside: the output has the bins 0:6"),
        ({"reduce": "sum", "center_bins": 7}, InputError, "7 bins about the centre .* has 6"),
        ({"tracks": 0}, InputError, "has 6 bins for each track: say how"),
        ({"reduce": "sum", "track_axis": 2}, TargetError, "track_axis must be an axis"),
        ({"reduce": "sum", "track_groups": {"g": [0, "DNASE:K562"]}}, InputError, "in group 'g' 2"),
        ({"reduce": "sum", "track_groups": {"g": ["x"]}}, TargetError, "track 'x' names none"),
        ({"reduce": "sum", "tracks": 0, "track_groups": {NAMES[0]: 1}}, TargetError, "as a t"),
        ({"reduce": "sum", "projection": np.ones((2, 4))}, InputError, "the 3 tracks; it is for 4"),
        ({"reduce": "sum", "projection": np.ones((2, 3)), "tracks": [0, 1]}, InputError, "it is for 3"),
    ],
)  # fmt: skip
def test_what_does_not_fit_the_output_is_refused(words: dict, error: type, said: str) -> None:
    with pytest.raises(error, match=said):
        fitted(**words)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"reduce": "median"}, "one of sum, mean, max, logsumexp"),
        ({"reduce": "sum@x"}, "the window behind @"),
        ({"reduce": "sum@0"}, "1 bin or more"),
        ({"reduce": ["sum", "sum"]}, "only once; got 'sum' twice"),
        ({"reduce": ["sum", "sum@8"], "center_bins": 8}, "only once; got 'sum@8' twice"),
        ({"center_bins": 4}, "is a window of bins, of which reduce"),
        ({"reduce": "sum@4", "center_bins": 8}, "without one of their own"),
        ({"reduce": "sum", "center_bins": 4, "bins": "0:3"}, "window of bins; got center_bins and bins"),
        ({"reduce": "sum", "center_bp": 100, "bin_bp": 32}, "32; got 100. Nearest: 96 or 128"),
        ({"reduce": "sum", "center_bp": 96}, "needs bin_bp"),
        ({"reduce": "sum", "bins": "5:5"}, "0 <= START < END"),
        ({"reduce": "sum", "bins": "5-7"}, "must be START:END"),
        ({"reduce": "sum", "center_bins": 2.5}, "center_bins must be a whole number"),
        ({"track_groups": {}}, "at least one group"),
        ({"track_groups": {"a": []}}, "a name and a track"),
        ({"track_groups": {"a": [0]}, "projection": np.ones((1, 1))}, "either track_groups"),
        ({"projection": np.ones(3)}, "matrix of outputs x tracks"),
        ({"projection": np.array([[np.nan]])}, "finite"),
        ({"projection": np.ones((2, 3)), "projection_labels": ["a"]}, "its 2 outputs; got 1"),
        ({"projection": np.ones((2, 3)), "projection_labels": ["a", "a"]}, "'a' is there twice"),
        ({"projection_labels": ["a"]}, "need a projection"),
        ({"head": 3}, "head must be the name"),
    ],
)  # fmt: skip
def test_bad_words_are_refused_by_name(words: dict, said: str) -> None:
    with pytest.raises(InputError, match=said):
        Readout(**words)


def test_words_that_are_not_known_are_refused() -> None:
    with pytest.raises(InputError, match="ism does not know the argument 'trakcs'; is it 'tracks'"):
        Readout.of({"trakcs": 1}, "ism")
    assert Readout.of({"tracks": None}, "ism") is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("track\tgroup2\nx\ty\n", "the columns group and track"),
        ("group\ttrack\na\tx\na\tx\n", "has the track 'x' twice"),
        ("group\ttrack\n\tx\n", "must have a name"),
        ("", "the columns group and track"),
    ],
)
def test_bad_tables_of_groups_are_refused(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "g.tsv").write_text(text)
    with pytest.raises(InputError, match=said):
        Readout(track_groups=tmp_path / "g.tsv")


def test_bad_projections_are_refused(tmp_path: Path) -> None:
    (tmp_path / "p.tsv").write_text("track\tA\nx\tone\n")
    with pytest.raises(InputError, match="must be tab-separated"):
        Readout(projection=tmp_path / "p.tsv")
    (tmp_path / "q.tsv").write_text("track\tA\nx\t1\n")
    with pytest.raises(InputError, match="a table has its own"):
        Readout(projection=tmp_path / "q.tsv", projection_labels=["a"])
    with pytest.raises(InputError, match="it has 'x', which the model has not"):
        fitted(projection=tmp_path / "q.tsv", reduce="sum")
    with pytest.raises(InputError, match="cannot be read"):
        Readout(projection=tmp_path / "none.npy")
    with pytest.raises(InputError, match="for each of its 1 tracks; got 2"):
        Projection(("A",), np.ones((1, 1)), ("x", "y"))


@pytest.mark.parametrize(
    ("labels", "words", "said"),
    [
        (ArrayLabels((4, 6)), {"reduce": "sum"}, "no labels say which axis holds the tracks"),
        (ArrayLabels((4, 6, 2)), {"reduce": "sum", "track_axis": 0}, "tracks and bins alone"),
        (ArrayLabels((3,), "", NAMES, 0), {"reduce": "sum"}, "has no axis of bins"),
        (ArrayLabels((2,), "", ("a", "b")), {"tracks": "a"}, "a name for each number"),
    ],
)
def test_axes_that_cannot_be_told_are_refused(labels: ArrayLabels, words: dict, said: str) -> None:
    with pytest.raises((InputError, TargetError), match=said):
        bind(Readout(**words), labels, "the output")


def test_a_reduction_by_its_name() -> None:
    assert parse_reduction("sum@512bp", Bins(), 32).bins == Bins(center=16, word="512bp")
    with pytest.raises(InputError, match="names such as sum"):
        parse_reduction(3, Bins(), None)  # type: ignore[arg-type]
