"""Reading: every format gives the same records, bad lines are named, nothing is written."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from variant_world import bcftools, write_vcf

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.vcf.read.count import count_records
from kipoi_mcdropout.vcf.read.reader import VcfReader
from kipoi_mcdropout.vcf.read.record import Record
from kipoi_mcdropout.vcf.read.region import Region, parse_region

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
    regions = ["1", "2", "1:1-999", "1:18140-18150", "1:999,990-1,100,000", "1:1999000-90000000",
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
        ("{HLA:1}:3-4", Region("HLA:1", 2, 4)),
        ("{HLA-A*01:01:01:01}", Region("HLA-A*01:01:01:01", 0, 2**31 - 1)),
        ("HLA-A*01:01:01:01:1-100", Region("HLA-A*01:01:01:01", 0, 100)),
    ],
)
def test_regions_are_1_based_and_inclusive(text: str, region: Region) -> None:
    assert parse_region(text, ["1", "HLA:1"]) == region


@pytest.mark.parametrize("text", ["1:0-5", "1:9-5", "1:a-b", "1:-5", "{1}5"])
def test_a_region_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="region"):
        parse_region(text, ["1"])


@pytest.mark.parametrize(
    ("record", "complaint"),
    [
        ("1 x . A C . . .", "POS"),
        ("1 -4 . A C . . .", "POS"),
        ("1 99999999999 . A C . . .", "POS"),
        ("1 " + "9" * 22 + " . A C . . .", "POS"),
        ("1 " + "9" * 5000 + " . A C . . .", "POS"),
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
    path = write_vcf(tmp_path / "bad.vcf", ["<1 4 . A C . . ."], CONTIGS, HEADER)
    with pytest.raises(InputError, match=r"bad\.vcf, line 10: .*htslib"):
        read(path)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "empty"),
        ("hello\n", "line 1: .*fileformat"),
        ("##fileformat=VCFv4.2\n", "line 2: .*missing"),
        ("##fileformat=VCFv4.2\n#CHROM\tPOS\n", "line 2: the columns"),
        ("##fileformat=VCFv4.2\n#nothing\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n", "line 2"),
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


@pytest.mark.parametrize("name", ["a.vcf.gz", "a.bcf"])
@pytest.mark.parametrize("way", ["file", "standard input", "pipe"])
def test_a_compressed_input_without_its_end_marker_is_an_error(
    tmp_path: Path, name: str, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest is whole, so htslib and gzip take it for a shorter file."""
    plain = big_vcf(tmp_path)
    path = tmp_path / name
    bcftools("view", "--no-version", "-Ob" if name == "a.bcf" else "-Oz", "-o", path, plain)
    whole = path.read_bytes()
    blocks = [at for at in range(len(whole)) if whole.startswith(b"\x1f\x8b\x08\x04", at)]
    assert len(blocks) > 3
    n = len(read(plain))
    for data, complete in ((whole, True), (whole[:-28], False), (whole[: blocks[2]], False)):
        path.write_bytes(data)
        with given(path, way, monkeypatch) as source:
            if complete:
                assert len(read(source)) == n
            else:
                with pytest.raises(InputError, match="cut off"):
                    read(source)


@contextmanager
def given(path: Path, way: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path | str]:
    """The file by its path, on standard input, or through a pipe with a name such as <(...) has."""
    if way == "file":
        yield path
    elif way == "standard input":
        stream = io.TextIOWrapper(io.BufferedReader(io.BytesIO(path.read_bytes())))  # type: ignore[arg-type]
        monkeypatch.setattr(sys, "stdin", stream)
        yield "-"
    else:
        with subprocess.Popen(["cat", path], stdout=subprocess.PIPE) as cat:
            assert cat.stdout is not None
            yield f"/dev/fd/{cat.stdout.fileno()}"
            cat.stdout.close()


