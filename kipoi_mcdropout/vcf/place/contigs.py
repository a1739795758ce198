"""Which contig of the genome a contig of the VCF is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kipoi_mcdropout.sequence.contig_names import alias_of, check_contig_map, some_names
from kipoi_mcdropout.vcf.read.alleles import Skip


class ContigNames:
    """Finds the contig of the genome by name, and checks it by length.

    The contig of the genome is the one in `contig_map`, without checks; else the one of the same name,
    whose length must be that of the VCF header where the header gives one; else the one whose name
    differs by a leading "chr" alone, and only if the header gives a length and it is the same.

    A length of 0, or one that does not go beyond the last record, is no length: PLINK writes the last
    position there. It counts as not given.

    Parameters
    ----------
    genome_lengths : mapping of str to int
        Contigs of the FASTA.
    header_lengths : mapping of str to int or None
        Contigs declared by the VCF header, with their lengths where given.
    contig_map : mapping of str to str
        From names of the VCF to names of the FASTA.

    Attributes
    ----------
    ends : mapping of str to int
        Last base of a record on each contig of the VCF, where that is known before the run.
    wrong : mapping of str to (int, int)
        Contigs on which most REF differ: how many, of how many that were compared.
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
        self.ends: Mapping[str, int] = {}
        self.wrong: Mapping[str, tuple[int, int]] = {}
        self._found: dict[str, str | Skip] = {}
        check_contig_map(self.contig_map, genome_lengths)

    def candidate(self, contig: str) -> str | None:
        """The contig of the genome that it is by name, whatever its length."""
        names = (self.contig_map.get(contig, contig), alias_of(contig))
        return next((name for name in names if name in self.genome_lengths), None)

    def find(self, contig: str) -> str | Skip:
        """Name in the genome, or why there is none."""
        if contig not in self._found:
            self._found[contig] = self._find(contig)
        return self._found[contig]

    def _find(self, contig: str) -> str | Skip:
        if contig in self.wrong:
            differ, compared = self.wrong[contig]
            return Skip("contig_differs", f"{differ} of {compared} REF differ")
        if contig in self.contig_map:
            return self.contig_map[contig]
        declared = self._declared(contig)
        if contig in self.genome_lengths:
            length = self.genome_lengths[contig]
            if declared is None or declared == length:
                return contig
            return Skip("contig_length", f"VCF header {declared}, genome {length}")
        alias = alias_of(contig)
        if alias not in self.genome_lengths:
            return Skip("contig_unknown")
        length = self.genome_lengths[alias]
        if declared == length:
            return alias
        why = "gives no length to check it by" if declared is None else f"gives length {declared}"
        return Skip(
            "contig_unknown",
            f"genome has {alias} of length {length} but the VCF header {why}; see --contig_map",
        )

    def _declared(self, contig: str) -> int | None:
        """Length in the VCF header, if it can be one."""
        declared = self.header_lengths.get(contig)
        return None if declared is not None and self._is_last_position(contig, declared) else declared

    def _is_last_position(self, contig: str, declared: int) -> bool:
        """Whether a declared length is 0, or the last position or the one after it, as PLINK writes."""
        if declared == self.genome_lengths.get(contig, self.genome_lengths.get(alias_of(contig))):
            return False
        return declared == 0 or (contig in self.ends and declared <= self.ends[contig] + 1)

    def notices(self, contigs: Iterable[str]) -> list[str]:
        """What is odd about the contigs of some records, a sentence for each kind."""
        outcomes = {contig: self.find(contig) for contig in contigs}
        lines = []
        given = {c: n for c in outcomes if (n := self.header_lengths.get(c)) is not None}
        if no_length := [c for c, n in given.items() if self._is_last_position(c, n)]:
            lines.append(
                f"the lengths in the VCF header of contigs {some_names(no_length)} are 0 or end at the "
                "last record, so they are not real lengths and are not used"
            )
        skips = {c: o for c, o in outcomes.items() if isinstance(o, Skip)}
        if other := [c for c, skip in skips.items() if skip.reason == "contig_length"]:
            lines.append(
                f"contigs {some_names(other)} have another length in the VCF header than in the FASTA "
                f"({other[0]}: {skips[other[0]].detail}), so none of their alleles is scored. Is it "
                "another assembly? If not, name these contigs in a contig map (--contig_map)"
            )
        aliases = {c: alias_of(c) for c, skip in skips.items() if skip.reason == "contig_unknown"}
        if unlike := {c: alias for c, alias in aliases.items() if alias in self.genome_lengths}:
            pair = " ".join(next(iter(unlike.items())))
            lines.append(
                f"the FASTA has no contigs {some_names(unlike)}; it has {some_names(unlike.values())}. "
                "If they are the same contigs, give a contig map (--contig_map FILE, lines such as: "
                f"{pair})"
            )
        return lines
