"""The FASTA: blocks, case, ends of contigs, and nothing written beside it."""

from __future__ import annotations

import gzip
import multiprocessing
import os
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from variant_world import bgzip, random_sequence, write_fasta

from kipoi_mcdropout.errors import InputError, InputWarning
from kipoi_mcdropout.sequence import fasta_index
from kipoi_mcdropout.sequence import genome as genome_module
from kipoi_mcdropout.sequence.byte_source import PlainFile
from kipoi_mcdropout.sequence.contig_names import read_contig_map
from kipoi_mcdropout.sequence.fasta_index import build_index
from kipoi_mcdropout.sequence.genome import Genome
from kipoi_mcdropout.vcf.place.contigs import ContigNames


def test_fetch_over_blocks_and_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(genome_module, "_BLOCK_BP", 16)
    monkeypatch.setattr(genome_module, "_BLOCKS_KEPT", 2)
    text = random_sequence(100, 5)
    path = write_fasta(tmp_path / "g.fa", {"a": "NN", "b": text[:30].lower() + text[30:]})
    with Genome(path) as genome:
        assert genome.lengths == {"a": 2, "b": 100}
        for start in range(-5, 103, 7):
            for end in range(start, 106, 9):
                expected = "".join(text[i] if 0 <= i < 100 else "-" for i in range(start, end))
                assert genome.fetch("b", start, end).tobytes().decode() == expected
        assert genome.bases("b", 95, 200) == text[95:]
        assert genome.bases("b", 200, 210) == ""
        assert genome.base_at("b", 17) == text[17]


def test_nothing_is_written_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    folder = tmp_path / "data"
    folder.mkdir()
    path = write_fasta(folder / "g.fa", {"a": "ACGT"})
    before = path.stat().st_mtime_ns
    folder.chmod(0o555)
    with Genome(path) as genome:
        assert genome.bases("a", 0, 4) == "ACGT"
        assert os.listdir(folder) == ["g.fa"]
        assert os.listdir(scratch) == []
    folder.chmod(0o755)
    assert path.stat().st_mtime_ns == before


def samtools_index(path: Path) -> str:
    """The .fai that samtools makes, which the test then removes."""
    if shutil.which("samtools") is None:
        pytest.skip("samtools is not installed (Debian package samtools)")
    subprocess.run(["samtools", "faidx", path], check=True, capture_output=True)
    index = Path(f"{path}.fai")
    text = index.read_text()
    index.unlink()
    return text


SEQUENCES = {"a": random_sequence(300, 1), "b.2": random_sequence(300, 2), "c": "N" * 61 + "acgtr"}


