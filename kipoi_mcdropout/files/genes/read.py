"""Reads an annotation by the end of its name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.files.genes.bed import genes_of_bed
from kipoi_mcdropout.files.genes.genes import Gene, Genes
from kipoi_mcdropout.files.genes.gff import genes_of_gff3, genes_of_gtf
from kipoi_mcdropout.files.genes.lines import Near, Region

_READERS: dict[str, Callable[[Path, Near], list[Gene]]] = {
    ".gff3": genes_of_gff3,
    ".gff": genes_of_gff3,
    ".gtf": genes_of_gtf,
    ".bed": genes_of_bed,
}
_COMPRESSED = (".gz", ".bgz")


def read_genes(path: str | Path, near: Iterable[Region] = ()) -> Genes:
    """Read the genes of an annotation.

    Parameters
    ----------
    path : str or Path
        .gff3, .gff (which must be GFF3), .gtf or .bed (4 to 12 columns, one gene a line), plain or
        gzipped (.gz, .bgz).
    near : iterable of (contig, start, end)
        Regions, from 0 and half-open, near which exons are kept; without any, none are.

    Returns
    -------
    Genes

    Raises
    ------
    InputError
        If it is no such file, a line is not as it must be, or there is no gene in it.
    """
    path = Path(path)
    genes = Genes(_reader(path)(path, Near(near)))
    if not len(genes):
        raise InputError(
            f"{path} has no gene with a name. GFF3 needs features whose type ends with gene, with Name "
            "or ID; GTF needs gene_id; BED needs a name in the fourth column"
        )
    return genes


def check_annotation(path: str | Path) -> None:
    """Raise InputError if an annotation is no file, or its name ends with no format that is read."""
    _reader(Path(path))
    if not Path(path).is_file():
        raise InputError(f"there is no file {path}. Check the path of the annotation")


def _reader(path: Path) -> Callable[[Path, Near], list[Gene]]:
    name = path.name.lower()
    for end in _COMPRESSED:
        name = name.removesuffix(end)
    if (suffix := Path(name).suffix) not in _READERS:
        raise InputError(
            "an annotation must be GFF3 (.gff3, .gff), GTF (.gtf) or BED (.bed), plain or with .gz; got "
            f"{path}"
        )
    return _READERS[suffix]
