"""Which contig of the genome a contig of the VCF is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.vcf.alleles import Skip

_PREFIX = "chr"


class ContigNames:
    """Finds the contig of the genome by name, and checks it by length.

    A contig is the one that `contig_map` names, taken at its word; else the one of the same name,
    whose length must be that of the VCF header where the header gives one; else the one whose name
    differs by a leading "chr" alone, and only if the header gives a length and it is the same.

    Parameters
    ----------
    genome_lengths : mapping of str to int
        Contigs of the FASTA.
    header_lengths : mapping of str to int or None
        Contigs declared by the VCF header, with their lengths where given.
    contig_map : mapping of str to str
        From names of the VCF to names of the FASTA.
    """

    def __init__(
        self,
        genome_lengths: Mapping[str, int],
        header_lengths: Mapping[str, int | None],
        contig_map: Mapping[str, str] | None = None,
    ) -> None:
        self.genome_lengths = genome_lengths
        self.header_lengths = header_lengths
        self.contig_map = dict(contig_map or {})
        self._found: dict[str, str | Skip] = {}
        for name, target in self.contig_map.items():
            if target not in genome_lengths:
                raise InputError(
                    f"the contig map sends {name!r} to {target!r}, which the genome does not have. Its "
                    f"contigs: {_some(genome_lengths)}"
                )

    def find(self, contig: str) -> str | Skip:
        """Name in the genome, or why there is none."""
        if contig not in self._found:
            self._found[contig] = self._find(contig)
        return self._found[contig]

    def _find(self, contig: str) -> str | Skip:
        if contig in self.contig_map:
            return self.contig_map[contig]
        declared = self.header_lengths.get(contig)
        if contig in self.genome_lengths:
            length = self.genome_lengths[contig]
            if declared is None or declared == length:
                return contig
            return Skip("contig_length", f"VCF header {declared}, genome {length}")
        alias = contig[len(_PREFIX) :] if contig.startswith(_PREFIX) else _PREFIX + contig
        if alias not in self.genome_lengths:
            return Skip("contig_unknown")
        length = self.genome_lengths[alias]
        if declared == length:
            return alias
        why = "gives no length to check it by" if declared is None else f"says length {declared}"
        return Skip(
            "contig_unknown",
            f"genome has {alias} of length {length} but the VCF header {why}; see --contig_map",
        )


def read_contig_map(path: str | Path) -> dict[str, str]:
    """Read a file of two columns, name in the VCF and name in the FASTA, apart by white space.

    Raises
    ------
    InputError
        If a line has not two columns, or a name is mapped twice.
    """
    mapping: dict[str, str] = {}
    for number, line in enumerate(Path(path).read_text().splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        words = line.split()
        if len(words) != 2 or mapping.get(words[0], words[-1]) != words[-1]:
            raise InputError(
                f"{path}, line {number}: required two columns, a contig of the VCF and its name in the "
                f"FASTA, each contig once; got {line!r}"
            )
        mapping[words[0]] = words[1]
    return mapping


def _some(names: Mapping[str, int]) -> str:
    shown = list(names)[:8]
    return ", ".join(shown) + (", ..." if len(names) > len(shown) else "")
