"""Genes of GFF3 and GTF files, whose coordinates are 1-based and inclusive."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.files.genes.genes import Gene, union
from kipoi_mcdropout.files.genes.lines import Near, numbered_lines, wrong_line

_COLUMNS = 9
_GTF_PAIR = re.compile(r'\s*([^\s;"]+)\s+(?:"([^"]*)"|([^\s;"]+))\s*(?:;|$)')
_GFF3_NAMES = ("gene_name", "Name", "gene", "gene_id", "ID")
_GTF_NAMES = ("gene_name", "gene_id")


class _Line(NamedTuple):
    """A feature: [start, end) from 0."""

    chrom: str
    kind: str
    start: int
    end: int
    strand: str
    attributes: str
    number: int


def genes_of_gff3(path: Path, near: Near) -> list[Gene]:
    """Features whose type ends with "gene"; where there are none, transcripts without a parent.

    The name is the first there is of the attributes gene_name, Name, gene, gene_id, ID. Exons are those
    of the gene's transcripts.

    Raises
    ------
    InputError
        If a line is no GFF3; it names the line.
    """
    genes: list[tuple[str, _Line, str]] = []  # id, line, name
    others: list[tuple[str, _Line, str]] = []
    parents: dict[str, str] = {}
    exons: list[tuple[str, int, int]] = []
    for line in _lines(path, "GFF3"):
        is_gene = line.kind.endswith("gene")
        is_near = near.has(line.chrom, line.start, line.end)
        is_transcript = _is_transcript(line.kind)
        if not (is_gene or is_transcript or is_near):
            continue
        found = _gff3_attributes(path, line)
        identity, parent = found.get("ID", ""), found.get("Parent", "")
        name = next((found[key] for key in _GFF3_NAMES if found.get(key)), "")
        if is_gene and not parent:
            genes.append((identity, line, name))
        elif is_transcript and not parent:
            others.append((identity, line, name))
        if is_near and line.kind == "exon":
            exons += [(one, line.start, line.end) for one in parent.split(",") if one]
        elif is_near and parent and identity:
            parents[identity] = parent.split(",")[0]
    of_gene: dict[str, list[tuple[int, int]]] = {}
    for parent, start, end in exons:
        of_gene.setdefault(parents.get(parent, parent), []).append((start, end))
    return [
        Gene(name, line.chrom, line.start, line.end, line.strand, union(of_gene.get(identity, ())))
        for identity, line, name in genes or others
        if name
    ]


def _is_transcript(kind: str) -> bool:
    return kind.endswith(("RNA", "transcript"))


@dataclass
class _GtfGene:
    """What is known of one gene of a GTF on one contig."""

    name: str
    strand: str
    own: list[tuple[int, int]] = field(default_factory=list)  # lines of the gene itself
    transcripts: dict[str, tuple[int, int]] = field(default_factory=dict)
    exons: list[tuple[int, int]] = field(default_factory=list)


def genes_of_gtf(path: Path, near: Near) -> list[Gene]:
    """Genes by `gene_id`, with `gene_name` as their name where there is one.

    A gene without a line of its own spans its transcripts; transcripts that lie apart are genes apart,
    since some files give one gene_id to copies of a gene.

    Raises
    ------
    InputError
        If a line is no GTF; it names the line.
    """
    genes: dict[tuple[str, str], _GtfGene] = {}
    for line in _lines(path, "GTF"):
        found = _gtf_attributes(path, line)
        name = next((found[key] for key in _GTF_NAMES if found.get(key)), "")
        identity = found.get("gene_id") or name
        if not identity:
            continue
        gene = genes.setdefault((line.chrom, identity), _GtfGene(name, line.strand))
        if line.kind == "gene":
            gene.own.append((line.start, line.end))
        elif line.kind in ("transcript", "exon", "CDS"):
            key = found.get("transcript_id", "")
            start, end = gene.transcripts.get(key, (line.start, line.end))
            gene.transcripts[key] = (min(start, line.start), max(end, line.end))
        if line.kind == "exon" and near.has(line.chrom, line.start, line.end):
            gene.exons.append((line.start, line.end))
    return [
        Gene(gene.name, chrom, start, end, gene.strand, _within(union(gene.exons), start, end))
        for (chrom, _), gene in genes.items()
        for start, end in gene.own or union(gene.transcripts.values())
    ]


def _within(exons: tuple[tuple[int, int], ...], start: int, end: int) -> tuple[tuple[int, int], ...]:
    return tuple((s, e) for s, e in exons if s >= start and e <= end)


def _lines(path: Path, what: str) -> Iterator[_Line]:
    """Features of a file; a GFF3 may end with its sequences, which are not looked at."""
    for number, text in numbered_lines(path, what):
        if text.startswith("##FASTA") or text.startswith(">"):
            return
        if not text.strip() or text.startswith("#"):
            continue
        fields = text.split("\t")
        if len(fields) != _COLUMNS or not (fields[3].isdecimal() and fields[4].isdecimal()):
            required = f"nine columns apart by tabs are required, with whole numbers in 4 and 5 ({what})"
            raise wrong_line(path, number, text, required)
        start, end = int(fields[3]) - 1, int(fields[4])
        if not 0 <= start < end:
            raise wrong_line(path, number, text, f"1 <= start <= end is required ({what})")
        strand = fields[6] if fields[6] in ("+", "-") else ""
        yield _Line(fields[0], fields[2], start, end, strand, fields[8], number)


def _gff3_attributes(path: Path, line: _Line) -> dict[str, str]:
    """Attributes of GFF3: ``key=value;key=value``, with values in percent code."""
    text = line.attributes.strip()
    if text in ("", "."):
        return {}
    pairs = [part.partition("=") for part in text.split(";") if part.strip()]
    if not all(equals for _, equals, _ in pairs):
        raise InputError(
            f"{path}, line {line.number}: attributes such as ID=gene1;Name=HNF1A are required (GFF3); "
            f"got {text[:60]!r}. If it is a GTF, give it a name that ends with .gtf"
        )
    return {key.strip(): unquote(value.strip()) for key, _, value in pairs}


def _gtf_attributes(path: Path, line: _Line) -> dict[str, str]:
    """Attributes of GTF: ``key "value"; key "value";``; of a key given twice the first counts."""
    found: dict[str, str] = {}
    for key, quoted, plain in _GTF_PAIR.findall(line.attributes):
        found.setdefault(key, quoted or plain)
    if "gene_id" not in found and "gene_name" not in found:
        raise InputError(
            f'{path}, line {line.number}: attributes such as gene_id "ENSG1"; are required (GTF); got '
            f"{line.attributes[:60]!r}. If it is a GFF3, give it a name that ends with .gff3"
        )
    return found
