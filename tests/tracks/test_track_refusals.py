"""What is left out of tracks, and what is refused by name."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_models import one_hot
from track_world import OUTPUTS, TRACKS, mutate, read_bigwig
from variant_world import LENGTH, random_sequence, tiny_net, write_fasta

import kipoi_mcdropout as mcd
from kipoi_mcdropout.errors import InputError, InputWarning, OutputError, TargetError
from kipoi_mcdropout.files.save import write_effects


def changed(results: Path, path: Path, change: Callable[[pd.DataFrame], pd.DataFrame]) -> Path:
    """The result with other rows, as a user's own script would write it."""
    effects = mcd.read(results / "ism.parquet")
    write_effects(change(effects.table()), path, effects.provenance)
    return path


REMOVED: dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], str]] = {
    "of a position": (
        lambda t: t.drop(t.index[(t.sequence == 1) & (t.position == 4)][::9]),
        "position 4 of sequence b .* has 2 substitutions, others have 3",
    ),
    "by their size": (lambda t: t[t.effect_mean.abs() > 0.01], "rows were removed"),
    "of an output": (
        lambda t: t[~((t.sequence == 3) & (t.output == "DNase"))],
        "sequence 3 .* lacks the output 'DNase'",
    ),
    "of the first": (
        lambda t: t[~((t.sequence == 0) & (t.output == "DNase"))],
        "sequence 1 .* has an output 'DNase' that the first",
    ),
    "none, sorted anew": (
        lambda t: t.sort_values(["output", "sequence"], kind="stable"),
        "rows of sequence 0 .* do not stand together",
    ),
    "all of the score": (lambda t: t[t.score == "alt"], "has no substitution of score diff"),
}  # fmt: skip