@pytest.mark.parametrize("width", [50, 60, 300])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_the_index_made_in_memory_is_that_of_samtools(
    tmp_path: Path, width: int, line_end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_fasta(tmp_path / "g.fa", SEQUENCES, width)
    path.write_bytes(path.read_bytes().replace(b"\n", line_end.encode()))
    expected = samtools_index(path)
    for chunk in (7, 64, 2**22):
        monkeypatch.setattr(fasta_index, "_CHUNK_BYTES", chunk)
        index = build_index(PlainFile(path), "g.fa")
        made = "".join("\t".join(map(str, (name, *entry))) + "\n" for name, entry in index.items())
        assert made == expected


@pytest.mark.parametrize(
    "text",
    [
        ">a\nACGT\nAC",  # no line end at the end
        ">a\nACGT\nAC\n\n\n>b\n\n",  # blank lines, an empty sequence
        ">a x y\nACGTAC\n>b\nA\n",
        "\n>a\nACGTAC\n>b\nA",
    ],
)
def test_unusual_but_whole_files_are_read(tmp_path: Path, text: str) -> None:
    path = tmp_path / "g.fa"
    path.write_text(text)
    with Genome(path) as genome:
        assert genome.bases("a", 0, 9) == "ACGTAC"
        assert list(genome.lengths) == (["a", "b"] if ">b" in text else ["a"])


def other_layout(name: str, folder: Path) -> str:
    """The .fai of another file of the same sequences, or a damaged one."""

    def of(path: Path) -> str:
        return "".join(
            "\t".join(map(str, (contig, *entry))) + "\n"
            for contig, entry in build_index(PlainFile(path), "other").items()
        )

    right = of(folder / "g.fa")
    lines = [line.split("\t") for line in right.splitlines()]
    if name == "offsets swapped":
        lines[0][2], lines[1][2] = lines[1][2], lines[0][2]
        return "".join("\t".join(line) + "\n" for line in lines)
    if name == "names swapped":
        lines[0][0], lines[1][0] = lines[1][0], lines[0][0]
        return "".join("\t".join(line) + "\n" for line in lines)
    if name == "shorter":
        lines[-1][1] = str(int(lines[-1][1]) - 1)
        return "".join("\t".join(line) + "\n" for line in lines)
    if name == "wrapped at 50":
        return of(write_fasta(folder / "other.fa", SEQUENCES, 50))
    if name == "longer descriptions":
        text = (folder / "g.fa").read_text().replace("something", "x" * 20)
        (folder / "other.fa").write_text(text)
        return of(folder / "other.fa")
    if name == "windows":
        (folder / "other.fa").write_bytes((folder / "g.fa").read_bytes().replace(b"\n", b"\r\n"))
        return of(folder / "other.fa")
    cut = {"half a line": right[:-4], "a line less": right[: right.rindex("c\t")]}
    return {"empty": "", "no numbers": "a\tb\tc\td\te\n", "twice": right + right, **cut}[name]


@pytest.mark.parametrize(
    "name",
    ["offsets swapped", "names swapped", "shorter", "wrapped at 50", "longer descriptions", "windows",
     "half a line", "a line less", "empty", "no numbers", "twice"],
)  # fmt: skip
def test_a_newer_index_of_another_layout_is_not_used_and_this_is_said(tmp_path: Path, name: str) -> None:
    path = write_fasta(tmp_path / "g.fa", SEQUENCES, 60)
    index = Path(f"{path}.fai")
    index.write_text(text := other_layout(name, tmp_path))
    os.utime(index, (time.time() + 1000,) * 2)
    with (  # noqa: PT031
        pytest.warns(InputWarning, match=r"g\.fa\.fai is not used") as caught,
        Genome(path) as genome,
    ):
        assert genome.notice == str(caught[0].message)
        for contig, sequence in SEQUENCES.items():
            assert genome.bases(contig, 0, 1000) == sequence.upper()
    assert index.read_text() == text


def test_contigs_longer_than_a_block_with_an_index_of_longer_descriptions(tmp_path: Path) -> None:
    sequences = {name: random_sequence(70_000, seed) for seed, name in enumerate(("a", "b"))}
    path = write_fasta(tmp_path / "g.fa", sequences, 60)
    shifted = path.read_text().replace("something", "something" + "x" * 20)
    (tmp_path / "other.fa").write_text(shifted)
    Path(f"{path}.fai").write_text(samtools_index(tmp_path / "other.fa"))
    with pytest.warns(InputWarning, match="not used"), Genome(path) as genome:
        assert genome.bases("b", 69_000, 70_000) == sequences["b"][69_000:]


def test_the_right_index_is_used_without_reading_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_fasta(tmp_path / "g.fa", SEQUENCES, 60)
    Path(f"{path}.fai").write_text(samtools_index(path))
    old = time.time() - 1000
    os.utime(f"{path}.fai", (old, old))  # its age says nothing: it describes the file

    def never(*_: object) -> None:
        raise AssertionError("the index was made anew")

    monkeypatch.setattr(genome_module, "build_index", never)
    with Genome(path) as genome:
        assert genome.notice is None
        assert genome.bases("b.2", 100, 200) == SEQUENCES["b.2"][100:200]


@pytest.mark.parametrize("with_index", [False, True])
def test_a_bgzipped_fasta_is_read_at_any_place(tmp_path: Path, with_index: bool) -> None:
    sequences = {"a": random_sequence(200_000, 1), "b": random_sequence(150_000, 2)}
    plain = write_fasta(tmp_path / "g.fa", sequences, 70)
    packed = tmp_path / "g.fa.gz"
    packed.write_bytes(bgzip(plain.read_bytes()))
    if with_index:
        Path(f"{packed}.fai").write_text(samtools_index(plain))
    with Genome(packed) as genome:
        assert genome.lengths == {"a": 200_000, "b": 150_000}
        for start in (0, 65_500, 131_000, 149_990):
            assert genome.bases("b", start, start + 100) == sequences["b"][start : start + 100]
            assert genome.bases("a", start, start + 100) == sequences["a"][start : start + 100]


def test_a_compressed_fasta_that_cannot_be_read_at_any_place_says_what_to_do(tmp_path: Path) -> None:
    data = write_fasta(tmp_path / "g.fa", {"a": random_sequence(200_000, 1)}).read_bytes()
    packed = tmp_path / "g.fa.gz"
    packed.write_bytes(gzip.compress(data))
    with pytest.raises(InputError, match="gunzip"):
        Genome(packed)
    whole = bgzip(data)
    for cut in (whole[:-28], whole[:-40], whole[:20_000]):
        packed.write_bytes(cut)
        with pytest.raises(InputError, match="cut off"):
            Genome(packed)
    packed.write_bytes(whole[:200] + bytes([whole[200] ^ 255]) + whole[201:])
    with pytest.raises(InputError, match="damaged"):
        Genome(packed)


def test_a_genome_is_read_after_a_fork_in_both_processes_at_once(tmp_path: Path) -> None:
    sequence = random_sequence(2_000_000, 7)
    with Genome(write_fasta(tmp_path / "g.fa", {"a": sequence})) as genome:
        places = np.random.default_rng(0).integers(0, 1_999_900, 300).tolist()
        pool = multiprocessing.get_context("fork").Pool(2, _keep_genome, (genome,))
        with pool:
            found = pool.map(_bases_at, places, chunksize=5)
    assert found == [sequence[place : place + 100] for place in places]


_GENOMES: list[Genome] = []


def _keep_genome(genome: Genome) -> None:
    _GENOMES.append(genome)


def _bases_at(place: int) -> str:
    return _GENOMES[0].bases("a", place, place + 100)


@pytest.mark.parametrize(
    "text",
    ["", "no fasta at all\n", ">a\nACGT\nAC\nACGT\n", ">a\nAC\nACGT\n", ">a\nAC\n\nAC\n", ">\nA\n",
     ">a\nAC\n>a\nAC\n", ">a\nACGT\nAC\r\nAC\n"],
)  # fmt: skip
def test_what_is_no_fasta_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "g.fa"
    path.write_text(text)
    with pytest.raises(InputError, match=r"g\.fa"):
        Genome(path)


def test_a_missing_fasta_and_a_pipe_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not there"):
        Genome(tmp_path / "no.fa")
    os.mkfifo(tmp_path / "pipe.fa")
    with pytest.raises(InputError, match="not a regular file"):
        Genome(tmp_path / "pipe.fa")


LENGTHS = {"chr1": 100, "2": 50, "chrM": 16}


@pytest.mark.parametrize(
    ("contig", "declared", "found"),
    [
        ("chr1", {}, "chr1"),
        ("chr1", {"chr1": 100}, "chr1"),
        ("chr1", {"chr1": 99}, "contig_length"),
        ("1", {"1": 100}, "chr1"),
        ("1", {"1": 99}, "contig_unknown"),
        ("1", {"1": None}, "contig_unknown"),
        ("1", {}, "contig_unknown"),
        ("chr2", {"chr2": 50}, "2"),
        ("hs37d5", {"hs37d5": 100}, "contig_unknown"),
        ("MT", {"MT": 16}, "contig_unknown"),
    ],
)
def test_contigs_are_found_by_name_and_checked_by_length(
    contig: str, declared: dict[str, int | None], found: str
) -> None:
    result = ContigNames(LENGTHS, declared).find(contig)
    assert (result if isinstance(result, str) else result.reason) == found


def test_the_contig_map_wins_and_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "map.txt"
    path.write_text("# VCF FASTA\nMT\tchrM\n\nchr1 2\n")
    names = ContigNames(LENGTHS, {"chr1": 99}, read_contig_map(path))
    assert names.find("MT") == "chrM"
    assert names.find("chr1") == "2"


@pytest.mark.parametrize("text", ["MT\n", "MT chrM x\n", "MT chrM\nMT chr1\n"])
def test_a_contig_map_without_two_columns_is_refused_with_its_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "map.txt"
    path.write_text(text)
    with pytest.raises(InputError, match=rf"map\.txt, line {text.count(chr(10))}"):
        read_contig_map(path)


def test_a_contig_map_to_an_unknown_contig_is_refused() -> None:
    with pytest.raises(InputError, match="'chrMT'"):
        ContigNames(LENGTHS, {}, {"MT": "chrMT"})
