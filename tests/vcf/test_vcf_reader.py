"""Reading: every format gives the same records, bad lines are named, nothing is written."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from variant_world import bcftools, write_vcf

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.vcf.count import count_records
from kipoi_mcdropout.vcf.reader import Record, VcfReader
from kipoi_mcdropout.vcf.region import Region, parse_region

CONTIGS = {"1": 100_000_000, "2": 100_000_000}
RECORDS = [
    "1 10 a A C 1e1 PASS AF=0.1",
    "1 10 a A C . . .",
    "1 5 . AC A,<DEL> . q10;s50 X",
    "2 7 . a t 3.00 . AF=0.10000000149011612;",
]
# No two of the lines have the same text, so that a wrong line cannot pass for the right one.
HEADER = [
    '##INFO=<ID=AF,Number=A,Type=Float,Description="x, y=<z>">',
    "##weird=text",
    '##INFO=<ID=X,Number=0,Type=Flag,Description="x">',
    '##FILTER=<ID=q10,Description="q">',
    '##FILTER=<ID=s50,Description="s">',
]


def read(path: Path | str, region: str | None = None) -> list[Record]:
    with VcfReader(path, region) as reader:
        return list(reader)


def test_plain_text_is_kept_as_it_is(tmp_path: Path) -> None:
    records = read(write_vcf(tmp_path / "a.vcf", RECORDS, CONTIGS, HEADER))
    assert [r.text for r in records] == [r.replace(" ", "\t") for r in RECORDS]
    assert [r.line for r in records] == [10, 11, 12, 13]
    third = records[2]
    assert (third.contig, third.pos, third.ref, third.alts) == ("1", 5, "AC", ("A", "<DEL>"))


def test_gzip_and_stdin_give_the_same_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = write_vcf(tmp_path / "a.vcf", RECORDS, CONTIGS, HEADER)
    packed = write_vcf(tmp_path / "a.vcf.gz", RECORDS, CONTIGS, HEADER)
    expected = read(plain)
    assert read(packed) == expected
    for path in (plain, packed):
        stream = io.TextIOWrapper(io.BufferedReader(io.BytesIO(path.read_bytes())))  # type: ignore[arg-type]
        monkeypatch.setattr(sys, "stdin", stream)
        assert read("-") == expected


def test_line_ends_of_windows_and_a_missing_last_one_are_kept(tmp_path: Path) -> None:
    path = write_vcf(tmp_path / "a.vcf", RECORDS, CONTIGS, HEADER)
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n").removesuffix(b"\r\n"))
    records = read(path)
    assert [r.line_end for r in records] == ["\r\n"] * 3 + [""]
    assert [r.text for r in records] == [r.replace(" ", "\t") for r in RECORDS]


def test_bgzip_and_bcf_are_read_and_nothing_is_written_beside_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = write_vcf(tmp_path / "a.vcf", sorted(RECORDS), CONTIGS, HEADER)
    expected = read(plain)
    for kind, name in (("z", "b.vcf.gz"), ("b", "b.bcf")):
        bcftools("view", "--no-version", f"-O{kind}", "-o", tmp_path / name, plain)
    before = sorted(os.listdir(tmp_path))
    key = [(r.contig, r.pos, r.id, r.ref, r.alts) for r in expected]
    for name in ("b.vcf.gz", "b.bcf"):
        assert [(r.contig, r.pos, r.id, r.ref, r.alts) for r in read(tmp_path / name)] == key
        assert [(r.pos) for r in read(tmp_path / name, "1:10-20")] == [10, 10]
    stream = io.TextIOWrapper(io.BufferedReader(io.BytesIO((tmp_path / "b.bcf").read_bytes())))  # type: ignore[arg-type]
    monkeypatch.setattr(sys, "stdin", stream)
    assert [(r.contig, r.pos, r.id, r.ref, r.alts) for r in read("-")] == key
    assert sorted(os.listdir(tmp_path)) == before


def big_vcf(folder: Path) -> Path:
    """Enough records that an index has several bins, windows and blocks; one spans far."""
    records = [f"1 {pos} r{pos} A C . . ." for pos in range(1000, 2_000_000, 173)]
    records.insert(100, "1 18130 long " + "A" * 60 + " A . . .")
    records += [f"2 {pos} s{pos} A C . . ." for pos in range(50_000_000, 50_400_000, 173)]
    return write_vcf(folder / "big.vcf", records, CONTIGS)


@pytest.mark.parametrize("kind", ["--csi", "--tbi"])
def test_an_index_gives_the_records_that_a_scan_gives(tmp_path: Path, kind: str) -> None:
    plain = big_vcf(tmp_path)
    packed = tmp_path / "big.vcf.gz"
    bcftools("view", "--no-version", "-Oz", "-o", packed, plain)
    bcftools("index", kind, packed)
    regions = ["1", "2", "3", "1:1-999", "1:18140-18150", "1:999,990-1,100,000", "1:1999000-90000000",
               "2:1-40000000", "2:50200000", "2:50200161", "2:50300000-",
               "2:60000000-61000000"]  # fmt: skip
    for region in regions:
        found = [r.text for r in read(packed, region)]
        assert found == [r.text for r in read(plain, region)], region
        expected = bcftools("view", "-H", "-r", region.replace(",", ""), packed).splitlines()
        assert found == expected, region


def test_with_an_index_the_file_is_not_read_from_its_start(tmp_path: Path) -> None:
    packed = tmp_path / "big.vcf.gz"
    bcftools("view", "--no-version", "-Oz", "-o", packed, big_vcf(tmp_path))
    bcftools("index", packed)
    by_index = read(packed, "2:50200000-50210000")
    assert by_index[0].line < 5000
    (tmp_path / "big.vcf.gz.csi").unlink()
    assert read(packed, "2:50200000-50210000")[0].line > 10_000


@pytest.mark.parametrize(
    ("text", "region"),
    [
        ("1", Region("1", 0, 2**31 - 1)),
        ("1:5", Region("1", 4, 5)),
        ("1:5-", Region("1", 4, 2**31 - 1)),
        ("1:1,000-2,000", Region("1", 999, 2000)),
        ("HLA:1", Region("HLA:1", 0, 2**31 - 1)),
        ("HLA:1:3-4", Region("HLA:1", 2, 4)),
    ],
)
def test_regions_are_1_based_and_inclusive(text: str, region: Region) -> None:
    assert parse_region(text, ["1", "HLA:1"]) == region


@pytest.mark.parametrize("text", ["1:0-5", "1:9-5", "1:a-b", "1:-5"])
def test_a_region_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="region"):
        parse_region(text, ["1"])


@pytest.mark.parametrize(
    ("record", "complaint"),
    [
        ("1 x . A C . . .", "POS"),
        ("1 -4 . A C . . .", "POS"),
        ("1 99999999999 . A C . . .", "POS"),
        ("1 4 . A C . .", "8 columns"),
        ("1 4 . A C . . . .", "8 columns"),
        ("1 4 . A C,,T . . .", "empty"),
        ("1 4 .  C . . .", "empty"),
        ("", "empty line"),
    ],
)
def test_a_bad_record_is_named_with_file_and_line(tmp_path: Path, record: str, complaint: str) -> None:
    path = write_vcf(tmp_path / "bad.vcf", [*RECORDS, record, RECORDS[0]], CONTIGS, HEADER)
    with pytest.raises(InputError, match=rf"bad\.vcf, line 14: .*{complaint}"):
        read(path)


def test_what_htslib_cannot_parse_is_named_with_file_and_line(tmp_path: Path) -> None:
    header = [*HEADER, '##FORMAT=<ID=GT,Number=1,Type=String,Description="g">']
    path = write_vcf(tmp_path / "bad.vcf", ["1 4 . A C . . . GT 0/x"], CONTIGS, header, ["s"])
    with pytest.raises(InputError, match=r"bad\.vcf, line 11: .*htslib"):
        read(path)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "empty"),
        ("hello\n", "line 1: .*fileformat"),
        ("##fileformat=VCFv4.2\n", "line 2: .*missing"),
        ("##fileformat=VCFv4.2\n#CHROM\tPOS\n", "line 2: the columns"),
        ("##fileformat=VCFv4.2\n##nothing\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n", "line 2"),
    ],
)
def test_what_is_no_vcf_is_refused_with_its_line(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "bad.vcf"
    path.write_text(text)
    with pytest.raises(InputError, match=rf"bad\.vcf.*{complaint}"):
        read(path)


def test_a_truncated_file_is_an_error_not_a_short_result(tmp_path: Path) -> None:
    packed = write_vcf(tmp_path / "a.vcf.gz", RECORDS * 50, CONTIGS, HEADER)
    packed.write_bytes(packed.read_bytes()[:-20])
    with pytest.raises(InputError, match="cut off"):
        read(packed)


def test_a_bgzipped_file_without_its_end_marker_is_an_error(tmp_path: Path) -> None:
    if shutil.which("bgzip") is None:
        pytest.skip("bgzip is not installed (Debian package tabix)")
    plain = write_vcf(tmp_path / "a.vcf", RECORDS, CONTIGS, HEADER)
    data = subprocess.run(["bgzip", "-c", plain], capture_output=True, check=True).stdout
    whole = tmp_path / "a.vcf.gz"
    whole.write_bytes(data)
    assert len(read(whole)) == 4
    whole.write_bytes(data[:-28])
    with pytest.raises(InputError, match="cut off"):
        read(whole)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not there"):
        VcfReader(tmp_path / "no.vcf")


@pytest.mark.parametrize("n", [0, 1, 5])
def test_records_are_counted_for_the_time_left(tmp_path: Path, n: int) -> None:
    lines = [f"c {pos} . A C . . ." for pos in range(1, n + 1)]
    plain = write_vcf(tmp_path / "a.vcf", lines, {"c": 100})
    assert count_records(plain) == n
    packed = tmp_path / "a.vcf.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes().rstrip(b"\n")))
    assert count_records(packed) == n
    packed.write_bytes(packed.read_bytes()[:-9])
    assert count_records(packed) is None
    assert count_records("-") is None
    if shutil.which("bcftools") and n:
        bcf = tmp_path / "a.bcf"
        bcftools("view", "-Ob", "-o", bcf, plain)
        assert count_records(bcf) is None