@pytest.mark.parametrize("what", REMOVED)
def test_a_result_of_which_rows_were_removed(
    results: Path, tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kipoi_mcdropout.files.read_tables._ROWS", 150)  # pieces end within sequences
    change, message = REMOVED[what]
    path = changed(results, tmp_path / "r.parquet", change)
    with pytest.raises(InputError, match=message):
        mcd.write_tracks(path, tmp_path / "t", score="diff")
    assert list(tmp_path.iterdir()) == [path]


def test_small_pieces_change_nothing(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = mcd.write_tracks(results / "ism.parquet", tmp_path / "whole")
    monkeypatch.setattr("kipoi_mcdropout.files.read_tables._ROWS", 50)
    cut = mcd.write_tracks(results / "ism.parquet", tmp_path / "cut")
    assert [p.read_bytes() for p in cut[:-1]] == [p.read_bytes() for p in whole[:-1]]
    assert cut[-1].read_text() == whole[-1].read_text().replace('"whole.', '"cut.')


def test_a_result_without_coordinates_is_refused_by_name(tmp_path: Path) -> None:
    effects = mutate(one_hot(1, LENGTH), n_draws=2)
    with pytest.raises(InputError, match=r"sequence 0 of the result has none.*--regions.*--modisco"):
        mcd.write_tracks(effects, tmp_path / "t")
    fasta = write_fasta(tmp_path / "s.fa", {"first": random_sequence(LENGTH, 1)})
    with pytest.raises(InputError, match="sequence first of the result has none"):
        mcd.write_tracks(mutate(mcd.FastaSequences(fasta), n_draws=2), tmp_path / "t")


def test_what_is_not_finite_is_left_out_and_told(results: Path, tmp_path: Path) -> None:
    def change(table: pd.DataFrame) -> pd.DataFrame:
        one = (table.sequence == 3) & (table.output == "FOXA2")
        of = [one & (table.position == position) for position in (2, 7, 8)]
        table.loc[of[0] & (table.alt == table.alt[of[0]].iloc[0]), ["effect_mean", "effect_sd"]] = np.nan
        table.loc[of[1], "effect_sd"] = 0.0
        table.loc[of[2], ["effect_mean", "effect_sd"]] = 0.0
        return table

    path = changed(results, tmp_path / "r.parquet", change)
    with pytest.warns(InputWarning, match="1 positions .* not finite"):
        mcd.write_tracks(path, tmp_path / "t", outputs=["FOXA2"])
    place = {position: ("chr2", 120 - position) for position in (2, 7, 8)}  # window d, the other strand
    tracks = {track: read_bigwig(tmp_path / f"t.FOXA2.{track}.bw") for track in TRACKS}
    assert [place[2] in tracks[track] for track in TRACKS] == [False] * 4
    assert [place[7] in tracks[track] for track in TRACKS] == [True, True, False, True]
    assert [tracks[track][place[8]] for track in TRACKS] == [0.0] * 4


def test_mutants_that_equal_the_reference_do_not_count(results: Path, tmp_path: Path) -> None:
    def change(table: pd.DataFrame) -> pd.DataFrame:
        same = table.drop_duplicates(["sequence", "position", "output", "score"])
        same = same.assign(alt=same.ref, effect_mean=9.0)
        return pd.concat([table, same]).sort_values("sequence", kind="stable", ignore_index=True)

    path = changed(results, tmp_path / "with_same.parquet", change)  # as of --test_ref_ref
    mcd.write_tracks(path, tmp_path / "with", formats=["bigwig"])
    mcd.write_tracks(results / "ism.h5", tmp_path / "ism", formats=["bigwig"])
    for track in TRACKS:
        one, other = (tmp_path / f"{name}.FOXA2.{track}.bw" for name in ("with", "ism"))
        assert one.read_bytes() == other.read_bytes()


def test_scores(effects: mcd.Effects, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"score alt is the mutant's own prediction.*such as diff"):
        mcd.write_tracks(effects, tmp_path / "t", score="alt")
    with pytest.raises(InputError, match="score 'log2fc' is not in the result; it has diff, logit, alt"):
        mcd.write_tracks(effects, tmp_path / "t", score="log2fc")
    regions = mcd.Regions(
        *(effects.provenance["files"][key]["path"] for key in ("fasta_file", "regions"))
    )
    unsigned = mutate(regions, n_draws=2, scores=["deepsea_effect"])
    names = {path.name for path in mcd.write_tracks(unsigned, tmp_path / "u", outputs="FOXA2")}
    assert "u.FOXA2.effect.bw" in names
    assert not any("importance" in name for name in names)
    point = mutate(regions, n_draws=0)
    names = {path.name for path in mcd.write_tracks(point, tmp_path / "p", outputs="FOXA2")}
    assert {name.split(".")[2] for name in names if name.endswith(".bw")} == {"effect", "importance"}
    got = read_bigwig(tmp_path / "p.FOXA2.effect.bw")
    rows = point.table("FOXA2").query("name == 'd'")
    largest = rows["effect_point"].abs().groupby(rows["pos"]).max()
    assert [abs(got["chr2", pos - 1]) for pos in largest.index] == largest.tolist()


def test_outputs_and_files(results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TargetError, match="CTCF"):
        mcd.write_tracks(results / "ism.tsv", tmp_path / "t", outputs="CTCF")
    monkeypatch.setattr("kipoi_mcdropout.tracks.result.MANY_OUTPUTS", 2)
    for suffix in ("h5", "tsv"):
        with pytest.raises(InputError, match=r"has 3 outputs.*'\*' is all of them"):
            mcd.write_tracks(results / f"ism.{suffix}", tmp_path / "t")
    assert len(mcd.write_tracks(results / "ism.h5", tmp_path / "all", outputs="*")) == 3 * 4 * 2 + 1
    with pytest.raises(InputError, match="formats of this result are bigwig and bedgraph; got bed"):
        mcd.write_tracks(results / "ism.h5", tmp_path / "t", formats=["bed"])
    with pytest.raises(OutputError, match=r"all\.FOXA2\.effect\.bw exists; add --overwrite"):
        mcd.write_tracks(results / "ism.h5", tmp_path / "all", outputs="FOXA2")
    mcd.write_tracks(results / "ism.h5", tmp_path / "all", outputs="FOXA2", overwrite=True)
    with pytest.raises(OutputError, match="existing folder"):
        mcd.write_tracks(results / "ism.h5", tmp_path / "none" / "t", outputs="FOXA2")


def test_other_files_are_refused(tmp_path: Path) -> None:
    model = mcd.Model(tiny_net(), outputs=OUTPUTS)
    mcd.mc_predict(model, one_hot(1, LENGTH), n_draws=2).save(tmp_path / "p.tsv")
    with pytest.raises(InputError, match=r"p\.tsv has no effects"):
        mcd.write_tracks(tmp_path / "p.tsv", tmp_path / "t")
    with pytest.raises(InputError, match="there is no result file"):
        mcd.write_tracks(tmp_path / "none.h5", tmp_path / "t")


def test_a_package_that_is_missing_is_named(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyBigWig", None)
    with pytest.raises(InputError, match=r"needs pyBigWig.*pip install 'kipoi_mcdropout\[tracks\]'"):
        mcd.write_tracks(results / "ism.h5", tmp_path / "t")
    paths = mcd.write_tracks(results / "ism.h5", tmp_path / "t", outputs="FOXA2", formats=["bedgraph"])
    assert len(paths) == 5
