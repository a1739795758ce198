"""Genes of GFF3, GTF and BED: the same gene in each, compared with pysam and bioframe."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pysam
import pytest

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.files.genes import Gene, Genes, read_genes

bioframe = pytest.importorskip("bioframe")

# The example of the specification of GFF3, with two of its three transcripts.
GFF3 = """\
##gff-version 3
##sequence-region ctg123 1 1497228
ctg123\t.\tgene\t1000\t9000\t.\t+\t.\tID=gene00001;Name=EDEN
ctg123\t.\tTF_binding_site\t1000\t1012\t.\t+\t.\tID=tfbs00001;Parent=gene00001
ctg123\t.\tmRNA\t1050\t9000\t.\t+\t.\tID=mRNA00001;Parent=gene00001;Name=EDEN.1
ctg123\t.\tmRNA\t1300\t9000\t.\t+\t.\tID=mRNA00003;Parent=gene00001;Name=EDEN.3
ctg123\t.\texon\t1300\t1500\t.\t+\t.\tID=exon00001;Parent=mRNA00003
ctg123\t.\texon\t1050\t1500\t.\t+\t.\tID=exon00002;Parent=mRNA00001
ctg123\t.\texon\t3000\t3902\t.\t+\t.\tID=exon00003;Parent=mRNA00001,mRNA00003
ctg123\t.\texon\t7000\t9000\t.\t+\t.\tID=exon00005;Parent=mRNA00001,mRNA00003
ctg123\t.\tCDS\t1201\t1500\t.\t+\t0\tID=cds00001;Parent=mRNA00001
###
ctg9\t.\tpseudogene\t5\t10\t.\t-\t.\tID=g2;Name=A%2CB
##FASTA
>ctg123
ACGT
"""
GTF = """\
#!genome-build x
ctg123\tx\texon\t1050\t1500\t.\t+\t.\tgene_id "g1"; transcript_id "t1"; gene_name "EDEN";
ctg123\tx\texon\t3000\t3902\t.\t+\t.\tgene_id "g1"; transcript_id "t1"; gene_name "EDEN";
ctg123\tx\texon\t7000\t9000\t.\t+\t.\tgene_id "g1"; transcript_id "t1"; gene_name "EDEN";
ctg123\tx\texon\t1000\t1500\t.\t+\t.\tgene_id "g1"; transcript_id "t2"; gene_name "EDEN";
ctg123\tx\texon\t80000\t80010\t.\t+\t.\tgene_id "g1"; transcript_id "copy"; gene_name "EDEN";
"""
BED = (
    'track name="genes"\n'
    "ctg123\t999\t9000\tEDEN\t0\t+\t999\t9000\t0\t3\t501,903,2001,\t0,2000,6000,\n"
    "ctg9\t4\t10\tB\n"
)
NEAR = [("ctg123", 0, 5_000)]
EXONS = ((1049, 1500), (2999, 3902), (6999, 9000))


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    if name.endswith("gz"):
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


@pytest.mark.parametrize("name", ["a.gff3", "a.GFF3.gz", "a.gff"])
def test_gff3(name: str, tmp_path: Path) -> None:
    path = written(tmp_path, name, GFF3)
    genes = read_genes(path, [("ctg123", 0, 10_000)])
    assert len(genes) == 2
    assert genes.overlapping("ctg123", 0, 10_000) == [Gene("EDEN", "ctg123", 999, 9000, "+", EXONS)]
    assert genes.overlapping("ctg9", 0, 100) == [Gene("A,B", "ctg9", 4, 10, "-")]


def test_exons_are_kept_near_the_regions_alone(tmp_path: Path) -> None:
    path = written(tmp_path, "a.gff3", GFF3)
    (near,) = read_genes(path, NEAR).overlapping("ctg123", 0, 10)[:1] or [None]
    assert near is None  # [0, 10) has no gene
    (gene,) = read_genes(path, NEAR).overlapping("ctg123", 1000, 1001)
    assert gene.exons == EXONS[:2]
    assert read_genes(path).overlapping("ctg123", 1000, 1001)[0].exons == ()


def test_gtf_has_the_places_that_pysam_reads(tmp_path: Path) -> None:
    path = written(tmp_path, "a.gtf", GTF)
    genes = read_genes(path, [("ctg123", 0, 10_000)])
    with path.open() as lines:
        exons = [(e.start, e.end) for e in pysam.tabix_iterator(lines, pysam.asGTF())]
    first, copy = genes.overlapping("ctg123", 0, 100_000)
    assert (first.start, first.end) == (min(exons)[0], sorted(e for _, e in exons)[-2])
    assert first.exons == ((999, 1500), *EXONS[1:])
    assert (copy.name, copy.start, copy.end, copy.exons) == ("EDEN", *exons[-1], ())


def test_a_line_of_the_gene_counts_before_its_exons(tmp_path: Path) -> None:
    line = 'ctg123\tx\tgene\t500\t9500\t.\t-\t.\tgene_id "g1"; gene_name "EDEN";\n'
    (gene,) = read_genes(written(tmp_path, "a.gtf", GTF + line)).overlapping("ctg123", 600, 601)
    assert (gene.name, gene.start, gene.end) == ("EDEN", 499, 9500)


def test_bed12_and_bed4(tmp_path: Path) -> None:
    path = written(tmp_path, "a.bed.gz", BED)
    (gene,) = read_genes(path, NEAR).overlapping("ctg123", 0, 10_000)
    assert gene == Gene("EDEN", "ctg123", 999, 9000, "+", ((999, 1500), (2999, 3902), (6999, 9000)))
    assert read_genes(path).overlapping("ctg9", 9, 10) == [Gene("B", "ctg9", 4, 10)]


def test_transcripts_stand_for_genes_where_there_are_none(tmp_path: Path) -> None:
    text = (
        "c\t.\tmRNA\t11\t90\t.\t+\t.\tID=t1;gene=ABC\n"
        "c\t.\texon\t11\t20\t.\t+\t.\tParent=t1\nc\t.\texon\t81\t90\t.\t+\t.\tParent=t1\n"
    )
    genes = read_genes(written(tmp_path, "a.gff3", text), [("c", 0, 100)])
    assert genes.overlapping("c", 0, 100) == [Gene("ABC", "c", 10, 90, "+", ((10, 20), (80, 90)))]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.txt", BED, "GFF3 (.gff3, .gff), GTF (.gtf) or BED (.bed)"),
        ("a.bb", BED, "must be GFF3"),
        ("a.bed", "chr1\t1\t2\n", "line 1: chrom, start, end and the gene's name"),
        ("a.bed", "chr1\t5\t5\tA\n", "line 1: start < end"),
        ("a.bed", "ctg123\t1\t9\tA\t0\t+\t1\t9\t0\t2\t3\t0\n", "columns 10 to 12 of BED12"),
        ("a.gff3", GTF, "give it a name that ends with .gtf"),
        ("a.gtf", GFF3, "give it a name that ends with .gff3"),
        ("a.gff3", BED, "line 1: nine columns apart by tabs"),
        ("a.gff3", "c\t.\tgene\t9\t8\t.\t+\t.\tID=a\n", "1 <= start <= end"),
        ("a.gff3", "c\t.\tregion\t1\t8\t.\t+\t.\tID=a\n", "has no gene with a name"),
        ("a.gff3", "c\t.\tgene\t1\t8\t.\t+\t.\t.\n", "has no gene with a name"),
        ("a.bed", "", "has no gene with a name"),
        ("a.bed", "\x00\udcff", "cannot be read as BED"),
        ("a.bed.gz", None, "cannot be read as BED"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(
    name: str, text: str | None, said: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    whole = gzip.compress(BED.encode()) if text is None else text.encode("utf-8", "surrogateescape")
    path.write_bytes(whole[:-9] if text is None else whole)
    with pytest.raises(InputError, match=re.escape(name)) as error:
        read_genes(path, NEAR)
    assert said in str(error.value)


def test_names_in_words() -> None:
    genes = Genes(
        [Gene("A", "1", 100, 200), Gene("B", "1", 150, 160), Gene("C", "1", 5_000_000, 5_000_010)]
    )
    assert genes.label("1", 155, 156) == "A, B"
    assert genes.label("chr1", 199, 200) == "A"  # the other name of the contig
    assert genes.contig_of("chr1") == "1"
    assert genes.label("1", 200, 201) == "A (1 bp)"  # the next base
    assert genes.label("1", 99, 100) == "A (1 bp)"
    assert genes.label("1", 12_599, 12_600) == "A (12.4 kb)"
    assert genes.label("1", 7_500_009, 7_500_010) == "C (2.5 Mb)"
    assert genes.label("2", 1, 2) == ""
    assert genes.contig_of("2") is None
    many = Genes([Gene(name, "1", 0, 10) for name in "ABCDE"])
    assert many.label("1", 0, 1) == "A, B, C and 2 more"


def test_the_nearest_gene_is_that_of_bioframe() -> None:
    random = np.random.default_rng(0)
    starts = random.integers(0, 50_000, 40)
    genes = Genes(Gene(f"g{i}", "c", s, s + 300) for i, s in enumerate(starts.tolist()))
    places = random.integers(0, 50_000, 200)
    queries = pd.DataFrame({"chrom": "c", "start": places, "end": places + 1})
    known = pd.DataFrame({"chrom": "c", "start": starts, "end": starts + 300})
    theirs = bioframe.closest(queries, known).set_index("start")["distance"]  # 0 for the next base
    distances = []
    for place in places.tolist():
        found = genes.nearest("c", place, place + 1)
        assert found is not None
        distances.append(found[1])
        inside = bool(genes.overlapping("c", place, place + 1))
        assert (found[1] == 0) == inside
        assert max(0, found[1] - 1) == int(np.atleast_1d(theirs[place])[0])
    assert min(distances) == 0
    assert max(distances) > 100
