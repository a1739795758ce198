"""Which records of a file are put together: in haplotypes, or in a window that they share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.vcf.place.shared_windows import check_share, shared
from kipoi_mcdropout.vcf.place.windows import centre_of
from kipoi_mcdropout.vcf.read.haplotypes import Haplotypes
from kipoi_mcdropout.vcf.read.reader import VcfReader
from kipoi_mcdropout.vcf.read.record import Record
from kipoi_mcdropout.vcf.read.record_reader import RecordReader


@dataclass(frozen=True)
class Grouping:
    """How records become those that are scored; plain values, so that a merge groups as its shards did.

    Attributes
    ----------
    phased : bool
        Whether haplotypes are scored.
    before, after : int
        Bases of a window before the base at POS, and from it on, with all shifts; of haplotypes.
    share_bp : int
        See `shared_windows.shared`; 0 where no windows are shared.
    """

    phased: bool = False
    before: int = 0
    after: int = 0
    share_bp: int = 0

    @classmethod
    def of_windows(
        cls, length: int, shifts: tuple[int, ...], phased: bool, share_bp: int
    ) -> Grouping:
        """For windows of a length, bp, that are moved by so many bases."""
        check_share(share_bp, length, shifts)
        if not phased:
            return cls(share_bp=share_bp)
        index = centre_of(length)
        return cls(True, index - min(0, *shifts), length - index + max(0, *shifts))

    @property
    def margin(self) -> int:
        """Bases on both sides of a region whose records are needed too."""
        return max(self.before, self.after)

    def apply(self, records: Iterable[Record], reader: RecordReader) -> Iterable[Record]:
        """The records that are scored, made from those that a reader gives."""
        if self.phased:
            return self._haplotypes(reader).of(records)
        return shared(records, self.share_bp) if self.share_bp else records

    def check(self, records: Iterable[Record], reader: RecordReader) -> Iterable[Record]:
        """As `apply`, but without the haplotypes; it is checked that they can be found."""
        if self.phased:
            return self._haplotypes(reader).check(records)
        return self.apply(records, reader)

    def _haplotypes(self, reader: RecordReader) -> Haplotypes:
        if not isinstance(reader, VcfReader):
            raise InputError(
                f"phased (--phased) needs a VCF with the genotypes of samples; {reader.name} is none"
            )
        return Haplotypes(reader.header.samples, self.before, self.after, reader.name, reader.asked)
