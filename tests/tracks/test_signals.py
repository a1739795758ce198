"""bigWig and bedGraph of a mutagenesis, read back by other programs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pysam
import pytest
from track_world import (
    OUTPUTS,
    SIZES,
    TRACKS,
    assert_same,
    bigwigs,
    by_hand,
    comments,
    make_genome,
    pybigtools,
    read_bigwig,
    text_lines,
)
from variant_world import write_fasta

import kipoi_mcdropout as mcd
from kipoi_mcdropout.errors import InputError, InputWarning
from kipoi_mcdropout.tracks.per_position import POINT, nearest_window
from kipoi_mcdropout.tracks.spool import Spool


@pytest.fixture(scope="module")
def written(effects: mcd.Effects, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("written")
    paths = mcd.write_tracks(effects, folder / "ism", score="diff")
    assert sorted(paths) == sorted(folder.iterdir())
    return folder


@pytest.mark.parametrize(("output", "name"), [("FOXA2", "FOXA2"), ("a/b c", "a%2Fb%20c")])
def test_every_number_is_that_of_the_result(
    effects: mcd.Effects, written: Path, output: str, name: str
) -> None:
    expected = by_hand(effects.table(output, "diff"))
    assert len(expected) == 21 + 10 + 21 + (21 + 5) - 2  # overlaps count once, and two bases are N
    for track in TRACKS:
        got = read_bigwig(written / f"ism.{name}.{track}.bw")
        assert_same(got, {key: values[track] for key, values in expected.items()})


def test_shared_positions_come_from_the_nearer_window(effects: mcd.Effects, written: Path) -> None:
    table = effects.table("FOXA2", "diff")
    got = read_bigwig(written / "ism.FOXA2.effect.bw")
    largest = {
        name: rows.loc[rows["effect_mean"].abs().groupby(rows["pos"]).idxmax()].set_index("pos")
        for name, rows in table.groupby("name")
    }
    for pos, window in ((22, "a"), (25, "a"), (26, "a"), (27, "b"), (31, "b")):  # the middles: 21 and 31
        other = "b" if window == "a" else "a"
        values = {name: largest[name]["effect_mean"][pos] for name in "ab"}
        assert values[window] != values[other]
        assert got["chr2", pos - 1] == values[window]


def test_the_text_has_the_same_numbers_and_can_be_indexed(written: Path) -> None:
    for track in TRACKS:
        path = written / f"ism.FOXA2.{track}.bedGraph.gz"
        lines = list(text_lines(path))
        assert all(int(end) == int(start) + 1 for _, start, end, _ in lines)
        assert [line[:2] for line in lines] == sorted([line[:2] for line in lines], key=_place)
        got = {(contig, int(start)): float(np.float32(value)) for contig, start, _, value in lines}
        assert got == read_bigwig(written / f"ism.FOXA2.{track}.bw")
    index = pysam.tabix_index(str(path), preset="bed", keep_original=True, index=str(written / "i.tbi"))
    with pysam.TabixFile(index, index=str(written / "i.tbi")) as file:
        assert len(list(file.fetch("chr2", 100, 121))) == 21
    (written / "i.tbi").unlink()


def _place(fields: list[str]) -> tuple[str, int]:
    return fields[0], int(fields[1])


@pytest.mark.parametrize("suffix", ["h5", "tsv", "tsv.gz", "parquet"])
def test_every_format_of_the_result_gives_the_same_bytes(
    results: Path, written: Path, tmp_path: Path, suffix: str
) -> None:
    paths = mcd.write_tracks(results / f"ism.{suffix}", tmp_path / "ism", score="diff")
    assert {path.name for path in paths} == {path.name for path in written.iterdir()}
    for path in paths:
        assert path.read_bytes() == (written / path.name).read_bytes(), path.name


def test_one_output_and_one_format(results: Path, written: Path, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    paths = mcd.write_tracks(results / "ism.h5", f"{tmp_path}/folder/", outputs="D*", formats=["bigwig"])
    names = [f"DNase.{track}.bw" for track in TRACKS]
    assert [path.name for path in paths] == [*names, "tracks.json"]
    for name in names:  # diff is the score by default
        assert (tmp_path / "folder" / name).read_bytes() == (written / f"ism.{name}").read_bytes()


def test_contigs_have_the_lengths_of_the_fasta_in_order(written: Path) -> None:
    with pybigtools.open(str(written / "ism.FOXA2.z.bw")) as file:
        assert list(file.chroms().items()) == list(SIZES.items())
    with bigwigs.open(str(written / "ism.FOXA2.z.bw")) as file:
        assert file.chroms() == SIZES


def test_where_lengths_come_from(results: Path, tmp_path: Path) -> None:
    record = mcd.read(results / "ism.parquet").provenance
    table = mcd.read(results / "ism.parquet").table(score="diff")
    record["files"]["fasta_file"]["path"] = str(tmp_path / "genome.fa")
    from kipoi_mcdropout.files.save import write_effects

    moved = tmp_path / "moved.parquet"
    write_effects(table, moved, record)
    with pytest.warns(InputWarning, match="each ends at the last position written"):
        mcd.write_tracks(moved, tmp_path / "without", outputs="FOXA2")
    assert _sizes(tmp_path / "without.FOXA2.z.bw") == {"chr10": 71, "chr2": 121}
    write_fasta(tmp_path / "genome.fa", {"chr2": "A" * 900, "chr10": "C" * 900})
    with pytest.warns(InputWarning):  # it is there, and another one
        mcd.write_tracks(moved, tmp_path / "other", outputs="FOXA2")
    assert _sizes(tmp_path / "other.FOXA2.z.bw") == {"chr10": 71, "chr2": 121}
    make_genome(tmp_path)
    mcd.write_tracks(moved, tmp_path / "own", outputs="FOXA2")
    assert _sizes(tmp_path / "own.FOXA2.z.bw") == SIZES


def test_another_fasta_is_refused(results: Path, tmp_path: Path) -> None:
    short = write_fasta(tmp_path / "short.fa", {"chr2": "A" * 120, "chr10": "C" * 900})
    with pytest.raises(InputError, match=r"contig chr2 has 120 bases .* has position 121"):
        mcd.write_tracks(results / "ism.h5", tmp_path / "a", fasta_file=short)
    other = write_fasta(tmp_path / "other.fa", {"chr2": "A" * 900, "chrX": "C" * 900})
    with pytest.raises(InputError, match=r"contig chr10 of the result is not in .* has chr2, chrX"):
        mcd.write_tracks(results / "ism.h5", tmp_path / "a", fasta_file=other)
    renamed = write_fasta(tmp_path / "renamed.fa", {"2": "A" * 900, "10": "C" * 800})
    mcd.write_tracks(results / "ism.h5", tmp_path / "a", outputs="FOXA2", fasta_file=renamed)
    assert _sizes(tmp_path / "a.FOXA2.z.bw") == {"chr10": 800, "chr2": 900}


def _sizes(path: Path) -> dict[str, int]:
    with bigwigs.open(str(path)) as file:
        return dict(file.chroms())


def test_the_list_has_the_provenance(effects: mcd.Effects, written: Path) -> None:
    found = json.loads((written / "ism.tracks.json").read_text())
    assert len(found["tracks"]) == len(OUTPUTS) * len(TRACKS) * 2
    for track in found["tracks"]:
        assert (written / track["file"]).is_file()
        assert track["output"] in OUTPUTS
    (one,) = [t for t in found["tracks"] if t["file"] == "ism.FOXA2.sd.bw"]
    values = read_bigwig(written / one["file"]).values()
    assert (one["positions"], one["min"], one["max"]) == (len(values), min(values), max(values))
    made = found["kipoi_mcdropout"].pop("tracks")
    assert made["score"] == "diff"
    assert found["kipoi_mcdropout"] == effects.provenance
    (line,) = comments(written / "ism.FOXA2.sd.bedGraph.gz")
    assert json.loads(line.removeprefix("#kipoi_mcdropout="))["seed"] == effects.provenance["seed"]


def test_points_go_to_files_where_memory_is_short(tmp_path: Path) -> None:
    points = np.zeros(50, POINT)
    points["position"] = np.arange(50)
    points["effect"] = np.random.default_rng(0).normal(size=50)
    small, large = Spool(tmp_path / "s", held_bytes=300), Spool(tmp_path / "l")
    for folder in ("s", "l"):
        (tmp_path / folder).mkdir()
    for spool in (small, large):
        for first in range(0, 50, 7):
            spool.add(first % 2, points[first : first + 7])
    assert small.n_flushes > 1
    assert large.n_flushes == 0
    for output in (0, 1):
        assert small.points(output).tobytes() == large.points(output).tobytes()
    assert len(small.points(0)) + len(small.points(1)) == 50


def test_of_equally_near_windows_the_first_wins() -> None:
    points = np.zeros(3, POINT)
    points["position"], points["distance"], points["window"] = 5, [3, 1, 1], [0, 2, 1]
    (kept,), n_shared = nearest_window(points)
    assert (kept["window"], n_shared) == (1, 1)
