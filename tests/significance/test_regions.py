"""Sampled windows keep every promise about peaks, background, N, GC and chromosomes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kipoi_mcdropout.cli import cli_main
from kipoi_mcdropout.errors import InputError, InputWarning
from kipoi_mcdropout.significance.regions import RegionOptions, bed_text, sample_regions

LENGTH = 100


@pytest.fixture(scope="module")
def genome(tmp_path_factory: pytest.TempPathFactory) -> Path:
    random = np.random.default_rng(0)
    contigs = []
    for name, gc in (("chr1", 0.4), ("chr2", 0.6), ("tiny", 0.5)):
        size = 20_000 if name != "tiny" else 50
        p = [(1 - gc) / 2, gc / 2, gc / 2, (1 - gc) / 2]
        text = list(random.choice(list("ACGT"), size, p=p))
        text[3000:3400] = ["N"] * len(text[3000:3400])
        contigs.append(f">{name}\n{''.join(text).lower() if name == 'chr2' else ''.join(text)}\n")
    path = tmp_path_factory.mktemp("genome") / "genome.fa"
    path.write_text("".join(contigs))
    return path


@pytest.fixture(scope="module")
def peaks() -> pd.DataFrame:
    starts = np.arange(500, 19_000, 400)
    rows = [(c, s, s + 150, s + 30) for c in ("chr1", "chr2") for s in starts]
    rows += [("chr1", 0, 40, 20), ("chr1", 500, 650, 530)]
    return pd.DataFrame(rows, columns=["chrom", "start", "end", "summit"])


def _text(genome: Path, chrom: str, start: int, end: int) -> str:
    contigs = dict(c.split("\n", 1) for c in genome.read_text()[1:].split("\n>"))
    return contigs[chrom].replace("\n", "")[start:end].upper()


@pytest.mark.parametrize("gc_match", [False, True])
def test_half_on_summits_half_away_from_all_peaks(
    genome: Path, peaks: pd.DataFrame, gc_match: bool
) -> None:
    blacklist = pd.DataFrame({"chrom": ["chr2"], "start": [10_000], "end": [12_000]})
    options = RegionOptions(40, LENGTH, seed=1, strand="random", gc_match=gc_match)
    regions = sample_regions(genome, peaks, options, blacklist)
    assert len(regions) == 40
    assert regions.score.sum() == 20
    assert not regions.duplicated(["chrom", "start"]).any()
    assert regions.name.is_unique
    assert set(regions.strand) == {"+", "-"}
    gc = {0: [], 1: []}
    for row in regions.itertuples():
        text = _text(genome, row.chrom, row.start, row.end)
        assert len(text) == LENGTH
        assert set(text) <= set("ACGT")
        gc[row.score].append(sum(base in "GC" for base in text) / LENGTH)
        same = peaks[peaks.chrom == row.chrom]
        touches = ((same.start < row.end) & (same.end > row.start)).any()
        summits = set(same.summit - LENGTH // 2)
        assert row.start in summits if row.score else not touches
        assert not (row.chrom == "chr2" and row.start < 12_000 and row.end > 10_000)
    if gc_match:
        np.testing.assert_allclose(sorted(gc[0]), sorted(gc[1]), atol=0.06)


def test_seed_and_chromosomes(genome: Path, peaks: pd.DataFrame) -> None:
    def starts(seed: int, **more: object) -> pd.DataFrame:
        return sample_regions(genome, peaks, RegionOptions(20, LENGTH, seed, **more))

    pd.testing.assert_frame_equal(starts(1), starts(1))
    assert not starts(1).equals(starts(2))
    assert set(starts(1, chroms=("chr2",)).chrom) == {"chr2"}
    assert set(starts(1, exclude_chroms=("chr2",)).chrom) == {"chr1"}


def test_too_few_is_said_with_numbers(genome: Path, peaks: pd.DataFrame) -> None:
    with pytest.raises(InputError, match="500 windows on peaks are required; of 96 peaks"):
        sample_regions(genome, peaks, RegionOptions(1000, LENGTH))
    everything = peaks.assign(start=0, end=20_000)
    with pytest.raises(InputError, match="10 background windows are required; 0 were found"):
        sample_regions(genome, everything, RegionOptions(20, LENGTH))


@pytest.mark.parametrize("what", ["peaks", "blacklist"])
def test_contigs_by_another_name_are_refused(genome: Path, peaks: pd.DataFrame, what: str) -> None:
    """Peaks or a blacklist on 1 of a genome with chr1 would be left out without a word."""
    other = peaks.assign(chrom=peaks["chrom"].str.removeprefix("chr"))
    given = {"peaks": peaks, "blacklist": other, what: other}
    with pytest.raises(InputError, match=f"contigs 1, 2 of the {what} are not in .* If 1 is chr1"):
        sample_regions(genome, options=RegionOptions(10, LENGTH), **given)
    strange = other.assign(chrom="scaffold")
    with pytest.raises(InputError, match=f"contigs scaffold of the {what} are not in"):
        sample_regions(genome, options=RegionOptions(10, LENGTH), **{**given, what: strange})
    some = pd.concat([peaks.iloc[:40], strange.iloc[:3]])
    with pytest.warns(InputWarning, match=f"scaffold of the {what} .* their 3 intervals"):
        sample_regions(genome, options=RegionOptions(2, LENGTH), **{"peaks": peaks, what: some})


def test_nothing_is_written_beside_the_genome(genome: Path, peaks: pd.DataFrame, tmp_path: Path) -> None:
    folder = tmp_path / "read_only"
    folder.mkdir()
    copy = folder / "genome.fa"
    copy.write_bytes(genome.read_bytes())
    folder.chmod(0o500)
    try:
        regions = sample_regions(copy, peaks, RegionOptions(10, LENGTH))
        assert [path.name for path in folder.iterdir()] == ["genome.fa"], "for root too"
    finally:
        folder.chmod(0o700)
    pd.testing.assert_frame_equal(regions, sample_regions(genome, peaks, RegionOptions(10, LENGTH)))


def test_kipoiseq_reads_three_columns_and_not_six(
    genome: Path, peaks: pd.DataFrame, tmp_path: Path
) -> None:
    kipoiseq = pytest.importorskip("kipoiseq.dataloaders.sequence")
    regions = sample_regions(genome, peaks, RegionOptions(4, LENGTH))
    paths = {n: tmp_path / f"bed{n}.bed" for n in (3, 6)}
    for n, path in paths.items():
        path.write_text(bed_text(regions, n))
    read = kipoiseq.BedDataset(str(paths[3]))
    assert [(i.chrom, i.start, i.stop) for i, _ in (read[k] for k in range(4))] == [
        tuple(row) for row in regions[["chrom", "start", "end"]].itertuples(index=False)
    ]
    with pytest.raises(ValueError, match=r"peak|background"):
        kipoiseq.BedDataset(str(paths[6]))


def test_command_line(
    genome: Path, peaks: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bed = tmp_path / "peaks.bed"
    peaks[["chrom", "start", "end"]].to_csv(bed, sep="\t", header=False, index=False)
    words = ["sample_regions", "-f", str(genome), "--peaks", str(bed), "-n", "10", "--length", "100"]
    cli_main("mcdropout", [*words, "-o", str(tmp_path / "r.bed")])
    cli_main("mcdropout", [*words, "-o", "-"])
    cli_main("mcdropout", [*words, "--bed3", "-o", str(tmp_path / "three.bed")])
    six, three = (pd.read_table(tmp_path / name, header=None) for name in ("r.bed", "three.bed"))
    pd.testing.assert_frame_equal(six[[0, 1, 2]], three)
    assert capsys.readouterr().out == (tmp_path / "r.bed").read_text()
    for more, message in (
        (["-n", "7"], "even number"),
        (["--chroms", "chrX"], "chrX is not a contig"),
        (["--strand", "x"], "strand must be"),
    ):
        with pytest.raises(SystemExit) as stop:
            cli_main("mcdropout", [*words, "-o", "-", *more])
        assert stop.value.code == 2
        assert message in capsys.readouterr().err
