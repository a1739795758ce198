"""The variants and the genome of a run, opened, with all records of a file looked at."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from kipoi_mcdropout.sequence.genome import Genome
from kipoi_mcdropout.vcf.options import VariantOptions
from kipoi_mcdropout.vcf.place.contigs import ContigNames
from kipoi_mcdropout.vcf.place.grouping import Grouping
from kipoi_mcdropout.vcf.place.haplotype_placement import HaplotypePlacer
from kipoi_mcdropout.vcf.place.placement import PlacementOptions, Placer
from kipoi_mcdropout.vcf.place.survey import Survey, survey_records
from kipoi_mcdropout.vcf.read.record import Record
from kipoi_mcdropout.vcf.read.record_reader import RecordReader
from kipoi_mcdropout.vcf.read.source import VariantSource


@dataclass(frozen=True)
class Opened:
    """What a run reads.

    Attributes
    ----------
    genome : Genome
    reader : RecordReader
    names : ContigNames
    survey : Survey
    records : iterable of Record
        To be scored, grouped.
    grouping : Grouping
    """

    genome: Genome
    reader: RecordReader
    names: ContigNames
    survey: Survey
    records: Iterable[Record]
    grouping: Grouping

    @classmethod
    def of(
        cls,
        stack: ExitStack,
        source: VariantSource,
        fasta: str | Path,
        options: VariantOptions,
        length: int,
    ) -> Opened:
        """Open both until the stack is left; `length` is that of a window, bp.

        Raises
        ------
        InputError
            If one of them, or a line of the file, is not as stated.
        """
        genome = stack.enter_context(Genome(fasta))
        grouping = options.grouping(length)
        opened = partial(source.open, options.region, genome.lengths, margin=grouping.margin)
        again = None if source.is_stream else opened
        reader = stack.enter_context(opened(judged=again is not None))
        names = ContigNames(
            genome.lengths, reader.header.contig_lengths(), options.contig_names()
        )
        survey = Survey(genome, names, options.ref_mismatch)
        records = survey_records(survey, reader, again, grouping)
        return cls(genome, reader, names, survey, records, grouping)

    @property
    def notices(self) -> list[str]:
        """What must be known before the results are used."""
        return [*self.reader.notices, *self.survey.notices]

    @property
    def n_samples(self) -> int | None:
        """Of how many samples haplotypes are scored; None where alleles are."""
        return len(self.reader.header.samples) if self.grouping.phased else None

    @property
    def undeclared_contigs(self) -> dict[str, int]:
        """Lengths of the genome's contigs, where the header of the VCF declares none."""
        return {} if self.reader.header.declared("contig") else self.genome.lengths

    def placer(self, placement: PlacementOptions) -> Placer:
        """What places the alleles, or the haplotypes."""
        kind = HaplotypePlacer if self.grouping.phased else Placer
        return kind(self.genome, self.names, placement)
