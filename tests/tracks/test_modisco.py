"""The arrays for TF-MoDISco: their definition in plain Python, and the program itself."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from paths import ROOT
from small_models import one_hot
from track_world import mutate, read_bigwig
from variant_world import LENGTH, random_sequence, write_fasta

import kipoi_mcdropout as mcd
from kipoi_mcdropout.cli import run
from kipoi_mcdropout.errors import InputError, InputWarning, OutputError
from kipoi_mcdropout.files.save import write_effects

BASES = "ACGT"
pytestmark = pytest.mark.filterwarnings("ignore:4 positions of 2 sequences were not mutated")


def load(path: Path) -> np.ndarray:
    """As `modisco motifs` does."""
    return np.load(path)["arr_0"]


@pytest.fixture(scope="module")
def folder(effects: mcd.Effects, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("modisco")
    with pytest.warns(InputWarning, match="4 positions of 2 sequences were not mutated"):
        paths = mcd.write_modisco(effects, folder / "m.npz")
    assert sorted(paths) == sorted(folder.iterdir())
    return folder


@pytest.mark.parametrize(("kind", "weighted"), [("contributions", False), ("weighted", True)])
def test_contributions_by_their_definition(
    effects: mcd.Effects, folder: Path, kind: str, weighted: bool
) -> None:
    table = effects.table("DNase", "diff")
    got = load(folder / f"m.DNase.{kind}.npz")
    assert got.shape == (5, 4, LENGTH)
    assert got.dtype == np.float32
    n = 0
    for (sequence, position), rows in table.groupby(["sequence", "position"]):
        effect = dict.fromkeys(BASES, 0.0)
        for row in rows.to_dict("records"):
            mean, sd = float(row["effect_mean"]), float(row["effect_sd"])
            effect[row["alt"]] = mean * (mean**2 / (mean**2 + sd**2) if weighted else 1)
        for number, base in enumerate(BASES):
            others = [effect[other] for other in BASES if other != base]
            expected = effect[base] - sum(others) / 3
            np.testing.assert_allclose(got[sequence, number, position], expected, atol=1e-7)
            n += 1
    assert n == (5 * LENGTH - 4) * 4
    assert np.abs(got).max() > 0.01


def test_sequences_are_the_references(effects: mcd.Effects, folder: Path) -> None:
    sequences = load(folder / "m.sequences.npz")
    assert sequences.shape == (5, 4, LENGTH)
    for number, rows in effects.table("DNase", "diff").groupby("sequence"):
        expected = np.zeros((4, LENGTH))
        for ref, position in set(zip(rows["ref"], rows["position"], strict=True)):
            expected[BASES.index(ref), position] = 1
        np.testing.assert_array_equal(sequences[number], expected)
    unknown = ~sequences.any(axis=1)
    assert unknown.sum() == 4
    assert not load(folder / "m.DNase.contributions.npz").any(axis=1)[unknown].any()


def test_the_importance_is_that_of_the_track(effects: mcd.Effects, folder: Path, tmp_path: Path) -> None:
    mcd.write_tracks(effects, tmp_path / "t", outputs="FOXA2", formats=["bigwig"])
    track = read_bigwig(tmp_path / "t.FOXA2.importance.bw")
    both = load(folder / "m.FOXA2.contributions.npz") * load(folder / "m.sequences.npz")
    importance = both.sum(axis=1)[3]  # window d, chr2:100-121, read on the other strand
    expected = [track["chr2", position] for position in range(120, 99, -1)]
    np.testing.assert_allclose(importance, expected, atol=1e-7)


def test_every_format_gives_the_same_arrays(results: Path, folder: Path, tmp_path: Path) -> None:
    for suffix in ("h5", "tsv", "parquet"):
        path = tmp_path / f"{suffix}.npz"
        mcd.write_modisco(results / f"ism.{suffix}", path, outputs="a/b c", score="diff")
        for kind in ("contributions", "weighted"):
            name = f"a%2Fb%20c.{kind}.npz"
            np.testing.assert_array_equal(
                load(tmp_path / f"{suffix}.{name}"), load(folder / f"m.{name}")
            )


def test_no_coordinates_are_needed_and_no_draws(tmp_path: Path) -> None:
    fasta = write_fasta(
        tmp_path / "s.fa", {name: random_sequence(LENGTH, i) for i, name in enumerate("ab")}
    )
    effects = mutate(mcd.FastaSequences(fasta), n_draws=0)
    paths = mcd.write_modisco(effects, tmp_path / "m.npz", outputs="DNase")
    assert [path.name for path in paths] == ["m.sequences.npz", "m.DNase.contributions.npz"]
    table = effects.table("DNase").query("sequence == 1 and position == 0")
    got = (load(paths[1]) * load(paths[0])).sum(axis=1)[1, 0]
    np.testing.assert_allclose(got, -table["effect_point"].mean(), rtol=1e-6)


def test_what_is_refused(results: Path, tmp_path: Path) -> None:
    effects = mcd.read(results / "ism.parquet")
    table = effects.table(score="diff")

    def written(rows: pd.DataFrame) -> Path:
        write_effects(rows, tmp_path / "r.parquet", effects.provenance, overwrite=True)
        return tmp_path / "r.parquet"

    one = (table.sequence == 3) & (table.position == 9) & (table.output == "FOXA2")
    with pytest.raises(InputError, match=r"position 9 of sequence d of .* lacks a substitution"):
        mcd.write_modisco(written(table.drop(table.index[one][:1])), tmp_path / "m.npz")
    odd = table.assign(alt=table.alt.where(~one, "Q"))
    with pytest.raises(InputError, match=r"knows the bases A, C, G and T.*sequence d of .* has 'Q'"):
        mcd.write_modisco(written(odd), tmp_path / "m.npz")
    with pytest.raises(OutputError, match=r"must end in \.npz; got .*m\.h5"):
        mcd.write_modisco(results / "ism.h5", tmp_path / "m.h5")
    unsigned = mutate(one_hot(1, LENGTH), n_draws=2, scores=["deepsea_effect"])
    with pytest.raises(InputError, match=r"score deepsea_effect is a product .* a score with a sign"):
        mcd.write_modisco(unsigned, tmp_path / "m.npz")
    assert list(tmp_path.iterdir()) == [tmp_path / "r.parquet"]


def test_an_effect_that_is_not_finite_has_no_contribution(results: Path, tmp_path: Path) -> None:
    effects = mcd.read(results / "ism.parquet")
    table = effects.table("FOXA2", "diff")
    one = (table.sequence == 3) & (table.position == 9)
    table.loc[table.index[one][0], "effect_mean"] = np.nan
    write_effects(table, tmp_path / "r.parquet", effects.provenance)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        mcd.write_modisco(tmp_path / "r.parquet", tmp_path / "m.npz")
    assert [w.category for w in warned if "1 positions" in str(w.message)] == [InputWarning]
    got = load(tmp_path / "m.FOXA2.contributions.npz")
    assert not got[3, :, 9].any()
    assert got[3, :, 8].all()
    assert load(tmp_path / "m.sequences.npz")[3, :, 9].sum() == 1


def test_the_command(
    results: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(results / "ism.h5"), "--target", "FOXA2", "--score", "diff", "--formats", "bigwig"]
    both = ["-o", str(tmp_path / "t"), "--modisco", str(tmp_path / "m.npz")]
    run("tracks", "kipoi mcdropout tracks", [*words, *both])
    said = capsys.readouterr().err
    assert "FOXA2 (diff): 76 positions, 25 of them in more than one window" in said
    assert f"5 files, listed in {tmp_path / 't.tracks.json'}" in said
    assert f"{tmp_path / 'm.FOXA2.weighted.npz'}" in said
    name = "m.FOXA2.contributions.npz"
    np.testing.assert_array_equal(load(tmp_path / name), load(folder / name))
    for arguments, message in (
        (words, "give -o PREFIX for tracks"),
        ([*words, *both], r"t.FOXA2.effect.bw exists; add --overwrite"),
    ):
        with pytest.raises(SystemExit) as stop:
            run("tracks", "kipoi mcdropout tracks", arguments)
        assert stop.value.code == 2
        assert message in capsys.readouterr().err
    run("tracks", "kipoi mcdropout tracks", [*words, *both, "--overwrite", "-q"])


TOMTOM = """
import json, sys
import h5py, numpy as np
from memelite import tomtom
from memelite.io import read_meme

