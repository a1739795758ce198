"""The FASTA: blocks, case, ends of contigs, and nothing written beside it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from variant_world import random_sequence, write_fasta

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.vcf import genome as genome_module
from kipoi_mcdropout.vcf.contigs import ContigNames, read_contig_map
from kipoi_mcdropout.vcf.genome import Genome


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


def test_nothing_is_written_beside_the_fasta_and_no_temporary_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    folder = tmp_path / "data"
    folder.mkdir()
    path = write_fasta(folder / "g.fa", {"a": "ACGT"})
    with Genome(path) as genome:
        assert genome.bases("a", 0, 4) == "ACGT"
    assert os.listdir(folder) == ["g.fa"]
    assert os.listdir(scratch) == []


def test_an_index_older_than_the_fasta_is_not_used(tmp_path: Path) -> None:
    path = write_fasta(tmp_path / "g.fa", {"a": "ACGTACGT"})
    stale = tmp_path / "g.fa.fai"
    stale.write_text("a\t4\t3\t4\t5\n")
    old = time.time() - 1000
    os.utime(stale, (old, old))
    with Genome(path) as genome:
        assert genome.lengths == {"a": 8}
    assert stale.read_text() == "a\t4\t3\t4\t5\n"


@pytest.mark.parametrize("text", ["", "no fasta at all\n", ">a\nACGT\nAC\nACGT\n"])
def test_what_is_no_fasta_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "g.fa"
    path.write_text(text)
    with pytest.raises(InputError, match=r"g\.fa"):
        Genome(path)


def test_a_missing_fasta_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not there"):
        Genome(tmp_path / "no.fa")


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
