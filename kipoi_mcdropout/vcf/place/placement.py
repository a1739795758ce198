"""From the record of a VCF to the windows of its alleles, or to the reasons why they are skipped."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.sequence.genome import Genome
from kipoi_mcdropout.vcf.place.contigs import ContigNames
from kipoi_mcdropout.vcf.place.windows import (
    NO_INDEL,
    Anchor,
    Indel,
    Window,
    allele_window,
    anchor_about,
    fits,
    indel_of,
    over_edge,
    reference_window,
    window_behind,
)
from kipoi_mcdropout.vcf.read.alleles import (
    Edit,
    Skip,
    kind_of,
    normalised,
    reference_differs,
    unscorable,
)
from kipoi_mcdropout.vcf.read.haplotypes import LEFT_OUT
from kipoi_mcdropout.vcf.read.record import Record

RefMismatch = Literal["few", "skip", "error"]
IndelAlignment = Literal["none", "stitch"]

# Flags of scored alleles, each with what it says in the header of an annotated VCF.
FLAGS = {
    "edge_padded": "the window runs over an end of the contig and is padded",
    "unknown_bases": "the window has letters other than A, C, G, T",
    "off_centre": "the variant is not in the middle of the window, which it shares (--share_windows)",
    **LEFT_OUT,
}
_KNOWN = b"ACGT"


@dataclass(frozen=True)
class Scored:
    """An allele that is scored."""

    kind: str
    flags: tuple[str, ...]


@dataclass(frozen=True)
class Placed(Scored):
    """An allele ready to be scored, a window per shift.

    With stitching, an insertion or deletion has other windows too, which end with the reference.
    """

    edit: Edit
    anchor: Anchor
    ref_windows: tuple[Window, ...]
    alt_windows: tuple[Window, ...]
    indel: Indel = NO_INDEL
    behind_windows: tuple[Window, ...] = ()


Outcome = Scored | Skip


@dataclass(frozen=True)
class PlacementOptions:
    """How alleles are put into windows."""

    length: int  # of the window, bp
    shifts: tuple[int, ...] = (0,)
    normalize: bool = False
    edge: Literal["pad", "skip"] = "pad"
    ref_mismatch: RefMismatch = "few"
    indel_alignment: IndelAlignment = "none"
    known_only: bool = False  # the model's input can hold nothing but A, C, G and T

    def __post_init__(self) -> None:
        if self.length < 1:
            raise InputError(f"the window must have at least 1 base; got length {self.length}")
        if not self.shifts or len(set(self.shifts)) < len(self.shifts):
            raise InputError(f"shifts must be different whole numbers, e.g. 0,1,-1; got {self.shifts}")
        if not fits(Edit(0, "A", "C"), self.length, self.shifts):
            raise InputError(
                f"shifts must keep the variant within the window of {self.length} bp; got {self.shifts}"
            )
        for name, choices in (
            ("edge", ("pad", "skip")),
            ("ref_mismatch", get_args(RefMismatch)),
            ("indel_alignment", get_args(IndelAlignment)),
        ):
            if getattr(self, name) not in choices:
                raise InputError(f"{name} must be one of {choices}; got {getattr(self, name)!r}")


class Placer:
    """Places the alleles of records in a genome."""

    def __init__(self, genome: Genome, contigs: ContigNames, options: PlacementOptions) -> None:
        self.genome = genome
        self.contigs = contigs
        self.options = options

    def place(self, record: Record) -> list[Outcome]:
        """One outcome per ALT allele, in order.

        Raises
        ------
        InputError
            If REF is not the genome's and `ref_mismatch` is "error".
        """
        return [self._place(record, alt) for alt in record.alts]

    def _place(self, record: Record, alt: str) -> Outcome:
        found = self.edit_of(record, alt)
        if isinstance(found, Skip):
            return found
        contig, edit, kind = found
        if (skip := self._too_long(edit)) is not None:
            return skip
        middle = edit.position if record.middle is None else record.middle
        if not fits(edit, self.options.length, self.options.shifts, edit.position - middle):
            middle = edit.position  # it is too long for the shared window, not for its own
        return self._windows(contig, edit, kind, middle)

    def edit_of(self, record: Record, alt: str) -> tuple[str, Edit, str] | Skip:
        """The contig of the genome, the edit and its kind, or why it cannot be scored."""
        if (skip := unscorable(record.ref, alt)) is not None:
            return skip
        contig = self.contigs.find(record.contig)
        if isinstance(contig, Skip):
            return contig
        start, end = record.pos - 1, record.pos - 1 + len(record.ref)
        if start < 0 or end > self.genome.lengths[contig]:
            return Skip("outside_contig", f"{contig} has {self.genome.lengths[contig]} bases")
        if (skip := self._check_reference(record, contig)) is not None:
            return skip
        edit = Edit(start, record.ref.upper(), alt.upper())
        kind = kind_of(edit)
        if self.options.normalize:
            edit = normalised(edit, lambda position: self.genome.base_at(contig, position))
        return contig, edit, kind

    def _too_long(self, edit: Edit) -> Skip | None:
        if fits(edit, self.options.length, self.options.shifts):
            return None
        longest = max(len(edit.ref), len(edit.alt))
        return Skip("too_long", f"{longest} bases in a window of {self.options.length}")

    def _check_reference(self, record: Record, contig: str) -> Skip | None:
        start = record.pos - 1
        found = self.genome.bases(contig, start, start + len(record.ref))
        skip = reference_differs(record.ref, found)
        if skip is not None and skip.reason == "ref_mismatch" and self.options.ref_mismatch == "error":
            raise InputError(
                f"line {record.line} of the VCF: REF {record.ref[:40]} at {record.contig}:{record.pos} "
                f"differs from the genome, which has {found[:40]}. Check that VCF and FASTA are of the "
                "same assembly"
            )
        return skip

    def _windows(self, contig: str, edit: Edit, kind: str, middle: int) -> Outcome:
        length, shifts = self.options.length, self.options.shifts
        anchor = anchor_about(contig, middle, length)
        refs = tuple(reference_window(self.genome, anchor, length, shift) for shift in shifts)
        alts = tuple(allele_window(self.genome, anchor, edit, length, shift) for shift in shifts)
        flags = () if middle == edit.position else ("off_centre",)
        indel, behind = NO_INDEL, tuple[Window, ...]()
        if self.options.indel_alignment == "stitch" and len(edit.ref) != len(edit.alt):
            indel = indel_of(anchor, edit)
            behind = tuple(window_behind(self.genome, anchor, edit, length, shift) for shift in shifts)
        return self.judged(Placed(kind, flags, edit, anchor, refs, alts, indel, behind))

    def judged(self, placed: Placed) -> Outcome:
        """What is placed, with the flags of its windows, or why these cannot be shown to the model."""
        anchor, length = placed.anchor, self.options.length
        windows = (*placed.ref_windows, *placed.alt_windows, *placed.behind_windows)
        padded = any(over_edge(window) for window in windows)
        if padded and self.options.edge == "skip":
            return Skip("edge", f"window {anchor.start + 1}-{anchor.start + length} of {anchor.contig}")
        flags = [*placed.flags, *(["edge_padded"] if padded else [])]
        unknown = any(w.tobytes().strip(b"-").translate(None, _KNOWN) for w in windows)
        if self.options.known_only and (padded or unknown):
            what = "a letter other than A, C, G, T" if unknown else "an end of the contig"
            return Skip("no_token", f"{what} in the window")
        if unknown:
            flags.append("unknown_bases")
        return replace(placed, flags=tuple(flags))
