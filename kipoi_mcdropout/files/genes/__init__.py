"""Genes of an annotation file (GFF3, GTF, BED): where they lie, and which one a position belongs to."""

from __future__ import annotations

from kipoi_mcdropout.files.genes.genes import Gene, Genes
from kipoi_mcdropout.files.genes.read import read_genes

__all__ = ["Gene", "Genes", "read_genes"]
