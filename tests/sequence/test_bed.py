"""BED is read as text: what is no interval is refused by its line, and nothing is taken for a summit."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from kipoi_mcdropout.cli import cli_main
from kipoi_mcdropout.errors import InputError, InputWarning
from kipoi_mcdropout.sequence.bed import read_intervals, read_rows

NARROW = "chr1\t100\t600\t{name}\t0\t.\t1.5\t-1\t2e3\t{summit}\n"
BED12 = "chr1\t1000\t3000\tgene\t0\t+\t1000\t3000\t0\t2\t100,200,\t0,1800,\n"


def _write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "peaks.bed"
    path.write_text(text)
    return path


def test_the_tenth_column_is_a_summit_in_files_of_ten(tmp_path: Path) -> None:
    text = "track name=x\nbrowser position chr1\n\n#comment\n" + NARROW.format(name="a", summit=30)
    path = _write(tmp_path, text + NARROW.format(name="b", summit=-1) + "chr1 7 9\n")
    assert read_intervals(path).summit.tolist() == [130, 350, 8]


def test_the_tenth_column_of_bed12_is_no_summit(tmp_path: Path) -> None:
    """Its two blocks are no summit at 1002."""
    assert read_intervals(_write(tmp_path, BED12)).summit.tolist() == [2000]


def test_more_columns_are_no_matter_but_no_summit_is_guessed(tmp_path: Path) -> None:
    assert read_intervals(_write(tmp_path, BED12.rstrip() + "\t1\t2\t3\n")).summit.tolist() == [2000]
    with pytest.warns(InputWarning, match="1 lines of .* more than ten columns"):
        intervals = read_intervals(_write(tmp_path, NARROW.format(name="a", summit="30\tmore")))
    assert intervals.summit.tolist() == [350]
    with pytest.warns(InputWarning):
        assert read_intervals(_write(tmp_path, "chr1\t1\t5" + "\tx" * 40 + "\n")).end.tolist() == [5]


@pytest.mark.parametrize("name", ["rep#1", '"peak', "'", "a b", "NA", "", "# no comment"])
def test_names_are_text(name: str, tmp_path: Path) -> None:
    lines = [NARROW.format(name=name, summit=7), NARROW.format(name="next", summit=8)]
    assert read_intervals(_write(tmp_path, "".join(lines))).summit.tolist() == [107, 108]


@pytest.mark.parametrize("contig", ["1", "01", "NA", "track1", "1e3", "True"])
def test_contigs_are_text(contig: str, tmp_path: Path) -> None:
    assert read_intervals(_write(tmp_path, f"{contig}\t5\t9\n")).chrom.tolist() == [contig]


@pytest.mark.parametrize(
    "bounds",
    [
        "2.61344e+06\t2692000", "2.6e+03\t2692", "100.7\t300.2", "100.0\t300", "True\t300", "-50\t100",
        "100\tinf", "nan\t5", "0x10\t40", "1_000\t2000", "٣\t9", "+5\t9", "\t9", "5", "x\t9",
        "9\t9", "9\t5", "1" * 22 + "\t" + "2" * 22,
    ],
)  # fmt: skip
def test_what_is_no_interval_is_refused_by_its_line(bounds: str, tmp_path: Path) -> None:
    path = _write(tmp_path, f"chr1\t1\t5\nchr1\t{bounds}\n")
    with pytest.raises(InputError, match=r"peaks.bed, line 2: .*\(BED\)"):
        read_intervals(path)


@pytest.mark.parametrize("summit", ["500", "5000", "-2", "1.5", ".", "gene"])
def test_a_summit_outside_its_peak_is_refused_by_its_line(summit: str, tmp_path: Path) -> None:
    path = _write(tmp_path, NARROW.format(name="a", summit=499) + NARROW.format(name="b", summit=summit))
    with pytest.raises(InputError, match=r"line 2: the tenth of ten columns .* below 500"):
        read_intervals(path)


def test_an_interval_without_a_contig_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="line 1"):
        read_intervals(_write(tmp_path, "\t5\t9\n"))


def test_gzip_and_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "peaks.bed.gz"
    path.write_bytes(gzip.compress(b"chr1\t5\t9\r\nchr1\t6\t8\r\n"))
    assert read_intervals(path).end.tolist() == [9, 8]
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(InputError, match="cannot be read as BED"):
        read_intervals(path)
    path.write_bytes(b"\x00\xff\xfe binary")
    with pytest.raises(InputError, match="line 1"):
        read_intervals(path)
    for missing in (tmp_path / "none.bed", tmp_path):
        with pytest.raises(InputError, match="cannot be read as BED"):
            read_intervals(missing)
    with pytest.raises(InputError, match="no interval"):
        read_intervals(_write(tmp_path, "# nothing\n"))


def test_the_command_centres_on_what_the_file_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "g.fa").write_text(">chr1\n" + "ACGT" * 1500 + "\n")
    words = ["sample_regions", "-f", str(tmp_path / "g.fa"), "-n", "2", "--length", "100", "-o", "-"]
    cli_main("mcdropout", [*words, "--peaks", str(_write(tmp_path, BED12))])
    (peak,) = [line for line in capsys.readouterr().out.splitlines() if "peak_" in line]
    assert peak.split("\t")[1:3] == ["1950", "2050"]
    with pytest.raises(SystemExit) as stop:
        cli_main("mcdropout", [*words, "--peaks", str(_write(tmp_path, BED12.replace("chr1", "1")))])
    assert stop.value.code == 2
    assert "If 1 is chr1, rename it in the peaks" in capsys.readouterr().err


def test_where_summits_do_not_matter_ten_columns_may_be_anything(tmp_path: Path) -> None:
    """As for `--regions`: the tenth may be a label of the model, or lie anywhere."""
    labels = "chr1\t100\t600\tname\t0\t-\t0.1\t0.2\t0.3\t0.4\n"
    path = _write(tmp_path, labels + labels.rstrip() + "\t0.5\n")
    rows = read_rows(path, with_summits=False)
    assert rows == [("chr1", 100, 600, 350, "name", "-")] * 2
    with pytest.raises(InputError, match="narrowPeak's summit"):
        read_rows(path)