motifs = read_meme(sys.argv[2])
found = []
with h5py.File(sys.argv[1]) as file:
    for name, pattern in sorted(file["pos_patterns"].items()):
        size = np.abs(pattern["contrib_scores"][:]).sum(axis=1)
        kept = np.flatnonzero(size > 0.3 * size.max())
        motif = pattern["sequence"][kept[0]:kept[-1] + 1].T
        p = tomtom([motif], [m.numpy() if hasattr(m, "numpy") else m for m in motifs.values()])[0][0]
        best = int(np.argmin(p))
        found.append([list(motifs)[best], float(p[best]), int(pattern["seqlets"]["n_seqlets"][:].sum())])
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def modisco() -> str:
    """The program of tfmodisco-lite, which is installed apart: it is slow, and needs much else."""
    program = os.environ.get("KIPOI_MCDROPOUT_MODISCO") or shutil.which("modisco")
    if program is None:
        pytest.skip("no modisco on the PATH: pip install modisco-lite, or set KIPOI_MCDROPOUT_MODISCO")
    return program


@pytest.mark.parametrize("kind", ["contributions", "weighted"])
def test_modisco_finds_the_motif_of_foxa2(
    modisco: str, shared_data: Path, example_arrays: Path, tmp_path: Path, kind: str
) -> None:
    arrays = ["-s", str(example_arrays / "m.sequences.npz")]
    arrays += ["-a", str(example_arrays / f"m.FOXA2.{kind}.npz")]
    found = tmp_path / "found.h5"
    subprocess.run([modisco, "motifs", *arrays, "-n", "2000", "-o", str(found)], check=True)
    python = str(Path(modisco).parent / "python")
    command = [
        python,
        "-W",
        "ignore",
        "-c",
        TOMTOM,
        str(found),
        str(shared_data / "jaspar2024/selected.meme"),
    ]
    patterns = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    name, p, n_seqlets = patterns[0]  # that of the most seqlets
    assert name.split()[-1] in ("FOXA1", "FOXA2")  # their matrices are all but the same
    assert p < 1e-3
    assert n_seqlets >= 40  # in 91 peaks


@pytest.fixture(scope="module")
def example_arrays(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the example's FOXA2, in all its peaks."""
    folder = tmp_path_factory.mktemp("example")
    data = ROOT / "example" / "data"
    words = [str(ROOT / "example" / "model"), "-f", str(data / "genome.fa"), "--target", "FOXA2"]
    words += ["--regions", str(data / "peaks.bed"), "--scores", "logit", "-o", str(folder / "ism.h5")]
    command = [sys.executable, "-m", "kipoi", "mcdropout", "ism", *words, "-q"]
    subprocess.run(command, check=True)
    mcd.write_modisco(folder / "ism.h5", folder / "m.npz")
    return folder
