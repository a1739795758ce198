"""What became of every copy of a chromosome at every record: copies in = scored + REF + skipped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kipoi_mcdropout.files.text_fields import quoted
from kipoi_mcdropout.vcf.place.placement import Outcome, Scored
from kipoi_mcdropout.vcf.read.alleles import Skip
from kipoi_mcdropout.vcf.read.haplotypes import Copy, HaplotypeRecord
from kipoi_mcdropout.vcf.read.record import Record
from kipoi_mcdropout.vcf.write.ledger import SKIPPED_COLUMNS, Ledger

SKIPPED_COPIES = (*SKIPPED_COLUMNS, "sample", "copy")


@dataclass
class HaplotypeLedger(Ledger):
    """Counts over a run that scores haplotypes.

    `alleles`, `scored` and `skipped` count the copies of samples that have an ALT, or may have one;
    `kinds` and `flags` count distinct haplotypes.
    """

    n_samples: int = 0
    haplotypes: int = 0  # distinct at their record, and scored
    reference: int = 0  # copies that have REF

    def add(self, record: Record, outcomes: list[Outcome]) -> int:
        """Count the copies at one record; returns how many haplotypes are scored."""
        assert isinstance(record, HaplotypeRecord)
        before = self.haplotypes
        self.records += 1
        self.reference += record.n_reference
        for haplotype, outcome in zip(record.haplotypes, outcomes, strict=True):
            n = len(haplotype.carriers)
            self.alleles += n
            if isinstance(outcome, Scored):
                self.haplotypes += 1
                self.scored += n
                self.kinds[outcome.kind] += 1
                self.flags.update(outcome.flags)
            else:
                self.skipped[outcome.reason] += n
        for _, reason in record.not_scored:
            self.alleles += 1
            self.skipped[reason] += 1
        return self.haplotypes - before

    def nothing_scored(self) -> str | None:
        """A sentence, if there were records and no haplotype was scored."""
        if self.scored or not self.records:
            return None
        reasons = ", ".join(f"{name} {n}" for name, n in sorted(self.skipped.items()))
        return (
            f"none of {self.alleles + self.reference} copies was scored: REF {self.reference}"
            f"{', ' if reasons else ''}{reasons}"
        )

    def _first_line(self) -> str:
        plural = "" if self.n_samples == 1 else "s"
        return (
            f"{self.records} records, {self.n_samples} sample{plural}, "
            f"{self.alleles + self.reference} copies = {self.scored} scored "
            f"({self.haplotypes} different haplotypes) + {self.reference} with REF + "
            f"{self.n_skipped} skipped"
        )

    def to_dict(self) -> dict[str, Any]:
        """The counts as plain values."""
        return {
            **super().to_dict(),
            "samples": self.n_samples,
            "copies": self.alleles + self.reference,
            "reference": self.reference,
            "haplotypes": self.haplotypes,
        }


def skipped_copies(record: Record, outcomes: list[Outcome]) -> str:
    """Lines of the table of skipped copies, with the columns SKIPPED_COPIES."""
    assert isinstance(record, HaplotypeRecord)
    rows: list[tuple[str, int | str, str, str, Copy]] = []
    for haplotype, outcome in zip(record.haplotypes, outcomes, strict=True):
        if isinstance(outcome, Skip):
            allele = (record.alts[haplotype.own - 1], haplotype.own)
            rows += [(*allele, *outcome, carrier) for carrier in haplotype.carriers]
    every = ",".join(record.alts)
    rows += [(every, "", reason, "", carrier) for carrier, reason in record.not_scored]
    first = (record.contig, record.pos, record.id, record.ref)
    return "".join(
        "\t".join(
            [
                *(quoted(str(cell)) for cell in (*first, alt)), str(allele), str(record.line),
                *(quoted(str(cell)) for cell in (reason, detail, copy.sample, copy.number)),
            ]
        )
        + "\n"
        for alt, allele, reason, detail, copy in rows
    )  # fmt: skip
