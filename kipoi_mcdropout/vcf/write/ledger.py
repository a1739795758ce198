"""What became of every allele: alleles in = scored + skipped."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from kipoi_mcdropout.errors import McDropoutError
from kipoi_mcdropout.files.text_fields import quoted
from kipoi_mcdropout.vcf.place.placement import Outcome, Scored
from kipoi_mcdropout.vcf.place.survey import SOME
from kipoi_mcdropout.vcf.read.alleles import Skip
from kipoi_mcdropout.vcf.read.record import Record

_REF_AGREED = ("too_long", "edge", "no_token", "failed")  # reasons that are found after REF was compared
SKIPPED_COLUMNS = ("chrom", "pos", "id", "ref", "alt", "allele", "line", "reason", "detail")


class SkippedAllelesError(McDropoutError):
    """Outputs are written, but are not to be used unseen (exit code 3): see `score_variants`."""


@dataclass
class Ledger:
    """Counts over a run.

    A record without ALT counts as one allele, skipped as `no_alt`.
    """

    records: int = 0
    alleles: int = 0
    scored: int = 0
    kinds: Counter[str] = field(default_factory=Counter)  # of the scored alleles
    flags: Counter[str] = field(default_factory=Counter)  # of the scored alleles
    skipped: Counter[str] = field(default_factory=Counter)  # by reason

    @property
    def n_skipped(self) -> int:
        """Number of skipped alleles."""
        return sum(self.skipped.values())

    def add(self, _record: Record, outcomes: list[Outcome]) -> int:
        """Count the alleles of one record; returns how many are scored."""
        before = self.scored
        self.records += 1
        for outcome in outcomes:
            self.alleles += 1
            if isinstance(outcome, Scored):
                self.scored += 1
                self.kinds[outcome.kind] += 1
                self.flags.update(outcome.flags)
            else:
                self.skipped[outcome.reason] += 1
        return self.scored - before

    def nothing_scored(self) -> str | None:
        """A sentence, if there were records and no allele of them was scored."""
        if self.scored or not self.records:
            return None
        reasons = ", ".join(f"{name} {n}" for name, n in sorted(self.skipped.items()))
        return f"none of {self.alleles} alleles was scored: {reasons}"

    def summary(self) -> str:
        """The counts in a few lines."""
        lines = [self._first_line()]
        parts_of = {"scored": self.kinds, "flagged": self.flags, "skipped": self.skipped}
        for title, counts in parts_of.items():
            if counts:
                parts = ", ".join(f"{name} {n}" for name, n in sorted(counts.items()))
                lines.append(f"  {title}: {parts}")
        differ = self.skipped["ref_mismatch"]
        compared = self.scored + sum(self.skipped[reason] for reason in _REF_AGREED) + differ
        if differ > SOME * compared:
            words = f"REF of {differ} of {compared} alleles differs from the FASTA: another assembly?"
            lines.append(f"  {words}")
        return "\n".join(lines)

    def _first_line(self) -> str:
        return (
            f"{self.records} records, {self.alleles} alleles = {self.scored} scored + "
            f"{self.n_skipped} skipped"
        )

    def to_dict(self) -> dict[str, Any]:
        """The counts as plain values."""
        return {
            "records": self.records,
            "alleles": self.alleles,
            "scored": self.scored,
            "kinds": dict(sorted(self.kinds.items())),
            "flags": dict(sorted(self.flags.items())),
            "skipped": dict(sorted(self.skipped.items())),
        }


def skipped_rows(record: Record, outcomes: list[Outcome]) -> str:
    """Lines of the table of skipped alleles, with the columns SKIPPED_COLUMNS."""
    rows = []
    for number, (alt, outcome) in enumerate(zip(record.alts, outcomes, strict=True), start=1):
        if isinstance(outcome, Skip):
            cells = (record.contig, record.pos, record.id, record.ref, alt, number, record.line)
            rows.append("\t".join(quoted(str(cell)) for cell in (*cells, *outcome)) + "\n")
    return "".join(rows)