@pytest.mark.parametrize("name", ["a.vcf", "a.vcf.gz", "a.bcf"])
def test_a_pipe_is_read_as_the_file_is(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / name
    plain = write_vcf(tmp_path / "a.vcf", RECORDS, CONTIGS, HEADER)
    if name != "a.vcf":
        bcftools("view", "--no-version", "-Ob" if name == "a.bcf" else "-Oz", "-o", path, plain)
    expected = read(path)
    assert len(expected) == len(RECORDS)
    with given(path, "pipe", monkeypatch) as source:
        assert read(source) == expected
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with subprocess.Popen(["sh", "-c", f"cat {path} > {fifo}"]):
        assert read(fifo) == expected


def test_a_bcf_without_compression_that_is_cut_off_is_an_error(tmp_path: Path) -> None:
    plain = write_vcf(tmp_path / "a.vcf", RECORDS, CONTIGS, HEADER)
    if shutil.which("bcftools") is None:
        pytest.skip("bcftools is not installed (Debian package bcftools)")
    data = subprocess.run(["bcftools", "view", "-Ou", plain], capture_output=True, check=True).stdout
    data = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    bcf = tmp_path / "a.bcf"
    bcf.write_bytes(data)
    assert len(read(bcf)) == len(RECORDS)
    for n in (1, 30, len(data) - 20):
        bcf.write_bytes(data[:-n])
        with pytest.raises(InputError, match="cut off"):
            read(bcf)


def test_a_gz_that_ends_in_its_first_bytes_is_refused(tmp_path: Path) -> None:
    packed = write_vcf(tmp_path / "a.vcf.gz", RECORDS, CONTIGS, HEADER)
    data = packed.read_bytes()
    for n in (3, 12, 40):
        packed.write_bytes(data[:n])
        with pytest.raises(InputError, match=r"a\.vcf\.gz"):
            read(packed)


def test_values_of_samples_are_carried_over_whatever_they_are(tmp_path: Path) -> None:
    """VCF 4.4 has /0|1; bcftools and others have written more values than FORMAT has keys."""
    header = [*HEADER, '##FORMAT=<ID=GT,Number=1,Type=String,Description="g">']
    lines = ["1 4 . A C . . . GT /0|1", "1 5 . A C . . . GT 0/1:3:4", "1 6 . A C . . . GT:DP 0/1"]
    records = read(write_vcf(tmp_path / "a.vcf", lines, CONTIGS, header, ["s"]))
    assert [record.text.replace("\t", " ") for record in records] == lines


def test_bytes_that_are_no_utf8_are_kept_and_odd_header_lines_are_told(tmp_path: Path) -> None:
    header = ["##source=caf\u00e9", "##text without an equals sign", *HEADER]
    path = write_vcf(tmp_path / "a.vcf", ["1 4 \u00e9 A C . . AF=0.1"], CONTIGS, header)
    path.write_bytes(path.read_text().encode("latin-1"))
    with VcfReader(path) as reader:
        (record,) = reader
        assert reader.header.text([]).encode("utf-8", "surrogateescape") + record.text.encode(
            "utf-8", "surrogateescape"
        ) + b"\n" == path.read_bytes()
        assert len(reader.notices) == 1
        assert "line 3" in reader.notices[0]
        assert "##text without" in reader.notices[0]


@pytest.mark.parametrize("ends", [b"\r\n", b"\n"])
def test_the_header_keeps_its_line_ends_and_added_lines_have_them(tmp_path: Path, ends: bytes) -> None:
    path = write_vcf(tmp_path / "a.vcf", RECORDS, CONTIGS, HEADER)
    path.write_bytes(path.read_bytes().replace(b"\n", ends))
    with VcfReader(path) as reader:
        header = reader.header.text(["##x=1", "##y=2"]).encode()
    assert header.count(ends) == header.count(b"\n") == len(HEADER) + 2 + 2 + 2
    kept = header.replace(b"##x=1" + ends + b"##y=2" + ends, b"")
    assert path.read_bytes().startswith(kept)


@pytest.mark.parametrize(
    ("kind", "declared"), [("text", True), ("text", False), ("index", True), ("bcf", True)]
)
def test_a_region_of_a_contig_that_is_not_there_is_refused(
    tmp_path: Path, kind: str, declared: bool
) -> None:
    name = "HLA-A*01:01:01:01"
    contigs = {"chr1": 1000, name: 500, "chr2": 5} if declared else None
    lines = ["chr1 10 a A C . . .", f"{name} 20 b A C . . ."]
    path = write_vcf(tmp_path / "a.vcf", lines, contigs)
    if kind != "text":
        packed = tmp_path / ("a.bcf" if kind == "bcf" else "a.vcf.gz")
        bcftools("view", "-Ob" if kind == "bcf" else "-Oz", "-o", packed, path)
        if kind == "index":
            bcftools("index", packed)
        path = packed
    assert [r.id for r in read(path, "chr1:1-100")] == ["a"]
    assert [r.id for r in read(path, f"{name}:1-100")] == ["b"]
    assert [r.id for r in read(path, f"{{{name}}}:1-100")] == ["b"]
    assert read(path, "chr1:500-600") == []
    if declared:
        assert [r.id for r in read(path, name)] == ["b"]
        assert read(path, "chr2") == []
    for region in ("1:1-1000", "1", "chr3", "HLA-A*01:01"):
        with pytest.raises(InputError, match=r"a\.\w+(\.gz)? has no contig .*it has .*chr1"):
            read(path, region)


@pytest.mark.parametrize("damage", [lambda data: data[:-9], lambda _: b"text", lambda data: data[:0]])
def test_a_damaged_index_is_named(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    packed = tmp_path / "big.vcf.gz"
    bcftools("view", "--no-version", "-Oz", "-o", packed, big_vcf(tmp_path))
    bcftools("index", packed)
    index = Path(f"{packed}.csi")
    index.write_bytes(damage(index.read_bytes()))
    with pytest.raises(InputError, match=r"big\.vcf\.gz\.csi cannot be read as an index"):
        read(packed, "1:1000-2000")


def test_a_closed_standard_input_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(InputError, match="closed"):
        VcfReader("-")


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
    whole = packed.read_bytes()
    packed.write_bytes(whole[:-9])
    assert count_records(packed) is None
    packed.write_bytes(whole[:20] + bytes(20) + whole[40:])
    assert count_records(packed) is None
    assert count_records("-") is None
    if shutil.which("bcftools") and n:
        bcf = tmp_path / "a.bcf"
        bcftools("view", "-Ob", "-o", bcf, plain)
        assert count_records(bcf) is None
