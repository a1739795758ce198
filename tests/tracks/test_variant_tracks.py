"""bigBed and BED of the alleles of a VCF, read back by another program than the one that wrote them."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pysam
import pytest
from track_world import OUTPUTS, SIZES, bigwigs, comments, make_genome, pybigtools, text_lines
from variant_world import tiny_net, write_vcf

import kipoi_mcdropout as mcd
from kipoi_mcdropout.errors import InputError, InputWarning, OutputError
from kipoi_mcdropout.files.save import write_effects
from kipoi_mcdropout.sequence.genome import Genome
from kipoi_mcdropout.tracks.variants import colours, name_of

INSERTED = "ACGT"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """table.parquet and out.vcf.gz of alleles of all kinds, out of order, and their tracks."""
    folder = tmp_path_factory.mktemp("variants")
    fasta = make_genome(folder)
    with Genome(fasta) as genome:
        ref = {(c, p): genome.bases(c, p - 1, p + 2) for c, p in [("chr2", 50), ("chr10", 30)]}
        other = {base: "ACGT"["ACGT".index(base) - 1] for base in "ACGT"}
        snv, deletion = ref["chr2", 50], ref["chr10", 30]
    records = [
        f"chr2 50 rs1 {snv[0]} {other[snv[0]]},{snv[0]}{INSERTED} . . .",
        f"chr10 30 . {deletion} {deletion[0]} . . .",
        f"chr10 30 rs3 {deletion[0]} {other[deletion[0]]},<DEL>,* . . .",
    ]
    vcf = write_vcf(folder / "in.vcf", records, SIZES)
    mcd.score_variants(
        mcd.Model(tiny_net(), outputs=OUTPUTS),
        vcf,
        fasta,
        output=[folder / "out.vcf.gz", folder / "table.parquet"],
        n_draws=6,
    )
    mcd.write_tracks(folder / "table.parquet", folder / "table")
    return folder


@pytest.fixture(scope="module")
def rows(folder: Path) -> list[list[str]]:
    return list(text_lines(folder / "table.FOXA2.variants.bed.gz"))


def test_places_names_and_numbers(folder: Path, rows: list[list[str]]) -> None:
    table = mcd.read(folder / "table.parquet").table("FOXA2")
    assert len(rows) == len(table) == 4
    assert [row[:3] for row in rows] == [
        ["chr10", "29", "30"],
        ["chr10", "29", "32"],
        ["chr2", "49", "50"],
        ["chr2", "49", "50"],
    ]
    snv, deletion, first, second = (row[3] for row in rows)
    assert snv.startswith("rs3:")
    assert deletion.startswith("chr10:30:")
    assert first.startswith("rs1:")
    assert second.endswith(f"{first[4]}>{first[4]}{INSERTED}")
    assert all(row[5] == "." and row[6:8] == row[1:3] for row in rows)
    by_alleles = table.set_index(["chrom", "ref", "alt"])
    for row in rows:
        expected = by_alleles.loc[(row[0], row[12], row[13])]
        got = [np.float32(number) for number in row[9:12]]
        numbers = expected[["effect_mean", "effect_sd", "z"]].astype(np.float32)
        np.testing.assert_allclose(got, list(numbers), rtol=3e-7)
    assert comments(folder / "table.FOXA2.variants.bed.gz")[1].split("\t")[:4] == [
        "#chrom", "start", "end", "name",
    ]  # fmt: skip


def test_colours_and_scores_follow_the_effect(folder: Path, tmp_path: Path) -> None:
    full = float(mcd.read(folder / "table.parquet").table("DNase")["effect_mean"].abs().median())
    mcd.write_tracks(folder / "table.parquet", tmp_path / "t", outputs="DNase", full_colour=full)
    bed = list(text_lines(tmp_path / "t.DNase.variants.bed.gz"))
    for row in bed:
        share = min(1.0, abs(float(row[9])) / full)
        assert int(row[4]) == round(1000 * share)
        end = (213, 94, 0) if float(row[9]) > 0 else (0, 114, 178)
        mixed = [round(217 + (one - 217) * share) for one in end]
        assert all(abs(int(a) - b) <= 1 for a, b in zip(row[8].split(","), mixed, strict=True))
    assert "1000" in [row[4] for row in bed]
    assert len({row[8] for row in bed}) > 2
    assert colours(np.array([0.0, 1.0, -1.0])) == ["217,217,217", "213,94,0", "0,114,178"]


def test_a_long_allele_has_a_short_name() -> None:
    assert name_of("chr1", 9, "rs1", "A", "ACGT" * 10) == "rs1:A>ACGTACGTAC...40bp"
    assert name_of("chr1", 9, ".", "A", "C") == name_of("chr1", 9, "", "A", "C") == "chr1:10:A>C"


def test_the_bigbed_has_the_same_rows(folder: Path, rows: list[list[str]]) -> None:
    path = folder / "table.FOXA2.variants.bb"
    with bigwigs.open(str(path)) as file:
        assert file.isBigBed()
        assert file.chroms() == {name: SIZES[name] for name in ("chr10", "chr2")}
        found = [
            [contig, str(start), str(end), *rest.split("\t")]
            for contig in file.chroms()
            for start, end, rest in file.entries(contig, 0, SIZES[contig]) or []
        ]
        sql = file.SQL().decode()
    assert found == rows
    fields = [line.split(";")[0].split()[1] for line in sql.splitlines() if ";" in line]
    assert fields == [
        "chrom", "chromStart", "chromEnd", "name", "score", "strand", "thickStart", "thickEnd",
        "itemRgb", "effect", "sd", "z", "ref", "alt",
    ]  # fmt: skip
    n_columns, n_of_bed = struct.unpack("<HH", path.read_bytes()[32:36])  # as browsers read them
    assert (n_columns, n_of_bed) == (14, 9)
    index = pysam.tabix_index(
        str(folder / "table.FOXA2.variants.bed.gz"), preset="bed", keep_original=True,
        index=str(folder / "i.tbi"),
    )  # fmt: skip
    with pysam.TabixFile(index, index=str(folder / "i.tbi")) as tabix:
        assert len(list(tabix.fetch("chr2", 0, 100))) == 2


def test_the_annotated_vcf_gives_the_same_to_its_seven_digits(folder: Path, tmp_path: Path) -> None:
    mcd.write_tracks(folder / "out.vcf.gz", tmp_path / "table")
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == sorted(p.name for p in folder.glob("table.*") if p.name != "table.parquet")
    for name in (n for n in names if n.endswith(".bed.gz")):
        pairs = zip(text_lines(tmp_path / name), text_lines(folder / name), strict=True)
        for got, expected in pairs:
            assert got[:4] == expected[:4]
            assert got[12:] == expected[12:]
            np.testing.assert_allclose(
                [float(x) for x in got[9:12]], [float(x) for x in expected[9:12]], rtol=3e-6
            )


def test_a_vcf_without_effects_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="was not written by kipoi_mcdropout"):
        mcd.write_tracks(folder / "in.vcf", tmp_path / "t")
    mcd.score_variants(
        mcd.Model(tiny_net(), outputs=OUTPUTS),
        folder / "in.vcf",
        folder / "genome.fa",
        output=tmp_path / "few.vcf",
        n_draws=2,
        vcf_options=mcd.VcfOptions(statistics=("prob_positive",)),
    )
    with pytest.raises(InputError, match="no INFO field with the effect_mean of score diff"):
        mcd.write_tracks(tmp_path / "few.vcf", tmp_path / "t")


def test_what_is_not_finite_is_left_out_and_told(folder: Path, tmp_path: Path) -> None:
    effects = mcd.read(folder / "table.parquet")
    table = effects.table()
    table.loc[table.index[0], ["effect_mean", "effect_sd"]] = np.nan
    write_effects(table, tmp_path / "nan.parquet", effects.provenance)
    with pytest.warns(InputWarning, match="1 effects of alleles"):
        mcd.write_tracks(tmp_path / "nan.parquet", tmp_path / "t")
    found = json.loads((tmp_path / "t.tracks.json").read_text())["tracks"]
    assert sorted(track["alleles"] for track in found) == [3, 3, 4, 4, 4, 4]
    write_effects(table.head(0), tmp_path / "none.parquet", effects.provenance)
    with pytest.raises(InputError, match="no allele of score diff"):
        mcd.write_tracks(tmp_path / "none.parquet", tmp_path / "n")


def test_without_a_spread_there_is_no_z(folder: Path, tmp_path: Path) -> None:
    effects = mcd.read(folder / "table.parquet")
    table = effects.table("FOXA2")
    table.loc[table.index[0], ["effect_sd", "z"]] = [0.0, np.nan]
    write_effects(table, tmp_path / "certain.parquet", effects.provenance)
    mcd.write_tracks(tmp_path / "certain.parquet", tmp_path / "t")
    lines = list(text_lines(tmp_path / "t.FOXA2.variants.bed.gz"))
    assert [line[11] == "nan" for line in lines] == [line[10] == "0.0" for line in lines]
    assert sum(line[11] == "nan" for line in lines) == 1
    model = mcd.Model(tiny_net(), outputs=OUTPUTS)
    point = mcd.score_variants(model, folder / "in.vcf", folder / "genome.fa", n_draws=0)
    mcd.write_tracks(point, tmp_path / "p", outputs="FOXA2")
    lines = list(text_lines(tmp_path / "p.FOXA2.variants.bed.gz"))
    expected = point.table("FOXA2").set_index(["chrom", "ref", "alt"])["effect_point"].astype(np.float32)
    assert len(lines) == 4
    for line in lines:
        assert line[10:12] == ["nan", "nan"]
        np.testing.assert_allclose(np.float32(line[9]), expected[line[0], line[12], line[13]], rtol=3e-7)
    with bigwigs.open(str(tmp_path / "p.FOXA2.variants.bb")) as file:
        assert sum(len(file.entries(name, 0, size)) for name, size in file.chroms().items()) == 4


def test_formats_of_the_other_kind(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="formats of this result are bigbed and bed; got bigwig"):
        mcd.write_tracks(folder / "table.parquet", tmp_path / "t", formats=["bigwig"])
    with pytest.raises(InputError, match="full_colour must be an effect above 0; got -1"):
        mcd.write_tracks(folder / "table.parquet", tmp_path / "t", full_colour=-1)
    with pytest.raises(InputError, match="needs all substitutions of whole sequences"):
        mcd.write_modisco(folder / "table.parquet", tmp_path / "t.npz")


def test_a_bigbed_that_lacks_rows_is_an_error(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pybigtools prints its errors instead of raising them, and leaves half a file."""
    whole = pybigtools.open

    class Half:
        def __init__(self, path: str) -> None:
            self.file = whole(path, "w")

        def write(self, sizes: Any, rows: list[Any], autosql: str) -> None:
            self.file.write(sizes, rows[:2], autosql=autosql)

    monkeypatch.setattr(pybigtools, "open", lambda p, mode="r": Half(p) if mode == "w" else whole(p))
    with pytest.raises(OutputError, match="has 2 of 4 alleles"):
        mcd.write_tracks(folder / "table.parquet", tmp_path / "t", formats=["bigbed"])
    assert list(tmp_path.iterdir()) == []


def test_effects_of_alleles_in_memory(folder: Path, tmp_path: Path) -> None:
    effects = mcd.score_variants(
        mcd.Model(tiny_net(), outputs=OUTPUTS), folder / "in.vcf", folder / "genome.fa", n_draws=6
    )
    assert isinstance(effects.table(), pd.DataFrame)
    mcd.write_tracks(effects, tmp_path / "table", outputs=1)
    (path,) = tmp_path.glob("*.bb")
    assert path.read_bytes() == (folder / path.name).read_bytes()
