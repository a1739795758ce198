"""From the haplotypes about a record to their windows, or to the reasons why they are not scored."""

from __future__ import annotations

from kipoi_mcdropout.vcf.place.haplotype_windows import haplotype_window, overlapping
from kipoi_mcdropout.vcf.place.placement import Outcome, Placed, Placer
from kipoi_mcdropout.vcf.place.windows import anchor_about, reference_window
from kipoi_mcdropout.vcf.read.alleles import Edit, Skip, trim
from kipoi_mcdropout.vcf.read.haplotypes import Haplotype, HaplotypeRecord, variant_name
from kipoi_mcdropout.vcf.read.record import Record

HAPLOTYPE = "haplotype"  # the kind of several alleles together


class HaplotypePlacer(Placer):
    """Places the haplotypes of records in a genome."""

    def place(self, record: Record) -> list[Outcome]:
        """One outcome per haplotype, in order; see `Placer.place`."""
        assert isinstance(record, HaplotypeRecord)
        return [self._haplotype(record, haplotype) for haplotype in record.haplotypes]

    def _haplotype(self, record: HaplotypeRecord, haplotype: Haplotype) -> Outcome:
        found = self.edit_of(record, record.alts[haplotype.own - 1])
        if isinstance(found, Skip):
            return found
        contig, whole, kind = found
        if (skip := self._too_long(whole)) is not None:
            return skip
        names, edits, deleted = [variant_name(record, haplotype.own)], [trim(whole)], []
        for other, number in haplotype.alleles:
            if other.line == record.line:
                continue
            name, alt = variant_name(other, number), other.alts[number - 1]
            if alt == "*":
                deleted.append(other)
                continue
            near = self.edit_of(other, alt)
            if isinstance(near, Skip):
                return Skip("haplotype_allele", f"{name} is {near.reason}")
            names.append(name)
            edits.append(trim(near[1]))
        skip = _clash(record, names, edits) or _without_deletion(deleted, edits)
        if skip is not None:
            return skip
        length = self.options.length
        anchor = anchor_about(contig, whole.position, length)
        own, *others = edits
        refs = tuple(reference_window(self.genome, anchor, length, s) for s in self.options.shifts)
        alts = tuple(
            haplotype_window(self.genome, contig, record.pos - 1, own, others, length, shift)
            for shift in self.options.shifts
        )
        kind = HAPLOTYPE if others else kind
        return self.judged(Placed(kind, haplotype.flags, whole, anchor, refs, alts))


def _clash(record: Record, names: list[str], edits: list[Edit]) -> Skip | None:
    """Why the edits of a haplotype cannot all be made; the first is that of the record itself."""
    if (pair := overlapping(edits)) is not None:
        return Skip("overlapping_records", " and ".join(names[i] for i in pair))
    position = record.pos - 1
    for name, edit in zip(names[1:], edits[1:], strict=True):
        crosses = edit.position < position < edit.position + len(edit.ref)
        if crosses or (edit.position == position and len(edit.ref) > len(edit.alt)):
            return Skip("overlapping_records", f"{name} changes the base at {record.pos} too")
    return None


def _without_deletion(deleted: list[Record], edits: list[Edit]) -> Skip | None:
    """A record whose ALT is *, and whose deletion is no record of the haplotype."""
    for record in deleted:
        if not any(e.position <= record.pos - 1 < e.position + len(e.ref) for e in edits):
            return Skip("haplotype_allele", f"{record.contig}:{record.pos} is * without its deletion")
    return None
